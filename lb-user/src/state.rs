//! What the maps should hold, and the steps that make them so. Pure: no clock, no socket, no kernel.
//!
//! ```text
//! config, view, directory -> Desired -> Plan -> maps
//! ```
//!
//! What is applied is read from the maps themselves; nothing here remembers it.

mod access;
mod bearing;
mod crew;
mod desired;
mod directory;
mod history;
mod leases;
mod ledger;
mod listening;
mod places;
mod plan;
mod remembered;
mod rings;
mod sweep;
mod telling;
mod words;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use lb_common::abi::{Family, Mac};

pub use bearing::{Bearing, Facts, Flows, Reach, Turn, bearing};
pub use desired::{Desired, DesiredError, Wish};
pub use directory::Directory;
pub use history::{Holds, Moment};
pub use leases::{LeaseError, assign_leases, guards};
pub use ledger::Ledger;
pub use listening::{Heard, listen};
pub use plan::{Plan, Step, Summary, plan};
pub use remembered::{Remembered, owned_buckets, remembered};
pub use rings::RingCache;
pub use sweep::{RingChanges, Sweep, sweep};
pub use telling::{
    Batch, Standing, ToldPin, ToldReal, ToldService, batches, changes, from_the_start, ring_makings, ring_owners,
};
pub use words::{read_value, values};

/// What a health check says of a real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Nothing yet, or it has no check. It serves: a director that starts must not take everybody out.
    #[default]
    Unchecked,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

/// What the daemon sees of the world.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The key of hashes and rings: the config's, else the one in use, else a new one.
    pub hash_seed: u64,
    /// From one of the kernel's timer interrupts to the next: what packets' clock of SYNs counts. None: it stands still.
    pub jiffy: Duration,
    /// The interfaces we are attached to, by their places in the settings.
    pub interfaces: Vec<Interface>,
    /// Whether one of our interfaces carries VLANs of ours: then every frame leaves with the tag of its real server's VLAN.
    pub has_vlans: bool,
    /// By pool, then address; absent is [`Health::Unchecked`].
    pub health: HashMap<String, HashMap<IpAddr, Health>>,
    /// The last MAC known of each address, even if the kernel has lost it since: the check judges, not ARP.
    pub macs: HashMap<IpAddr, Mac>,
    /// The last way known to each address; absent is by the first interface, without a tag.
    pub paths: HashMap<IpAddr, Path>,
    /// What the operator wants of real servers, by pool, then address.
    pub orders: HashMap<String, HashMap<IpAddr, Order>>,
    /// What their checks, or the time since they came back, want of real servers, by pool, then address; absent is
    /// [`Asked::default`].
    pub asked: HashMap<String, HashMap<IpAddr, Asked>>,
    /// Pools whose verdicts are not believed for now: their rings stay as they are.
    pub held: HashSet<String>,
}

/// What the operator wants of a real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Whether it is to serve.
    pub duty: Duty,
    /// Instead of the weight in the file, 0 to 65535.
    pub weight: Option<u32>,
}

/// Whether a real server is to serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duty {
    /// As far as its check lets it.
    #[default]
    Serve,
    /// It keeps the flows that it has and takes no others.
    Drain,
    /// Not at all: its flows are moved too.
    Maintenance,
}

impl Duty {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Serve, Self::Drain, Self::Maintenance];

    /// As commands, tables and files name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Drain => "drain",
            Self::Maintenance => "maintenance",
        }
    }
}

/// What a real server's check wants of it for now, beside being up or down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Instead of the weight in the file: as a script says.
    pub weight: Option<u32>,
    /// The part of its buckets that new flows find it in.
    pub share: Share,
    /// It keeps the flows that it has and takes no others: as an agent says.
    pub drain: bool,
}

/// A part of a whole, in thousandths: 0 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u16);

impl Share {
    /// All of it.
    pub const ALL: Self = Self(1000);

    /// So many thousandths; more than 1000 is all.
    pub const fn thousandths(number: u16) -> Self {
        if number > Self::ALL.0 { Self::ALL } else { Self(number) }
    }

    /// In thousandths.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl Default for Share {
    fn default() -> Self {
        Self::ALL
    }
}

/// One of our interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index in this network namespace.
    pub index: u32,
    /// Its MAC.
    pub mac: Mac,
    /// Its MTU in bytes; what is more than 65535 counts as that.
    pub mtu: u16,
}

/// The way to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// It is this machine's own.
    Here,
    /// By one of our interfaces.
    By {
        /// Its index.
        interface: u32,
        /// The VLAN on it, 1 to 4094; 0 is none.
        vlan: u16,
    },
}

impl Health {
    /// As the directory has it.
    pub const fn number(self) -> u8 {
        match self {
            Self::Unchecked => 0,
            Self::Up => 1,
            Self::Down => 2,
        }
    }

    /// From that number; what a later version may have written is no verdict.
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Up,
            2 => Self::Down,
            _ => Self::Unchecked,
        }
    }

    /// As logs name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl View {
    /// What is known of a real server's health.
    pub fn health_of(&self, pool: &str, address: IpAddr) -> Health {
        self.health.get(pool).and_then(|pool| pool.get(&address)).copied().unwrap_or_default()
    }

    /// Notes a verdict.
    pub fn set_health(&mut self, pool: &str, address: IpAddr, health: Health) {
        self.health.entry(pool.to_owned()).or_default().insert(address, health);
    }

    /// What the operator wants of a real server.
    pub fn order_of(&self, pool: &str, address: IpAddr) -> Order {
        self.orders.get(pool).and_then(|pool| pool.get(&address)).copied().unwrap_or_default()
    }

    /// What a real server's check wants of it.
    pub fn asked_of(&self, pool: &str, address: IpAddr) -> Asked {
        self.asked.get(pool).and_then(|pool| pool.get(&address)).copied().unwrap_or_default()
    }

    /// Whether this machine has the address.
    pub fn is_here(&self, address: IpAddr) -> bool {
        self.paths.get(&address) == Some(&Path::Here)
    }
}

/// An address as map values hold it: network order, IPv4 in the first four bytes.
pub(crate) fn octets(address: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match address {
        IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes = address.octets(),
    }
    bytes
}

/// The same as two words: what packets have when they load it.
pub fn words_of(address: IpAddr) -> [u64; 2] {
    let number = u128::from_le_bytes(octets(address));
    [number as u64, (number >> 64) as u64]
}

/// The address of two such words. None that a host can have is IPv6 and fits in the first four bytes.
pub fn address_of(words: [u64; 2]) -> IpAddr {
    let number = u128::from(words[1]) << 64 | u128::from(words[0]);
    match u32::try_from(number) {
        Ok(word) => IpAddr::from(word.to_le_bytes()),
        Err(_) => IpAddr::from(number.to_le_bytes()),
    }
}

/// The address that a map value holds; `None` for an unknown family.
pub fn address(bytes: [u8; 16], family: u8) -> Option<IpAddr> {
    const V4: u8 = Family::V4 as u8;
    const V6: u8 = Family::V6 as u8;
    match family {
        V4 => Some(IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]])),
        V6 => Some(IpAddr::from(bytes)),
        _ => None,
    }
}

/// The number of an address's [`Family`](lb_common::abi::Family).
pub(crate) fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => Family::V4 as u8,
        IpAddr::V6(_) => Family::V6 as u8,
    }
}

#[cfg(test)]
mod journey;
#[cfg(test)]
mod tests;
