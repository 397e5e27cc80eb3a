//! Links, routes and neighbours, over netlink: what the kernel knows of the Ethernet around us.
//!
//! [`watch`] keeps the MACs of a set of addresses fresh and says when one changes; what to ask the kernel for, and when,
//! is decided by [`Table`](table::Table), which is pure.

mod links;
mod messages;
mod table;
mod watch;

use std::net::IpAddr;

use lb_common::abi::Mac;

use crate::state::Path;

pub use links::{LinkNews, watch_links};
pub use watch::{Commands, watch};

/// An interface of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its MAC; `None` for what has none, such as a tunnel.
    pub mac: Option<Mac>,
    /// Whether it is up and has a carrier.
    pub up: bool,
    /// Its MTU in bytes; what is more than 65535 counts as that.
    pub mtu: u16,
    /// What it is a VLAN of: that interface's index, and the VLAN's number, 1 to 4094.
    pub vlan: Option<(u32, u16)>,
}

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetEvent {
    /// An address has this MAC now.
    Neighbour {
        /// Which.
        address: IpAddr,
        /// Its MAC.
        mac: Mac,
    },
    /// An address is reached this way now.
    Path {
        /// Which.
        address: IpAddr,
        /// The way.
        path: Path,
    },
    /// An interface of ours came, or changed.
    Link(Link),
    /// Whether there are VLANs on our interfaces.
    Vlans(bool),
}

/// Why the kernel cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// No netlink socket.
    #[error("cannot open a netlink socket")]
    Socket(#[from] std::io::Error),
    /// A request failed.
    #[error("netlink: {0}")]
    Netlink(#[from] rtnetlink::Error),
}

/// All interfaces of this network namespace.
///
/// # Errors
/// See [`NetError`].
pub async fn links() -> Result<Vec<Link>, NetError> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let task = tokio::spawn(connection);
    let links = messages::links(&handle).await;
    task.abort();
    Ok(links?)
}
