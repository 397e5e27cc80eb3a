//! The file as it is written: a mirror of the TOML, checked for nothing but shape.

mod check;
mod vrrp;

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

pub use check::Check;
pub use vrrp::{Auth, Garp, Route, Rule, Script, SyncGroup, Track, TrackInterface, VirtualRouter};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub director: Spanned<Director>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub pool: BTreeMap<Spanned<String>, Spanned<Pool>>,
    #[serde(default)]
    pub service: Vec<Spanned<Service>>,
    #[serde(default)]
    pub vrrp: Vec<Spanned<VirtualRouter>>,
    #[serde(default)]
    pub sync_group: Vec<Spanned<SyncGroup>>,
    #[serde(default)]
    pub script: BTreeMap<Spanned<String>, Spanned<Script>>,
}

/// `[director]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Director {
    pub interfaces: Spanned<Vec<Spanned<String>>>,
    pub xdp_mode: Option<Spanned<String>>,
    pub hash_seed: Option<Spanned<String>>,
    pub pin_dir: Option<Spanned<String>>,
    #[serde(default)]
    pub peers: Vec<Spanned<String>>,
    pub control_socket: Option<Spanned<String>>,
    pub state_dir: Option<Spanned<String>>,
    #[serde(default)]
    pub gateways: Vec<Spanned<String>>,
}

/// `[limits]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub services: Option<Spanned<i64>>,
    pub reals: Option<Spanned<i64>>,
    pub ring_buckets: Option<Spanned<i64>>,
    pub pins: Option<Spanned<i64>>,
    pub access_prefixes: Option<Spanned<i64>>,
}

/// `[pool.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    pub ring_size: Option<Spanned<RingSize>>,
    pub check: Option<Spanned<Check>>,
    pub min_healthy: Option<Spanned<i64>>,
    pub on_empty: Option<Spanned<String>>,
    pub slow_start: Option<Spanned<String>>,
    #[serde(default)]
    pub real: Vec<Spanned<Real>>,
}

/// `ring_size`
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number or \"auto\"")]
pub enum RingSize {
    Number(i64),
    Word(String),
}

/// `[[pool.NAME.real]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Real {
    pub name: Option<Spanned<String>>,
    pub address: Spanned<String>,
    pub weight: Option<Spanned<i64>>,
    pub tier: Option<Spanned<i64>>,
    pub zone: Option<Spanned<String>>,
}

/// `[[service]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub name: Option<Spanned<String>>,
    pub vip: Spanned<String>,
    pub port: Option<Spanned<Port>>,
    pub ports: Option<Spanned<String>>,
    pub protocol: Spanned<String>,
    pub pool: Spanned<String>,
    pub affinity: Option<Spanned<String>>,
    pub source_mask: Option<Spanned<SourceMask>>,
    pub tracking: Option<Spanned<String>>,
    pub idle_timeout: Option<Spanned<String>>,
    pub allow: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub deny: Vec<Spanned<String>>,
    #[serde(default)]
    pub locality: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// `port`
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number or \"any\"; a range is written `ports`")]
pub enum Port {
    Number(i64),
    Word(String),
}

/// `source_mask`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as { v4 = 24, v6 = 64 }")]
pub struct SourceMask {
    pub v4: Option<Spanned<i64>>,
    pub v6: Option<Spanned<i64>>,
}
