//! What the operator has set.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Saved;
use crate::state::{Duty, Order};

/// The name of the file.
pub const ORDERS: &str = "orders.json";
const VERSION: u32 = 1;
const MAX_WEIGHT: u32 = 65_535;

/// By the pool's name and the real server's address.
pub type Orders = BTreeMap<(String, IpAddr), Placed>;

/// An order, and who gave it when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The order; never the default one, which says nothing.
    pub order: Order,
    /// Who, in words.
    pub who: String,
    /// When, in seconds since 1970 (UTC).
    pub since: u64,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    orders: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    pool: String,
    address: IpAddr,
    duty: String,
    weight: Option<u32>,
    who: String,
    since: u64,
}

impl Saved for Orders {
    fn encode(&self) -> String {
        let row = |((pool, address), placed): (&(String, IpAddr), &Placed)| {
            let Placed { order: Order { duty, weight }, who, since } = placed.clone();
            Row { pool: pool.clone(), address: *address, duty: duty.name().into(), weight, who, since }
        };
        let file = File { version: VERSION, orders: self.iter().map(row).collect() };
        // Plain data: there is nothing that JSON cannot say.
        serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
    }

    fn decode(text: &str) -> Result<Self, String> {
        let File { version, orders } = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if version != VERSION {
            return Err(format!("it is of version {version}, and this xdirector reads version {VERSION}"));
        }
        orders.into_iter().map(placed).collect()
    }
}

fn placed(row: Row) -> Result<((String, IpAddr), Placed), String> {
    let Row { pool, address, duty, weight, who, since } = row;
    let Some(duty) = Duty::ALL.into_iter().find(|known| known.name() == duty) else {
        return Err(format!("{pool}/{address} has the duty \"{duty}\", which is none"));
    };
    match weight {
        Some(weight) if weight > MAX_WEIGHT => {
            Err(format!("{pool}/{address} has the weight {weight}, above {MAX_WEIGHT}"))
        }
        weight => Ok(((pool, address), Placed { order: Order { duty, weight }, who, since })),
    }
}
