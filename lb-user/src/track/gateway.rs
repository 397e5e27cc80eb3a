//! Gateways: an address that answers pings as long as our own network is well.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::streak::Streak;
use super::{Ping, Reporter};
use crate::vrrp::priority::Health;

/// From the start of one ping to the start of the next, and how long an answer may take.
pub const INTERVAL: Duration = Duration::from_millis(500);
/// Answers in a row that make it well.
const RISE: u32 = 2;
/// Missing answers in a row that make it ill.
const FALL: u32 = 3;

/// Pings it again and again.
pub async fn watch(gateway: IpAddr, every: Duration, ping: Ping, reporter: Reporter) {
    let mut streak = Streak::new(RISE, FALL);
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(health) = streak.handle(ping(gateway, every).await) else { continue };
        reporter.report(health);
        match health {
            Health::Well => info!("gateway {gateway} answers"),
            _ => warn!("gateway {gateway} does not answer"),
        }
    }
}
