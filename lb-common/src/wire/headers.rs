//! Where the fields lie that the pipeline looks at. The layouts are `network-types`'; nothing is parsed by casting.

use core::mem::offset_of;

use network_types::eth::{EthHdr, EtherType};
use network_types::ip::{IpProto, Ipv4Hdr};

use crate::abi::Protocol;

/// Ethernet II.
#[derive(Debug)]
pub enum Ethernet {}

impl Ethernet {
    /// Offset of the destination address; the source address follows.
    pub const DESTINATION: usize = offset_of!(EthHdr, dst_addr);
    /// Offset of the type.
    pub const TYPE: usize = offset_of!(EthHdr, ether_type);
    /// Bytes of the header.
    pub const LEN: usize = EthHdr::LEN;
    /// The type of IPv4, as loaded.
    pub const IPV4: u16 = EtherType::Ipv4 as u16;
}

/// IPv4 (RFC 791).
#[derive(Debug)]
pub enum Ipv4 {}

impl Ipv4 {
    /// Offset of version and header length.
    pub const VERSION_IHL: usize = Ethernet::LEN;
    /// Offset of flags and fragment offset.
    pub const FRAGMENT: usize = Ethernet::LEN + offset_of!(Ipv4Hdr, frags);
    /// "More fragments" and the fragment offset, as loaded: 0 in a whole packet.
    pub const FRAGMENT_MASK: u16 = 0x3fff_u16.to_be();
    /// Offset of the protocol.
    pub const PROTOCOL: usize = Ethernet::LEN + offset_of!(Ipv4Hdr, proto);
    /// Offset of the source address.
    pub const SOURCE: usize = Ethernet::LEN + offset_of!(Ipv4Hdr, src_addr);
    /// Offset of the destination address.
    pub const DESTINATION: usize = Ethernet::LEN + offset_of!(Ipv4Hdr, dst_addr);

    /// Offset of what follows the header and its options, 34 to 74; `None` if this is no IPv4 header.
    #[inline(always)]
    pub const fn payload(version_ihl: u8) -> Option<usize> {
        let words = (version_ihl & 0x0f) as usize;
        if version_ihl >> 4 == 4 && words >= 5 { Some(Ethernet::LEN + words * 4) } else { None }
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
}

const _: () = assert!(IpProto::Tcp as u8 == Protocol::Tcp as u8 && IpProto::Udp as u8 == Protocol::Udp as u8);
const _: () = assert!(u16::from_be_bytes([8, 0]).to_be() == Ethernet::IPV4);
