//! Asking once.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::config::CheckKind;

/// Why a probe was no success, in words for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ProbeFailure {
    /// Nobody listens.
    #[error("connection refused")]
    Refused,
    /// Nothing came back in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The network says that it cannot be reached.
    #[error("unreachable ({0})")]
    Unreachable(io::Error),
    /// Something else, most likely of our own: no more file descriptors, no route.
    #[error("{0}")]
    Other(io::Error),
}

/// Asks once and waits for at most `limit`.
pub async fn probe(kind: CheckKind, target: SocketAddr, limit: Duration) -> Result<(), ProbeFailure> {
    match kind {
        CheckKind::Tcp => timeout(limit, connect(target)).await.unwrap_or(Err(ProbeFailure::TimedOut(limit))),
    }
}

/// Opens a connection and drops it with a reset, not with a FIN: the director would be left with a socket in TIME_WAIT
/// for each probe, a thousand checks a second would use up its ports. What accepts sees a connection that was reset
/// before any data, as keepalived's and HAProxy's checks leave it too.
async fn connect(target: SocketAddr) -> Result<(), ProbeFailure> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(ProbeFailure::Other)?;
    socket.set_zero_linger().map_err(ProbeFailure::Other)?;
    socket.connect(target).await.map(drop).map_err(name_failure)
}

fn name_failure(error: io::Error) -> ProbeFailure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ProbeFailure::Refused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ProbeFailure::Unreachable(error),
        _ => ProbeFailure::Other(error),
    }
}
