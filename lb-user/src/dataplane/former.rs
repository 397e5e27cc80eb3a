//! The maps that packets see while a new daemon fills others: it takes over what they know.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use aya::maps::MapError;
use lb_common::abi::{Admission, Settings, VERSION, VipGuard, map};

use super::mapped::Mapped;
use super::pins::current_map;
use super::{AccessLists, AccessPrefix, CounterId, Maps, WordMap};
use crate::state::read_value;

/// Maps with other limits, of the same ABI version, that a former daemon left.
pub struct Former {
    settings: Mapped,
    services: Mapped,
    buckets: Mapped,
    reals: Mapped,
    pins: Mapped,
    leases: Mapped,
    probed_vips: Mapped,
    signals: Mapped,
    syns: Mapped,
    service_info: Mapped,
    real_info: Mapped,
}

impl Former {
    /// `None` if there are none, or none that this version can read.
    pub fn open(pin_dir: &Path) -> Option<Self> {
        let former = Self::read(pin_dir).ok()?;
        let settings: Settings = read_value(former.words(WordMap::Settings), 0);
        (settings.version == u64::from(VERSION)).then_some(former)
    }

    fn read(pin_dir: &Path) -> Result<Self, MapError> {
        let mapped = |name| Mapped::pinned(&current_map(pin_dir, name));
        Ok(Self {
            settings: mapped(map::SETTINGS)?,
            services: mapped(map::SERVICES)?,
            buckets: mapped(map::BUCKETS)?,
            reals: mapped(map::REALS)?,
            pins: mapped(map::PINS)?,
            leases: mapped(map::LEASES)?,
            probed_vips: mapped(map::PROBED_VIPS)?,
            signals: mapped(map::SIGNALS)?,
            syns: mapped(map::SYNS)?,
            service_info: mapped(map::SERVICE_INFO)?,
            real_info: mapped(map::REAL_INFO)?,
        })
    }
}

impl Maps for Former {
    fn words(&self, map: WordMap) -> &[AtomicU64] {
        match map {
            WordMap::Settings => self.settings.words(),
            WordMap::Services => self.services.words(),
            WordMap::Buckets => self.buckets.words(),
            WordMap::Reals => self.reals.words(),
            WordMap::Pins => self.pins.words(),
            WordMap::Leases => self.leases.words(),
            WordMap::ProbedVips => self.probed_vips.words(),
            WordMap::Signals => self.signals.words(),
            WordMap::Syns => self.syns.words(),
            WordMap::ServiceInfo => self.service_info.words(),
            WordMap::RealInfo => self.real_info.words(),
        }
    }

    fn zero_counter(&mut self, _: CounterId) -> io::Result<()> {
        Err(not_ours())
    }

    fn access_lists(&self) -> io::Result<AccessLists> {
        Err(not_ours())
    }

    fn set_access(&mut self, _: AccessPrefix, _: Option<Admission>) -> io::Result<()> {
        Err(not_ours())
    }

    fn set_guard(&mut self, _: IpAddr, _: Option<VipGuard>) -> io::Result<()> {
        Err(not_ours())
    }

    fn guards(&self) -> io::Result<BTreeMap<IpAddr, VipGuard>> {
        Err(not_ours())
    }

    fn set_interface(&mut self, _: u32, _: u32) -> io::Result<()> {
        Err(not_ours())
    }
}

fn not_ours() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "these are a former daemon's maps")
}
