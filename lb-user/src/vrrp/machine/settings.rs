//! What a virtual router is told when it is made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::time::Duration;

use super::super::packet::{Addresses, Dialect};
use super::schedule::Announcements;

/// One virtual router as it is configured on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its number, the same on all its routers.
    pub vrid: NonZeroU8,
    /// The version, the interval and the password, which must be the same on all its routers (the interval only in
    /// version 2); and version 3's form of checksum, if [`Settings::checksum`] leaves it at that.
    pub dialect: Dialect,
    /// Which form of checksum to send.
    pub checksum: ChecksumForm,
    /// Who should be master: the highest. [`OWNER`](super::super::packet::OWNER) is master from the start.
    pub priority: NonZeroU8,
    /// Our own address, from which our adverts come: the interface's primary one, or its link-local one. It settles equal
    /// priorities.
    pub source: IpAddr,
    /// What the master answers for.
    pub vips: Vips,
    /// Whether a master of lower priority is replaced.
    pub preemption: Preemption,
    /// How the neighbours are told.
    pub announcements: Announcements,
}

/// Addresses of one family, in the order in which they are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vips {
    /// IPv4.
    V4(Vec<[u8; 4]>),
    /// IPv6; the first is a link-local one (RFC 5798 section 5.2.9).
    V6(Vec<[u8; 16]>),
}

/// Which form of version 3's checksum over IPv4 is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChecksumForm {
    /// The one in the dialect.
    #[default]
    AsConfigured,
    /// The one that was heard last; until then, that of the dialect.
    AsHeard,
}

/// Whether, and when, a backup takes over from a master of lower priority. An owner always does, and does not delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preemption {
    /// Not as long as that one is well.
    Never,
    /// It does.
    After {
        /// How long the lower master must have been heard first. Zero for the standard's behaviour.
        delay: Duration,
        /// How long that takes then.
        pace: Pace,
    },
}

/// How fast a master of lower priority is replaced, once that is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// As if it were silent: a master-down interval after the last advert that counted (RFC 5798 section 6.4.2).
    #[default]
    MasterDown,
    /// As if it had said that it leaves: a skew time after the advert that shows it, or after the second one if it was
    /// not known as master before.
    Skew,
}

impl Default for Preemption {
    fn default() -> Self {
        Self::After { delay: Duration::ZERO, pace: Pace::default() }
    }
}

impl Vips {
    /// As an advert holds them.
    pub fn addresses(&self) -> Addresses<'_> {
        match self {
            Self::V4(list) => Addresses::V4(list),
            Self::V6(list) => Addresses::V6(list),
        }
    }
}

impl FromIterator<Ipv4Addr> for Vips {
    fn from_iter<T: IntoIterator<Item = Ipv4Addr>>(addresses: T) -> Self {
        Self::V4(addresses.into_iter().map(|address| address.octets()).collect())
    }
}

impl FromIterator<Ipv6Addr> for Vips {
    fn from_iter<T: IntoIterator<Item = Ipv6Addr>>(addresses: T) -> Self {
        Self::V6(addresses.into_iter().map(|address| address.octets()).collect())
    }
}
