//! The configuration: read once from TOML into types that can only hold what makes sense.
//!
//! After this module there are no strings for addresses, ports, durations or modes.

mod check;
mod problem;
mod program;
mod raw;
mod service;
mod syntax;
mod validate;
mod values;
pub mod vrrp;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lb_common::abi::limits::{
    DEFAULT_ACCESS_PREFIXES, DEFAULT_PINS, DEFAULT_REALS, DEFAULT_RING_BUCKETS, MAX_SERVICES,
};

pub(crate) use check::rcode_name;
pub use check::{
    Account, Agent, Check, CheckKind, Dns, Http, Login, Method, Mysql, MysqlRole, Pattern, Redis, RedisRole, Script,
    Secret, StatusCodes, Tls, Udp,
};
pub use problem::{ConfigErrors, Problem};
pub use service::{AccessRules, Affinity, Ports, Service, Tracking};
pub use vrrp::VirtualRouter;

/// Where maps and links are pinned unless the file says otherwise.
pub const PIN_DIR: &str = "/sys/fs/bpf/xdirector";
/// Where the daemon listens for commands unless the file says otherwise.
pub const CONTROL_SOCKET: &str = "/run/xdirector/control.sock";
/// Where it keeps what the operator has set unless the file says otherwise.
pub const STATE_DIR: &str = "/var/lib/xdirector";

/// A file that makes sense, and what is odd about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// What it says.
    pub config: Config,
    /// What its author may not have meant.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// All that is wrong with it, each with its line.
    pub fn load(path: &Path) -> Result<Parsed, ConfigErrors> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&file, &text),
            Err(error) => Err(ConfigErrors(vec![Problem { file, line: 0, message: format!("cannot read: {error}") }])),
        }
    }

    /// Parses a file's text; `file` is only for messages.
    ///
    /// # Errors
    /// All that is wrong with it, each with its line; of what is no TOML, or has an unknown key, the first only.
    pub fn parse(file: &str, text: &str) -> Result<Parsed, ConfigErrors> {
        let mut report = problem::Report::new(file, text);
        let raw: raw::File = match toml::from_str(text) {
            Ok(raw) => raw,
            Err(error) => return Err(syntax::explain(report, &error)),
        };
        match validate::validate(&mut report, &raw) {
            Some(config) => Ok(Parsed { config, warnings: report.warnings }),
            None => Err(report.into_errors()),
        }
    }
}

/// A whole, validated file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[director]`
    pub director: Director,
    /// `[limits]`
    pub limits: Limits,
    /// `[pool.NAME]`, sorted by name.
    pub pools: Vec<Pool>,
    /// `[[service]]`, in the file's order; no two share vip, ports and protocol, nor a name.
    pub services: Vec<Service>,
    /// `[[vrrp]]`, in the file's order; no two share a name, nor interface, VRID and family.
    pub vrrp: Vec<VirtualRouter>,
    /// `[[sync_group]]`: indexes in [`Config::vrrp`], none twice.
    pub sync_groups: Vec<vrrp::SyncGroup>,
}

impl Config {
    /// Without virtual routers.
    pub const fn new(director: Director, limits: Limits, pools: Vec<Pool>, services: Vec<Service>) -> Self {
        Self { director, limits, pools, services, vrrp: Vec::new(), sync_groups: Vec::new() }
    }
}

/// `[director]`: this machine's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Director {
    /// Where client traffic arrives, and by which real servers are reached: 1 to
    /// [`MAX_INTERFACES`](lb_common::abi::limits::MAX_INTERFACES) names, none twice.
    pub interfaces: Vec<String>,
    /// How to attach.
    pub xdp_mode: XdpMode,
    /// The key of the flow hash and the rings; the same on all directors. `None`: the daemon makes one.
    pub hash_seed: Option<u64>,
    /// Where programs, maps and links are pinned; on a bpffs.
    pub pin_dir: PathBuf,
    /// The other directors: what comes from them for a service of which this machine is a real server stays here.
    pub peers: Vec<IpAddr>,
    /// Where the daemon listens for commands.
    pub control_socket: PathBuf,
    /// Where what the operator has set is kept.
    pub state_dir: PathBuf,
    /// Addresses beyond this machine that answer pings as long as its own network is well: with none of them reachable, no
    /// verdict on a real server is believed.
    pub gateways: Vec<IpAddr>,
}

impl Director {
    /// On these interfaces, and everything else as a file has it that does not say.
    pub fn new(interfaces: Vec<String>) -> Self {
        Self {
            interfaces,
            xdp_mode: XdpMode::Auto,
            hash_seed: None,
            pin_dir: PIN_DIR.into(),
            peers: Vec::new(),
            control_socket: CONTROL_SOCKET.into(),
            state_dir: STATE_DIR.into(),
            gateways: Vec::new(),
        }
    }
}

/// `xdp_mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// Native, else generic with a warning.
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the kernel's stack, behind an allocated skb: slow, works everywhere.
    Generic,
}

/// `[limits]`: sizes of what the kernel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most services; at most [`MAX_SERVICES`](lb_common::abi::limits::MAX_SERVICES).
    pub services: u32,
    /// The most real servers over all pools; at most [`MAX_REALS`](lb_common::abi::limits::MAX_REALS).
    pub reals: u32,
    /// Buckets of all rings together; at most [`MAX_RING_BUCKETS`](lb_common::abi::limits::MAX_RING_BUCKETS).
    pub ring_buckets: u32,
    /// Flows that are remembered: a power of two, at most [`MAX_PINS`](lb_common::abi::limits::MAX_PINS).
    pub pins: u32,
    /// Prefixes in all access lists together, two more for each list; at most
    /// [`MAX_ACCESS_PREFIXES`](lb_common::abi::limits::MAX_ACCESS_PREFIXES).
    pub access_prefixes: u32,
}

impl Default for Limits {
    /// Of a file that says nothing of limits.
    fn default() -> Self {
        Self {
            services: MAX_SERVICES,
            reals: DEFAULT_REALS,
            ring_buckets: DEFAULT_RING_BUCKETS,
            pins: DEFAULT_PINS,
            access_prefixes: DEFAULT_ACCESS_PREFIXES,
        }
    }
}

/// `[pool.NAME]`: real servers that do the same work, checked once however many services use them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// NAME
    pub name: String,
    /// Buckets in its ring: a prime, resolved from "auto" already.
    pub ring_size: u32,
    /// At least one; no address twice.
    pub reals: Vec<Real>,
    /// `None`: its real servers are always taken to be up.
    pub check: Option<Check>,
    /// Healthy real servers that are enough: with fewer, the next tier serves too; at least 1.
    pub min_healthy: u32,
    /// What becomes of packets when nobody is left.
    pub on_empty: OnEmpty,
    /// How long a real server that comes back takes to get its whole share of new flows; zero: none.
    pub slow_start: Duration,
}

impl Pool {
    /// Of these real servers, and everything else as a file has it that does not say.
    pub fn new(name: &str, ring_size: u32, reals: Vec<Real>) -> Self {
        Self {
            name: name.into(),
            ring_size,
            reals,
            check: None,
            min_healthy: 1,
            on_empty: OnEmpty::Drop,
            slow_start: Duration::ZERO,
        }
    }
}

/// `on_empty`: what becomes of packets for a pool in which nobody can serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnEmpty {
    /// They are dropped.
    #[default]
    Drop,
    /// They are left to this host's own stack.
    Pass,
    /// They go where they went last, as if those were well.
    Keep,
}

/// `[[pool.NAME.real]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Real {
    /// The config's, else the address.
    pub name: String,
    /// Where it is; on the same Ethernet segment as the director.
    pub address: IpAddr,
    /// Its share of the ring relative to the others, at most 65535; 0 = none.
    pub weight: u32,
    /// 0 serves; others only while those below have fewer than [`Pool::min_healthy`].
    pub tier: u8,
    /// Where it stands, for services that send clients to near ones.
    pub zone: Option<String>,
}

impl Real {
    /// In tier 0, in no zone.
    pub fn new(name: &str, address: IpAddr, weight: u32) -> Self {
        Self { name: name.into(), address, weight, tier: 0, zone: None }
    }
}

#[cfg(test)]
mod tests;
