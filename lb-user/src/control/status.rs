//! All there is to know of a running daemon, as data.

use serde::{Deserialize, Serialize};

/// The answer to [`Request::Status`](super::Request::Status).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The daemon itself.
    pub daemon: DaemonStatus,
    /// `director.interfaces`, in that order.
    pub interfaces: Vec<InterfaceStatus>,
    /// In the file's order.
    pub services: Vec<ServiceStatus>,
    /// By name.
    pub pools: Vec<PoolStatus>,
    /// Virtual routers, in the file's order.
    #[serde(default)]
    pub vrrp: Vec<VrrpStatus>,
    /// Other directors.
    #[serde(default)]
    pub peering: Vec<PeeringStatus>,
    /// Orders for real servers that are not there now, but that a discovery may bring back.
    #[serde(default)]
    pub waiting_orders: Vec<OrderStatus>,
}

/// The daemon itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// Of the program.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// For how long it has run, in seconds.
    pub uptime_seconds: u64,
    /// Its file.
    pub config: String,
    /// What it logs.
    pub log_level: String,
    /// What keeps the kernel's tables from being what they should be; it is tried again and again.
    pub trouble: Option<String>,
    /// Why the last reload was refused; `None` if it was not.
    pub reload_refused: Option<String>,
}

/// One of our interfaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// native, generic, or none.
    pub mode: String,
    /// Whether its link is up.
    pub up: bool,
    /// Its MAC.
    pub mac: Option<String>,
    /// Its MTU in bytes.
    pub mtu: u16,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// Its vip.
    pub vip: String,
    /// A number, a range such as 8000-9000, or "any".
    pub ports: String,
    /// tcp or udp.
    pub protocol: String,
    /// Its pool's name.
    pub pool: String,
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// Its check in words, if it has one.
    pub check: Option<String>,
    /// Healthy real servers that are enough.
    pub min_healthy: u32,
    /// drop, pass or keep.
    pub on_empty: String,
    /// Buckets in its ring.
    pub ring_size: u32,
    /// Why its ring is held as it is, if it is.
    pub held: Option<String>,
    /// Where its real servers come from, if not from the file alone.
    pub discovery: Option<DiscoveryStatus>,
    /// In the file's order; those that are gone from it, but have flows, at the end.
    pub reals: Vec<RealStatus>,
}

/// Where real servers come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryStatus {
    /// In words.
    pub source: String,
    /// Real servers in the answer in use.
    pub reals: usize,
    /// How many seconds ago that answer came; `None`: before this daemon started, or never.
    pub answered_seconds: Option<u64>,
    /// Why there was no other answer since, if asking has failed.
    pub trouble: Option<String>,
}

/// One real server of one pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RealStatus {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// How it stands: docs/operations.md has the states.
    pub state: String,
    /// The weight in the file.
    pub file_weight: u32,
    /// The weight in effect.
    pub weight: u32,
    /// Of the pool's ring: 0 to 1.
    pub share: f64,
    /// Its tier.
    pub tier: u8,
    /// Its zone.
    pub zone: Option<String>,
    /// Its MAC.
    pub mac: Option<String>,
    /// The last verdict; `None`: it has none, or it is from before this daemon started.
    pub check: Option<CheckStatus>,
    /// What the operator has set, if anything.
    pub order: Option<OrderStatus>,
    /// Flows that are remembered to be on it; only for those that take no new ones.
    pub flows: Option<u64>,
}

/// A verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// up or down.
    pub result: String,
    /// Why, in words.
    pub reason: String,
    /// How many seconds ago it was found.
    pub seconds: u64,
}

/// What the operator has set for a real server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderStatus {
    /// Its pool's name.
    pub pool: String,
    /// Its address.
    pub address: String,
    /// serve, drain or maintenance.
    pub duty: String,
    /// Instead of the file's.
    pub weight: Option<u32>,
    /// Who has set it.
    pub who: String,
    /// How many seconds ago.
    pub seconds: u64,
}

/// One virtual router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VrrpStatus {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub interface: String,
    /// Its virtual router id.
    pub virtual_router_id: u8,
    /// stopped, backup, master or fault.
    pub state: String,
    /// For how many seconds it has been so.
    pub seconds: u64,
    /// The priority in the file.
    pub file_priority: u8,
    /// The one in effect.
    pub priority: u8,
    /// What it moves.
    pub vips: Vec<String>,
    /// Who is master, as far as is known.
    pub master: Option<String>,
    /// Whether its vips are answered for.
    pub lease: Option<LeaseStatus>,
    /// Why it cannot work, and what was odd about what it heard, each in words.
    #[serde(default)]
    pub trouble: Vec<String>,
}

/// The right to answer for vips.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseStatus {
    /// Whether it is held now.
    pub held: bool,
    /// In how many milliseconds it runs out, if it is not renewed.
    pub milliseconds: u64,
}

/// Another director.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeeringStatus {
    /// Its address.
    pub peer: String,
    /// connected, or why not, in words.
    pub state: String,
    /// For how many seconds it has been connected; none: it is not.
    pub connected_seconds: Option<u64>,
    /// Pins sent to it since it was last connected.
    pub pins_sent: u64,
    /// Pins taken from it since then.
    pub pins_received: u64,
}
