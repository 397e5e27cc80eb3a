//! The maps without a kernel.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;

use lb_common::abi::{
    Admission, Bucket, Counter, PinSet, ProbedVip, RealInfo, RealSlot, ServiceInfo, ServiceSlot, Settings, Signals,
    SynNote, VipGuard, WAYS, limits,
};
use lb_common::reason::Reason;

use super::{AccessLists, AccessPrefix, CounterId, Maps, WordMap, zero_signals};
use crate::config::Limits;

/// Maps in plain memory, of the same sizes and with the same content as the kernel's.
#[derive(Debug)]
pub struct Memory {
    settings: Vec<AtomicU64>,
    services: Vec<AtomicU64>,
    buckets: Vec<AtomicU64>,
    reals: Vec<AtomicU64>,
    pins: Vec<AtomicU64>,
    lease_ends: Vec<AtomicU64>,
    probed_vips: Vec<AtomicU64>,
    signals: Vec<AtomicU64>,
    syns: Vec<AtomicU64>,
    service_info: Vec<AtomicU64>,
    real_info: Vec<AtomicU64>,
    /// By [`ServiceId`](lb_common::abi::ServiceId); index 0 is never used.
    pub service_counters: Vec<Counter>,
    /// By [`RealId`](lb_common::abi::RealId); index 0 is never used.
    pub real_counters: Vec<Counter>,
    /// By [`Reason`].
    pub reasons: [u64; Reason::COUNT],
    /// All access lists.
    pub access: AccessLists,
    /// Of each vip that has one.
    pub guards: BTreeMap<IpAddr, VipGuard>,
    /// The indexes of our interfaces, by place.
    pub interfaces: [u32; limits::MAX_INTERFACES],
}

impl Memory {
    /// All zero, as the kernel's are when they are made.
    pub fn new(limits: &Limits) -> Self {
        let (services, reals) = (limits.services as usize + 1, limits.reals as usize + 1);
        Self {
            settings: zeros::<Settings>(1),
            services: zeros::<ServiceSlot>(limits::ALL_SLOTS as usize),
            buckets: zeros::<Bucket>(limits.ring_buckets as usize),
            reals: zeros::<RealSlot>(reals),
            pins: zeros::<PinSet>(limits.pins as usize / WAYS),
            lease_ends: zeros::<u64>(limits::LEASES as usize),
            probed_vips: zeros::<ProbedVip>(limits::PROBED_VIPS as usize),
            signals: zeros::<Signals>(reals),
            syns: zeros::<SynNote>(limits::SYNS as usize),
            service_info: zeros::<ServiceInfo>(services),
            real_info: zeros::<RealInfo>(reals),
            service_counters: vec![Counter::default(); services],
            real_counters: vec![Counter::default(); reals],
            reasons: [0; Reason::COUNT],
            access: AccessLists::new(),
            guards: BTreeMap::new(),
            interfaces: [0; limits::MAX_INTERFACES],
        }
    }
}

fn zeros<T>(values: usize) -> Vec<AtomicU64> {
    (0..values * size_of::<T>() / 8).map(|_| AtomicU64::new(0)).collect()
}

impl Maps for Memory {
    fn words(&self, map: WordMap) -> &[AtomicU64] {
        match map {
            WordMap::Settings => &self.settings,
            WordMap::Services => &self.services,
            WordMap::Buckets => &self.buckets,
            WordMap::Reals => &self.reals,
            WordMap::Pins => &self.pins,
            WordMap::Leases => &self.lease_ends,
            WordMap::ProbedVips => &self.probed_vips,
            WordMap::Signals => &self.signals,
            WordMap::Syns => &self.syns,
            WordMap::ServiceInfo => &self.service_info,
            WordMap::RealInfo => &self.real_info,
        }
    }

    fn zero_counter(&mut self, counter: CounterId) -> io::Result<()> {
        let slot = match counter {
            CounterId::Service(id) => self.service_counters.get_mut(id.index() as usize),
            CounterId::Real(id) => self.real_counters.get_mut(id.index() as usize),
        };
        *slot.ok_or(io::ErrorKind::InvalidInput)? = Counter::default();
        zero_signals(self, counter);
        Ok(())
    }

    fn access_lists(&self) -> io::Result<AccessLists> {
        Ok(self.access.clone())
    }

    fn set_access(&mut self, prefix: AccessPrefix, access: Option<Admission>) -> io::Result<()> {
        match access {
            Some(access) => self.access.insert(prefix, access),
            None => self.access.remove(&prefix),
        };
        Ok(())
    }

    fn set_guard(&mut self, vip: IpAddr, guard: Option<VipGuard>) -> io::Result<()> {
        match guard {
            Some(guard) => self.guards.insert(vip, guard),
            None => self.guards.remove(&vip),
        };
        Ok(())
    }

    fn guards(&self) -> io::Result<BTreeMap<IpAddr, VipGuard>> {
        Ok(self.guards.clone())
    }

    fn set_interface(&mut self, place: u32, index: u32) -> io::Result<()> {
        *self.interfaces.get_mut(place as usize).ok_or(io::ErrorKind::InvalidInput)? = index;
        Ok(())
    }
}
