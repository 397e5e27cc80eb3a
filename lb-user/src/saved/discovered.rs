//! The last answers of discoveries.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Saved;
use crate::config::Real;

/// The name of the file.
pub const DISCOVERED: &str = "discovered.json";
const VERSION: u32 = 1;

/// By the pool's name.
pub type Answers = BTreeMap<String, Answer>;

/// What was found for one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Where, in words: one of another source is of no use.
    pub source: String,
    /// The real servers; at least one.
    pub reals: Vec<Real>,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    pools: Vec<PoolRow>,
}

#[derive(Serialize, Deserialize)]
struct PoolRow {
    pool: String,
    source: String,
    reals: Vec<RealRow>,
}

#[derive(Serialize, Deserialize)]
struct RealRow {
    name: String,
    address: IpAddr,
    weight: u32,
    tier: u8,
    zone: Option<String>,
}

impl Saved for Answers {
    fn encode(&self) -> String {
        let real = |real: &Real| {
            let Real { name, address, weight, tier, zone } = real.clone();
            RealRow { name, address, weight, tier, zone }
        };
        let pool = |(pool, Answer { source, reals }): (&String, &Answer)| PoolRow {
            pool: pool.clone(),
            source: source.clone(),
            reals: reals.iter().map(real).collect(),
        };
        let file = File { version: VERSION, pools: self.iter().map(pool).collect() };
        // Plain data: there is nothing that JSON cannot say.
        serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
    }

    fn decode(text: &str) -> Result<Self, String> {
        let File { version, pools } = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if version != VERSION {
            return Err(format!("it is of version {version}, and this xdirector reads version {VERSION}"));
        }
        let real =
            |RealRow { name, address, weight, tier, zone }| Real { tier, zone, ..Real::new(&name, address, weight) };
        let answer =
            |PoolRow { pool, source, reals }| (pool, Answer { source, reals: reals.into_iter().map(real).collect() });
        Ok(pools.into_iter().map(answer).collect())
    }
}
