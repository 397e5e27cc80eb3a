//! What the network layer says of a datagram, and how to take it off.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::PROTOCOL;

/// From where to where. One family for both, so that the two can never differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// IPv4.
    V4 {
        /// The sender.
        source: Ipv4Addr,
        /// The group, or the peer.
        destination: Ipv4Addr,
    },
    /// IPv6.
    V6 {
        /// The sender.
        source: Ipv6Addr,
        /// The group, or the peer.
        destination: Ipv6Addr,
    },
}

/// What must be known of a datagram to judge the message in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Addresses.
    pub endpoints: Endpoints,
    /// Time to live, or hop limit, as it arrived. Who takes adverts of unicast peers behind routers checks it himself and
    /// puts [`TTL`](super::TTL) here.
    pub ttl: u8,
}

/// Why a packet of the network layer holds no advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// It ends before its header does, or before its header says.
    #[error("the IP packet is cut short")]
    TooShort,
    /// The version field is not the family's, or the header's length is below the least.
    #[error("no valid IP header")]
    Header,
    /// It is a part of a packet; an advert never needs more than one.
    #[error("a fragment")]
    Fragment,
    /// It carries something else.
    #[error("IP protocol {0}, not {PROTOCOL}")]
    Protocol(u8),
}

impl Endpoints {
    /// The sender.
    pub const fn source(&self) -> IpAddr {
        match self {
            Self::V4 { source, .. } => IpAddr::V4(*source),
            Self::V6 { source, .. } => IpAddr::V6(*source),
        }
    }

    /// The group, or the peer.
    pub const fn destination(&self) -> IpAddr {
        match self {
            Self::V4 { destination, .. } => IpAddr::V4(*destination),
            Self::V6 { destination, .. } => IpAddr::V6(*destination),
        }
    }
}

impl Envelope {
    /// Takes the IPv4 header off, which raw sockets leave on. What follows the packet (padding) is not part of the message.
    ///
    /// # Errors
    /// See [`EnvelopeError`].
    pub fn open_ipv4(packet: &[u8]) -> Result<(Self, &[u8]), EnvelopeError> {
        let header: &[u8; 20] = packet.first_chunk().ok_or(EnvelopeError::TooShort)?;
        let header_bytes = usize::from(header[0] & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] >> 4 != 4 || header_bytes < header.len() || total < header_bytes {
            return Err(EnvelopeError::Header);
        }
        // More-fragments bit and offset; the don't-fragment bit is FRR's.
        if u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
            return Err(EnvelopeError::Fragment);
        }
        let message = packet.get(header_bytes..total).ok_or(EnvelopeError::TooShort)?;
        check_protocol(header[9])?;
        let [.., a, b, c, d, e, f, g, h] = *header;
        let endpoints = Endpoints::V4 { source: Ipv4Addr::new(a, b, c, d), destination: Ipv4Addr::new(e, f, g, h) };
        Ok((Self { endpoints, ttl: header[8] }, message))
    }

    /// Takes the IPv6 header off. Extension headers are not looked through: nobody sends adverts with them.
    ///
    /// # Errors
    /// See [`EnvelopeError`].
    pub fn open_ipv6(packet: &[u8]) -> Result<(Self, &[u8]), EnvelopeError> {
        let (header, rest) = packet.split_first_chunk::<8>().ok_or(EnvelopeError::TooShort)?;
        let (source, rest) = rest.split_first_chunk::<16>().ok_or(EnvelopeError::TooShort)?;
        let (destination, rest) = rest.split_first_chunk::<16>().ok_or(EnvelopeError::TooShort)?;
        if header[0] >> 4 != 6 {
            return Err(EnvelopeError::Header);
        }
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let message = rest.get(..length).ok_or(EnvelopeError::TooShort)?;
        check_protocol(header[6])?;
        let endpoints = Endpoints::V6 { source: Ipv6Addr::from(*source), destination: Ipv6Addr::from(*destination) };
        Ok((Self { endpoints, ttl: header[7] }, message))
    }
}

fn check_protocol(protocol: u8) -> Result<(), EnvelopeError> {
    if protocol == PROTOCOL { Ok(()) } else { Err(EnvelopeError::Protocol(protocol)) }
}
