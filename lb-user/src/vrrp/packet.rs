//! Adverts as values, and what they look like on the wire.
//!
//! An [`Advert`] borrows its addresses, so neither [`decode`] nor [`Advert::encode`] allocates: the first leaves them in
//! the datagram, the second appends to a buffer that the caller keeps.

mod decode;
mod encode;
mod envelope;
mod frame;
mod password;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::{NonZeroU8, NonZeroU16};
use std::time::Duration;

pub use decode::{PacketError, decode};
pub use encode::{CHECKSUM_AT, EncodeError};
pub use envelope::{Endpoints, Envelope, EnvelopeError};
pub use password::Password;

/// The number of the protocol in the IPv4 header, and of the next header in IPv6.
pub const PROTOCOL: u8 = 112;

/// The time to live (hop limit) of every advert; less means that a router passed it on (RFC 5798 section 5.1.1.3).
pub const TTL: u8 = 255;

/// Where adverts go over IPv4 (RFC 5798 section 5.1.1.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// Where adverts go over IPv6 (RFC 5798 section 5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// The priority of the router whose own addresses the vips are (RFC 5798 section 5.2.4).
pub const OWNER: u8 = 255;

/// The priority that says: the master leaves (RFC 5798 section 5.2.4).
pub const LEAVING: u8 = 0;

/// What a master says of itself, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advert<'a> {
    /// Which virtual router; IPv4 and IPv6 number theirs independently.
    pub vrid: NonZeroU8,
    /// [`LEAVING`], 1 to 254, or [`OWNER`].
    pub priority: u8,
    /// What differs between the versions.
    pub dialect: Dialect,
    /// The vips.
    pub addresses: Addresses<'a>,
}

/// What differs between the versions of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// RFC 3768, IPv4 only.
    V2 {
        /// Between two adverts, in seconds.
        seconds: NonZeroU8,
        /// How the sender proves that it may speak.
        auth: Auth,
    },
    /// RFC 5798 and RFC 9568.
    V3 {
        /// Between two adverts.
        interval: Centiseconds,
        /// What the checksum covers. Always [`Coverage::WithPseudoHeader`] over IPv6.
        coverage: Coverage,
    },
}

/// The version of the protocol, without anything that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 3768.
    V2,
    /// RFC 5798 and RFC 9568.
    V3,
}

/// An advertisement interval of version 3: 1 to 4095 hundredths of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Centiseconds(NonZeroU16);

/// What the checksum of version 3 covers over IPv4. The two RFCs differ, and so do the implementations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coverage {
    /// The message and the pseudo-header: RFC 5798 section 5.2.8, as keepalived and FRR read it.
    #[default]
    WithPseudoHeader,
    /// The message alone: RFC 9568 section 5.2.8.
    MessageOnly,
}

/// How a version 2 advert proves that its sender may speak (RFC 2338 section 5.3.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// It does not.
    #[default]
    None,
    /// By a password, readable to everybody on the link.
    Pass(Password),
}

/// A list of vips, in network order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses<'a> {
    /// IPv4.
    V4(&'a [[u8; 4]]),
    /// IPv6; the first should be a link-local one (RFC 5798 section 5.2.9).
    V6(&'a [[u8; 16]]),
}

impl Dialect {
    /// Between two adverts: 1 to 255 s in version 2, 10 ms to 40.95 s in version 3.
    pub const fn interval(&self) -> Duration {
        match self {
            Self::V2 { seconds, .. } => Duration::from_secs(seconds.get() as u64),
            Self::V3 { interval, .. } => interval.duration(),
        }
    }

    /// The version.
    pub const fn version(&self) -> Version {
        match self {
            Self::V2 { .. } => Version::V2,
            Self::V3 { .. } => Version::V3,
        }
    }
}

impl Centiseconds {
    /// The default of the standards: one second.
    pub const SECOND: Self = match Self::new(100) {
        Some(second) => second,
        None => unreachable!(),
    };

    /// `None` unless from 1 to 4095, which is what fits into the field (RFC 5798 section 5.2.7).
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) if number.get() <= 0x0fff => Some(Self(number)),
            _ => None,
        }
    }

    /// The number.
    pub const fn number(self) -> u16 {
        self.0.get()
    }

    /// The same as a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0.get() as u64 * 10)
    }
}

impl Addresses<'_> {
    /// How many.
    pub const fn len(&self) -> usize {
        match self {
            Self::V4(list) => list.len(),
            Self::V6(list) => list.len(),
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one at this place, from 0.
    pub fn at(&self, index: usize) -> Option<IpAddr> {
        match self {
            Self::V4(list) => list.get(index).map(|octets| IpAddr::from(*octets)),
            Self::V6(list) => list.get(index).map(|octets| IpAddr::from(*octets)),
        }
    }

    /// All of them, in the order of the wire.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        (0..self.len()).filter_map(|index| self.at(index))
    }

    /// Whether both hold the same addresses, in whatever order: the order is recommended, not required (RFC 3768
    /// section 5.3.8).
    pub fn same_set(&self, other: &Addresses<'_>) -> bool {
        let all_in = |some: &Addresses<'_>, others: &Addresses<'_>| {
            some.iter().all(|address| others.iter().any(|other| other == address))
        };
        self == other || (self.len() == other.len() && all_in(self, other) && all_in(other, self))
    }
}
