//! IPv4 TCP and UDP.

use super::flow::Flow;
use crate::abi::{Protocol, ServiceKey};
use crate::hash::FlowKey;
use crate::reason::Reason;
use crate::wire::{Cursor, Ethernet, Ipv4, Ports, transport_header};

/// The header's five words and the ports, as loaded on a little-endian machine.
pub struct Ipv4Flow {
    first: u32,
    fragment: u32,
    /// Time to live, protocol, checksum, from the lowest byte up.
    ttl: u32,
    source: u32,
    destination: u32,
    ports: Ports,
    protocol: Protocol,
}

impl Ipv4Flow {
    /// Of any whole TCP or UDP packet, however odd otherwise.
    #[inline(always)]
    pub fn parse<P: Cursor + ?Sized>(packet: &P) -> Result<Self, Reason> {
        let flow = Self::load(packet).ok_or(Reason::NotBalanced)?;
        if flow.fragment & Ipv4::FRAGMENT_MASK == 0 { Ok(flow) } else { Err(Reason::Fragment) }
    }

    /// `None`: too short, or no IPv4 TCP or UDP.
    #[inline(always)]
    fn load<P: Cursor + ?Sized>(packet: &P) -> Option<Self> {
        let first: u32 = packet.load(Ipv4::FIRST)?;
        let ttl: u32 = packet.load(Ipv4::TTL)?;
        let protocol = Protocol::new((ttl >> 8) as u8)?;
        let words = header_words(first);
        if first & 0xf0 != 0x40 || words < 5 {
            return None;
        }
        let fragment = packet.load(Ipv4::FRAGMENT)?;
        let (source, destination) = (packet.load(Ipv4::SOURCE)?, packet.load(Ipv4::DESTINATION)?);
        let ports = Ports(packet.load(Ethernet::LEN + words * 4)?);
        Some(Self { first, fragment, ttl, source, destination, ports, protocol })
    }

    /// RFC 1071, over the words loaded and the options: all ones is right.
    #[inline(always)]
    fn sums_up<P: Cursor + ?Sized>(&self, packet: &P) -> Option<bool> {
        let five = [self.first, self.fragment, self.ttl, self.source, self.destination];
        let mut sum: u64 = five.iter().map(|word| *word as u64).sum();
        let options = header_words(self.first) - 5;
        for index in 0..Ipv4::MAX_OPTIONS {
            if index >= options {
                break;
            }
            sum += packet.load_checked::<u32>(Ethernet::LEN + Ipv4::LEN + index * 4)? as u64;
        }
        let folded = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
        let folded = (folded & 0xffff) + (folded >> 16);
        Some((folded & 0xffff) + (folded >> 16) == 0xffff)
    }
}

/// Length of the header in 32-bit words: 0 to 15.
#[inline(always)]
const fn header_words(first: u32) -> usize {
    (first & 0x0f) as usize
}

impl Flow for Ipv4Flow {
    #[inline(always)]
    fn service_key(&self) -> ServiceKey {
        ServiceKey::from_v4_words(self.destination, self.ports.destination(), self.protocol)
    }

    #[inline(always)]
    fn hash(&self, key: &FlowKey) -> u32 {
        key.v4(self.source, self.destination, self.ports.0)
    }

    #[inline(always)]
    fn judge<P: Cursor + ?Sized>(&self, packet: &P) -> Result<(), Reason> {
        let total = ((self.first >> 16) as u16).swap_bytes() as usize;
        let least = header_words(self.first) * 4 + transport_header(self.protocol);
        // A frame may be longer than its packet: short ones are padded to 60 bytes.
        if total < least || Ethernet::LEN + total > packet.length() {
            return Err(Reason::BadLength);
        }
        if self.ttl & 0xff < 2 {
            return Err(Reason::TtlExpired);
        }
        if self.sums_up(packet) == Some(true) { Ok(()) } else { Err(Reason::BadChecksum) }
    }

    #[inline(always)]
    fn age<P: Cursor + ?Sized>(&self, packet: &mut P) -> Option<()> {
        // RFC 1624: the time to live is the first byte of its 16-bit word; one less there is one more in the sum, in
        // whatever byte order it is kept.
        let checksum = (self.ttl >> 16) + 1;
        let checksum = checksum + (checksum >= 0xffff) as u32;
        packet.store::<u32>(Ipv4::TTL, (checksum << 16) | ((self.ttl & 0xffff) - 1))
    }
}
