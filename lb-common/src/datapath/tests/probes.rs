//! Probes by a vip, there and back.

use super::super::probe::{Departure, Payload, depart};
use super::*;
use crate::abi::{Family, ProbedVip};

/// Source, destination, number of the protocol, and what it carries without a right checksum.
struct Datagram {
    source: Vec<u8>,
    destination: Vec<u8>,
    number: u8,
    payload: Vec<u8>,
}

const OWN_V4: [u8; 4] = [192, 168, 81, 2];
const OWN_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const REAL_V4: [u8; 4] = [192, 168, 81, 101];
const REAL_V6: [u8; 16] = [0xfd, 0, 0, 0, 0xab, 0xcd, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 1];

impl Datagram {
    fn frame(&self) -> Vec<u8> {
        let Self { source, destination, number, payload } = self;
        let mut frame = [OWN.0, CLIENT.0].concat();
        let length = payload.len() as u16;
        if source.len() == 4 {
            frame.extend([0x08, 0x00, 0x45, 0]);
            frame.extend((20 + length).to_be_bytes());
            frame.extend([0, 7, 0x40, 0, 64, *number, 0, 0]);
        } else {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([*number, 64]);
        }
        frame.extend([source.clone(), destination.clone(), payload.clone()].concat());
        if source.len() == 4 {
            fix_checksum(&mut frame);
        }
        let at = frame.len() - payload.len() + if *number == 6 { 16 } else { if *number == 17 { 6 } else { 2 } };
        let sum = !payload_sum(&frame);
        frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        frame
    }
}

/// Over what the frame carries and, but for ICMP over IPv4, its addresses, length and protocol; all ones if it is right.
fn payload_sum(frame: &[u8]) -> u16 {
    let is_v4 = frame[12] == 0x08;
    let (addresses, number, payload) =
        if is_v4 { (&frame[26..34], frame[23], &frame[34..]) } else { (&frame[22..54], frame[20], &frame[54..]) };
    let length = payload.len() as u16;
    let mut all = if number == 1 { Vec::new() } else { [addresses, &length.to_be_bytes(), &[0, number]].concat() };
    all.extend(payload);
    all.resize(all.len().next_multiple_of(2), 0);
    let sum: u64 = all.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    ((folded & 0xffff) + (folded >> 16)) as u16
}

fn words(address: &[u8]) -> [u64; 2] {
    let mut bytes = [0; 16];
    bytes[..address.len()].copy_from_slice(address);
    let number = u128::from_le_bytes(bytes);
    [number as u64, (number >> 64) as u64]
}

/// What goes out to the real server, and what comes back from the vip.
fn exchange(v4: bool, number: u8) -> (Vec<u8>, Vec<u8>) {
    let (own, real, vip) = match v4 {
        true => (OWN_V4.to_vec(), REAL_V4.to_vec(), VIP.to_vec()),
        false => (OWN_V6.to_vec(), REAL_V6.to_vec(), VIP_6.to_vec()),
    };
    let body = |start: &[u8]| [start, &[0; 16], b"odd"].concat();
    let (there, back) = match number {
        6 => ([0x9c, 0x40, 0, 80, 1, 2, 3, 4], [0, 80, 0x9c, 0x40, 9, 8, 7, 6]),
        17 => ([0x9c, 0x40, 0, 53, 0, 27, 0, 0], [0, 53, 0x9c, 0x40, 0, 27, 0, 0]),
        1 => ([8, 0, 0, 0, 1, 2, 3, 4], [0, 0, 0, 0, 1, 2, 3, 4]),
        _ => ([128, 0, 0, 0, 1, 2, 3, 4], [129, 0, 0, 0, 1, 2, 3, 4]),
    };
    let request = Datagram { source: own.clone(), destination: real, number, payload: body(&there) };
    let answer = Datagram { source: vip, destination: own, number, payload: body(&back) };
    (request.frame(), answer.frame())
}

fn sent(request: &[u8], world: &World) -> Option<Departure> {
    let (vip, family) = if request[12] == 0x08 { (words(&VIP), Family::V4) } else { (words(&VIP_6), Family::V6) };
    let mut bytes = request.to_vec();
    depart(&mut Buffer::new(&mut bytes, 0, 4), &ProbedVip::new(vip, family), &world.settings.flow_key)
}

const KINDS: [(bool, u8); 6] = [(true, 6), (true, 17), (true, 1), (false, 6), (false, 17), (false, 58)];

#[test]
fn an_answer_from_the_vip_comes_from_the_real_server_that_was_asked() {
    for (v4, number) in KINDS {
        let (mut world, (request, answer)) = (world(), exchange(v4, number));
        let departure = sent(&request, &world).unwrap_or_else(|| panic!("{number} cannot be sent"));
        let real = if v4 { words(&REAL_V4) } else { words(&REAL_V6) };
        assert_eq!(departure.real, real);
        world.probes.push((departure.answer, real));
        let mut frame = answer.clone();
        assert_eq!(run(&mut frame, &mut world), Reason::ProbeAnswer, "{number} over IPv4: {v4}");
        assert_eq!(payload_sum(&frame), 0xffff, "{number} over IPv4: {v4}");
        let (source, expected) = if v4 { (26..30, REAL_V4.to_vec()) } else { (22..38, REAL_V6.to_vec()) };
        assert_eq!(frame[source], expected);
        if v4 {
            assert_eq!(header_sum(&frame[14..34]), 0xffff);
        }
        // Behind a tag it is found too.
        let mut tagged = [&answer[..12], &[0x81, 0, 0, 20], &answer[12..]].concat();
        assert_eq!(run(&mut tagged, &mut world), Reason::ProbeAnswer);
        assert_eq!(tagged[16..], frame[12..]);
    }
}

#[test]
fn what_is_no_answer_to_a_probe_passes_as_it_was() {
    for (v4, number) in KINDS {
        let (mut world, (request, answer)) = (world(), exchange(v4, number));
        let departure = sent(&request, &world).unwrap_or_else(|| panic!("{number} cannot be sent"));
        world.probes.push((departure.answer, departure.real));
        let upper = if v4 { 34 } else { 54 };
        let source = if v4 { 29 } else { 37 };
        // Another sender, port or identifier; what we ask ourselves; the first bytes only.
        let mut others = vec![request.clone(), answer[..upper + 3].to_vec()];
        for at in [source, upper + if matches!(number, 6 | 17) { 3 } else { 5 }] {
            let mut other = answer.clone();
            other[at] ^= 1;
            others.push(other);
        }
        for other in others {
            let mut frame = other.clone();
            assert!(matches!(run(&mut frame, &mut world), Reason::NoService | Reason::NotBalanced), "{number}");
            assert_eq!(frame, other);
        }
        // Nobody looks where no check goes by a vip.
        world.settings.probes = 0;
        let mut frame = answer.clone();
        assert_ne!(run(&mut frame, &mut world), Reason::ProbeAnswer);
        assert_eq!(frame, answer);
    }
}

#[test]
fn a_datagram_without_a_checksum_stays_without() {
    let (mut world, (request, mut answer)) = (world(), exchange(true, 17));
    let departure = sent(&request, &world).expect("it can be sent");
    world.probes.push((departure.answer, departure.real));
    answer[40..42].fill(0);
    assert_eq!(run(&mut answer, &mut world), Reason::ProbeAnswer);
    assert_eq!(answer[40..42], [0, 0]);
}

#[test]
fn what_cannot_go_by_the_vip_is_not_sent() {
    let world = world();
    let (request, _) = exchange(true, 6);
    assert!(sent(&request, &world).is_some_and(|departure| departure.payload == Payload::Tcp));
    // A fragment, options, another protocol, an answer to a ping.
    for (at, byte) in [(20, 0x20), (21, 1), (14, 0x46), (23, 47)] {
        let mut odd = request.clone();
        odd[at] = byte;
        assert_eq!(sent(&odd, &world), None, "byte {at}");
    }
    let (_, echo) = exchange(true, 1);
    assert_eq!(sent(&echo, &world), None);
    let vip = ProbedVip::new(words(&VIP_6), Family::V6);
    let mut bytes = request;
    let frame = &mut Buffer::new(&mut bytes, 0, 4);
    assert_eq!(depart(frame, &vip, &world.settings.flow_key), None, "a vip of another family");
}
