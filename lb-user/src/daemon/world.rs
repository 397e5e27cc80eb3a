//! What the daemon knows beside its config, and what it takes over from a predecessor.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;

use lb_common::abi::{Mac, Settings};
use tracing::{info, warn};

use crate::config::{Config, Real};
use crate::dataplane::{self, Maps, WordMap};
use crate::net::Link;
use crate::state::{Directory, Health, Interface, View, address, read_value};

/// The view, and our interfaces.
#[derive(Clone, Debug)]
pub struct World {
    pub view: View,
    /// Those of `director.interfaces`, in that order.
    pub links: Vec<Link>,
}

impl World {
    /// Starts from what the maps say: the last verdicts and MACs that a predecessor knew.
    pub fn adopt(config: &Config, maps: &impl Maps, links: Vec<Link>) -> Self {
        let settings: Settings = read_value(maps.words(WordMap::Settings), 0);
        let directory = Directory::read(maps);
        let mut view = View { hash_seed: hash_seed(config, &settings), jiffy: dataplane::jiffy(), ..View::default() };
        for info in directory.reals.values() {
            let Some(address) = address(info.address, info.family) else { continue };
            let health = Health::from_number(info.health);
            if health != Health::Unchecked {
                view.set_health(info.pool.as_str(), address, health);
            }
            if info.mac != 0 {
                view.macs.insert(address, Mac::from_word(info.mac));
            }
        }
        if settings.version != 0 {
            let (services, reals) = (directory.services.len(), directory.reals.len());
            info!("adopting {services} services and {reals} real servers that a former daemon left");
        }
        let mut world = Self { view, links };
        world.forget_all_but(config);
        world.refresh_interfaces();
        world
    }

    /// Drops verdicts, wishes and MACs of what the config does not have, and those of pools that are not checked.
    pub fn forget_all_but(&mut self, config: &Config) {
        for (pool, reals) in &mut self.view.health {
            reals.retain(|address, _| checked_real(config, pool, *address).is_some());
        }
        for (pool, reals) in &mut self.view.asked {
            reals.retain(|address, _| checked_real(config, pool, *address).is_some());
        }
        self.view.held.retain(|name| config.pools.iter().any(|pool| pool.name == *name && pool.check.is_some()));
        let known: HashSet<IpAddr> = addresses(config).into_iter().collect();
        self.view.macs.retain(|address, _| known.contains(address));
        self.view.paths.retain(|address, _| known.contains(address));
    }

    /// Takes our interfaces from the links.
    pub fn refresh_interfaces(&mut self) {
        let interface = |link: &Link| Some(Interface { index: link.index, mac: link.mac?, mtu: link.mtu });
        self.view.interfaces = self.links.iter().filter_map(interface).collect();
    }
}

/// Every address whose MAC matters, once: those of real servers and of other directors.
pub fn addresses(config: &Config) -> Vec<IpAddr> {
    let reals = config.pools.iter().flat_map(|pool| &pool.reals).map(|real| real.address);
    let mut addresses: Vec<IpAddr> = reals.chain(config.director.peers.iter().copied()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// A real server by its pool's name and its address, if the pool is checked: it has a check, and a service uses it.
pub fn checked_real<'a>(config: &'a Config, pool: &str, address: IpAddr) -> Option<&'a Real> {
    let (index, pool) =
        config.pools.iter().enumerate().find(|(_, other)| other.name == pool && other.check.is_some())?;
    if !config.services.iter().any(|service| service.pool == index) {
        return None;
    }
    pool.reals.iter().find(|real| real.address == address)
}

/// The file's, else the one in use, else a new one.
fn hash_seed(config: &Config, current: &Settings) -> u64 {
    if let Some(seed) = config.director.hash_seed {
        return seed;
    }
    if current.version != 0 {
        return current.hash_seed;
    }
    // Seeded by the system's entropy; that is all that is wanted of it here.
    let seed = RandomState::new().build_hasher().finish();
    warn!(
        "director.hash_seed is not set; using {seed:016x}. Set it, the same on all directors, so that a vip can move"
    );
    seed
}
