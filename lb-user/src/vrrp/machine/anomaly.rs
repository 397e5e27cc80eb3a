//! What is odd about what is heard, and how often it was.

use super::super::packet::PacketError;

macro_rules! anomalies {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Something that should not be. Counted each time, told once: see [`Output::Anomaly`](super::Output::Anomaly).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Anomaly {
            $($(#[$doc])* $name,)*
        }

        impl Anomaly {
            /// All of them, in the order of their counters.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name in metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

anomalies! {
    /// Came through a router; discarded.
    Ttl = "ttl",
    /// No whole header; discarded.
    TooShort = "too_short",
    /// Neither version 2 nor 3, or version 2 over IPv6; discarded.
    UnknownVersion = "unknown_version",
    /// No advertisement; discarded.
    UnknownType = "unknown_type",
    /// Length and count of addresses do not agree; discarded.
    Count = "count",
    /// Discarded.
    Checksum = "checksum",
    /// VRID 0; discarded.
    VridZero = "vrid_zero",
    /// Version 3 without an address; discarded.
    NoAddress = "no_address",
    /// Neither none nor a password; discarded.
    UnknownAuth = "unknown_auth",
    /// Interval 0; discarded.
    IntervalZero = "interval_zero",
    /// From an address that is not among the configured peers; discarded by the caller.
    UnknownPeer = "unknown_peer",
    /// Multicast where unicast is configured, or the other way round; discarded by the caller.
    WrongCast = "wrong_cast",
    /// Of another virtual router; discarded.
    OtherVrid = "other_vrid",
    /// IPv4 for IPv6 or the other way round; discarded.
    OtherFamily = "other_family",
    /// From our own address: an advert of ours that came back, or somebody else's who has the same; discarded.
    OwnAddress = "own_address",
    /// Of the other version; discarded.
    OtherVersion = "other_version",
    /// With a password where none is expected, or without one; discarded.
    OtherAuth = "other_auth",
    /// Discarded.
    WrongPassword = "wrong_password",
    /// Not our interval. Discarded in version 2 (RFC 3768 section 7.1), learned in version 3.
    OtherInterval = "other_interval",
    /// Not our list of vips. Not discarded: that would make two masters, and nobody else does.
    OtherAddresses = "other_addresses",
    /// A master heard of another one that it outranks, and has not just replaced.
    SecondMaster = "second_master",
    /// Two routers own the vips by their priority. The higher address wins.
    SecondOwner = "second_owner",
    /// The process did not run for so long that the others must have given it up.
    LateWake = "late_wake",
}

impl From<&PacketError> for Anomaly {
    fn from(error: &PacketError) -> Self {
        match error {
            PacketError::Ttl(_) => Self::Ttl,
            PacketError::TooShort { .. } => Self::TooShort,
            PacketError::Version(_) | PacketError::FamilyOfVersion2 => Self::UnknownVersion,
            PacketError::Type(_) => Self::UnknownType,
            PacketError::Count { .. } => Self::Count,
            PacketError::Checksum => Self::Checksum,
            PacketError::Vrid => Self::VridZero,
            PacketError::NoAddress => Self::NoAddress,
            PacketError::AuthType(_) => Self::UnknownAuth,
            PacketError::Interval => Self::IntervalZero,
        }
    }
}

/// How often things happened to one virtual router.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Adverts that were meant for us and in order.
    pub received: u64,
    /// Those of them whose sender left.
    pub received_leaving: u64,
    /// Adverts to be sent.
    pub sent: u64,
    /// Those of them that say that we leave.
    pub sent_leaving: u64,
    /// How often it became master.
    pub became_master: u64,
    /// How often it ceased to be.
    pub ceased_master: u64,
    /// Bursts of announcements to be sent.
    pub announced: u64,
    anomalies: [u64; Anomaly::ALL.len()],
}

impl Counters {
    /// How often this was seen.
    pub const fn anomaly(&self, anomaly: Anomaly) -> u64 {
        self.anomalies[anomaly as usize]
    }

    /// Counts it, and says whether it is the first of its kind.
    pub(super) const fn note(&mut self, anomaly: Anomaly) -> bool {
        let count = &mut self.anomalies[anomaly as usize];
        *count += 1;
        *count == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_in_the_order_of_the_list_and_names_differ() {
        for (index, anomaly) in Anomaly::ALL.iter().enumerate() {
            assert_eq!(*anomaly as usize, index);
            assert_eq!(Anomaly::ALL.iter().filter(|other| other.name() == anomaly.name()).count(), 1);
        }
    }

    #[test]
    fn only_the_first_of_a_kind_is_news() {
        let mut counters = Counters::default();
        assert!(counters.note(Anomaly::Ttl));
        assert!(!counters.note(Anomaly::Ttl));
        assert!(counters.note(Anomaly::Count));
        assert_eq!((counters.anomaly(Anomaly::Ttl), counters.anomaly(Anomaly::Checksum)), (2, 0));
    }
}
