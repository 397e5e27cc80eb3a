//! What the maps should hold: a function of config and view, and of the ids and places already given out.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use lb_common::abi::{
    Bucket, Family, Mac, Name, ProbeMark, ProbedVip, Protocol, RealId, RealInfo, RealSlot, RingRange, ServiceFlags,
    ServiceId, ServiceInfo, ServiceKey, ServiceSlot, Settings, Tick, VERSION, WAYS, limits,
};
use lb_common::hash::FlowKey;

use super::access::{ListsInUse, access_lists};
use super::crew::{Departed, crew, departed};
use super::history::old_ring;
use super::places::{FreeIds, slot_seed};
use super::rings::{RingCache, Rings, buckets, rings};
use super::{Directory, Holds, Moment, View, family, octets, read_value, words_of};
use crate::config::{Affinity, Config, Limits, Real, Service, Tracking, VirtualRouter};
use crate::dataplane::{AccessLists, Maps, WordMap};

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
    /// Those of clients who prefer a zone, behind both halves.
    pub zone_slots: Vec<(ServiceId, ServiceSlot)>,
    /// The directory of services.
    pub services: Vec<(ServiceId, ServiceInfo)>,
    /// The directory of real servers, those among them that are gone from the config but have flows yet.
    pub reals: Vec<(RealId, RealInfo)>,
    /// What packets know of the same real servers.
    pub real_slots: Vec<(RealId, RealSlot)>,
    /// One for each pool that a service uses, and for each zone that its clients prefer.
    pub rings: Vec<(RingRange, Vec<Bucket>)>,
    /// All of them.
    pub access: AccessLists,
    /// The vips that checks go by.
    pub probed_vips: Vec<(ProbeMark, ProbedVip)>,
}

/// What is to be had, as the world is, and was.
pub struct Wish<'a, M> {
    /// The file.
    pub config: &'a Config,
    /// What the daemon sees.
    pub view: &'a View,
    /// The maps as they are.
    pub maps: &'a M,
    /// What the ids in them stand for.
    pub directory: &'a Directory,
    /// The access lists as they are.
    pub access: &'a AccessLists,
    /// What flows still need.
    pub holds: &'a Holds,
    /// Now.
    pub now: Moment,
}

impl Desired {
    /// Keeps every id and place that the maps have, as far as the config or a flow still wants it.
    ///
    /// # Errors
    /// See [`DesiredError`].
    pub fn new(wish: &Wish<'_, impl Maps>, cache: &mut RingCache) -> Result<Self, DesiredError> {
        let Wish { config, .. } = wish;
        let ids = real_ids(wish)?;
        let crews: Vec<_> = (0..config.pools.len()).map(|index| crew(wish, index, &ids)).collect();
        let mut rings = rings(wish, &crews, cache)?;
        let branches = branches(config);
        let services = services(wish, &branches, &mut rings)?;
        let keys: Vec<Keyed> = branches.iter().enumerate().flat_map(keys_of).collect();
        let settings = settings(wish, &keys)?;
        let access = access_lists(wish, &branches, &services);
        let windows = services.iter().any(|(_, info)| info.old_ring != 0);
        let departed = departed(wish, &ids, windows);
        let all = branches.iter().zip(&services);
        let bare: Vec<ServiceSlot> =
            all.clone().map(|(branch, service)| slot(wish, branch, service, &access, &departed)).collect();
        let seed = settings.slot_seeds[settings.active_half as usize & 1];
        let slots = keys.iter().map(|keyed| (keyed.key.slot(seed), keyed.of(&bare))).collect();
        let zones = all.zip(&bare).filter(|((branch, _), _)| branch.zone.is_some());
        let zone_slots = zones.map(|((_, (id, _)), slot)| (*id, *slot)).collect();
        let known = || crews.iter().flatten();
        let mut reals: Vec<_> = known().map(|known| (known.id, known.info)).collect();
        let mut real_slots: Vec<_> = known().map(|known| (known.id, known.slot)).collect();
        let rings = rings.values().map(|ring| (ring.range, buckets(wish, &crews[ring.pool], ring))).collect();
        for (id, info, slot) in departed {
            reals.push((id, info));
            real_slots.push((id, slot));
        }
        Ok(Self {
            settings,
            slots,
            zone_slots,
            services,
            reals,
            real_slots,
            rings,
            access: access.lists,
            probed_vips: probed_vips(config),
        })
    }
}

fn probed_vips(config: &Config) -> Vec<(ProbeMark, ProbedVip)> {
    let vip = |vip: IpAddr| ProbedVip::new(words_of(vip), if vip.is_ipv4() { Family::V4 } else { Family::V6 });
    config.probe_marks().into_iter().map(|(address, mark)| (mark, vip(address))).collect()
}

/// A service, or what it is for those of its clients that prefer a zone: what has an id, a ring and pins of its own.
#[derive(Clone, Copy, Debug)]
pub struct Branch<'a> {
    /// The service.
    pub service: &'a Service,
    /// The zone.
    pub zone: Option<&'a str>,
}

/// The services in the order of the file, each followed by those of its zones.
fn branches(config: &Config) -> Vec<Branch<'_>> {
    let mut branches = Vec::new();
    for service in &config.services {
        let all = std::iter::once(None).chain(service.zones().into_iter().map(Some));
        branches.extend(all.map(|zone| Branch { service, zone }));
    }
    branches
}

/// By the pool's index and the address.
pub type RealIds = HashMap<(usize, IpAddr), RealId, foldhash::fast::RandomState>;

fn real_ids(wish: &Wish<'_, impl Maps>) -> Result<RealIds, DesiredError> {
    let Wish { config, directory, .. } = wish;
    let mut free = FreeIds::new(directory.reals.keys().copied(), config.limits.reals);
    let mut ids = RealIds::default();
    for (index, pool) in config.pools.iter().enumerate() {
        let name = Name::new(&pool.name);
        for real in &pool.reals {
            let known = directory.real(&name, real.address);
            let id = known.or_else(|| free.take(RealId::new));
            let id = id.ok_or_else(|| DesiredError::Reals(pool.name.clone(), real.name.clone()))?;
            ids.insert((index, real.address), id);
        }
    }
    Ok(ids)
}

/// Notes in `rings` which rings their flows may still be where they say.
fn services<'a, M: Maps>(
    wish: &Wish<'_, M>,
    branches: &[Branch<'a>],
    rings: &mut Rings<'a, M>,
) -> Result<Vec<(ServiceId, ServiceInfo)>, DesiredError> {
    let Wish { config, directory, now, .. } = wish;
    let mut free = FreeIds::new(directory.services.keys().copied(), config.limits.services);
    let mut services = Vec::new();
    let zone = |branch: &Branch<'_>| branch.zone.map_or(Name::EMPTY, Name::new);
    let exact = |branch: &Branch<'_>| directory.service(branch.service, &zone(branch));
    let exact: Vec<Option<ServiceId>> = branches.iter().map(exact).collect();
    let mut claimed: Vec<ServiceId> = exact.iter().flatten().copied().collect();
    for (branch, exact) in branches.iter().zip(exact) {
        let (service, zone) = (branch.service, zone(branch));
        // One whose ports have changed keeps its id, and so its flows.
        let moved = || directory.service_like(service, &zone).find(|id| !claimed.contains(id));
        let id = exact.or_else(moved).or_else(|| free.take(ServiceId::new));
        claimed.extend(id);
        let id = id.ok_or_else(|| DesiredError::Services(service.name.clone()))?;
        // Clients who get a zone have been where the service's own ring says.
        let of_service = || directory.service(service, &Name::EMPTY).and_then(|id| directory.services.get(&id));
        // Ports taken out of a range have been where the range's ring says.
        let of_range = || directory.service_like(service, &zone).find_map(|id| directory.services.get(&id));
        let former = directory.services.get(&id).or_else(of_service).or_else(of_range);
        // Every branch has a ring.
        let ring = rings.get_mut(&(service.pool, branch.zone));
        let ring = ring.ok_or_else(|| DesiredError::Services(service.name.clone()))?;
        let (old_ring, old_until) = old_ring(former, ring.range, *now, service.idle_timeout.as_secs());
        let note = |rings: &mut Vec<RingRange>, word: u64| {
            let ring = RingRange::from_word(word);
            if ring.size != 0 && !rings.contains(&ring) {
                rings.push(ring);
            }
        };
        note(&mut ring.former.open, old_ring);
        let former_ring = former.map(|former| former.ring);
        let seen = directory.seen_rings(id).map(RingRange::to_word);
        for former in former_ring.into_iter().chain(seen).filter(|former| *former != ring.range.to_word()) {
            note(&mut ring.former.replaced, former);
        }
        let info = ServiceInfo {
            used: 1,
            vip: octets(service.vip),
            port: service.ports.first,
            protocol: service.protocol as u8,
            family: family(service.vip),
            last_port: service.ports.last,
            reserved: 0,
            ring: ring.range.to_word(),
            signature: ring.signature,
            old_ring,
            old_until,
            name: Name::new(&service.name),
            pool: Name::new(&config.pools[service.pool].name),
            zone,
        };
        services.push((id, info));
    }
    Ok(services)
}

/// One key of a service, which has one for each block of its ports.
struct Keyed {
    key: ServiceKey,
    /// The logarithm of the block's size.
    bits: u32,
    /// Of the branch.
    index: usize,
}

impl Keyed {
    /// The slot of its branch, with this key.
    fn of(&self, bare: &[ServiceSlot]) -> ServiceSlot {
        let slot = bare[self.index];
        ServiceSlot { vip: self.key.vip, tail: slot.tail | u64::from(self.key.tail), ..slot }
    }
}

/// None for clients who prefer a zone: the service finds them.
fn keys_of((index, branch): (usize, &Branch<'_>)) -> impl Iterator<Item = Keyed> {
    let Service { vip, protocol, ports, .. } = *branch.service;
    let is_found = branch.zone.is_none();
    let key = move |(port, bits): (u16, u32)| {
        let key = service_key(vip, port, protocol);
        Keyed { key: if bits == 0 { key } else { key.block(bits) }, bits, index }
    };
    ports.blocks().filter(move |_| is_found).map(key)
}

fn service_key(vip: IpAddr, port: u16, protocol: Protocol) -> ServiceKey {
    let port = port.to_be_bytes();
    match vip {
        IpAddr::V4(vip) => ServiceKey::v4(vip.octets(), port, protocol),
        IpAddr::V6(vip) => ServiceKey::v6(vip.octets(), port, protocol),
    }
}

/// The half in use stays in use as long as its seed gives every service a slot of its own.
fn settings(wish: &Wish<'_, impl Maps>, keyed: &[Keyed]) -> Result<Settings, DesiredError> {
    let Wish { config, view, .. } = wish;
    let current: Settings = read_value(wish.maps.words(WordMap::Settings), 0);
    let keys: Vec<ServiceKey> = keyed.iter().map(|keyed| keyed.key).collect();
    let half = current.active_half & 1;
    let current_seed = current.slot_seeds[half as usize];
    let seed = slot_seed(&keys, current_seed, view.hash_seed).ok_or(DesiredError::Seed)?;
    let half = if seed == current_seed { half } else { half ^ 1 };
    let mut slot_seeds = current.slot_seeds;
    slot_seeds[half as usize] = seed;
    let (mut own_macs, mut interfaces) = ([0; limits::MAX_INTERFACES], [0; limits::MAX_INTERFACES]);
    for (place, interface) in view.interfaces.iter().take(limits::MAX_INTERFACES).enumerate() {
        own_macs[place] = interface.mac.to_word();
        interfaces[place] = interface.index.into();
    }
    // Behind them, the MACs of virtual routers. No frame is sent out by these places, so they have no interface.
    let virtual_macs: BTreeSet<Mac> = config.vrrp.iter().filter_map(VirtualRouter::mac).collect();
    for (place, mac) in (view.interfaces.len()..limits::MAX_INTERFACES).zip(virtual_macs) {
        own_macs[place] = mac.to_word();
    }
    let mut peer_macs = [0; limits::MAX_PEERS];
    let peers = config.director.peers.iter().filter_map(|peer| view.macs.get(peer));
    for (word, mac) in peer_macs.iter_mut().zip(peers) {
        *word = mac.to_word();
    }
    Ok(Settings {
        version: VERSION.into(),
        active_half: half,
        slot_seeds,
        hash_seed: view.hash_seed,
        flow_key: FlowKey::from_seed(view.hash_seed),
        port_blocks: keyed.iter().filter(|keyed| keyed.bits > 0).fold(0, |blocks, keyed| blocks | 1 << keyed.bits),
        pin_mask: pin_sets(&config.limits) - 1,
        idle_ticks: config.services.iter().map(|service| idle_ticks(service.idle_timeout)).max().unwrap_or(1),
        probes: u64::from(!config.probe_marks().is_empty()),
        jiffy: view.jiffy.as_nanos() as u64,
        closed: u64::from(config.vrrp.iter().any(VirtualRouter::is_closed)),
        own_macs,
        interfaces,
        peer_macs,
    })
}

/// A power of two, as the number of pins is.
fn pin_sets(limits: &Limits) -> u64 {
    u64::from(limits.pins) / WAYS as u64
}

/// Ticks that last for at least this long.
fn idle_ticks(idle: Duration) -> u64 {
    // A pin's tick is as old as the tick it was made in, so one more.
    (idle.as_nanos() as u64).div_ceil(1 << Tick::SHIFT) + 1
}

/// Without the key.
fn slot(
    wish: &Wish<'_, impl Maps>,
    branch: &Branch<'_>,
    (id, info): &(ServiceId, ServiceInfo),
    access: &ListsInUse,
    departed: &[Departed],
) -> ServiceSlot {
    let flags = flags(wish, branch, access.second.contains(id), departed);
    let slot = ServiceSlot::new(ServiceKey { vip: [0; 2], tail: 0 }, *id, flags, RingRange::from_word(info.ring));
    ServiceSlot { old_ring: info.old_ring, source_mask: source_mask(branch.service), ..slot }
}

fn flags(wish: &Wish<'_, impl Maps>, branch: &Branch<'_>, second_list: bool, departed: &[Departed]) -> ServiceFlags {
    let here = |real: &Real| wish.view.is_here(real.address);
    // A real server of any pool: its flows may have been this service's.
    let drains_here = departed.iter().any(|(_, _, slot)| slot.owner().is_some_and(Bucket::is_local));
    let service = branch.service;
    let has_list = service.access.is_some() || !service.locality.is_empty();
    let asked = [
        (matches!(service.affinity, Affinity::Source { .. }), ServiceFlags::BY_SOURCE),
        (has_list && branch.zone.is_none(), ServiceFlags::ACCESS),
        (second_list, ServiceFlags::SECOND_LIST),
        (wish.config.pools[service.pool].reals.iter().any(here) || drains_here, ServiceFlags::LOCAL),
        (service.tracking == Tracking::Full, ServiceFlags::FULL),
    ];
    let asked = asked.into_iter().filter(|(is, _)| *is);
    asked.fold(ServiceFlags::default(), |flags, (_, flag)| flags.and(flag))
}

fn source_mask(service: &Service) -> [u64; 2] {
    match (service.affinity, service.vip) {
        (Affinity::Flow, _) => [0; 2],
        (Affinity::Source { bits }, IpAddr::V4(_)) => {
            words_of(IpAddr::V4(ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::UNSPECIFIED, bits).netmask()))
        }
        (Affinity::Source { bits }, IpAddr::V6(_)) => {
            words_of(IpAddr::V6(ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::UNSPECIFIED, bits).netmask()))
        }
    }
}
