//! IPv6: TCP, UDP, and ICMPv6 errors about either, behind a few extension headers at most.

use super::flow::Flow;
use crate::abi::{Protocol, ServiceKey};
use crate::hash::FlowKey;
use crate::reason::Reason;
use crate::wire::{Cursor, Ethernet, Icmp, Ipv6, Ports, transport_header};

/// A packet and the flow that it belongs to: its own, or the one that it reports an error of. Addresses and ports as
/// loaded on a little-endian machine.
pub struct Ipv6Flow {
    source: [u64; 2],
    destination: [u64; 2],
    ports: Ports,
    protocol: Protocol,
    hop_limit: u8,
    /// Of the fixed header: bytes that follow it.
    payload_length: usize,
    /// Where the transport header, or ICMPv6's, must have ended.
    least_end: usize,
    sent_as: Reason,
}

/// What the chain of headers leads to, and where that is.
struct Upper {
    offset: usize,
    number: u8,
}

impl Ipv6Flow {
    /// Of any whole TCP or UDP packet, or ICMPv6 error about one, however odd otherwise.
    #[inline(always)]
    pub fn parse<P: Cursor + ?Sized>(packet: &P) -> Result<Self, Reason> {
        Self::load(packet).ok_or(Reason::NotBalanced)?
    }

    #[inline(always)]
    fn load<P: Cursor + ?Sized>(packet: &P) -> Option<Result<Self, Reason>> {
        (packet.load::<u8>(Ipv6::VERSION)? >> 4 == 6).then_some(())?;
        let lengths: u32 = packet.load(Ipv6::PAYLOAD_LENGTH)?;
        let upper = walk(packet, (lengths >> 16) as u8)?;
        if upper.number == Ipv6::FRAGMENT {
            return Some(Err(Reason::Fragment));
        }
        let flow = match Protocol::new(upper.number) {
            Some(protocol) => Self::own(packet, &upper, protocol)?,
            None => Self::quoted(packet, &upper)?,
        };
        let payload_length = (lengths as u16).swap_bytes() as usize;
        Some(Ok(Self { hop_limit: (lengths >> 24) as u8, payload_length, ..flow }))
    }

    #[inline(always)]
    fn own<P: Cursor + ?Sized>(packet: &P, upper: &Upper, protocol: Protocol) -> Option<Self> {
        Some(Self {
            source: address(packet, Ipv6::SOURCE)?,
            destination: address(packet, Ipv6::DESTINATION)?,
            ports: Ports(packet.load(upper.offset)?),
            protocol,
            hop_limit: 0,
            payload_length: 0,
            least_end: upper.offset + transport_header(protocol),
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
            hop_limit: 0,
            payload_length: 0,
            least_end: quote + Ipv6::PAYLOAD + Icmp::QUOTED_TRANSPORT,
            sent_as: Reason::IcmpError,
        })
    }
}

#[inline(always)]
fn address<P: Cursor + ?Sized>(packet: &P, offset: usize) -> Option<[u64; 2]> {
    Some([packet.load(offset)?, packet.load(offset + 8)?])
}

/// Follows the chain of extension headers (RFC 8200, section 4), but not through a fragment header. `None`: it leads out
/// of the frame, or is too long.
#[inline(always)]
fn walk<P: Cursor + ?Sized>(packet: &P, first: u8) -> Option<Upper> {
    let mut upper = Upper { offset: Ipv6::PAYLOAD, number: first };
    for _ in 0..=Ipv6::MAX_EXTENSIONS {
        if !matches!(upper.number, Ipv6::HOP_BY_HOP | Ipv6::ROUTING | Ipv6::DESTINATION_OPTIONS) {
            return Some(upper);
        }
        let header: u16 = packet.load(upper.offset)?;
        upper = Upper { offset: upper.offset + ((header >> 8) as usize + 1) * 8, number: header as u8 };
    }
    None
}

impl Flow for Ipv6Flow {
    #[inline(always)]
    fn service_key(&self) -> ServiceKey {
        ServiceKey::from_v6_words(self.destination, self.ports.destination(), self.protocol)
    }

    #[inline(always)]
    fn hash(&self, key: &FlowKey) -> u32 {
        key.v6(self.source, self.destination, self.ports.0)
    }

    #[inline(always)]
    fn sent_as(&self) -> Reason {
        self.sent_as
    }

    #[inline(always)]
    fn judge<P: Cursor + ?Sized>(&self, packet: &P) -> Result<(), Reason> {
        let end = Ipv6::PAYLOAD + self.payload_length;
        if end > packet.length() || self.least_end > end {
            return Err(Reason::BadLength);
        }
        if self.hop_limit < 2 { Err(Reason::TtlExpired) } else { Ok(()) }
    }

    #[inline(always)]
    fn age<P: Cursor + ?Sized>(&self, packet: &mut P) -> Option<()> {
        packet.store::<u8>(Ipv6::HOP_LIMIT, self.hop_limit - 1)
    }
}
