//! TCP: a connection can be opened. The other probes over TCP begin here too.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use tokio::net::{TcpSocket, TcpStream};

use super::deadline::Deadline;
use super::{ProbeFailure, Target, way};

pub async fn probe(target: Target<'_>, deadline: Deadline) -> Result<(), ProbeFailure> {
    open(target, deadline).await.map(drop)
}

/// Opens a connection for questions, which are short, and whose answers are waited for.
pub async fn connect(target: Target<'_>, deadline: Deadline) -> Result<TcpStream, ProbeFailure> {
    let stream = open(target, deadline).await?;
    stream.set_nodelay(true).map_err(|error| ProbeFailure::from_io("connecting", error))?;
    Ok(stream)
}

/// Opens a connection that will end with a reset, not with a FIN: the director would be left with a socket in TIME_WAIT
/// for each probe, a thousand checks a second would use up its ports. What accepts and is sent nothing sees a connection
/// that was reset before any data, as keepalived's and HAProxy's checks leave it too.
async fn open(target: Target<'_>, deadline: Deadline) -> Result<TcpStream, ProbeFailure> {
    let open = async {
        let socket = if target.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_zero_linger()?;
        if let Some(any) = way::bind_to(target) {
            socket.bind(any)?;
        }
        let address = way::lead(&socket, target)?;
        socket.connect(address).await
    };
    deadline.io("connecting", open).await
}

/// A line without its end. At the end of the stream, what there is.
///
/// # Errors
/// It is longer than `limit` bytes, or there is nothing at all.
pub async fn read_line(stream: &mut (impl AsyncBufRead + Unpin), limit: usize) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    stream.take(limit as u64 + 2).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    if line.len() > limit {
        return Err(io::Error::other(format!("a line of more than {limit} bytes")));
    }
    Ok(line)
}
