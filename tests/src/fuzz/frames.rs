//! Random frames for the world of the [fixture](crate::fixture).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::abi::Protocol;
use lb_common::hash::mix;

use super::probes::random_answer;
use crate::fixture::{ANY_VIP, PEER, PORT, UDP_PORT, VIP, VIP_6};
use crate::packet::{Packet, arp_request, solicitation};

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From 0 to `end`, which it is not.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// With a chance of one in so many.
    pub fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    /// One of these; there must be some.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Mostly for a service, often odd in one way, sometimes in many.
pub fn random_frame(random: &mut Random) -> Vec<u8> {
    if random.one_in(20) {
        return random_question(random);
    }
    if random.one_in(20) {
        return random_answer(random);
    }
    let protocol = if random.one_in(3) { Protocol::Udp } else { Protocol::Tcp };
    let service_port = if protocol == Protocol::Tcp { PORT } else { UDP_PORT };
    let odd_port = random.number() as u16;
    let port = random.pick(&[service_port, service_port, service_port, service_port, 443, 8000, 8777, 9001, odd_port]);
    let (mut source, elsewhere, vip) = if random.one_in(3) {
        (random_v6(random), random_v6(random), VIP_6)
    } else {
        (random_v4(random), random_v4(random), random.pick(&[VIP, VIP, ANY_VIP]))
    };
    let destination = if random.one_in(8) { elsewhere } else { vip };
    let mut source_port = random.number() as u16;
    if random.one_in(2) {
        // Few flows, so that packets meet pins.
        (source, source_port) = (few(source, random.below(16) as u8), random.below(64) as u16);
    }
    let mut packet = Packet::new(protocol, (source, source_port), (destination, port));
    packet.tcp_flags = random.pick(&[Packet::SYN, Packet::ACK, Packet::ACK, Packet::SYN | Packet::ACK, Packet::RST]);
    if random.one_in(4) {
        let kinds = [0x8100, 0x8100, 0x88a8];
        packet.tags = (0..=random.below(3)).map(|_| (random.pick(&kinds), random.number() as u16)).collect();
    }
    if random.one_in(8) {
        packet.source_mac = PEER;
    }
    packet.payload = random.below(200) as usize;
    packet.options = if random.one_in(6) { random.below(11) as usize } else { 0 };
    if random.one_in(6) {
        // Few senders and few identifications, so that fragments meet.
        packet.source = few(packet.source, random.below(8) as u8);
        let odd = random.number() as u16;
        packet.fragment = random.pick(&[0x2000, 0x2000, 1, 0x2002, 0x4000, odd]);
        let more = random.pick(&[0, 1, 8, 9]);
        packet.extensions.push((44, 0));
        packet.fragment_header = [0, 0, 0, more, 0, 0, 0, random.below(4) as u8];
    }
    packet.ttl = if random.one_in(10) { random.below(3) as u8 } else { packet.ttl };
    for _ in 0..random.below(6) / 2 * random.below(4) {
        // Hop-by-hop, routing, fragment, destination options; rarely anything.
        let number = if random.one_in(12) { random.number() as u8 } else { random.pick(&[0, 43, 60, 60, 60]) };
        packet.extensions.push((number, random.below(4) as u8));
    }
    let mut frame = if random.one_in(5) {
        let router = if packet.destination.is_ipv4() { random_v4(random) } else { random_v6(random) };
        let kind = random.pick(&[3, 11, 12, 1, 2, 4, 8, 128]);
        packet.icmp_error(router, kind, random.below(120) as usize)
    } else {
        packet.bytes()
    };
    if random.one_in(4) {
        for _ in 0..=random.below(4) {
            let at = random.below(frame.len().min(120) as u64) as usize;
            frame[at] = random.number() as u8;
        }
    }
    if random.one_in(10) {
        // The kernel refuses to run a frame shorter than an Ethernet header.
        frame.truncate(14 + random.below(frame.len() as u64 - 13) as usize);
    }
    frame
}

/// An ARP request or a neighbour solicitation, sometimes odd.
fn random_question(random: &mut Random) -> Vec<u8> {
    let mut frame = match random.pick(&[VIP, VIP, ANY_VIP, VIP_6, VIP_6]) {
        IpAddr::V4(vip) => arp_request(vip),
        IpAddr::V6(vip) => solicitation(vip),
    };
    if random.one_in(3) {
        let at = random.below(frame.len() as u64) as usize;
        frame[at] = random.number() as u8;
    }
    frame
}

fn few(address: IpAddr, last: u8) -> IpAddr {
    if address.is_ipv4() { Ipv4Addr::new(10, 0, 0, last).into() } else { Ipv6Addr::from_bits(last.into()).into() }
}

fn random_v4(random: &mut Random) -> IpAddr {
    Ipv4Addr::from_bits(random.number() as u32).into()
}

fn random_v6(random: &mut Random) -> IpAddr {
    Ipv6Addr::from_bits(u128::from(random.number()) << 64 | u128::from(random.number())).into()
}
