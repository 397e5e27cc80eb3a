//! An advert to the group as a whole Ethernet frame, for those who send it from the virtual MAC: an IP socket cannot.

use std::net::{Ipv4Addr, Ipv6Addr};

use lb_common::abi::Mac;

use super::super::checksum::Sum;
use super::{Advert, EncodeError, Endpoints, GROUP_V4, GROUP_V6, PROTOCOL, TTL};

/// What comes before the message: Ethernet and IPv4, Ethernet and IPv6.
const V4_HEADERS: usize = 14 + 20;
const V6_HEADERS: usize = 14 + 40;
/// Internetwork control (RFC 4594 section 3.1), as routing protocols are marked.
const CLASS: u8 = 0xc0;
const GROUP_V4_MAC: [u8; 6] = [0x01, 0x00, 0x5e, 0, 0, 0x12];
const GROUP_V6_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 0x12];

impl Advert<'_> {
    /// Appends a frame to [`GROUP_V4`]. `id` tells packets apart; it may be anything.
    ///
    /// # Errors
    /// See [`EncodeError`]; nothing is appended then.
    pub fn frame_v4(&self, mac: Mac, source: Ipv4Addr, id: u16, into: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = into.len();
        into.extend(GROUP_V4_MAC);
        into.extend(mac.0);
        into.extend([0x08, 0x00, 0x45, CLASS, 0, 0]);
        into.extend(id.to_be_bytes());
        into.extend([0, 0, TTL, PROTOCOL, 0, 0]);
        into.extend(source.octets());
        into.extend(GROUP_V4.octets());
        self.append_message(&Endpoints::V4 { source, destination: GROUP_V4 }, start, into)?;
        let header = &mut into[start + 14..];
        let total = (header.len() as u16).to_be_bytes();
        header[2..4].copy_from_slice(&total);
        let checksum = Sum::default().bytes(&header[..20]).finish().to_be_bytes();
        header[10..12].copy_from_slice(&checksum);
        Ok(())
    }

    /// Appends a frame to [`GROUP_V6`]. `source` is a link-local address that does not come from the virtual MAC (RFC 5798
    /// section 7.4).
    ///
    /// # Errors
    /// See [`EncodeError`]; nothing is appended then.
    pub fn frame_v6(&self, mac: Mac, source: Ipv6Addr, into: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = into.len();
        into.extend(GROUP_V6_MAC);
        into.extend(mac.0);
        into.extend([0x86, 0xdd, 0x60 | CLASS >> 4, CLASS << 4, 0, 0, 0, 0, PROTOCOL, TTL]);
        into.extend(source.octets());
        into.extend(GROUP_V6.octets());
        self.append_message(&Endpoints::V6 { source, destination: GROUP_V6 }, start, into)?;
        // 255 addresses of 16 bytes are far below 64 KiB, and so it is with IPv4.
        let length = ((into.len() - start - V6_HEADERS) as u16).to_be_bytes();
        into[start + 18..start + 20].copy_from_slice(&length);
        Ok(())
    }

    /// How long its frame is, in bytes.
    pub fn frame_bytes(&self) -> usize {
        let auth = match self.dialect {
            super::Dialect::V2 { .. } => super::Password::BYTES,
            super::Dialect::V3 { .. } => 0,
        };
        let (headers, each) = match self.addresses {
            super::Addresses::V4(_) => (V4_HEADERS, 4),
            super::Addresses::V6(_) => (V6_HEADERS, 16),
        };
        headers + super::decode::HEADER_BYTES + self.addresses.len() * each + auth
    }

    /// Appends the message to its headers, or takes them back.
    fn append_message(&self, endpoints: &Endpoints, start: usize, into: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.encode(endpoints, into).inspect_err(|_| into.truncate(start))
    }
}
