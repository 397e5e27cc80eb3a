//! UDP: a datagram that must be answered.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::ProbeFailure;
use super::deadline::Deadline;
use crate::config::Udp;

/// The longest datagram.
pub const DATAGRAM: usize = 65_535;

pub async fn probe(udp: &Udp, target: SocketAddr, deadline: Deadline) -> Result<(), ProbeFailure> {
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
pub async fn send(target: SocketAddr, payload: &[u8]) -> io::Result<UdpSocket> {
    let any: IpAddr = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(target).await?;
    socket.send(payload).await?;
    Ok(socket)
}
