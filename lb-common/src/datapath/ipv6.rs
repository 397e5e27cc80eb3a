//! IPv6 TCP and UDP, behind a few extension headers at most.

use super::flow::Flow;
use crate::abi::{Protocol, ServiceKey};
use crate::hash::FlowKey;
use crate::reason::Reason;
use crate::wire::{Cursor, Ipv6, Ports, transport_header};

/// Addresses and ports as loaded on a little-endian machine.
pub struct Ipv6Flow {
    source: [u64; 2],
    destination: [u64; 2],
    ports: Ports,
    protocol: Protocol,
    hop_limit: u8,
    /// Of the fixed header: bytes that follow it.
    payload_length: usize,
    /// Where the transport header starts.
    transport: usize,
}

/// Where the chain of headers leads.
struct Transport {
    offset: usize,
    protocol: Protocol,
}

impl Ipv6Flow {
    /// Of any whole TCP or UDP packet, however odd otherwise.
    #[inline(always)]
    pub fn parse<P: Cursor + ?Sized>(packet: &P) -> Result<Self, Reason> {
        Self::load(packet).ok_or(Reason::NotBalanced)?
    }

    #[inline(always)]
    fn load<P: Cursor + ?Sized>(packet: &P) -> Option<Result<Self, Reason>> {
        if packet.load::<u8>(Ipv6::VERSION)? >> 4 != 6 {
            return None;
        }
        let lengths: u32 = packet.load(Ipv6::PAYLOAD_LENGTH)?;
        let transport = match walk(packet, (lengths >> 16) as u8)? {
            Ok(transport) => transport,
            Err(reason) => return Some(Err(reason)),
        };
        Some(Ok(Self {
            source: [packet.load(Ipv6::SOURCE)?, packet.load(Ipv6::SOURCE + 8)?],
            destination: [packet.load(Ipv6::DESTINATION)?, packet.load(Ipv6::DESTINATION + 8)?],
            ports: Ports(packet.load(transport.offset)?),
            protocol: transport.protocol,
            hop_limit: (lengths >> 24) as u8,
            payload_length: (lengths as u16).swap_bytes() as usize,
            transport: transport.offset,
        }))
    }
}

/// Follows the chain of extension headers (RFC 8200, section 4). `None`: it leads to neither TCP nor UDP.
#[inline(always)]
fn walk<P: Cursor + ?Sized>(packet: &P, first: u8) -> Option<Result<Transport, Reason>> {
    let (mut next, mut offset) = (first, Ipv6::PAYLOAD);
    for _ in 0..=Ipv6::MAX_EXTENSIONS {
        if let Some(protocol) = Protocol::new(next) {
            return Some(Ok(Transport { offset, protocol }));
        }
        match next {
            Ipv6::HOP_BY_HOP | Ipv6::ROUTING | Ipv6::DESTINATION_OPTIONS => {}
            Ipv6::FRAGMENT => return Some(Err(Reason::Fragment)),
            _ => return None,
        }
        let header: u16 = packet.load(offset)?;
        next = header as u8;
        offset += ((header >> 8) as usize + 1) * 8;
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
    fn judge<P: Cursor + ?Sized>(&self, packet: &P) -> Result<(), Reason> {
        let end = Ipv6::PAYLOAD + self.payload_length;
        if end > packet.length() || self.transport + transport_header(self.protocol) > end {
            return Err(Reason::BadLength);
        }
        if self.hop_limit < 2 { Err(Reason::TtlExpired) } else { Ok(()) }
    }

    #[inline(always)]
    fn age<P: Cursor + ?Sized>(&self, packet: &mut P) -> Option<()> {
        packet.store::<u8>(Ipv6::HOP_LIMIT, self.hop_limit - 1)
    }
}
