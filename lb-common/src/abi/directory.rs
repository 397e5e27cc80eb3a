//! The directory: what the ids in the other maps mean. Packets never read it; the map dump and a new daemon do.

use super::limits::NAME_BYTES;

/// A name, ended by zeros; longer ones are cut at a character's end.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Name(pub [u8; NAME_BYTES]);

impl Name {
    /// No name.
    pub const EMPTY: Self = Self([0; NAME_BYTES]);

    /// Keeps the first [`NAME_BYTES`] bytes at most.
    pub fn new(name: &str) -> Self {
        let mut end = name.len().min(NAME_BYTES);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let mut bytes = [0; NAME_BYTES];
        bytes[..end].copy_from_slice(&name.as_bytes()[..end]);
        Self(bytes)
    }

    /// Empty if the bytes are not text, which the daemon never writes.
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(NAME_BYTES);
        core::str::from_utf8(&self.0[..end]).unwrap_or("")
    }
}

impl core::fmt::Debug for Name {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.as_str().fmt(f)
    }
}

/// What the daemon knows of a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RealState {
    /// Serves; its check has not yet given a verdict, or there is none.
    Unchecked = 1,
    /// Serves; its check succeeds.
    Up = 2,
    /// Does not serve; its check fails.
    Down = 3,
    /// Does not serve; its MAC is not known yet.
    Unresolved = 4,
    /// Keeps the flows it has and gets no others: it is gone from the config, or weighs nothing, or its check or the operator
    /// wants it so.
    Draining = 5,
    /// The operator has taken it out, flows and all.
    Maintenance = 6,
    /// Could serve, but those of lower tiers are enough; keeps the flows it has.
    Standby = 7,
    /// Serves, but takes only a part of the new flows that are its own for now.
    Warming = 8,
}

impl RealState {
    /// `None` for 0 (unwritten) and for what a later version may have written.
    pub const fn new(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Unchecked),
            2 => Some(Self::Up),
            3 => Some(Self::Down),
            4 => Some(Self::Unresolved),
            5 => Some(Self::Draining),
            6 => Some(Self::Maintenance),
            7 => Some(Self::Standby),
            8 => Some(Self::Warming),
            _ => None,
        }
    }

    /// As the tables and the JSON name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Up => "up",
            Self::Down => "down",
            Self::Unresolved => "unresolved",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
            Self::Standby => "standby",
            Self::Warming => "warming",
        }
    }

    /// Whether new flows may go to a real server in this state.
    pub const fn is_usable(self) -> bool {
        matches!(self, Self::Unchecked | Self::Up | Self::Warming)
    }
}

/// What a [`ServiceId`](super::ServiceId) stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ServiceInfo {
    /// 1 if the id is in use; the last word written, the first cleared.
    pub used: u64,
    /// The vip, network byte order; IPv4 in the first four bytes.
    pub vip: [u8; 16],
    /// The first port, host byte order.
    pub port: u16,
    /// [`Protocol`](super::Protocol) as its number.
    pub protocol: u8,
    /// [`Family`](super::Family) as its number.
    pub family: u8,
    /// The last port, host byte order.
    pub last_port: u16,
    /// Zero.
    pub reserved: u16,
    /// [`RingRange`](super::RingRange) of the service's pool.
    pub ring: u64,
    /// What the ring was made of; another number means another base.
    pub signature: u64,
    /// [`RingRange`](super::RingRange) of the ring before, as [`ServiceSlot::old_ring`](super::ServiceSlot::old_ring).
    pub old_ring: u64,
    /// When flows that have been silent since are given up: seconds of `CLOCK_MONOTONIC`; 0 if there is no old ring.
    pub old_until: u64,
    /// The service's name in the config.
    pub name: Name,
    /// Its pool's name in the config.
    pub pool: Name,
    /// The zone that its clients prefer; empty: none, or none that the service knows of.
    pub zone: Name,
}

const _: () = assert!(size_of::<ServiceInfo>() == 64 + 3 * NAME_BYTES);

/// What a [`RealId`](super::RealId) stands for: a real server of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RealInfo {
    /// 1 if the id is in use; the last word written, the first cleared.
    pub used: u64,
    /// The address, network byte order; IPv4 in the first four bytes.
    pub address: [u8; 16],
    /// The weight that counts: what the operator has set, else its check, else the config.
    pub weight: u32,
    /// [`Family`](super::Family) as its number.
    pub family: u8,
    /// [`RealState`] as its number.
    pub state: u8,
    /// The last verdict of its check that was believed: 0 none, 1 up, 2 down.
    pub health: u8,
    /// Zero.
    pub reserved: u8,
    /// The last MAC known, as [`Mac::to_word`](super::Mac::to_word); 0 if none ever was.
    pub mac: u64,
    /// The real server's name in the config, else its address.
    pub name: Name,
    /// Its pool's name in the config.
    pub pool: Name,
}

const _: () = assert!(size_of::<RealInfo>() == 40 + 2 * NAME_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        let long = "ü".repeat(40);
        let name = Name::new(&long);
        assert_eq!(name.as_str(), "ü".repeat(32));
        assert_eq!(Name::new("a").as_str(), "a");
        let odd = format!("x{long}");
        assert_eq!(Name::new(&odd).as_str().len(), 63);
    }
}
