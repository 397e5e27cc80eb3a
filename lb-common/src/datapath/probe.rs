//! Probes that travel as the traffic does: to the vip, in a frame to the real server's MAC.
//!
//! The probe's socket is connected to the real server's own address, so route and neighbour are the real server's. On the way
//! out ([`depart`]) the destination becomes the vip, and the real server that is meant is noted by a hash of the answer
//! that will come. On the way in ([`answer`]) the vip becomes that address again, and the host's stack gets a packet from
//! where its socket has sent one to. TCP, UDP and echoes; no fragments, no IPv4 options, no IPv6 extension headers: what
//! our own sockets send has none, and what answers them neither.

use super::Tables;
use super::link::look_behind_tags;
use crate::abi::{Family, ProbedVip, Protocol};
use crate::hash::FlowKey;
use crate::reason::Reason;
use crate::wire::{Cursor, Ethernet, Frame, Icmp, Ipv4, Ipv6, Ports};

/// What a packet of a probe carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Payload {
    /// TCP (RFC 9293).
    Tcp = Protocol::Tcp as u8,
    /// UDP (RFC 768): a checksum of zero means that there is none.
    Udp = Protocol::Udp as u8,
    /// An ICMP echo (RFC 792), whose checksum knows nothing of addresses.
    Echo = Icmp::V4,
    /// An ICMPv6 echo (RFC 4443).
    EchoV6 = Icmp::V6,
}

impl Payload {
    /// Offset of the checksum in the header, if it is over the addresses too.
    #[inline(always)]
    pub const fn checksum(self) -> Option<usize> {
        match self {
            Self::Tcp => Some(16),
            Self::Udp => Some(6),
            Self::EchoV6 => Some(2),
            Self::Echo => None,
        }
    }

    /// `kind` is the ICMP type of the echo that is looked for.
    #[inline(always)]
    const fn new(family: Family, number: u8, kind: u8, wanted: [u8; 2]) -> Option<Self> {
        match (family, number) {
            (_, 6) => Some(Self::Tcp),
            (_, 17) => Some(Self::Udp),
            (Family::V4, Icmp::V4) if kind == wanted[0] => Some(Self::Echo),
            (Family::V6, Icmp::V6) if kind == wanted[1] => Some(Self::EchoV6),
            _ => None,
        }
    }
}

/// A packet that may be one of a probe, or the answer to one. Addresses as loaded, IPv4 in the first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packet {
    family: Family,
    payload: Payload,
    source: [u64; 2],
    destination: [u64; 2],
    /// Of an echo: its identifier and its sequence number.
    ports: Ports,
}

impl Packet {
    /// `echo` are the ICMP types of the two families that count.
    #[inline(always)]
    fn parse<P: Cursor + ?Sized>(packet: &P, ether_type: u16, echo: [u8; 2]) -> Option<Self> {
        match ether_type {
            Ethernet::IPV4 => Self::parse_v4(packet, echo),
            Ethernet::IPV6 => Self::parse_v6(packet, echo),
            _ => None,
        }
    }

    #[inline(always)]
    fn parse_v4<P: Cursor + ?Sized>(packet: &P, echo: [u8; 2]) -> Option<Self> {
        let whole = packet.load::<u32>(Ipv4::FRAGMENT)? & Ipv4::FRAGMENT_MASK == 0;
        let plain = packet.load::<u16>(Ipv4::FIRST)? as u8 == Ipv4::PLAIN;
        (whole && plain).then_some(())?;
        let number = (packet.load::<u32>(Ipv4::TTL)? >> 8) as u8;
        let kind = packet.load::<u16>(Ipv4::PAYLOAD)? as u8;
        let (source, destination): (u32, u32) = (packet.load(Ipv4::SOURCE)?, packet.load(Ipv4::DESTINATION)?);
        let payload = Payload::new(Family::V4, number, kind, echo)?;
        let ports = ports(packet, payload, Ipv4::PAYLOAD)?;
        let (source, destination) = ([source as u64, 0], [destination as u64, 0]);
        Some(Self { family: Family::V4, payload, source, destination, ports })
    }

    #[inline(always)]
    fn parse_v6<P: Cursor + ?Sized>(packet: &P, echo: [u8; 2]) -> Option<Self> {
        (packet.load::<u16>(Ipv6::VERSION)? & 0xf0 == 0x60).then_some(())?;
        let number = packet.load::<u16>(Ipv6::NEXT_HEADER)? as u8;
        let kind = packet.load::<u16>(Ipv6::PAYLOAD)? as u8;
        let payload = Payload::new(Family::V6, number, kind, echo)?;
        let source = [packet.load(Ipv6::SOURCE)?, packet.load(Ipv6::SOURCE + 8)?];
        let destination = [packet.load(Ipv6::DESTINATION)?, packet.load(Ipv6::DESTINATION + 8)?];
        let ports = ports(packet, payload, Ipv6::PAYLOAD)?;
        Some(Self { family: Family::V6, payload, source, destination, ports })
    }

    /// Stands for an answer from `vip` with these ports.
    #[inline(always)]
    const fn identity(&self, vip: [u64; 2], own: [u64; 2], ports: Ports, key: &FlowKey) -> u64 {
        let hash = match self.family {
            Family::V4 => key.v4(vip[0] as u32, own[0] as u32, ports.0),
            Family::V6 => key.v6(vip, own, ports.0),
        };
        hash.identity() ^ self.payload as u64
    }

    /// Where the payload's checksum is, if an address that changes changes it.
    #[inline(always)]
    const fn checksum(&self) -> Option<usize> {
        let start = match self.family {
            Family::V4 => Ipv4::PAYLOAD,
            Family::V6 => Ipv6::PAYLOAD,
        };
        match self.payload.checksum() {
            Some(offset) => Some(start + offset),
            None => None,
        }
    }
}

/// The two ports; or what tells an echo from all others.
#[inline(always)]
fn ports<P: Cursor + ?Sized>(packet: &P, payload: Payload, at: usize) -> Option<Ports> {
    match payload {
        Payload::Tcp | Payload::Udp => packet.load(at).map(Ports),
        Payload::Echo | Payload::EchoV6 => packet.load(at + Icmp::IDENTIFIER).map(Ports),
    }
}

/// What becomes of a packet of a probe on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Stands for the answer to it.
    pub answer: u64,
    /// The real server's own address, which the destination was.
    pub real: [u64; 2],
    /// The family of both addresses.
    pub family: Family,
    /// What it carries.
    pub payload: Payload,
    /// Where the checksum is that is over the addresses, beside IPv4's header's.
    pub checksum: Option<usize>,
}

/// What is to be done with a marked packet, whose destination is to become `vip`. `None`: it cannot be sent that way, and to
/// send it as it is would have the check say more than is so.
#[inline(always)]
pub fn depart<P: Frame + ?Sized>(frame: &mut P, vip: &ProbedVip, key: &FlowKey) -> Option<Departure> {
    let ether_type = look_behind_tags(frame)?;
    let packet = Packet::parse(frame, ether_type, Icmp::ECHO_REQUEST)?;
    let Packet { family, payload, source, destination, ports } = packet;
    (vip.family()? as u8 == family as u8).then_some(())?;
    let answered = match payload {
        Payload::Tcp | Payload::Udp => ports.reversed(),
        Payload::Echo | Payload::EchoV6 => ports,
    };
    let answer = packet.identity(vip.address, source, answered, key);
    Some(Departure { answer, real: destination, family, payload, checksum: packet.checksum() })
}

/// Whether a frame that is for no service is the answer to a probe that went by a vip; then its source is the real server's
/// own address from here on.
#[inline(always)]
pub fn answer<P: Frame + ?Sized, T: Tables + ?Sized>(frame: &mut P, tables: &T) -> bool {
    rewrite(frame, tables).is_some()
}

#[inline(always)]
fn rewrite<P: Frame + ?Sized, T: Tables + ?Sized>(frame: &mut P, tables: &T) -> Option<()> {
    let ether_type = look_behind_tags(frame)?;
    let packet = Packet::parse(frame, ether_type, Icmp::ECHO_REPLY)?;
    let key = &tables.settings()?.flow_key;
    let real = tables.probed_real(packet.identity(packet.source, packet.destination, packet.ports, key))?;
    // The last field first: where that lies in the frame nothing can fail any more.
    if let Some(at) = packet.checksum() {
        let old: u16 = frame.load(at)?;
        frame.store(at, payload_checksum(packet.payload, old, packet.source, real))?;
    }
    match packet.family {
        Family::V4 => {
            let old: u16 = frame.load(Ipv4::CHECKSUM)?;
            frame.store(Ipv4::CHECKSUM, updated(old, packet.source, real))?;
            frame.store(Ipv4::SOURCE, real[0] as u32)
        }
        Family::V6 => {
            frame.store(Ipv6::SOURCE, real[0])?;
            frame.store(Ipv6::SOURCE + 8, real[1])
        }
    }
}

/// UDP's has two values that mean something else: zero is none, so a sum of zero is written as all ones.
#[inline(always)]
const fn payload_checksum(payload: Payload, old: u16, from: [u64; 2], to: [u64; 2]) -> u16 {
    match payload {
        Payload::Udp if old == 0 => 0,
        Payload::Udp => match updated(old, from, to) {
            0 => 0xffff,
            sum => sum,
        },
        _ => updated(old, from, to),
    }
}

/// A checksum after one of the addresses that it is over has changed (RFC 1624, equation 3), in whatever byte order all
/// three are.
#[inline(always)]
const fn updated(checksum: u16, from: [u64; 2], to: [u64; 2]) -> u16 {
    let sum = (!checksum as u64)
        .wrapping_add(halves(!from[0]) + halves(!from[1]))
        .wrapping_add(halves(to[0]) + halves(to[1]));
    // Less than 2^36: three folds.
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

#[inline(always)]
const fn halves(word: u64) -> u64 {
    (word & 0xffff_ffff) + (word >> 32)
}

/// The reason of a frame that is for no service, after a look at whether it answers a probe.
#[inline(always)]
pub fn reason<P: Frame + ?Sized, T: Tables>(reason: Reason, frame: &mut P, tables: &mut T) -> Reason {
    let may_be = matches!(reason, Reason::NoService | Reason::NotBalanced);
    let asked = may_be && tables.settings().is_some_and(|settings| settings.probes != 0);
    if asked && tables.take_answer(frame) { Reason::ProbeAnswer } else { reason }
}
