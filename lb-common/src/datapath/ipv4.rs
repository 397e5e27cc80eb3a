//! IPv4: TCP, UDP, fragments of both, and ICMP errors about either.

use super::flow::{Flow, Part};
use crate::abi::{Protocol, ServiceKey};
use crate::hash::{FlowHash, FlowKey};
use crate::reason::Reason;
use crate::wire::{Cursor, Ethernet, Icmp, Ipv4, Ports, TcpFlags, transport_header};

/// The header of the packet itself, five words as loaded on a little-endian machine.
struct Header {
    first: u32,
    fragment: u32,
    /// Time to live, protocol, checksum, from the lowest byte up.
    ttl: u32,
    source: u32,
    destination: u32,
}

impl Header {
    /// `None`: too short, or no IPv4 header.
    #[inline(always)]
    fn load<P: Cursor + ?Sized>(packet: &P) -> Option<Self> {
        // The last field first: its bounds are those of the others too, so one check does for all.
        let destination = packet.load(Ipv4::DESTINATION)?;
        let first = packet.load(Ipv4::FIRST)?;
        is_ipv4(first).then_some(())?;
        Some(Self {
            destination,
            first,
            fragment: packet.load(Ipv4::FRAGMENT)?,
            ttl: packet.load(Ipv4::TTL)?,
            source: packet.load(Ipv4::SOURCE)?,
        })
    }

    #[inline(always)]
    const fn protocol(&self) -> u8 {
        (self.ttl >> 8) as u8
    }

    /// Offset of what follows the header and its options, 34 to 74.
    #[inline(always)]
    const fn payload(&self) -> usize {
        Ethernet::LEN + header_words(self.first) * 4
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

/// Version 4, and a header length that can be.
#[inline(always)]
const fn is_ipv4(first: u32) -> bool {
    first & 0xf0 == 0x40 && header_words(first) >= 5
}

/// Length of the header in 32-bit words: 0 to 15.
#[inline(always)]
const fn header_words(first: u32) -> usize {
    (first & 0x0f) as usize
}

/// A packet and the flow that it belongs to: its own, or the one that it reports an error of.
pub struct Ipv4Flow {
    header: Header,
    source: u32,
    destination: u32,
    ports: Ports,
    protocol: Protocol,
    /// Bytes that must follow the header.
    least_payload: usize,
    sent_as: Reason,
}

impl Ipv4Flow {
    /// Of any TCP or UDP packet or fragment, or ICMP error about one, however odd otherwise. `None` for all else.
    #[inline(always)]
    pub fn parse<P: Cursor + ?Sized>(packet: &P) -> Option<Self> {
        let header = Header::load(packet)?;
        let whole = header.fragment & Ipv4::FRAGMENT_MASK == 0;
        let later = header.fragment & Ipv4::OFFSET_MASK != 0;
        match Protocol::new(header.protocol()) {
            Some(protocol) if later => Some(Self::later(header, protocol)),
            Some(protocol) => Self::own(header, protocol, packet),
            None if header.protocol() == Icmp::V4 && whole => Self::quoted(header, packet),
            None => None,
        }
    }

    #[inline(always)]
    const fn later(header: Header, protocol: Protocol) -> Self {
        let (source, destination) = (header.source, header.destination);
        Self { header, source, destination, ports: Ports(0), protocol, least_payload: 1, sent_as: Reason::Forwarded }
    }

    /// `None`: too short.
    #[inline(always)]
    fn own<P: Cursor + ?Sized>(header: Header, protocol: Protocol, packet: &P) -> Option<Self> {
        let ports = Ports(packet.load(header.payload())?);
        let (source, destination) = (header.source, header.destination);
        let least_payload = transport_header(protocol);
        Some(Self { header, source, destination, ports, protocol, least_payload, sent_as: Reason::Forwarded })
    }

    /// The packet quoted was one of ours to a client, so the flow is that packet's, reversed. `None`: no error, or its
    /// quote is no first or only fragment of TCP or UDP, or was not sent by whom it was sent to.
    #[inline(always)]
    fn quoted<P: Cursor + ?Sized>(header: Header, packet: &P) -> Option<Self> {
        let at = header.payload();
        // Two bytes, type and code: the verifier does not follow the bound of a single byte behind a variable offset.
        Icmp::is_error_v4(packet.load::<u16>(at)? as u8).then_some(())?;
        let quote = at + Icmp::LEN;
        let first: u32 = packet.load(quote)?;
        is_ipv4(first).then_some(())?;
        let fragment: u32 = packet.load(quote + 4)?;
        let protocol = Protocol::new((packet.load::<u32>(quote + 8)? >> 8) as u8)?;
        let (destination, source) = (packet.load(quote + 12)?, packet.load(quote + 16)?);
        let first_fragment = fragment & Ipv4::OFFSET_MASK == 0;
        (first_fragment && destination == header.destination).then_some(())?;
        let ports = Ports(packet.load(quote + header_words(first) * 4)?).reversed();
        let least_payload = Icmp::LEN + Ipv4::LEN + Icmp::QUOTED_TRANSPORT;
        Some(Self { header, source, destination, ports, protocol, least_payload, sent_as: Reason::IcmpError })
    }
}

impl Flow for Ipv4Flow {
    #[inline(always)]
    fn service_key(&self) -> ServiceKey {
        ServiceKey::from_v4_words(self.destination, self.ports.destination(), self.protocol)
    }

    #[inline(always)]
    fn hash(&self, key: &FlowKey) -> FlowHash {
        key.v4(self.source, self.destination, self.ports.0)
    }

    #[inline(always)]
    fn client(&self) -> [u64; 2] {
        [self.source as u64, 0]
    }

    #[inline(always)]
    fn opens<P: Cursor + ?Sized>(&self, packet: &P) -> Option<bool> {
        match self.protocol {
            Protocol::Tcp => Some(packet.load(self.header.payload() + TcpFlags::OFFSET).is_some_and(TcpFlags::opens)),
            Protocol::Udp => None,
        }
    }

    #[inline(always)]
    fn segment_flags<P: Cursor + ?Sized>(&self, packet: &P) -> Option<u16> {
        match (self.protocol, self.sent_as) {
            (Protocol::Tcp, Reason::Forwarded) => packet.load(self.header.payload() + TcpFlags::OFFSET),
            _ => None,
        }
    }

    #[inline(always)]
    fn sequence<P: Cursor + ?Sized>(&self, packet: &P) -> Option<u32> {
        packet.load_checked(self.header.payload() + TcpFlags::SEQUENCE)
    }

    #[inline(always)]
    fn part(&self) -> Part {
        let id = self.header.fragment & 0xffff;
        if self.header.fragment & Ipv4::FRAGMENT_MASK == 0 {
            Part::Whole
        } else if self.header.fragment & Ipv4::OFFSET_MASK == 0 {
            Part::First(id)
        } else {
            Part::Later(id)
        }
    }

    #[inline(always)]
    fn fragment_hash(&self, id: u32, key: &FlowKey) -> FlowHash {
        key.v4(self.header.source, self.header.destination, id | (self.protocol as u32) << 16)
    }

    #[inline(always)]
    fn sent_as(&self) -> Reason {
        self.sent_as
    }

    #[inline(always)]
    fn judge<P: Cursor + ?Sized>(&self, packet: &P) -> Result<(), Reason> {
        let first = self.header.first;
        let total = ((first >> 16) as u16).swap_bytes() as usize;
        // A frame may be longer than its packet: short ones are padded to 60 bytes.
        if total < header_words(first) * 4 + self.least_payload || Ethernet::LEN + total > packet.length() {
            return Err(Reason::BadLength);
        }
        if self.header.sums_up(packet) == Some(true) { Ok(()) } else { Err(Reason::BadChecksum) }
    }

    #[inline(always)]
    fn age<P: Cursor + ?Sized>(&self, packet: &mut P) -> Result<(), Reason> {
        if self.header.ttl & 0xff < 2 {
            return Err(Reason::TtlExpired);
        }
        // RFC 1624: the time to live is the first byte of its 16-bit word; one less there is one more in the sum, in
        // whatever byte order it is kept.
        let checksum = (self.header.ttl >> 16) + 1;
        let checksum = checksum + (checksum >= 0xffff) as u32;
        packet.store::<u32>(Ipv4::TTL, (checksum << 16) | ((self.header.ttl & 0xffff) - 1)).ok_or(Reason::BadLength)
    }
}
