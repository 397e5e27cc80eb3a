//! What a machine tells its caller.

use std::net::IpAddr;

use super::anomaly::Anomaly;

/// Where a virtual router stands on this machine (RFC 5798 section 6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not started, or shut down.
    Init,
    /// Listens to the master.
    Backup,
    /// Answers for the vips.
    Master,
    /// Must not be master, and does not listen: something it depends on is broken.
    Fault,
}

/// Something for the caller to do, in this order and before anything else is given to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send an advert: [`Machine::advert`](super::Machine::advert) builds it.
    SendAdvert {
        /// Its priority.
        priority: u8,
    },
    /// Answer for the vips. Comes again if they have changed; then those that are gone are to be released.
    TakeAddresses,
    /// Stop answering for the vips.
    ReleaseAddresses,
    /// Tell the neighbours.
    Announce {
        /// Frames for each vip.
        frames: u8,
    },
    /// For logs, metrics and whoever wants to be notified.
    StateChanged {
        /// The former state.
        from: State,
        /// The new one.
        to: State,
        /// What made it change.
        reason: Reason,
    },
    /// The first of its kind since the machine was made; later ones are only counted.
    Anomaly(Anomaly),
}

/// Why a state changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was started.
    Started,
    /// A process before this one was master a moment ago.
    Resumed,
    /// It was told to stop.
    Stopped,
    /// Something it depends on broke.
    Fault,
    /// Nothing is broken any more.
    Recovered,
    /// No advert for a master-down interval.
    MasterDown,
    /// The master said that it leaves.
    MasterLeft,
    /// The master's priority is lower than ours.
    Preempted,
    /// Another master has a higher priority.
    HigherPriority(u8, IpAddr),
    /// Another master has the same priority and a higher address.
    HigherAddress(IpAddr),
    /// The process did not run for so long that the others must have given it up.
    LateWake,
    /// Another member of the sync group changed.
    Group,
}
