//! Asking once: a file for each way to ask.

mod agent;
mod deadline;
mod dns;
mod http;
mod icmp;
mod mysql;
mod redis;
mod script;
mod tcp;
mod udp;
mod way;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::{CheckKind, Way};
use deadline::Deadline;

/// Whom to ask, and what is said of it to a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Where; the port is 0 if the check has none.
    pub address: SocketAddr,
    /// The pool's name; empty if it is asked outside of one.
    pub pool: &'a str,
    /// The real server's name; empty as above.
    pub real: &'a str,
    /// How the probe gets there.
    pub way: Way,
    /// The vip that it is asked about, if there is one.
    pub vip: Option<IpAddr>,
}

impl From<SocketAddr> for Target<'_> {
    fn from(address: SocketAddr) -> Self {
        Self { address, pool: "", real: "", way: Way::Real, vip: None }
    }
}

/// A success, and what came with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What share it wants; `None`: that of the config.
    pub weight: Option<Weight>,
    /// It wants no new flows, but is well.
    pub drain: bool,
}

/// A share that a real server asks for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Instead of the config's weight; a script's can be 0 to 253.
    Units(u16),
    /// Of the config's weight; an agent's can be 0 to 10000.
    Percent(u16),
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Units(units) => write!(f, "{units}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// Why a probe was no success, in words for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ProbeFailure {
    /// Nobody listens.
    #[error("connection refused")]
    Refused,
    /// Nothing came back in time.
    #[error("no answer within {limit:?}, while {doing}")]
    TimedOut {
        /// The check's timeout, over all that a probe does.
        limit: Duration,
        /// What it was doing then.
        doing: &'static str,
    },
    /// The network says that it cannot be reached.
    #[error("unreachable ({0})")]
    Unreachable(io::Error),
    /// The other side ended the connection before it had said enough.
    #[error("it closed the connection, while {doing}")]
    Closed {
        /// What the probe was doing then.
        doing: &'static str,
    },
    /// It answers, but not as it should; says what came, and what was expected.
    #[error("{0}")]
    Wrong(String),
    /// Something else, most likely of our own: no more file descriptors, no route.
    #[error("{doing}: {error}")]
    Other {
        /// What the probe was doing.
        doing: &'static str,
        /// Why it could not.
        error: io::Error,
    },
}

impl ProbeFailure {
    /// Whether only somebody who has been reached can have caused it: a refusal, a wrong answer, and not silence or a
    /// fault of our own.
    pub const fn is_reply(&self) -> bool {
        match self {
            Self::Refused | Self::Closed { .. } | Self::Wrong(_) => true,
            Self::TimedOut { .. } | Self::Unreachable(_) | Self::Other { .. } => false,
        }
    }

    /// Whether this machine had no descriptor, memory or process left to ask with.
    pub fn is_of_our_own(&self) -> bool {
        use libc::{EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM};
        let Self::Other { error, .. } = self else { return false };
        matches!(error.raw_os_error(), Some(EAGAIN | EMFILE | ENFILE | ENOBUFS | ENOMEM))
    }

    fn wrong(what: impl Into<String>) -> Self {
        Self::Wrong(what.into())
    }

    fn from_io(doing: &'static str, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unreachable(error),
            io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => {
                Self::Closed { doing }
            }
            _ => Self::Other { doing, error },
        }
    }
}

/// Asks once and waits for at most `limit`, over all that has to be sent and received. Nothing is left behind when the
/// future is dropped.
///
/// # Errors
/// There was no answer, or not the one that was expected.
pub async fn probe(kind: &CheckKind, target: impl Into<Target<'_>>, limit: Duration) -> Result<Answer, ProbeFailure> {
    let (target, deadline) = (target.into(), Deadline::after(limit));
    // A task a check keeps room for its probe all the time: the larger ones have theirs only while they run.
    match kind {
        CheckKind::Tcp => tcp::probe(target, deadline).await,
        CheckKind::Http(http) => Box::pin(http::probe(http, target, deadline)).await,
        CheckKind::Mysql(mysql) => Box::pin(mysql::probe(mysql, target, deadline)).await,
        CheckKind::Redis(redis) => Box::pin(redis::probe(redis, target, deadline)).await,
        CheckKind::Dns(dns) => Box::pin(dns::probe(dns, target, deadline)).await,
        CheckKind::Udp(udp) => Box::pin(udp::probe(udp, target, deadline)).await,
        CheckKind::Icmp => Box::pin(icmp::probe(target, deadline)).await,
        CheckKind::Script(script) => return Box::pin(script::probe(script, target, deadline)).await,
        CheckKind::Agent(agent) => return Box::pin(agent::probe(agent, target, deadline)).await,
    }
    .map(|()| Answer::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_waits_for_its_turn_takes_little_memory() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let future = probe(&CheckKind::Tcp, address, Duration::from_secs(1));
        assert!(size_of_val(&future) < 2048, "{} bytes", size_of_val(&future));
    }
}
