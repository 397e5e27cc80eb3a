//! `xdirector drain`

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use super::output::{duration, print};
use super::remote::{self, Real, Socket, ask, order, unexpected};
use crate::control::{Answer, FlowsReport, Request};

/// How often it is looked whether the last flow has gone.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is said that it has not.
const TELL: Duration = Duration::from_secs(15);

/// Let a real server keep the flows it has, and give it no others
///
/// Survives a reload and a restart; `undrain` ends it. Its health check goes on.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  xdirector drain web/web1\n  xdirector drain web/192.168.81.134 --wait 1h\n  xdirector drain web/web1 \
                        --wait 10m --silent 1m && ssh web1 reboot"
)]
pub struct Drain {
    /// Which: its pool, and its name or its address
    #[arg(value_name = "POOL/REAL")]
    real: Real,
    /// Wait until its last flow has gone, but no longer than this; exit code 1 if there are flows yet
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
    /// With --wait: a flow that was silent for so long has gone [default: the idle_timeout of its services]
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "wait")]
    silent: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: Socket,
}

impl Drain {
    pub fn run(self) -> Result<()> {
        order(&self.socket, &Request::Drain(self.real.0.clone()), self.json)?;
        match self.wait {
            Some(wait) => self.wait(wait),
            None => Ok(()),
        }
    }

    fn wait(&self, wait: Duration) -> Result<()> {
        let (start, mut told) = (Instant::now(), None);
        let mut client = self.socket.connect()?;
        loop {
            let report = match ask(&mut client, &Request::Flows(self.real.0.clone()))? {
                Answer::Flows(report) => report,
                other => return unexpected(&other),
            };
            let left = left(&report, self.silent);
            if left.is_none() || start.elapsed() >= wait {
                return self.end(&report, left);
            }
            if !self.json && told.is_none_or(|told: Instant| told.elapsed() >= TELL) {
                told = Some(Instant::now());
                print(&format!("{}\n", in_words(&report)))?;
            }
            thread::sleep(LOOK.min(wait.saturating_sub(start.elapsed())).max(Duration::from_millis(10)));
        }
    }

    fn end(&self, report: &FlowsReport, left: Option<Duration>) -> Result<()> {
        if self.json {
            remote::print_json(report)?;
        }
        match left {
            None if self.json => Ok(()),
            None => Ok(print(&format!("{}/{}: the last flow has gone\n", report.pool, report.real))?),
            Some(left) => {
                let at_least = left.as_secs();
                bail!("{}; if they stay silent it takes {at_least} s more until they have gone", in_words(report))
            }
        }
    }
}

/// For how long everything must be silent yet; `None`: the last flow has gone.
///
/// A flow that has not spoken since the drain began is not known, so the silence counts from there.
fn left(report: &FlowsReport, silent: Option<Duration>) -> Option<Duration> {
    let needed = silent.unwrap_or(Duration::from_secs(report.idle_timeout_seconds));
    let quiet = match (report.silent_seconds, report.ordered_seconds) {
        (Some(silent), Some(ordered)) => silent.min(ordered),
        (None, ordered) => ordered?,
        (silent, None) => silent?,
    };
    needed.checked_sub(Duration::from_secs(quiet)).filter(|left| !left.is_zero())
}

fn in_words(report: &FlowsReport) -> String {
    let FlowsReport { pool, real, flows, silent_seconds, .. } = report;
    match silent_seconds {
        Some(silent) if *flows > 0 => {
            format!("{pool}/{real}: {flows} flows, the last of them seen {silent} s ago or a bit before")
        }
        _ => format!("{pool}/{real}: no flows seen, but silent ones may be there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_flow_has_gone_when_all_were_silent_for_long_enough() {
        let report = |flows, silent_seconds, ordered_seconds| FlowsReport {
            pool: "web".into(),
            real: "db1".into(),
            flows,
            silent_seconds,
            ordered_seconds,
            idle_timeout_seconds: 900,
        };
        let seconds = Duration::from_secs;
        let rows = [
            (report(3, Some(0), Some(10)), None, Some(900)),
            (report(3, Some(17), Some(1000)), None, Some(883)),
            (report(3, Some(17), Some(1000)), Some(seconds(17)), None),
            (report(3, Some(17), Some(5)), Some(seconds(17)), Some(12)),
            (report(0, None, Some(5)), None, Some(895)),
            (report(0, None, Some(900)), None, None),
            (report(0, None, Some(5)), Some(Duration::ZERO), None),
            (report(0, None, None), None, None),
        ];
        for (report, silent, expected) in rows {
            assert_eq!(left(&report, silent), expected.map(seconds), "{report:?}, {silent:?}");
        }
    }
}
