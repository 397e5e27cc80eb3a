//! UDP: a datagram that must be answered.

use std::io;

use tokio::net::UdpSocket;

use super::deadline::Deadline;
use super::{ProbeFailure, Target, way};
use crate::config::Udp;

/// The longest datagram.
pub const DATAGRAM: usize = 65_535;

pub async fn probe(udp: &Udp, target: Target<'_>, deadline: Deadline) -> Result<(), ProbeFailure> {
    let socket = deadline.io("sending", send(target, &udp.payload)).await?;
    let mut buffer = vec![0; DATAGRAM];
    let length = deadline.io("waiting for a reply", socket.recv(&mut buffer)).await?;
    match &udp.expect {
        Some(pattern) if !pattern.matches(&buffer[..length]) => {
            let start = buffer[..length.min(32)].escape_ascii();
            let dots = if length > 32 { "…" } else { "" };
            Err(ProbeFailure::wrong(format!("the reply \"{start}{dots}\" does not match \"{pattern}\"")))
        }
        _ => Ok(()),
    }
}

/// Sends a datagram from a socket of its own. It is connected, so that nobody else's datagrams come in, and that ICMP's
/// port unreachable becomes an error of the next call.
pub async fn send(target: Target<'_>, payload: &[u8]) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(way::any(target.address)).await?;
    let address = way::lead(&socket, target)?;
    socket.connect(address).await?;
    socket.send(payload).await?;
    Ok(socket)
}
