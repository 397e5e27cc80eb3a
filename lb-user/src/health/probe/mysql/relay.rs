//! A connection that is opened our way, for a driver that opens its own: a listener on the loopback, for one caller.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::super::deadline::Deadline;
use super::super::{ProbeFailure, Target, tcp};

/// Not yet called. Whoever of this machine calls it before the driver does finds a server that it could as well have called
/// itself, and this one probe fails.
pub struct Relay {
    listener: TcpListener,
    address: SocketAddr,
    server: TcpStream,
}

impl Relay {
    /// Opens the connection to the server first, so that its failures are said as those of other probes are.
    pub async fn open(target: Target<'_>, deadline: Deadline) -> Result<Self, ProbeFailure> {
        let server = tcp::connect(target, deadline).await?;
        let failed = |error| ProbeFailure::from_io("listening on the loopback", error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, server })
    }

    /// Where the driver is to call.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes one call, and carries everything over until both sides have ended.
    pub async fn run(self) -> io::Result<()> {
        let Self { listener, address: _, mut server } = self;
        let (mut caller, _) = listener.accept().await?;
        drop(listener);
        caller.set_nodelay(true)?;
        copy_bidirectional(&mut caller, &mut server).await.map(drop)
    }
}
