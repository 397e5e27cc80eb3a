//! What is known of the addresses we forward to, and what to ask next. Pure: time comes in as an argument.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lb_common::abi::Mac;

use crate::state::Path;

/// The kernel is asked again about an address at most this often.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// What the kernel believes of an address whose health check fails is thrown away at most this often.
const DOUBT_EVERY: Duration = Duration::from_secs(3);

/// Where packets to an address leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// By this interface, without a gateway: the only way direct server return works.
    Link(u32),
    /// By an interface that is neither one of the director's own nor a VLAN on one.
    Elsewhere(u32),
    /// Behind a router.
    Gateway,
    /// It is this machine.
    Local,
    /// There is none.
    None,
}

/// How far the kernel stands by an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Set by an operator; not to be asked for, ever.
    Fixed,
    /// Confirmed a short while ago.
    Fresh,
    /// The kernel is asking now.
    Asking,
    /// Stale, failed, or not there.
    Old,
}

/// One entry of the kernel's neighbour table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Index of the interface.
    pub interface: u32,
    /// The neighbour's address.
    pub address: IpAddr,
    /// Its MAC; a failed entry has none.
    pub mac: Option<Mac>,
    /// How sure the kernel is.
    pub freshness: Freshness,
}

/// What to make the kernel do about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// By this interface.
    pub interface: u32,
    /// For this address.
    pub address: IpAddr,
    /// Forget the old answer first.
    pub forget: bool,
}

#[derive(Clone, Copy, Debug)]
struct Target {
    /// `None` until the kernel has been asked.
    route: Option<Route>,
    mac: Option<Mac>,
    freshness: Freshness,
    doubted: bool,
    asked: Option<Instant>,
}

impl Target {
    fn ask(&mut self, address: IpAddr, now: Instant) -> Option<Ask> {
        let Some(Route::Link(interface)) = self.route else { return None };
        let since = self.asked.map(|asked| now.saturating_duration_since(asked));
        let may = |pause| since.is_none_or(|since| since >= pause);
        let forget = self.doubted && self.freshness == Freshness::Fresh && may(DOUBT_EVERY);
        let old = self.freshness == Freshness::Old && may(ASK_EVERY);
        (forget || old).then(|| {
            self.asked = Some(now);
            Ask { interface, address, forget }
        })
    }
}

/// The addresses that matter.
#[derive(Debug, Default)]
pub struct Table {
    /// The director's own interfaces and the VLANs on them, by their indexes, with the way that each stands for: what is
    /// reached by another one cannot be forwarded to.
    own: BTreeMap<u32, Path>,
    targets: BTreeMap<IpAddr, Target>,
}

impl Table {
    /// Makes these the addresses that matter; says which are new, and so have no route yet.
    pub fn handle_targets(&mut self, addresses: &[IpAddr]) -> Vec<IpAddr> {
        self.targets.retain(|address, _| addresses.contains(address));
        let blank = Target { route: None, mac: None, freshness: Freshness::Old, doubted: false, asked: None };
        let new: Vec<IpAddr> =
            addresses.iter().copied().filter(|address| !self.targets.contains_key(address)).collect();
        self.targets.extend(new.iter().map(|address| (*address, blank)));
        new
    }

    /// All of them.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.targets.keys().copied().collect()
    }

    /// Makes these the director's own interfaces, and the VLANs on them: each with its index. Says whether they were others.
    pub fn handle_own(&mut self, own: BTreeMap<u32, Path>) -> bool {
        std::mem::replace(&mut self.own, own.clone()) != own
    }

    /// The way that a route stands for, if frames can be sent by it.
    pub fn path(&self, route: Route) -> Option<Path> {
        match route {
            Route::Local => Some(Path::Here),
            Route::Link(interface) => self.own.get(&interface).copied(),
            Route::Elsewhere(_) | Route::Gateway | Route::None => None,
        }
    }

    /// Says what there is to say of it, if that is news.
    pub fn handle_route(&mut self, address: IpAddr, route: Route) -> Option<Route> {
        let route = match route {
            Route::Link(interface) if !self.own.contains_key(&interface) => Route::Elsewhere(interface),
            route => route,
        };
        let target = self.targets.get_mut(&address)?;
        (target.route.replace(route) != Some(route)).then_some(route)
    }

    /// Says the MAC if it is a new one. An entry that lost its MAC changes nothing: the last one known stays, the health
    /// check judges.
    pub fn handle_entry(&mut self, entry: &Entry) -> Option<Mac> {
        let target = self.targets.get_mut(&entry.address)?;
        if target.route != Some(Route::Link(entry.interface)) {
            return None;
        }
        target.freshness = entry.freshness;
        let mac = entry.mac?;
        (target.mac.replace(mac) != Some(mac)).then_some(mac)
    }

    /// The kernel has thrown the entry away.
    pub fn handle_gone(&mut self, interface: u32, address: IpAddr) {
        if let Some(target) = self.targets.get_mut(&address)
            && target.route == Some(Route::Link(interface))
        {
            target.freshness = Freshness::Old;
        }
    }

    /// The health checks of these fail: their MACs may be other machines' by now, whatever the kernel believes.
    pub fn handle_doubted(&mut self, addresses: &HashSet<IpAddr>) {
        for (address, target) in &mut self.targets {
            target.doubted = addresses.contains(address);
        }
    }

    /// What to make the kernel ask now.
    pub fn poll_asks(&mut self, now: Instant) -> Vec<Ask> {
        self.targets.iter_mut().filter_map(|(address, target)| target.ask(*address, now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 66, 0, 101));
    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const ASK: Ask = Ask { interface: 3, address: ADDRESS, forget: false };

    fn table() -> Table {
        let mut table = Table::default();
        assert_eq!(table.handle_targets(&[ADDRESS]), [ADDRESS]);
        let by = |interface, vlan| Path::By { interface, vlan };
        table.handle_own([(3, by(3, 0)), (4, by(3, 100))].into());
        assert_eq!(table.handle_route(ADDRESS, Route::Link(3)), Some(Route::Link(3)));
        assert_eq!(table.handle_route(ADDRESS, Route::Link(3)), None);
        table
    }

    fn entry(mac: Option<Mac>, freshness: Freshness) -> Entry {
        Entry { interface: 3, address: ADDRESS, mac, freshness }
    }

    #[test]
    fn a_missing_entry_is_asked_for_at_once_and_then_once_a_second() {
        let (mut table, now) = (table(), Instant::now());
        assert_eq!(table.poll_asks(now), [ASK]);
        assert_eq!(table.poll_asks(now + ASK_EVERY / 2), []);
        assert_eq!(table.poll_asks(now + ASK_EVERY), [ASK]);
    }

    #[test]
    fn only_a_new_mac_is_news_and_a_lost_one_is_kept() {
        let mut table = table();
        assert_eq!(table.handle_entry(&entry(Some(A), Freshness::Fresh)), Some(A));
        assert_eq!(table.handle_entry(&entry(Some(A), Freshness::Old)), None);
        assert_eq!(table.handle_entry(&entry(None, Freshness::Old)), None);
        assert_eq!(table.handle_entry(&entry(Some(A), Freshness::Fresh)), None);
        assert_eq!(table.handle_entry(&entry(Some(B), Freshness::Fresh)), Some(B));
    }

    #[test]
    fn nothing_is_asked_for_what_is_fresh_fixed_or_being_asked() {
        let (mut table, now) = (table(), Instant::now());
        for freshness in [Freshness::Fresh, Freshness::Fixed, Freshness::Asking] {
            table.handle_entry(&entry(Some(A), freshness));
            assert_eq!(table.poll_asks(now), [], "{freshness:?}");
        }
    }

    #[test]
    fn a_fresh_entry_is_forgotten_when_its_check_fails() {
        let (mut table, now) = (table(), Instant::now());
        table.handle_entry(&entry(Some(A), Freshness::Fresh));
        table.handle_doubted(&[ADDRESS].into());
        assert_eq!(table.poll_asks(now), [Ask { forget: true, ..ASK }]);
        assert_eq!(table.poll_asks(now + DOUBT_EVERY / 2), []);
        assert_eq!(table.poll_asks(now + DOUBT_EVERY), [Ask { forget: true, ..ASK }]);
        table.handle_doubted(&HashSet::new());
        assert_eq!(table.poll_asks(now + DOUBT_EVERY * 2), []);
        table.handle_entry(&entry(Some(A), Freshness::Fixed));
        table.handle_doubted(&[ADDRESS].into());
        assert_eq!(table.poll_asks(now + DOUBT_EVERY * 3), []);
    }

    #[test]
    fn nothing_is_asked_or_believed_off_the_link() {
        let (mut table, now) = (table(), Instant::now());
        for route in [Route::Gateway, Route::Local, Route::None] {
            assert_eq!(table.handle_route(ADDRESS, route), Some(route));
            assert_eq!(table.poll_asks(now), [], "{route:?}");
            assert_eq!(table.handle_entry(&entry(Some(A), Freshness::Fresh)), None);
        }
        assert_eq!(table.handle_route(ADDRESS, Route::Link(9)), Some(Route::Elsewhere(9)));
        assert_eq!(table.handle_entry(&Entry { interface: 9, ..entry(Some(A), Freshness::Fresh) }), None);
        table.handle_route(ADDRESS, Route::Link(4));
        assert_eq!(table.path(Route::Link(4)), Some(Path::By { interface: 3, vlan: 100 }));
        assert_eq!((table.path(Route::Local), table.path(Route::Gateway)), (Some(Path::Here), None));
        assert_eq!(table.handle_entry(&entry(Some(A), Freshness::Fresh)), None);
    }
}
