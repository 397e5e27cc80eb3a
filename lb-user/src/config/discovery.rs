//! `reals = { … }` of a pool: real servers that are found while the daemon runs. Pure.
//!
//! The effective config is the file's with what was found put into its pools; a new answer is applied by the same diff as a
//! new file.

mod list;
mod parse;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use lb_common::ring::auto_size;

use super::{Config, Pool, Real};

pub use list::parse_reals;
pub(super) use parse::discovery;

/// `reals = { … }`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Where the real servers are found.
    pub source: Source,
    /// `ring_size`; `None`: by how many real servers there are.
    pub ring_size: Option<u32>,
}

/// Where real servers are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The addresses of a name.
    Dns(DnsSource),
    /// A list, one on a line.
    File(PathBuf),
}

/// `reals = { dns = "…" }`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSource {
    /// The name.
    pub name: String,
    /// The weight of every real server found.
    pub weight: u32,
    /// Who is asked; empty: those of /etc/resolv.conf.
    pub resolvers: Vec<SocketAddr>,
}

impl Source {
    /// In words.
    pub fn describe(&self) -> String {
        match self {
            Self::Dns(dns) => format!("dns {}", dns.name),
            Self::File(path) => format!("file {}", path.display()),
        }
    }
}

/// What was found, by the pool's name.
pub type Found = BTreeMap<String, Vec<Real>>;

impl Config {
    /// The file's config with what was found put into those of its pools that ask for it. A real server that the file has
    /// itself is as the file has it.
    ///
    /// # Errors
    /// If what was found for a pool cannot be, in words: a vip of its services.
    pub fn with_found(&self, found: &Found) -> Result<Self, String> {
        let mut config = self.clone();
        for (index, pool) in config.pools.iter_mut().enumerate() {
            let Some(discovery) = &pool.discovery else { continue };
            let ring_size = discovery.ring_size;
            for real in found.get(&pool.name).into_iter().flatten() {
                let vip = self.services.iter().find(|service| service.pool == index && service.vip == real.address);
                if let Some(service) = vip {
                    let (name, address, service) = (&pool.name, real.address, &service.name);
                    return Err(format!("{address}, found for pool {name}, is the vip of its service {service}"));
                }
                add(pool, real);
            }
            pool.ring_size = ring_size.unwrap_or_else(|| auto_size(pool.reals.iter().map(|real| real.weight)));
        }
        Ok(config)
    }
}

fn add(pool: &mut Pool, real: &Real) {
    if pool.reals.iter().any(|other| other.address == real.address) {
        return;
    }
    let mut real = real.clone();
    if pool.reals.iter().any(|other| other.name == real.name) {
        real.name = real.address.to_string();
    }
    pool.reals.push(real);
}

#[cfg(test)]
mod tests;
