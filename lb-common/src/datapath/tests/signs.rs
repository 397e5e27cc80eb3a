//! Signs that a real server does not answer.

use super::*;

const SECOND: u64 = 1_000_000_000;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Runs a segment with these flags and this sequence number, over IPv4 and over IPv6, so many seconds after the start.
fn send(world: &mut World, flags: u8, sequence: u32, seconds: u64) {
    world.syn_clock = SynTick::from_nanoseconds((100 + seconds) * SECOND);
    for (mut frame, tcp) in [(segment(), 34), (segment_v6(), 70)] {
        frame[tcp + 4..tcp + 8].copy_from_slice(&sequence.to_be_bytes());
        frame[tcp + 13] = flags;
        assert_eq!(run(&mut frame, world), Reason::Forwarded);
    }
}

#[test]
fn a_syn_that_comes_again_is_a_sign_each_time_and_a_reset_is_one() {
    let mut world = world();
    send(&mut world, SYN, 7, 0);
    send(&mut world, SYN, 8, 1);
    send(&mut world, SYN | ACK, 8, 2);
    send(&mut world, ACK, 8, 2);
    assert_eq!(world.signals, [], "nothing came again");
    for seconds in [2, 4] {
        send(&mut world, SYN, 8, seconds);
    }
    assert_eq!(world.signals, [(9, Signal::SynRetransmission); 4], "two each");
    world.signals.clear();
    send(&mut world, RST | ACK, 9, 5);
    assert_eq!(world.signals, [(9, Signal::ClientReset); 2]);
}

#[test]
fn an_error_about_a_flow_is_no_sign_however_its_bytes_look() {
    let mut world = world();
    for (mut frame, tcp) in [(icmp_error(), 34), (icmp_error_v6(), 54)] {
        frame[tcp + 13] = RST;
        run(&mut frame, &mut world);
    }
    assert_eq!(world.signals, []);
}
