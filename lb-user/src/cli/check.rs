//! `xdirector check`

mod vrrp;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use lb_common::abi::limits::{FRAGMENTS, LEASES, MAX_VIPS, SERVICE_SLOTS};
use lb_common::abi::{
    AccessKey, Bucket, Counter, FragmentOwner, Pin, RealInfo, RealSlot, ServiceInfo, ServiceSlot, Settings,
};
use lb_common::reason::Reason;
use serde::Serialize;

use super::output::{Table, has_colours, print};
use crate::config::{Config, Limits, Parsed};

/// Read a config file and say what it means, or all that is wrong with it
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  xdirector check /etc/xdirector.toml\n  xdirector check web.toml --json\n\nExit code: 0 if the \
                        file is good, 2 if not."
)]
pub struct Check {
    /// The config file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    warnings: Vec<String>,
    services: usize,
    pools: Vec<PoolReport>,
    vrrp: Vec<vrrp::RouterReport>,
    memory: Vec<Memory>,
    memory_total: u64,
}

#[derive(Debug, Serialize)]
struct PoolReport {
    name: String,
    reals: usize,
    ring_size: u32,
    services: Vec<String>,
    check: Option<String>,
}

/// What one part of the kernel's tables costs.
#[derive(Debug, Serialize)]
struct Memory {
    what: &'static str,
    entries: u64,
    bytes: u64,
}

impl Check {
    pub fn run(self) -> Result<()> {
        let report = Report::new(&Config::load(&self.file)?, possible_cpus());
        let text = if self.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.text() };
        print(&text)?;
        Ok(())
    }
}

/// Per-CPU maps are as large as the CPUs that may ever come.
fn possible_cpus() -> u64 {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<u64>().ok());
    last.map_or(1, |last| last + 1)
}

impl Report {
    fn new(Parsed { config, warnings }: &Parsed, cpus: u64) -> Self {
        let pool = |(index, pool): (usize, &crate::config::Pool)| PoolReport {
            name: pool.name.clone(),
            reals: pool.reals.len(),
            ring_size: pool.ring_size,
            services: config.services.iter().filter(|s| s.pool == index).map(|s| s.name.clone()).collect(),
            check: pool.check.as_ref().map(|check| format!("{} every {:?}", check.describe(), check.interval)),
        };
        let memory = memory(&config.limits, cpus);
        Self {
            warnings: warnings.iter().map(ToString::to_string).collect(),
            services: config.services.len(),
            pools: config.pools.iter().enumerate().map(pool).collect(),
            vrrp: vrrp::reports(config),
            memory_total: memory.iter().map(|part| part.bytes).sum(),
            memory,
        }
    }

    fn text(&self) -> String {
        let Self { warnings, services, pools, vrrp, memory, memory_total } = self;
        let mut text: String = warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
        text += &format!("The file is good: {services} services, {} pools.\n\n", pools.len());
        let mut table = Table::new(1, &["pool", "reals", "ring", "check", "services"]);
        for pool in pools {
            let check = pool.check.clone().unwrap_or_else(|| "none".into());
            let cells = [pool.name.clone(), pool.reals.to_string(), pool.ring_size.to_string(), check];
            table.row(cells.into_iter().chain([pool.services.join(", ")]).collect(), None);
        }
        text += &(table.render(has_colours()) + "\n");
        text += &vrrp::text(vrrp);
        let mut table = Table::new(1, &["kernel memory", "entries", "KiB"]);
        for Memory { what, entries, bytes } in memory {
            table.row(vec![(*what).into(), entries.to_string(), bytes.div_ceil(1024).to_string()], None);
        }
        table.row(vec!["total".into(), String::new(), memory_total.div_ceil(1024).to_string()], None);
        text + &table.render(has_colours())
    }
}

fn memory(limits: &Limits, cpus: u64) -> Vec<Memory> {
    let size = |bytes: usize| bytes as u64;
    let part =
        |what, entries: u32, each: u64| Memory { what, entries: entries.into(), bytes: u64::from(entries) * each };
    let (services, reals) = (limits.services + 1, limits.reals + 1);
    vec![
        part("settings", 1, size(size_of::<Settings>())),
        part("service slots", 2 * SERVICE_SLOTS, size(size_of::<ServiceSlot>())),
        part("buckets", limits.ring_buckets, size(size_of::<Bucket>())),
        part("services", services, size(size_of::<ServiceInfo>()) + cpus * size(size_of::<Counter>())),
        part("pins", limits.pins, size(size_of::<Pin>())),
        // A trie's element: key, value, some 40 bytes of the kernel's own, and as much for the fork that leads to it.
        part("access prefixes, if all are used", limits.access_prefixes, 2 * size(size_of::<AccessKey>() + 4 + 4 + 40)),
        part(
            "real servers",
            reals,
            size(size_of::<RealSlot>() + size_of::<RealInfo>()) + cpus * size(size_of::<Counter>()),
        ),
        // A hash map's element: key, value, and some 48 bytes of the kernel's own.
        part("fragments", FRAGMENTS, size(size_of::<u64>() + size_of::<FragmentOwner>() + 48)),
        part("vips", MAX_VIPS, size(size_of::<[u64; 2]>() + size_of::<u64>() + 48) + size(size_of::<u64>())),
        part("leases", LEASES, size(size_of::<u64>())),
        part("reasons", Reason::COUNT as u32, cpus * size(size_of::<u64>())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_limits_stay_below_64_mib() {
        let total: u64 = memory(&Limits::default(), 128).iter().map(|part| part.bytes).sum();
        assert!(total < 64 << 20, "{total} bytes");
    }
}
