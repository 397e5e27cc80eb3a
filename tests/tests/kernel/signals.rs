//! What the loaded program counts of clients that are not answered.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_common::abi::{Protocol, Signals, Value};
use lb_user::dataplane::{self, Kernel, Maps, WordMap};
use lb_user::state::{read_value, values};
use tests::fixture::{self, PORT, VIP, VIP_6, World, run};
use tests::lab::eventually;
use tests::packet::Packet;

const SOON: Duration = Duration::from_secs(20);

/// Over all real servers.
fn total(kernel: &Kernel) -> Signals {
    let words = kernel.words(WordMap::Signals);
    let all = (0..values::<Signals>(words)).map(|index| read_value::<Signals>(words, index));
    all.fold(Signals::default(), |sum, one| Signals {
        syn_retransmissions: sum.syn_retransmissions + one.syn_retransmissions,
        client_resets: sum.client_resets + one.client_resets,
    })
}

fn segments(port: u16, flags: u8) -> [Vec<u8>; 2] {
    let clients = ["10.0.0.1".parse().expect("an address"), "fd00::1".parse().expect("an address")];
    let segment =
        |(client, vip)| Packet { tcp_flags: flags, ..Packet::new(Protocol::Tcp, (client, port), (vip, PORT)) };
    [segment((clients[0], VIP)).bytes(), segment((clients[1], VIP_6)).bytes()]
}

#[test]
fn a_syn_that_comes_again_counts_once_and_other_segments_do_not() -> Result<()> {
    let mut world = World::new(3);
    world.view.jiffy = dataplane::jiffy();
    let mut kernel = fixture::load(&fixture::program_object()?, &world)?;
    let [syn, syn_6] = segments(40_000, Packet::SYN);
    // All of them at once, and some twice: no time has passed in which a client would send one again.
    for port in 40_000..40_050 {
        for frame in segments(port, Packet::SYN).iter().chain(&segments(port, Packet::ACK)) {
            run(&mut kernel, frame)?;
        }
    }
    run(&mut kernel, &syn)?;
    ensure!(total(&kernel) == Signals::default(), "{:?}", total(&kernel));
    // Sent again and again, as no client does, each counts as soon as half a second has passed.
    for (frame, expected) in [(&syn, 1), (&syn_6, 2), (&syn, 3)] {
        eventually(SOON, "the SYN counts", || {
            run(&mut kernel, frame)?;
            Ok((total(&kernel).syn_retransmissions == expected).then_some(()))
        })?;
        run(&mut kernel, frame)?;
        ensure!(total(&kernel).syn_retransmissions == expected, "{:?}", total(&kernel));
    }
    ensure!(total(&kernel).client_resets == 0);
    Ok(())
}

#[test]
fn a_reset_counts_for_the_real_server_that_it_goes_to() -> Result<()> {
    let mut kernel = fixture::load(&fixture::program_object()?, &World::new(1))?;
    for flags in [Packet::RST, Packet::RST | Packet::ACK] {
        for frame in segments(40_000, flags) {
            run(&mut kernel, &frame)?;
        }
    }
    let words: Signals = read_value(kernel.words(WordMap::Signals), 1);
    ensure!(words == Signals { syn_retransmissions: 0, client_resets: 4 }, "{words:?}");
    ensure!(words.to_words() == [0, 4]);
    Ok(())
}
