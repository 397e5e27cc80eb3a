//! The configuration: read once from TOML into types that can only hold what makes sense.
//!
//! After this module there are no strings for addresses, ports, durations or modes.

mod check;
mod problem;
mod raw;
mod syntax;
mod validate;
mod values;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use lb_common::abi::Protocol;

pub(crate) use check::rcode_name;
pub use check::{
    Account, Agent, Check, CheckKind, Dns, Http, Login, Method, Mysql, MysqlRole, Pattern, Redis, RedisRole, Script,
    Secret, StatusCodes, Tls, Udp,
};
pub use problem::{ConfigErrors, Problem};

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
    /// `[[service]]`, in the file's order; no two share vip, port and protocol, nor a name.
    pub services: Vec<Service>,
}

/// `[director]`: this machine's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Director {
    /// Where client traffic arrives: 1 to [`MAX_OWN_MACS`](lb_common::abi::limits::MAX_OWN_MACS) names, none twice.
    pub interfaces: Vec<String>,
    /// How to attach.
    pub xdp_mode: XdpMode,
    /// The key of the flow hash and the rings; the same on all directors. `None`: the daemon makes one.
    pub hash_seed: Option<u64>,
    /// Where programs, maps and links are pinned; on a bpffs.
    pub pin_dir: PathBuf,
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
}

/// `[[service]]`: what is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The config's, else vip:port/protocol.
    pub name: String,
    /// The address clients know.
    pub vip: IpAddr,
    /// The port clients know; the real servers listen on it too (direct server return keeps it).
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Index in [`Config::pools`].
    pub pool: usize,
}

#[cfg(test)]
mod tests;
