//! IPv6: TCP, UDP, fragments of both, and ICMPv6 errors about either, behind a few extension headers at most.

use super::flow::{Flow, Part};
use crate::abi::{Protocol, ServiceKey};
use crate::hash::{FlowHash, FlowKey};
use crate::reason::Reason;
use crate::wire::{Cursor, Ethernet, Icmp, Ipv6, Ports, TcpFlags, transport_header};

/// A packet and the flow that it belongs to: its own, or the one that it reports an error of. Addresses and ports as
/// loaded on a little-endian machine.
pub struct Ipv6Flow {
    source: [u64; 2],
    destination: [u64; 2],
    ports: Ports,
    protocol: Protocol,
    /// Payload length, next header, hop limit, from the lowest byte up.
    lengths: u32,
    /// Where the transport header begins, or ICMPv6's.
    upper: usize,
    /// Where that header must have ended.
    least_end: usize,
    part: Part,
    sent_as: Reason,
}

/// What the chain of headers leads to, and where that is.
struct Upper {
    offset: usize,
    number: u8,
    part: Part,
}

impl Ipv6Flow {
    /// Of any TCP or UDP packet or fragment, or ICMPv6 error about one, however odd otherwise. `None` for all else.
    #[inline(always)]
    pub fn parse<P: Cursor + ?Sized>(packet: &P) -> Option<Self> {
        // The last word first: its bounds are those of the whole header, so one check does for all.
        packet.load::<u64>(Ipv6::DESTINATION + 8)?;
        (packet.load::<u16>(Ipv6::VERSION)? & 0xf0 == 0x60).then_some(())?;
        let lengths: u32 = packet.load(Ipv6::PAYLOAD_LENGTH)?;
        let upper = walk(packet, (lengths >> 16) as u8)?;
        let flow = match (upper.part, Protocol::new(upper.number)) {
            (Part::Later(_), Some(protocol)) => Self::later(packet, &upper, protocol)?,
            (_, Some(protocol)) => Self::own(packet, &upper, protocol)?,
            (Part::Whole, None) => Self::quoted(packet, &upper)?,
            _ => return None,
        };
        Some(Self { lengths, ..flow })
    }

    #[inline(always)]
    fn later<P: Cursor + ?Sized>(packet: &P, upper: &Upper, protocol: Protocol) -> Option<Self> {
        Some(Self {
            source: address(packet, Ipv6::SOURCE)?,
            destination: address(packet, Ipv6::DESTINATION)?,
            ports: Ports(0),
            protocol,
            lengths: 0,
            upper: upper.offset,
            least_end: upper.offset + 1,
            part: upper.part,
            sent_as: Reason::Forwarded,
        })
    }

    #[inline(always)]
    fn own<P: Cursor + ?Sized>(packet: &P, upper: &Upper, protocol: Protocol) -> Option<Self> {
        Some(Self {
            source: address(packet, Ipv6::SOURCE)?,
            destination: address(packet, Ipv6::DESTINATION)?,
            ports: Ports(packet.load(upper.offset)?),
            protocol,
            lengths: 0,
            upper: upper.offset,
            least_end: upper.offset + transport_header(protocol),
            part: upper.part,
            sent_as: Reason::Forwarded,
        })
    }

    /// The packet quoted was one of ours to a client, so the flow is that packet's, reversed. `None`: no ICMPv6 error, or
    /// it quotes neither TCP nor UDP, or what was not sent by whom it was sent to.
    #[inline(always)]
    fn quoted<P: Cursor + ?Sized>(packet: &P, upper: &Upper) -> Option<Self> {
        // Two bytes at a time: the verifier does not follow the bound of a single byte behind a variable offset.
        (upper.number == Icmp::V6 && Icmp::is_error_v6(packet.load::<u16>(upper.offset)? as u8)).then_some(())?;
        // Offsets in the quote, from its start: those of the fixed header without Ethernet.
        let quote = upper.offset + Icmp::LEN - Ethernet::LEN;
        (packet.load::<u16>(quote + Ipv6::VERSION)? & 0xf0 == 0x60).then_some(())?;
        let protocol = Protocol::new(packet.load::<u16>(quote + Ipv6::NEXT_HEADER)? as u8)?;
        let destination = address(packet, quote + Ipv6::SOURCE)?;
        (destination == address(packet, Ipv6::DESTINATION)?).then_some(())?;
        Some(Self {
            source: address(packet, quote + Ipv6::DESTINATION)?,
            destination,
            ports: Ports(packet.load(quote + Ipv6::PAYLOAD)?).reversed(),
            protocol,
            lengths: 0,
            upper: upper.offset,
            least_end: quote + Ipv6::PAYLOAD + Icmp::QUOTED_TRANSPORT,
            part: Part::Whole,
            sent_as: Reason::IcmpError,
        })
    }
}

#[inline(always)]
fn address<P: Cursor + ?Sized>(packet: &P, offset: usize) -> Option<[u64; 2]> {
    Some([packet.load(offset)?, packet.load(offset + 8)?])
}

/// Follows the chain of extension headers (RFC 8200, section 4), in a later fragment as far as its fragment header.
/// `None`: it leads out of the frame, or is too long.
#[inline(always)]
fn walk<P: Cursor + ?Sized>(packet: &P, first: u8) -> Option<Upper> {
    let mut upper = Upper { offset: Ipv6::PAYLOAD, number: first, part: Part::Whole };
    for _ in 0..=Ipv6::MAX_EXTENSIONS {
        match upper.number {
            Ipv6::HOP_BY_HOP | Ipv6::ROUTING | Ipv6::DESTINATION_OPTIONS => {
                let header: u16 = packet.load(upper.offset)?;
                upper.offset += ((header >> 8) as usize + 1) * 8;
                upper.number = header as u8;
            }
            Ipv6::FRAGMENT => {
                let header: u64 = packet.load(upper.offset)?;
                upper.offset += 8;
                upper.number = header as u8;
                upper.part = part(header);
            }
            _ => return Some(upper),
        }
        if matches!(upper.part, Part::Later(_)) {
            return Some(upper);
        }
    }
    None
}

/// What a fragment header (RFC 8200, section 4.5), as loaded, says. One that says neither "more" nor an offset is that of
/// a whole packet (an atomic fragment, RFC 6946).
#[inline(always)]
const fn part(header: u64) -> Part {
    let offset = ((header >> 16) as u16).swap_bytes();
    let id = (header >> 32) as u32;
    if offset & 0xfff8 != 0 {
        Part::Later(id)
    } else if offset & 1 != 0 {
        Part::First(id)
    } else {
        Part::Whole
    }
}

impl Flow for Ipv6Flow {
    #[inline(always)]
    fn service_key(&self) -> ServiceKey {
        ServiceKey::from_v6_words(self.destination, self.ports.destination(), self.protocol)
    }

    #[inline(always)]
    fn hash(&self, key: &FlowKey) -> FlowHash {
        key.v6(self.source, self.destination, self.ports.0)
    }

    #[inline(always)]
    fn client(&self) -> [u64; 2] {
        self.source
    }

    #[inline(always)]
    fn opens<P: Cursor + ?Sized>(&self, packet: &P) -> Option<bool> {
        match self.protocol {
            Protocol::Tcp => Some(packet.load_checked(self.upper + TcpFlags::OFFSET).is_some_and(TcpFlags::opens)),
            Protocol::Udp => None,
        }
    }

    #[inline(always)]
    fn segment_flags<P: Cursor + ?Sized>(&self, packet: &P) -> Option<u16> {
        match (self.protocol, self.sent_as) {
            (Protocol::Tcp, Reason::Forwarded) => packet.load_checked(self.upper + TcpFlags::OFFSET),
            _ => None,
        }
    }

    #[inline(always)]
    fn sequence<P: Cursor + ?Sized>(&self, packet: &P) -> Option<u32> {
        packet.load_checked(self.upper + TcpFlags::SEQUENCE)
    }

    #[inline(always)]
    fn part(&self) -> Part {
        self.part
    }

    #[inline(always)]
    fn fragment_hash(&self, id: u32, key: &FlowKey) -> FlowHash {
        key.v6(self.source, self.destination, id)
    }

    #[inline(always)]
    fn sent_as(&self) -> Reason {
        self.sent_as
    }

    #[inline(always)]
    fn judge<P: Cursor + ?Sized>(&self, packet: &P) -> Result<(), Reason> {
        let end = Ipv6::PAYLOAD + (self.lengths as u16).swap_bytes() as usize;
        if end > packet.length() || self.least_end > end { Err(Reason::BadLength) } else { Ok(()) }
    }

    #[inline(always)]
    fn age<P: Cursor + ?Sized>(&self, packet: &mut P) -> Result<(), Reason> {
        let hop_limit = self.lengths >> 24;
        if hop_limit < 2 {
            return Err(Reason::TtlExpired);
        }
        packet.store::<u32>(Ipv6::PAYLOAD_LENGTH, self.lengths - (1 << 24)).ok_or(Reason::BadLength)
    }
}
