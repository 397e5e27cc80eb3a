//! Where the fields lie that the pipeline looks at. The layouts are `network-types`'; nothing is parsed by casting.

use core::mem::offset_of;

use network_types::eth::{EthHdr, EtherType};
use network_types::ip::{IpProto, Ipv4Hdr, Ipv6Hdr};

use crate::abi::Protocol;

/// Ethernet II.
#[derive(Debug)]
pub enum Ethernet {}

impl Ethernet {
    /// Offset of the destination address; the source address follows.
    pub const DESTINATION: usize = offset_of!(EthHdr, dst_addr);
    /// Offset of the type.
    pub const TYPE: usize = offset_of!(EthHdr, ether_type);
    /// The type of ARP, as loaded.
    pub const ARP: u16 = EtherType::Arp as u16;
    /// Bytes of the header.
    pub const LEN: usize = EthHdr::LEN;
    /// The type of IPv4, as loaded.
    pub const IPV4: u16 = EtherType::Ipv4 as u16;
    /// The type of IPv6, as loaded.
    pub const IPV6: u16 = EtherType::Ipv6 as u16;
}

/// A VLAN tag, IEEE 802.1Q: between the addresses and the type, up to two of them.
#[derive(Debug)]
pub enum Vlan {}

impl Vlan {
    /// The type of a tag, as loaded (802.1Q).
    pub const CUSTOMER: u16 = EtherType::Ieee8021q as u16;
    /// The type of an outer tag, as loaded (802.1ad).
    pub const PROVIDER: u16 = EtherType::Ieee8021ad as u16;
    /// Bytes of a tag.
    pub const LEN: usize = 4;
    /// Priority and drop eligibility in a tag's control information, in host order.
    pub const PRIORITY: u16 = 0xf000;

    /// Whether a type is that of a tag.
    #[inline(always)]
    pub const fn is_tag(ether_type: u16) -> bool {
        matches!(ether_type, Self::CUSTOMER | Self::PROVIDER)
    }
}

/// ARP over Ethernet for IPv4 (RFC 826).
#[derive(Debug)]
pub enum Arp {}

impl Arp {
    /// The lengths of both addresses, and the operation.
    pub const LENGTHS_AND_OPERATION: usize = Ethernet::LEN + 4;
    /// The sender's IPv4 address.
    pub const SENDER: usize = Ethernet::LEN + 14;
    /// The IPv4 address asked for.
    pub const TARGET: usize = Ethernet::LEN + 24;
    /// Six bytes, four bytes, request; as loaded.
    pub const REQUEST: u32 = u32::from_le_bytes([6, 4, 0, 1]);
}

/// IPv4 (RFC 791): the header is loaded as five words, as the header checksum (RFC 1071) wants to add them anyway.
#[derive(Debug)]
pub enum Ipv4 {}

impl Ipv4 {
    /// Version, header length, type of service, total length.
    pub const FIRST: usize = Ethernet::LEN;
    /// Identification, flags, fragment offset.
    pub const FRAGMENT: usize = Ethernet::LEN + offset_of!(Ipv4Hdr, id);
    /// Time to live, protocol, checksum.
    pub const TTL: usize = Ethernet::LEN + offset_of!(Ipv4Hdr, ttl);
    /// Source address.
    pub const SOURCE: usize = Ethernet::LEN + offset_of!(Ipv4Hdr, src_addr);
    /// Destination address.
    pub const DESTINATION: usize = Ethernet::LEN + offset_of!(Ipv4Hdr, dst_addr);
    /// Header checksum.
    pub const CHECKSUM: usize = Ethernet::LEN + offset_of!(Ipv4Hdr, check);
    /// What follows a header without options.
    pub const PAYLOAD: usize = Ethernet::LEN + Ipv4Hdr::LEN;
    /// The first byte of a header without options.
    pub const PLAIN: u8 = 0x45;
    /// Bytes of a header without options.
    pub const LEN: usize = Ipv4Hdr::LEN;
    /// The most 32-bit words of options.
    pub const MAX_OPTIONS: usize = 10;
    /// "More fragments" and the fragment offset, as loaded in the upper half of a word: 0 in a whole packet.
    pub const FRAGMENT_MASK: u32 = (0x3fff_u16.to_be() as u32) << 16;
    /// The fragment offset alone: 0 in a first fragment too.
    pub const OFFSET_MASK: u32 = (0x1fff_u16.to_be() as u32) << 16;
}

/// IPv6 (RFC 8200).
#[derive(Debug)]
pub enum Ipv6 {}

impl Ipv6 {
    /// Version, in the upper four bits of the first byte.
    pub const VERSION: usize = Ethernet::LEN;
    /// Payload length (two bytes), next header, hop limit.
    pub const PAYLOAD_LENGTH: usize = Ethernet::LEN + 4;
    /// Next header; the hop limit follows.
    pub const NEXT_HEADER: usize = Ethernet::LEN + offset_of!(Ipv6Hdr, next_hdr);
    /// Source address.
    pub const SOURCE: usize = Ethernet::LEN + offset_of!(Ipv6Hdr, src_addr);
    /// Destination address.
    pub const DESTINATION: usize = Ethernet::LEN + offset_of!(Ipv6Hdr, dst_addr);
    /// What follows the fixed header.
    pub const PAYLOAD: usize = Ethernet::LEN + Ipv6Hdr::LEN;
    /// The most extension headers that are walked through; RFC 8200 section 4.1 recommends an order with five before
    /// the transport header, and more than a few are an attack or a mistake.
    pub const MAX_EXTENSIONS: usize = 4;
    /// Next header: hop-by-hop options.
    pub const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
    /// Next header: routing.
    pub const ROUTING: u8 = IpProto::Ipv6Route as u8;
    /// Next header: fragment.
    pub const FRAGMENT: u8 = IpProto::Ipv6Frag as u8;
    /// Next header: destination options.
    pub const DESTINATION_OPTIONS: u8 = IpProto::Ipv6Opts as u8;
}

/// ICMP errors, which quote the packet they are about: eight bytes, then the quote.
#[derive(Debug)]
pub enum Icmp {}

impl Icmp {
    /// ICMP over IPv4 (RFC 792).
    pub const V4: u8 = IpProto::Icmp as u8;
    /// ICMP over IPv6 (RFC 4443).
    pub const V6: u8 = IpProto::Ipv6Icmp as u8;
    /// Bytes before the quote.
    pub const LEN: usize = 8;
    /// Bytes of the transport header that every quote has (RFC 792).
    pub const QUOTED_TRANSPORT: usize = 8;

    /// The types of an echo request over IPv4 and over IPv6.
    pub const ECHO_REQUEST: [u8; 2] = [8, 128];
    /// The types of the reply to it.
    pub const ECHO_REPLY: [u8; 2] = [0, 129];
    /// Offset of an echo's identifier; the sequence number follows.
    pub const IDENTIFIER: usize = 4;

    /// The type of a neighbour solicitation (RFC 4861, section 4.3).
    pub const SOLICITATION: u8 = 135;
    /// The type of a neighbour advertisement (section 4.4).
    pub const ADVERTISEMENT: u8 = 136;
    /// Bytes of ICMPv6 before the address that is solicited.
    pub const SOLICITED: usize = 8;

    /// Whether this type of ICMP message is an error: destination unreachable (with "fragmentation needed"), time
    /// exceeded, parameter problem.
    #[inline(always)]
    pub const fn is_error_v4(kind: u8) -> bool {
        matches!(kind, 3 | 11 | 12)
    }

    /// Whether this type of ICMPv6 message is an error: destination unreachable, packet too big, time exceeded,
    /// parameter problem.
    #[inline(always)]
    pub const fn is_error_v6(kind: u8) -> bool {
        matches!(kind, 1..=4)
    }
}

/// The ports: the first word of both TCP (RFC 9293) and UDP (RFC 768).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports(pub u32);

impl Ports {
    /// The destination port as it stands in the packet.
    #[inline(always)]
    pub const fn destination(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Of a packet the other way.
    #[inline(always)]
    pub const fn reversed(self) -> Self {
        Self(self.0.rotate_left(16))
    }
}

/// What says that a TCP segment opens a connection (RFC 9293, section 3.1).
#[derive(Debug)]
pub enum TcpFlags {}

impl TcpFlags {
    /// Offset in the TCP header of two bytes of which the second has the flags.
    pub const OFFSET: usize = 12;

    /// Offset of the sequence number.
    pub const SEQUENCE: usize = 4;

    /// RST, of the two bytes as loaded.
    #[inline(always)]
    pub const fn resets(word: u16) -> bool {
        word & 0x0400 != 0
    }

    /// SYN without ACK, of the two bytes as loaded.
    #[inline(always)]
    pub const fn opens(word: u16) -> bool {
        word & 0x1200 == 0x0200
    }
}

/// Bytes of the shortest header: TCP without options, UDP.
#[inline(always)]
pub const fn transport_header(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => 20,
        Protocol::Udp => 8,
    }
}

const _: () = assert!(IpProto::Tcp as u8 == Protocol::Tcp as u8 && IpProto::Udp as u8 == Protocol::Udp as u8);
const _: () = assert!(u16::from_be_bytes([8, 0]).to_be() == Ethernet::IPV4);
const _: () = assert!(u16::from_be_bytes([0x86, 0xdd]).to_be() == Ethernet::IPV6);
const _: () = assert!(Ipv4::TTL == 22 && Ipv6::NEXT_HEADER == 20 && Ipv6::PAYLOAD == 54);
