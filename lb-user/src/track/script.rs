//! Scripts, by their exit status: 0 is well, all else is ill.

use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::Reporter;
use super::streak::Streak;
use crate::command::Command;
use crate::config::vrrp::TrackScript;
use crate::vrrp::priority::Health;

/// Runs it again and again, at once for the first time. Never two at a time.
pub async fn watch(script: TrackScript, reporter: Reporter) {
    let TrackScript { name, program, arguments, interval: every, timeout, rise, fall, user } = script;
    let command = Command { program, arguments, user, environment: Vec::new() };
    let mut streak = Streak::new(rise, fall);
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let outcome = command.run(timeout).await;
        let is_good = outcome.as_ref().is_ok_and(|outcome| outcome.status.success());
        let Some(health) = streak.handle(is_good) else { continue };
        reporter.report(health);
        match outcome {
            Ok(outcome) if health == Health::Ill => warn!("script {name} {outcome}"),
            Ok(_) => info!("script {name} is well"),
            Err(error) => warn!("script {name} {error}"),
        }
    }
}
