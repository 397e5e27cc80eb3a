//! The pinned maps as a person would want to read them. Needs no daemon.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use aya::maps::{Map, MapData, MapError, PerCpuArray};
use lb_common::abi::{
    Bucket, Counter, Mac, Pin, Protocol, RealId, RealInfo, RealState, RingRange, ServiceId, ServiceInfo, Settings,
    VERSION, map,
};
use lb_common::reason::Reason;

use super::kernel::sum;
use super::mapped::Mapped;
use super::pins::current_map;
use crate::config::Ports;
use crate::state::{address, read_value, values};

/// All that the maps say, at about one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// By id.
    pub services: Vec<ServiceDump>,
    /// By id.
    pub reals: Vec<RealDump>,
    /// All of them, in their order.
    pub reasons: Vec<(Reason, u64)>,
    /// The flows that are remembered.
    pub pins: PinsDump,
}

/// What is remembered of flows, and where packets look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PinsDump {
    /// How many there is room for.
    pub room: usize,
    /// Those of flows that were seen within the idle timeout, or would be if the daemon had looked.
    pub taken: usize,
    /// Those of flows that were elsewhere than their bucket said when they were last seen.
    pub foreign: usize,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceDump {
    /// Its id.
    pub id: ServiceId,
    /// Its name; `name@zone` for its clients who prefer a zone.
    pub name: String,
    /// Its pool's name.
    pub pool: String,
    /// Its address.
    pub vip: IpAddr,
    /// Its ports.
    pub ports: Ports,
    /// Its protocol.
    pub protocol: Protocol,
    /// Buckets in its pool's ring.
    pub ring_size: u32,
    /// Buckets whose flows may be elsewhere, so that packets look at the pins.
    pub marked: u32,
    /// How many buckets of the ring are each real server's, of those that have any.
    pub owned: BTreeMap<RealId, u32>,
    /// Since it was first configured.
    pub counter: Counter,
}

/// One real server of one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealDump {
    /// Its id.
    pub id: RealId,
    /// Its pool's name.
    pub pool: String,
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// The weight that counts: what the operator has set, else its check, else the config.
    pub weight: u32,
    /// How it stands.
    pub state: RealState,
    /// The last MAC known.
    pub mac: Option<Mac>,
    /// Over all services of its pool, since it was first configured.
    pub counter: Counter,
}

/// Why the maps cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// No daemon has been here.
    #[error(
        "no maps are pinned under {}: is `xdirector run` running, with this pin_dir, and are you root?", .0.display()
    )]
    Absent(PathBuf),
    /// Another version's maps.
    #[error("the maps under {} are of ABI version {version}, this binary reads version {VERSION}", dir.display())]
    Version {
        /// The pin directory.
        dir: PathBuf,
        /// The maps' version; 0 if no daemon has finished writing them yet.
        version: u64,
    },
    /// A map is there but cannot be read.
    #[error("cannot read map {0}")]
    Map(&'static str, #[source] MapError),
}

impl Dump {
    /// Reads the maps that packets see, under this pin directory.
    ///
    /// # Errors
    /// See [`DumpError`].
    pub fn read(pin_dir: &Path) -> Result<Self, DumpError> {
        if !current_map(pin_dir, map::SETTINGS).exists() {
            return Err(DumpError::Absent(pin_dir.into()));
        }
        let settings: Settings = read_value(mapped(pin_dir, map::SETTINGS)?.words(), 0);
        if settings.version != u64::from(VERSION) {
            return Err(DumpError::Version { dir: pin_dir.into(), version: settings.version });
        }
        let services = services(pin_dir)?;
        Ok(Self { services, reals: reals(pin_dir)?, reasons: reasons(pin_dir)?, pins: pins(pin_dir)? })
    }
}

fn services(pin_dir: &Path) -> Result<Vec<ServiceDump>, DumpError> {
    let info = mapped(pin_dir, map::SERVICE_INFO)?;
    let counters = per_cpu::<[u64; 2]>(pin_dir, map::SERVICE_COUNTERS)?;
    let buckets = mapped(pin_dir, map::BUCKETS)?;
    let service = |index: u32| {
        let id = ServiceId::new(u16::try_from(index).ok()?)?;
        let info: ServiceInfo = read_value(info.words(), index);
        let vip = address(info.vip, info.family).filter(|_| info.used != 0)?;
        let protocol = Protocol::new(info.protocol)?;
        let range = RingRange::from_word(info.ring);
        let counter = counters.get(&index, 0).map(|values| sum(&values));
        Some(counter.map(|counter| ServiceDump {
            id,
            name: name_of(&info),
            pool: info.pool.as_str().into(),
            vip,
            ports: Ports { first: info.port, last: info.last_port },
            protocol,
            ring_size: range.size,
            marked: marked(ring(&buckets, range)),
            owned: owned(ring(&buckets, range)),
            counter,
        }))
    };
    let all = (1..values::<ServiceInfo>(info.words())).filter_map(service).collect::<Result<_, _>>();
    all.map_err(|error| DumpError::Map(map::SERVICE_COUNTERS, error))
}

fn name_of(info: &ServiceInfo) -> String {
    match (info.name.as_str(), info.zone.as_str()) {
        (name, "") => name.into(),
        (name, zone) => format!("{name}@{zone}"),
    }
}

fn reals(pin_dir: &Path) -> Result<Vec<RealDump>, DumpError> {
    let info = mapped(pin_dir, map::REAL_INFO)?;
    let counters = per_cpu::<[u64; 2]>(pin_dir, map::REAL_COUNTERS)?;
    let real = |index: u32| {
        let id = RealId::new(u16::try_from(index).ok()?)?;
        let info: RealInfo = read_value(info.words(), index);
        let address = address(info.address, info.family).filter(|_| info.used != 0)?;
        let state = RealState::new(info.state)?;
        let counter = counters.get(&index, 0).map(|values| sum(&values));
        Some(counter.map(|counter| RealDump {
            id,
            pool: info.pool.as_str().into(),
            name: info.name.as_str().into(),
            address,
            weight: info.weight,
            state,
            mac: Some(info.mac).filter(|mac| *mac != 0).map(Mac::from_word),
            counter,
        }))
    };
    let all = (1..values::<RealInfo>(info.words())).filter_map(real).collect::<Result<_, _>>();
    all.map_err(|error| DumpError::Map(map::REAL_COUNTERS, error))
}

fn owned(ring: impl Iterator<Item = Bucket>) -> BTreeMap<RealId, u32> {
    let mut owned = BTreeMap::new();
    ring.filter_map(Bucket::real).for_each(|real| *owned.entry(real).or_default() += 1);
    owned
}

fn ring(buckets: &Mapped, RingRange { base, size }: RingRange) -> impl Iterator<Item = Bucket> {
    let (from, until) = (base as usize, base as usize + size as usize);
    let words = buckets.words().get(from..until).unwrap_or_default();
    words.iter().map(|word| Bucket::from_word(word.load(Relaxed)))
}

fn marked(ring: impl Iterator<Item = Bucket>) -> u32 {
    ring.map(|bucket| u32::from(bucket.is_tracked())).sum()
}

fn pins(pin_dir: &Path) -> Result<PinsDump, DumpError> {
    let map = mapped(pin_dir, map::PINS)?;
    let pins = map.words().iter().map(|word| Pin::from_word(word.load(Relaxed)));
    let count = |found: PinsDump, pin: Pin| PinsDump {
        taken: found.taken + usize::from(pin.real().is_some()),
        foreign: found.foreign + usize::from(pin.is_foreign()),
        ..found
    };
    Ok(pins.fold(PinsDump { room: map.words().len(), ..PinsDump::default() }, count))
}

fn reasons(pin_dir: &Path) -> Result<Vec<(Reason, u64)>, DumpError> {
    let counters = per_cpu::<u64>(pin_dir, map::REASONS)?;
    let count = |reason: Reason| Ok((reason, counters.get(&(reason as u32), 0)?.iter().sum()));
    let all: Result<_, MapError> = Reason::ALL.into_iter().map(count).collect();
    all.map_err(|error| DumpError::Map(map::REASONS, error))
}

fn mapped(pin_dir: &Path, name: &'static str) -> Result<Mapped, DumpError> {
    Mapped::pinned(&current_map(pin_dir, name)).map_err(|error| DumpError::Map(name, error))
}

fn per_cpu<T: aya::Pod>(pin_dir: &Path, name: &'static str) -> Result<PerCpuArray<MapData, T>, DumpError> {
    MapData::from_pin(current_map(pin_dir, name))
        .and_then(|data| PerCpuArray::try_from(Map::PerCpuArray(data)))
        .map_err(|error| DumpError::Map(name, error))
}
