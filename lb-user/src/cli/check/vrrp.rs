//! Virtual routers, as `xdirector check` shows them.

use serde::Serialize;

use super::super::output::{Table, has_colours};
use crate::config::vrrp::{SyncGroup, Track};
use crate::config::{Config, VirtualRouter};
use crate::vrrp::packet::{Dialect, Version};

/// One virtual router.
#[derive(Debug, Serialize)]
pub struct RouterReport {
    name: String,
    interface: String,
    virtual_router_id: u8,
    version: u8,
    priority: u8,
    advert_interval_ms: u128,
    vips: Vec<String>,
    vips_excluded: Vec<String>,
    tracked: Vec<String>,
    sync_group: Option<String>,
}

/// All of a file's.
pub fn reports(config: &Config) -> Vec<RouterReport> {
    let group = |index| config.sync_groups.iter().find(|SyncGroup { members, .. }| members.contains(&index));
    let routers = config.vrrp.iter().enumerate();
    routers.map(|(index, router)| RouterReport::new(router, group(index))).collect()
}

impl RouterReport {
    fn new(router: &VirtualRouter, group: Option<&SyncGroup>) -> Self {
        Self {
            name: router.name.clone(),
            interface: router.interface.clone(),
            virtual_router_id: router.vrid.get(),
            version: version(router.dialect),
            priority: router.priority.get(),
            advert_interval_ms: router.dialect.interval().as_millis(),
            vips: router.vips.iter().map(ToString::to_string).collect(),
            vips_excluded: router.more_vips.iter().map(ToString::to_string).collect(),
            tracked: router.tracked.iter().map(tracked).collect(),
            sync_group: group.map(|group| group.name.clone()),
        }
    }

    fn cells(&self) -> Vec<String> {
        let Self { name, interface, virtual_router_id, version, priority, advert_interval_ms, vips, .. } = self;
        let vips: Vec<String> = vips.iter().chain(&self.vips_excluded).cloned().collect();
        let tracked = if self.tracked.is_empty() { "nothing".into() } else { self.tracked.join(", ") };
        let group = self.sync_group.clone().unwrap_or_else(|| "none".into());
        let numbers = [virtual_router_id, version, priority].map(ToString::to_string);
        let head = [name.clone(), interface.clone()].into_iter().chain(numbers);
        head.chain([format!("{advert_interval_ms} ms"), group, vips.join(", "), tracked]).collect()
    }
}

fn version(dialect: Dialect) -> u8 {
    match dialect.version() {
        Version::V2 => 2,
        Version::V3 => 3,
    }
}

fn tracked(track: &Track) -> String {
    let Track { what, weight } = track;
    let what = what.describe();
    if *weight == 0 { format!("{what} (fault)") } else { format!("{what} ({weight:+})") }
}

/// A table, and an empty line; nothing at all for none.
pub fn text(routers: &[RouterReport]) -> String {
    if routers.is_empty() {
        return String::new();
    }
    let head = ["virtual router", "interface", "vrid", "version", "priority", "adverts", "group", "vips", "tracked"];
    let mut table = Table::new(2, &head);
    for router in routers {
        table.row(router.cells(), None);
    }
    table.render(has_colours()) + "\n"
}
