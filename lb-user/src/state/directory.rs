//! What the ids in the maps stand for now.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use lb_common::abi::limits::SERVICE_SLOTS;
use lb_common::abi::{Name, RealId, RealInfo, RingRange, ServiceId, ServiceInfo, ServiceSlot, Settings};

use super::words::{read_value, values};
use super::{family, octets};
use crate::config::Service;
use crate::dataplane::{Maps, WordMap};

/// The directory maps, decoded. A new daemon starts from what its predecessor left here, so ids and rings stay.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// The services whose ids are in use.
    pub services: BTreeMap<ServiceId, ServiceInfo>,
    /// The real servers whose ids are in use.
    pub reals: BTreeMap<RealId, RealInfo>,
    /// The ids of real servers by pool, address and family: there may be thousands.
    ids: HashMap<(Name, [u8; 16], u8), RealId>,
    /// The rings that packets may be looking at: those of the active slots, in case a daemon died between a directory entry
    /// and its slot.
    slot_rings: Vec<RingRange>,
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
        Self {
            services: (1..limits.0).filter_map(service).collect(),
            ids: reals.iter().map(|(id, info)| ((info.pool, info.address, info.family), *id)).collect(),
            reals,
            slot_rings: slot_rings(maps),
        }
    }

    /// The id of the service with this vip, port and protocol.
    pub fn service(&self, service: &Service) -> Option<ServiceId> {
        let wanted = (octets(service.vip), service.port, service.protocol as u8, family(service.vip));
        let same = |info: &ServiceInfo| (info.vip, info.port, info.protocol, info.family) == wanted;
        self.services.iter().find(|(_, info)| same(info)).map(|(id, _)| *id)
    }

    /// The id of the real server with this address in the pool.
    pub fn real(&self, pool: &str, address: IpAddr) -> Option<RealId> {
        self.ids.get(&(Name::new(pool), octets(address), family(address))).copied()
    }

    /// Where the ring of a pool lies, if it has that size.
    pub fn ring(&self, pool: &str, size: u32) -> Option<RingRange> {
        let of_pool = self.services.values().filter(|info| info.pool.as_str() == pool);
        of_pool.map(|info| RingRange::from_word(info.ring)).find(|range| range.size == size)
    }

    /// Every ring that a service may be using.
    pub fn rings(&self) -> impl Iterator<Item = RingRange> + '_ {
        self.services.values().map(|info| RingRange::from_word(info.ring)).chain(self.slot_rings.iter().copied())
    }
}

fn slot_rings(maps: &impl Maps) -> Vec<RingRange> {
    let words = maps.words(WordMap::Services);
    let settings: Settings = read_value(maps.words(WordMap::Settings), 0);
    let first = (settings.active_half as u32 & 1) * SERVICE_SLOTS;
    let taken = (first..first + SERVICE_SLOTS).map(|index| read_value::<ServiceSlot>(words, index));
    let mut rings: Vec<_> = taken.filter(|slot| slot.tail != 0).map(|slot| slot.ring()).collect();
    rings.sort_by_key(|ring| (ring.base, ring.size));
    rings.dedup();
    rings
}
