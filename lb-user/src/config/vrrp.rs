//! `[[vrrp]]` and `[[sync_group]]`: who holds the vips.

mod addresses;
mod parse;
mod together;
mod tongue;
mod track;

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use lb_common::abi::Mac;

use super::Account;
use crate::vrrp::announce::{Family, virtual_mac};
use crate::vrrp::machine::{Announcements, ChecksumForm, Preemption};
use crate::vrrp::packet::{Dialect, OWNER};

/// `[[vrrp]]`: one virtual router as it is on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualRouter {
    /// For logs, tables and hooks.
    pub name: String,
    /// Where its adverts go and its vips are.
    pub interface: String,
    /// Of its vips and its adverts.
    pub family: Family,
    /// `virtual_router_id`
    pub vrid: NonZeroU8,
    /// Version, interval and password.
    pub dialect: Dialect,
    /// Which form of version 3's checksum over IPv4 is sent.
    pub checksum: ChecksumForm,
    /// As it is written; tracked things change the one in effect.
    pub priority: NonZeroU8,
    /// `preempt`, `preempt_delay`
    pub preemption: Preemption,
    /// How the neighbours are told.
    pub announcements: Announcements,
    /// What the master answers for: all of one family, each with the length of its network, none twice; at least one.
    pub vips: Vec<IpNet>,
    /// Addresses, of any family, that go with the vips but are not in the adverts (keepalived's
    /// `virtual_ipaddress_excluded`).
    pub more_vips: Vec<IpNet>,
    /// Whether programs on the master can be reached at the vips from elsewhere.
    pub accept: bool,
    /// Routes that go with the vips: the arguments of `ip route add`.
    pub routes: Vec<Route>,
    /// Rules that go with the vips.
    pub rules: Vec<Rule>,
    /// From which address adverts come; `None`: the interface's primary one, or its link-local one.
    pub source: Option<IpAddr>,
    /// Empty: adverts go to the group; else to these, and are taken from these only.
    pub unicast_peers: Vec<IpAddr>,
    /// Whether the vips have the MAC 00:00:5e:00:01:XX (IPv6: 02:XX) and not the interface's own.
    pub virtual_mac: bool,
    /// What the priority depends on.
    pub tracked: Vec<Track>,
    /// What is run when the state changes.
    pub notify: Option<PathBuf>,
    /// Whom it runs as; `None`: as the daemon.
    pub notify_user: Option<Account>,
}

impl VirtualRouter {
    /// For these vips on this interface, and everything else as a file has it that does not say: version 2 for IPv4,
    /// version 3 for IPv6, priority 100, one advert a second. `None` without a vip, or with vips of both families.
    pub fn new(name: &str, interface: &str, vrid: NonZeroU8, vips: Vec<IpNet>) -> Option<Self> {
        let family = addresses::family_of(vips.first()?.addr());
        if vips.iter().any(|vip| addresses::family_of(vip.addr()) != family) {
            return None;
        }
        Some(Self {
            name: name.into(),
            interface: interface.into(),
            family,
            vrid,
            dialect: parse::default_dialect(family),
            checksum: ChecksumForm::AsHeard,
            priority: parse::PRIORITY,
            preemption: Preemption::default(),
            announcements: Announcements::default(),
            vips,
            more_vips: Vec::new(),
            accept: true,
            routes: Vec::new(),
            rules: Vec::new(),
            source: None,
            unicast_peers: Vec::new(),
            virtual_mac: false,
            tracked: Vec::new(),
            notify: None,
            notify_user: None,
        })
    }

    /// All that its master answers for.
    pub fn all_vips(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.vips.iter().chain(&self.more_vips).copied()
    }

    /// The MAC of its vips, if that is not the interface's own.
    pub fn mac(&self) -> Option<Mac> {
        self.virtual_mac.then(|| virtual_mac(self.family, self.vrid))
    }

    /// Whether the vips lead to services only. Whoever owns them accepts what comes for them (RFC 9568, section 6.1:
    /// Accept_Mode).
    pub fn is_closed(&self) -> bool {
        !self.accept && self.priority.get() != OWNER
    }
}

/// A route that goes with the vips.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub destination: IpNet,
    /// By which router; `None`: on the interface.
    pub gateway: Option<IpAddr>,
    /// By which interface; `None`: that of the virtual router.
    pub interface: Option<String>,
    /// The source address that goes with it.
    pub source: Option<IpAddr>,
    /// Its table; 254 is the main one.
    pub table: u32,
    /// Its metric; 0: none.
    pub metric: u32,
}

/// A rule that goes with the vips.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whose packets.
    pub from: Option<IpNet>,
    /// Where to.
    pub to: Option<IpNet>,
    /// Which table they look at.
    pub table: u32,
    /// Its place among the rules.
    pub priority: u32,
}

/// Something that the priority depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// What.
    pub what: Tracked,
    /// Above 0: added while it is well. Below 0: taken away while it is not. 0: a fault while it is not. From -253 to 253;
    /// for a file, by which its number is multiplied, from -254 to 254.
    pub weight: i16,
}

/// What can be tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tracked {
    /// An interface has its link and is up.
    Interface(String),
    /// A script ends with status 0.
    Script(TrackScript),
    /// A process of this name, as `ps -e` shows it, runs.
    Process(String),
    /// A file holds a number, which is multiplied by the weight and added (keepalived's `track_file`).
    File(PathBuf),
    /// A pool has as many healthy real servers as it wants.
    Pool(String),
    /// An address answers pings.
    Gateway(IpAddr),
}

/// `[script.NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackScript {
    /// NAME
    pub name: String,
    /// An absolute path.
    pub program: PathBuf,
    /// Its arguments; no shell looks at them.
    pub arguments: Vec<String>,
    /// From the start of one run to the start of the next.
    pub interval: Duration,
    /// It has failed if it runs for longer.
    pub timeout: Duration,
    /// Successes in a row that make it well; at least 1.
    pub rise: u32,
    /// Failures in a row that make it ill; at least 1.
    pub fall: u32,
    /// Whom it runs as; `None`: as the daemon.
    pub user: Option<Account>,
}

/// `[[sync_group]]`: virtual routers that stand or fall together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncGroup {
    /// For logs and hooks.
    pub name: String,
    /// Indexes in [`Config::vrrp`](super::Config::vrrp); at least two.
    pub members: Vec<usize>,
    /// What is run when the state of all changes.
    pub notify: Option<PathBuf>,
    /// Whom it runs as; `None`: as the daemon.
    pub notify_user: Option<Account>,
}

pub(super) use together::parse;
pub(super) use tongue::translate;

#[cfg(test)]
mod tests;
