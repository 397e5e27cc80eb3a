//! What the ids in the maps stand for now.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Acquire;

use lb_common::abi::limits::{ALL_SLOTS, SERVICE_SLOTS};
use lb_common::abi::{
    Name, RealId, RealInfo, RingRange, ServiceFlags, ServiceId, ServiceInfo, ServiceSlot, Settings, Value,
};

use super::words::{read_value, values};
use super::{family, octets};
use crate::config::{Ports, Service};
use crate::dataplane::{Maps, WordMap};

const SLOT_WORDS: usize = ServiceSlot::ZEROS.len();

/// The directory maps, decoded. A new daemon starts from what its predecessor left here, so ids and rings stay.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// The services whose ids are in use.
    pub services: BTreeMap<ServiceId, ServiceInfo>,
    /// The real servers whose ids are in use.
    pub reals: BTreeMap<RealId, RealInfo>,
    /// The ids of real servers by pool, address and family: there may be thousands.
    ids: HashMap<(Name, [u8; 16], u8), RealId, foldhash::fast::RandomState>,
    /// The rings that packets may be looking at: those of the active slots, in case a daemon died between a directory entry
    /// and its slot.
    slot_rings: Vec<RingRange>,
    second_lists: HashSet<ServiceId>,
    /// Those all of whose flows are pinned.
    tracked_whole: HashSet<ServiceId>,
    /// The ring that packets see, by service.
    seen_rings: Vec<(ServiceId, RingRange)>,
}

impl Directory {
    /// Reads both maps.
    pub fn read(maps: &impl Maps) -> Self {
        let (services, reals) = (maps.words(WordMap::ServiceInfo), maps.words(WordMap::RealInfo));
        let limits = (values::<ServiceInfo>(services), values::<RealInfo>(reals));
        let service = |index: u32| {
            let id = ServiceId::new(u16::try_from(index).ok()?)?;
            Some((id, read_value::<ServiceInfo>(services, index))).filter(|(_, info)| info.used != 0)
        };
        let real = |index: u32| {
            let id = RealId::new(u16::try_from(index).ok()?)?;
            Some((id, read_value::<RealInfo>(reals, index))).filter(|(_, info)| info.used != 0)
        };
        let reals: BTreeMap<RealId, RealInfo> = (1..limits.1).filter_map(real).collect();
        let slots = active_slots(maps);
        let having = |flag: ServiceFlags| {
            slots.iter().filter(move |slot| slot.flags().has(flag)).filter_map(ServiceSlot::service).collect()
        };
        Self {
            services: (1..limits.0).filter_map(service).collect(),
            ids: reals.iter().map(|(id, info)| ((info.pool, info.address, info.family), *id)).collect(),
            reals,
            slot_rings: slot_rings(&slots),
            seen_rings: slots.iter().filter_map(|slot| Some((slot.service()?, slot.ring()))).collect(),
            second_lists: having(ServiceFlags::SECOND_LIST),
            tracked_whole: having(ServiceFlags::FULL),
        }
    }

    /// The id of the service with this vip, ports and protocol, for clients who prefer this zone (empty: none).
    pub fn service(&self, service: &Service, zone: &Name) -> Option<ServiceId> {
        let Ports { first, last } = service.ports;
        let wanted = (octets(service.vip), first, last, service.protocol as u8, family(service.vip));
        let same = |info: &ServiceInfo| (info.vip, info.port, info.last_port, info.protocol, info.family) == wanted;
        let same = |info: &ServiceInfo| same(info) && info.zone == *zone;
        self.services.iter().find(|(_, info)| same(info)).map(|(id, _)| *id)
    }

    /// The ids of services with this vip and protocol that have a port in common with it, for clients of the same zone.
    pub fn service_like(&self, service: &Service, zone: &Name) -> impl Iterator<Item = ServiceId> + '_ {
        let zone = *zone;
        let (wanted, ports) = ((octets(service.vip), service.protocol as u8, family(service.vip)), service.ports);
        let like = move |info: &ServiceInfo| {
            let theirs = Ports { first: info.port, last: info.last_port };
            (info.vip, info.protocol, info.family) == wanted && info.zone == zone && theirs.overlap(ports)
        };
        self.services.iter().filter(move |(_, info)| like(info)).map(|(id, _)| *id)
    }

    /// The rings that packets see for a service: its own, unless a daemon died before it came to the slots.
    pub fn seen_rings(&self, service: ServiceId) -> impl Iterator<Item = RingRange> + '_ {
        self.seen_rings.iter().filter(move |(id, _)| *id == service).map(|(_, ring)| *ring)
    }

    /// Whether packets look at the second access list of a service.
    pub fn has_second_list(&self, service: ServiceId) -> bool {
        self.second_lists.contains(&service)
    }

    /// Whether all flows of a service are pinned, wherever they are.
    pub fn tracks_all(&self, service: ServiceId) -> bool {
        self.tracked_whole.contains(&service)
    }

    /// The id of the real server with this address in the pool.
    pub fn real(&self, pool: &Name, address: IpAddr) -> Option<RealId> {
        self.ids.get(&(*pool, octets(address), family(address))).copied()
    }

    /// Where the ring of a pool, and of a zone (empty: of no zone), lies, if it was made of the same.
    pub fn ring(&self, pool: &str, zone: &str, signature: u64) -> Option<RingRange> {
        let (pool, zone) = (Name::new(pool), Name::new(zone));
        let mut of_pool = self.services.values().filter(|info| info.pool == pool && info.zone == zone);
        of_pool.find(|info| info.signature == signature).map(|info| RingRange::from_word(info.ring))
    }

    /// Every ring that a service may be using.
    pub fn rings(&self) -> impl Iterator<Item = RingRange> + '_ {
        let words = self.services.values().flat_map(|info| [info.ring, info.old_ring]);
        let of_services = words.map(RingRange::from_word).filter(|ring| ring.size != 0);
        of_services.chain(self.slot_rings.iter().copied())
    }
}

/// Those of zones among them.
fn active_slots(maps: &impl Maps) -> Vec<ServiceSlot> {
    let settings: Settings = read_value(maps.words(WordMap::Settings), 0);
    let first = (settings.active_half as u32 & 1) * SERVICE_SLOTS;
    let places = [first..first + SERVICE_SLOTS, 2 * SERVICE_SLOTS..ALL_SLOTS];
    let words = maps.words(WordMap::Services);
    places.into_iter().flat_map(|places| taken_slots(words, places)).map(|(_, slot)| slot).collect()
}

/// The slots among these, by their places in the map, that are taken: one in a hundred at most, so of the others only the
/// last word is read, which says so.
pub(super) fn taken_slots(words: &[AtomicU64], places: Range<u32>) -> impl Iterator<Item = (u32, ServiceSlot)> + '_ {
    let tail = |index: u32| words.get(index as usize * SLOT_WORDS + SLOT_WORDS - 1);
    let is_taken = move |index: &u32| tail(*index).is_some_and(|tail| tail.load(Acquire) != 0);
    places.filter(is_taken).map(|index| (index, read_value(words, index)))
}

fn slot_rings(slots: &[ServiceSlot]) -> Vec<RingRange> {
    let mut rings: Vec<_> = slots.iter().flat_map(|slot| [Some(slot.ring()), slot.old_ring()]).flatten().collect();
    rings.sort_by_key(|ring| (ring.base, ring.size));
    rings.dedup();
    rings
}
