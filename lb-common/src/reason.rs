//! Why a packet got its verdict: one reason for each cause, the same name in code, counter, table and JSON.

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Out again: of the interface it came in by (XDP_TX), or of the one that leads to its real server (XDP_REDIRECT).
    Transmit,
    /// To this host's own stack, untouched (XDP_PASS).
    Pass,
    /// Nowhere (XDP_DROP).
    Drop,
}

impl Action {
    /// As tables and JSON name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transmit => "forward",
            Self::Pass => "pass",
            Self::Drop => "drop",
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident, $name:literal, $action:ident;)+) => {
        /// The cause of a verdict; its number is its index in the counter map.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            /// All of them, in the order of their numbers.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// As counters, tables and JSON name it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What the packet's fate is.
            #[inline(always)]
            pub const fn action(self) -> Action {
                match self { $(Self::$variant => Action::$action,)+ }
            }

            /// A sentence for the operator.
            pub const fn describe(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

reasons! {
    /// Sent on to a real server.
    Forwarded, "forwarded", Transmit;
    /// An ICMP error about a flow of a service, sent on to the real server that has the flow.
    IcmpError, "icmp-error", Transmit;
    /// Neither TCP nor UDP over IPv4 or IPv6, or too short or too odd to tell: not ours to judge.
    NotBalanced, "not-balanced", Pass;
    /// TCP or UDP, for an address or port that no service has.
    NoService, "no-service", Pass;
    /// A later fragment of a packet whose first one has not been seen, or is not ours.
    Fragment, "fragment", Pass;
    /// For a service, but the frame was addressed to another machine's MAC and only overheard.
    Overheard, "overheard", Pass;
    /// For a service, and the real server chosen is this machine, or was chosen by another director.
    Local, "local", Pass;
    /// For a service no real server of whose pool is usable, and that leaves its packets to this host then.
    EmptyPassed, "empty-passed", Pass;
    /// The answer to a health check that goes by a vip: passed on as coming from the real server's own address.
    ProbeAnswer, "probe-answer", Pass;
    /// For a service, from a client that its access list does not let in.
    AccessDenied, "access-denied", Drop;
    /// For a service, but too long for the interface that leads to its real server.
    TooBig, "too-big", Drop;
    /// An ARP request or neighbour solicitation for a vip whose lease has run out: another director answers it.
    Fenced, "fenced", Drop;
    /// For a vip with `accept = false`, and for none of its services.
    NotAccepted, "not-accepted", Drop;
    /// For a service, but its lengths do not fit the frame, or each other.
    BadLength, "bad-length", Drop;
    /// For a service, but its IPv4 header checksum is wrong.
    BadChecksum, "bad-checksum", Drop;
    /// For a service, but it may not be forwarded once more: a loop, or a traceroute.
    TtlExpired, "ttl-expired", Drop;
    /// For a service, but no real server of its pool is usable.
    NoUsableReal, "no-usable-real", Drop;
    /// For a service whose ring the daemon has not written: a defect, please report it.
    UnwrittenBucket, "unwritten-bucket", Drop;
    /// Arrived before the daemon had written any settings.
    NotConfigured, "not-configured", Pass;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_distinct() {
        for (i, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, i);
            assert!(Reason::ALL[..i].iter().all(|other| other.name() != reason.name()));
            assert!(reason.describe().ends_with(|c: char| c.is_alphanumeric() || c == '.'), "{}", reason.describe());
        }
    }
}
