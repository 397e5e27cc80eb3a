//! `[[vrrp]]`, `[[sync_group]]` and `[script.NAME]` as they are written.

use serde::Deserialize;
use toml::Spanned;

/// `[[vrrp]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualRouter {
    pub name: Option<Spanned<String>>,
    pub interface: Spanned<String>,
    pub version: Option<Spanned<i64>>,
    pub virtual_router_id: Spanned<i64>,
    pub priority: Option<Spanned<i64>>,
    pub advert_interval: Option<Spanned<String>>,
    pub preempt: Option<Spanned<bool>>,
    pub preempt_delay: Option<Spanned<String>>,
    pub preempt_pace: Option<Spanned<String>>,
    pub auth: Option<Spanned<Auth>>,
    pub vips: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    pub vips_excluded: Vec<Spanned<String>>,
    pub accept: Option<bool>,
    pub source: Option<Spanned<String>>,
    #[serde(default)]
    pub unicast_peers: Vec<Spanned<String>>,
    pub virtual_mac: Option<bool>,
    pub checksum: Option<Spanned<String>>,
    pub garp: Option<Spanned<Garp>>,
    #[serde(default)]
    pub routes: Vec<Spanned<Route>>,
    #[serde(default)]
    pub rules: Vec<Spanned<Rule>>,
    #[serde(default)]
    pub track_interface: Vec<Spanned<TrackInterface>>,
    #[serde(default)]
    pub track: Vec<Spanned<Track>>,
    pub notify: Option<Spanned<String>>,
    pub notify_user: Option<Spanned<String>>,
}

/// `auth`
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as { type = \"pass\", password = \"1111\" }")]
pub struct Auth {
    pub r#type: Option<Spanned<String>>,
    pub password: Option<Spanned<String>>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth(…)")
    }
}

/// `garp`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as { repeat = 5, delays = [\"5s\"] }")]
pub struct Garp {
    pub repeat: Option<Spanned<i64>>,
    pub delays: Option<Vec<Spanned<String>>>,
    pub refresh: Option<Spanned<String>>,
    pub refresh_repeat: Option<Spanned<i64>>,
}

/// One of `routes`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as { to = \"10.0.0.0/8\", via = \"192.168.1.1\" }")]
pub struct Route {
    pub to: Spanned<String>,
    pub via: Option<Spanned<String>>,
    pub dev: Option<Spanned<String>>,
    pub src: Option<Spanned<String>>,
    pub table: Option<Spanned<i64>>,
    pub metric: Option<Spanned<i64>>,
}

/// One of `rules`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as { from = \"10.0.0.0/8\", table = 100, priority = 1000 }")]
pub struct Rule {
    pub from: Option<Spanned<String>>,
    pub to: Option<Spanned<String>>,
    pub table: Spanned<i64>,
    pub priority: Spanned<i64>,
}

/// One of `track_interface`
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a name, as in \"eth1\", or { interface = \"eth1\", weight = -20 }")]
pub enum TrackInterface {
    Name(String),
    Weighted(WeightedInterface),
}

/// One of `track_interface`, with a weight.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedInterface {
    pub interface: String,
    pub weight: i64,
}

/// One of `track`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as { script = \"chk_nginx\", weight = -20 }")]
pub struct Track {
    pub script: Option<Spanned<String>>,
    pub process: Option<Spanned<String>>,
    pub file: Option<Spanned<String>>,
    pub pool: Option<Spanned<String>>,
    pub gateway: Option<Spanned<String>>,
    pub weight: Option<Spanned<i64>>,
}

/// `[[sync_group]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncGroup {
    pub name: Spanned<String>,
    pub members: Spanned<Vec<Spanned<String>>>,
    pub notify: Option<Spanned<String>>,
    pub notify_user: Option<Spanned<String>>,
}

/// `[script.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    pub command: Spanned<Vec<String>>,
    pub interval: Option<Spanned<String>>,
    pub timeout: Option<Spanned<String>>,
    pub rise: Option<Spanned<i64>>,
    pub fall: Option<Spanned<i64>>,
    pub user: Option<Spanned<String>>,
}
