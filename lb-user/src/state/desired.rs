//! What the maps should hold: a function of config and view, and of the ids and places already given out.

use std::collections::HashMap;
use std::net::IpAddr;

use lb_common::abi::{
    Bucket, Mac, Name, RealId, RealInfo, RealState, RingRange, ServiceId, ServiceInfo, ServiceKey, ServiceSlot,
    Settings, VERSION, limits,
};
use lb_common::hash::FlowKey;
use lb_common::ring::{self, Member, NOBODY, Turn};

use super::places::{FreeBuckets, FreeIds, slot_seed};
use super::{Directory, View, family, octets};
use crate::config::{Config, Pool, Service};

/// Why a config that is right in itself cannot be had in these maps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DesiredError {
    /// Too many services at once, those about to be removed counted too.
    #[error(
        "no id is free for service {0}: reload once with the old ones removed, then with the new ones added; or raise limits.services"
    )]
    Services(String),
    /// Too many real servers at once, those about to be removed counted too.
    #[error(
        "no id is free for real server {1} of pool {0}: reload once with the old ones removed, then with the new ones added; or raise limits.reals"
    )]
    Reals(String, String),
    /// No stretch of buckets is free, those of rings about to be replaced counted as taken.
    #[error(
        "no {1} buckets in a row are free for pool {0}, beside the rings that are in use until it is there: raise limits.ring_buckets"
    )]
    Buckets(String, u32),
    /// No seed gives every service a slot of its own. For up to 512 services this has a chance below one in 10^20.
    #[error("no perfect hash was found for the services: change director.hash_seed")]
    Seed,
}

/// What the maps should hold.
#[derive(Clone, Debug)]
pub struct Desired {
    /// As they should be; `active_half` is the half that `slots` goes to.
    pub settings: Settings,
    /// Each with its slot's index within the half.
    pub slots: Vec<(u32, ServiceSlot)>,
    /// The directory of services.
    pub services: Vec<(ServiceId, ServiceInfo)>,
    /// The directory of real servers.
    pub reals: Vec<(RealId, RealInfo)>,
    /// One for each pool that a service uses.
    pub rings: Vec<(RingRange, Vec<Bucket>)>,
}

/// The bases of the rings, which change only with the config.
#[derive(Debug, Default)]
pub struct RingCache(HashMap<String, (Vec<Member>, Vec<u16>)>);

impl RingCache {
    fn base(&mut self, pool: &Pool, members: &[Member]) -> &[u16] {
        let size = pool.ring_size as usize;
        let cached = self.0.entry(pool.name.clone()).or_default();
        if cached.0 != members || cached.1.len() != size {
            let mut base = vec![0; size];
            ring::base(members, &mut vec![Turn::default(); members.len()], &mut base);
            *cached = (members.to_vec(), base);
        }
        &cached.1
    }
}

impl Desired {
    /// Keeps every id and place that `directory` and `current` have, as far as the config still wants it.
    ///
    /// # Errors
    /// See [`DesiredError`].
    pub fn new(
        config: &Config,
        view: &View,
        directory: &Directory,
        current: &Settings,
        cache: &mut RingCache,
    ) -> Result<Self, DesiredError> {
        let reals = real_ids(config, directory)?;
        let places = ring_places(config, directory)?;
        let services = services(config, directory, &places)?;
        let keys: Vec<ServiceKey> = config.services.iter().map(service_key).collect();
        let settings = settings(view, current, &keys)?;
        let seed = settings.slot_seeds[settings.active_half as usize & 1];
        let slot = |(key, (id, info)): (&ServiceKey, &(ServiceId, ServiceInfo))| {
            (key.slot(seed), ServiceSlot::new(*key, *id, RingRange::from_word(info.ring)))
        };
        let slots = keys.iter().zip(&services).map(slot).collect();
        let used = config.pools.iter().enumerate().filter_map(|(index, pool)| Some((pool, *places.get(&index)?)));
        let rings = used.map(|(pool, range)| (range, buckets(pool, view, &reals, cache))).collect();
        let reals = config.pools.iter().flat_map(|pool| directory_of(pool, view, &reals)).collect();
        Ok(Self { settings, slots, services, reals, rings })
    }
}

type RealIds = HashMap<(String, IpAddr), RealId>;

fn real_ids(config: &Config, directory: &Directory) -> Result<RealIds, DesiredError> {
    let mut free = FreeIds::new(directory.reals.keys().copied(), config.limits.reals);
    let mut ids = RealIds::new();
    for pool in &config.pools {
        for real in &pool.reals {
            let known = directory.real(&pool.name, real.address);
            let id = known.or_else(|| free.take(RealId::new));
            let id = id.ok_or_else(|| DesiredError::Reals(pool.name.clone(), real.name.clone()))?;
            ids.insert((pool.name.clone(), real.address), id);
        }
    }
    Ok(ids)
}

/// By the pool's index; only pools that a service uses have a ring.
fn ring_places(config: &Config, directory: &Directory) -> Result<HashMap<usize, RingRange>, DesiredError> {
    let mut free = FreeBuckets::new(directory.rings(), config.limits.ring_buckets);
    let mut places = HashMap::new();
    for service in &config.services {
        let pool = &config.pools[service.pool];
        if places.contains_key(&service.pool) {
            continue;
        }
        let known = directory.ring(&pool.name, pool.ring_size);
        let place = known.or_else(|| free.take(pool.ring_size));
        places.insert(service.pool, place.ok_or_else(|| DesiredError::Buckets(pool.name.clone(), pool.ring_size))?);
    }
    Ok(places)
}

fn services(
    config: &Config,
    directory: &Directory,
    places: &HashMap<usize, RingRange>,
) -> Result<Vec<(ServiceId, ServiceInfo)>, DesiredError> {
    let mut free = FreeIds::new(directory.services.keys().copied(), config.limits.services);
    let mut services = Vec::new();
    for service in &config.services {
        let id = directory.service(service).or_else(|| free.take(ServiceId::new));
        let id = id.ok_or_else(|| DesiredError::Services(service.name.clone()))?;
        let info = ServiceInfo {
            used: 1,
            vip: octets(service.vip),
            port: service.port,
            protocol: service.protocol as u8,
            family: family(service.vip),
            reserved: 0,
            ring: places[&service.pool].to_word(),
            name: Name::new(&service.name),
            pool: Name::new(&config.pools[service.pool].name),
        };
        services.push((id, info));
    }
    Ok(services)
}

fn service_key(service: &Service) -> ServiceKey {
    let port = service.port.to_be_bytes();
    match service.vip {
        IpAddr::V4(vip) => ServiceKey::v4(vip.octets(), port, service.protocol),
        IpAddr::V6(vip) => ServiceKey::v6(vip.octets(), port, service.protocol),
    }
}

/// The half in use stays in use as long as its seed gives every service a slot of its own.
fn settings(view: &View, current: &Settings, keys: &[ServiceKey]) -> Result<Settings, DesiredError> {
    let half = current.active_half & 1;
    let current_seed = current.slot_seeds[half as usize];
    let seed = slot_seed(keys, current_seed, view.hash_seed).ok_or(DesiredError::Seed)?;
    let half = if seed == current_seed { half } else { half ^ 1 };
    let mut slot_seeds = current.slot_seeds;
    slot_seeds[half as usize] = seed;
    let mut own_macs = [0; limits::MAX_OWN_MACS];
    for (word, mac) in own_macs.iter_mut().zip(&view.own_macs) {
        *word = mac.to_word();
    }
    Ok(Settings {
        version: VERSION.into(),
        active_half: half,
        slot_seeds,
        hash_seed: view.hash_seed,
        flow_key: FlowKey::from_seed(view.hash_seed),
        own_macs,
    })
}

fn buckets(pool: &Pool, view: &View, ids: &RealIds, cache: &mut RingCache) -> Vec<Bucket> {
    let mut reals: Vec<_> = pool.reals.iter().collect();
    let member = |real: &&crate::config::Real| Member::new(view.hash_seed, octets(real.address), real.weight);
    reals.sort_by_cached_key(|real| member(real).key());
    let members: Vec<Member> = reals.iter().map(member).collect();
    let owner = |real: &&crate::config::Real| {
        let usable = real.weight > 0 && view.real_state(&pool.name, real.address).is_usable();
        let mac = *view.macs.get(&real.address).filter(|_| usable)?;
        Some(Bucket::new(*ids.get(&(pool.name.clone(), real.address))?, mac))
    };
    let buckets: Vec<Option<Bucket>> = reals.iter().map(owner).collect();
    let usable: Vec<bool> = buckets.iter().map(Option::is_some).collect();
    let base = cache.base(pool, &members);
    let mut owners = vec![NOBODY; base.len()];
    ring::owners(&members, base, &usable, &mut owners);
    let bucket = |owner: u16| buckets.get(owner as usize).copied().flatten().unwrap_or(Bucket::EMPTY);
    owners.into_iter().map(bucket).collect()
}

fn directory_of(pool: &Pool, view: &View, ids: &RealIds) -> Vec<(RealId, RealInfo)> {
    let info = |real: &crate::config::Real| {
        let state: RealState = view.real_state(&pool.name, real.address);
        let info = RealInfo {
            used: 1,
            address: octets(real.address),
            weight: real.weight,
            family: family(real.address),
            state: state as u8,
            reserved: 0,
            mac: view.macs.get(&real.address).copied().map_or(0, Mac::to_word),
            name: Name::new(&real.name),
            pool: Name::new(&pool.name),
        };
        Some((*ids.get(&(pool.name.clone(), real.address))?, info))
    };
    pool.reals.iter().filter_map(info).collect()
}
