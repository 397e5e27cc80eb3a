//! The loaded program and its maps.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{DevMap, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use aya::programs::{ProgramError, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader};
use lb_common::abi::{AccessKey, Admission, Settings, VipGuard, WAYS, map};
use lb_common::reason::Reason;

use super::egress;
use super::lease::Leases;
use super::mapped::Mapped;
use super::pins::{PinError, Pins};
use super::{AccessLists, AccessPrefix, CounterId, Maps, WordMap, zero_signals};
use crate::config::Limits;
use crate::state::{address_of, read_value, words_of};

/// The name of the program in the object.
const PROGRAM: &str = "xdirector";

/// Copied to where `aya` finds an ELF header well aligned.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xdirector.bpf.o"));

/// Why the program could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Built without an eBPF toolchain.
    #[error(
        "this binary was built without the kernel program: run `cargo xtask build`, which builds both, and use its \
         target/release/xdirector"
    )]
    NoObject,
    /// The pin directory cannot be used.
    #[error(transparent)]
    Pins(#[from] PinError),
    /// The kernel, or its verifier, refused.
    #[error("the kernel did not take the program or a map (root, or CAP_BPF + CAP_NET_ADMIN, is needed)")]
    Refused(#[source] Box<EbpfError>),
    /// The verifier refused the program.
    #[error("the kernel did not take the program")]
    Program(#[from] ProgramError),
    /// A map is not what it should be.
    #[error("map {0} is missing or not what this version makes")]
    Map(&'static str, #[source] Option<MapError>),
}

/// An [`AccessKey`] as aya takes it.
type AccessWords = [u32; 5];

/// One loaded program with its maps. Dropping it changes nothing in the kernel as long as its links are pinned.
pub struct Kernel {
    ebpf: Ebpf,
    settings: Mapped,
    services: Mapped,
    buckets: Mapped,
    reals: Mapped,
    pinned_flows: Mapped,
    lease_ends: Arc<Mapped>,
    probed_vips: Mapped,
    signals: Mapped,
    syns: Mapped,
    service_info: Mapped,
    real_info: Mapped,
    service_counters: PerCpuArray<MapData, [u64; 2]>,
    real_counters: PerCpuArray<MapData, [u64; 2]>,
    reasons: PerCpuArray<MapData, u64>,
    access: LpmTrie<MapData, AccessWords, u32>,
    interfaces: DevMap<MapData>,
    vips: HashMap<MapData, [u64; 2], u32>,
    pins: Option<Pins>,
    /// Where the links are pinned that the last attach made.
    pub(super) new_links: Vec<PathBuf>,
}

impl Kernel {
    /// Loads the program over the maps that are pinned under `pin_dir` for these limits, or over new ones pinned there.
    /// What a dead daemon left is thus adopted as it is. Nothing is attached yet.
    ///
    /// # Errors
    /// See [`LoadError`]. Nothing that forwards now is touched.
    pub fn load(pin_dir: &Path, limits: &Limits) -> Result<Self, LoadError> {
        if OBJECT.is_empty() {
            return Err(LoadError::NoObject);
        }
        let pins = Pins::open(pin_dir, limits)?;
        let mut loader = EbpfLoader::new();
        for name in map::ALL {
            loader.map_pin_path(name, pins.map_path(name));
        }
        Self::load_object(loader, OBJECT, limits, Some(pins))
    }

    /// Loads another object that has the same maps, unpinned: for tests and benches.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load_unpinned(object: &[u8], limits: &Limits) -> Result<Self, LoadError> {
        Self::load_object(EbpfLoader::new(), object, limits, None)
    }

    /// The object embedded in this binary; empty if it was built without.
    pub fn object() -> &'static [u8] {
        OBJECT
    }

    fn load_object(
        mut loader: EbpfLoader<'_>,
        object: &[u8],
        limits: &Limits,
        pins: Option<Pins>,
    ) -> Result<Self, LoadError> {
        raise_memlock();
        let (services, reals) = (limits.services + 1, limits.reals + 1);
        let sizes = [
            (map::BUCKETS, limits.ring_buckets),
            (map::REALS, reals),
            (map::PINS, limits.pins / WAYS as u32),
            (map::ACCESS, limits.access_prefixes),
            (map::SERVICE_COUNTERS, services),
            (map::SERVICE_INFO, services),
            (map::REAL_COUNTERS, reals),
            (map::REAL_INFO, reals),
            (map::SIGNALS, reals),
        ];
        for (name, entries) in sizes {
            loader.map_max_entries(name, entries);
        }
        let mut ebpf = loader.load(object).map_err(|error| LoadError::Refused(Box::new(error)))?;
        Ok(Self {
            settings: mapped(&mut ebpf, map::SETTINGS)?,
            services: mapped(&mut ebpf, map::SERVICES)?,
            buckets: mapped(&mut ebpf, map::BUCKETS)?,
            reals: mapped(&mut ebpf, map::REALS)?,
            pinned_flows: mapped(&mut ebpf, map::PINS)?,
            lease_ends: Arc::new(mapped(&mut ebpf, map::LEASES)?),
            probed_vips: mapped(&mut ebpf, map::PROBED_VIPS)?,
            signals: mapped(&mut ebpf, map::SIGNALS)?,
            syns: mapped(&mut ebpf, map::SYNS)?,
            service_info: mapped(&mut ebpf, map::SERVICE_INFO)?,
            real_info: mapped(&mut ebpf, map::REAL_INFO)?,
            service_counters: per_cpu(&mut ebpf, map::SERVICE_COUNTERS)?,
            real_counters: per_cpu(&mut ebpf, map::REAL_COUNTERS)?,
            reasons: per_cpu(&mut ebpf, map::REASONS)?,
            access: taken(&mut ebpf, map::ACCESS)?,
            interfaces: taken(&mut ebpf, map::INTERFACES)?,
            vips: taken(&mut ebpf, map::VIPS)?,
            ebpf,
            pins,
            new_links: Vec::new(),
        })
    }

    /// Whether no daemon has written these maps yet.
    pub fn is_new(&self) -> bool {
        let settings: Settings = read_value(self.words(WordMap::Settings), 0);
        settings.version == 0
    }

    /// The ends of all leases, for whoever renews them.
    pub fn lease_ends(&self) -> Leases {
        Leases::mapped(Arc::clone(&self.lease_ends))
    }

    /// The program by its name in the object, loaded into the kernel.
    ///
    /// # Errors
    /// The verifier's.
    pub fn program(&mut self, name: &'static str) -> Result<&mut Xdp, LoadError> {
        let program = self.ebpf.program_mut(name).ok_or(LoadError::Map(name, None))?;
        let program: &mut Xdp = program.try_into()?;
        match program.load() {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(program),
            Err(error) => Err(error.into()),
        }
    }

    /// The director's own program, and where its links are pinned.
    pub(super) fn program_and_pins(&mut self) -> Result<(&mut Xdp, Option<Pins>), LoadError> {
        let pins = self.pins.clone();
        Ok((self.program(PROGRAM)?, pins))
    }

    /// Where things are pinned.
    pub(super) const fn pins(&self) -> Option<&Pins> {
        self.pins.as_ref()
    }

    /// The program for what leaves this machine, loaded.
    ///
    /// # Errors
    /// The verifier's.
    pub fn egress(&mut self) -> Result<&mut SchedClassifier, LoadError> {
        let program = self.ebpf.program_mut(egress::PROGRAM).ok_or(LoadError::Map(egress::PROGRAM, None))?;
        let program: &mut SchedClassifier = program.try_into()?;
        match program.load() {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(program),
            Err(error) => Err(error.into()),
        }
    }

    /// The maps that are not the daemon's, for tests and benches.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// A counter, summed over the CPUs.
    ///
    /// # Errors
    /// The kernel's, above all for an id beyond the limits.
    pub fn counter(&self, counter: CounterId) -> Result<lb_common::abi::Counter, MapError> {
        let values = match counter {
            CounterId::Service(id) => self.service_counters.get(&id.index(), 0)?,
            CounterId::Real(id) => self.real_counters.get(&id.index(), 0)?,
        };
        Ok(sum(&values))
    }

    /// How many packets had this verdict.
    ///
    /// # Errors
    /// The kernel's.
    pub fn reason(&self, reason: Reason) -> Result<u64, MapError> {
        Ok(self.reasons.get(&(reason as u32), 0)?.iter().sum())
    }
}

impl Maps for Kernel {
    fn words(&self, map: WordMap) -> &[AtomicU64] {
        match map {
            WordMap::Settings => self.settings.words(),
            WordMap::Services => self.services.words(),
            WordMap::Buckets => self.buckets.words(),
            WordMap::Reals => self.reals.words(),
            WordMap::Pins => self.pinned_flows.words(),
            WordMap::Leases => self.lease_ends.words(),
            WordMap::ProbedVips => self.probed_vips.words(),
            WordMap::Signals => self.signals.words(),
            WordMap::Syns => self.syns.words(),
            WordMap::ServiceInfo => self.service_info.words(),
            WordMap::RealInfo => self.real_info.words(),
        }
    }

    fn zero_counter(&mut self, counter: CounterId) -> io::Result<()> {
        let zeros = vec![[0; 2]; aya::util::nr_cpus().map_err(|(_, error)| error)?];
        let zeros = PerCpuValues::try_from(zeros)?;
        zero_signals(self, counter);
        match counter {
            CounterId::Service(id) => self.service_counters.set(id.index(), zeros, 0),
            CounterId::Real(id) => self.real_counters.set(id.index(), zeros, 0),
        }
        .map_err(io::Error::other)
    }

    fn access_lists(&self) -> io::Result<AccessLists> {
        let mut lists = AccessLists::new();
        for entry in self.access.iter() {
            let (key, value) = entry.map_err(io::Error::other)?;
            let [list, a, b, c, d] = key.data();
            let key = AccessPrefix { key: AccessKey { list, address: [a, b, c, d] }, bits: key.prefix_len() };
            lists.insert(key, Admission::from_word(value));
        }
        Ok(lists)
    }

    fn set_access(&mut self, prefix: AccessPrefix, access: Option<Admission>) -> io::Result<()> {
        let AccessKey { list, address: [a, b, c, d] } = prefix.key;
        let key = Key::new(prefix.bits, [list, a, b, c, d]);
        match access {
            Some(access) => self.access.insert(&key, access.to_word(), 0),
            None => self.access.remove(&key),
        }
        .map_err(io::Error::other)
    }

    fn set_guard(&mut self, vip: IpAddr, guard: Option<VipGuard>) -> io::Result<()> {
        let vip = words_of(vip);
        match guard {
            Some(guard) => self.vips.insert(vip, guard.to_word(), 0),
            None => self.vips.remove(&vip),
        }
        .map_err(io::Error::other)
    }

    fn guards(&self) -> io::Result<BTreeMap<IpAddr, VipGuard>> {
        let entry = |entry: Result<([u64; 2], u32), MapError>| {
            entry.map(|(vip, word)| (address_of(vip), VipGuard::from_word(word)))
        };
        self.vips.iter().map(entry).collect::<Result<_, _>>().map_err(io::Error::other)
    }

    fn set_interface(&mut self, place: u32, index: u32) -> io::Result<()> {
        self.interfaces.set(place, index, None, 0).map_err(io::Error::other)
    }
}

/// Adds the CPUs up.
pub(super) fn sum(values: &PerCpuValues<[u64; 2]>) -> lb_common::abi::Counter {
    let (packets, bytes) = values.iter().fold((0, 0), |(packets, bytes), one| (packets + one[0], bytes + one[1]));
    lb_common::abi::Counter { packets, bytes }
}

fn mapped(ebpf: &mut Ebpf, name: &'static str) -> Result<Mapped, LoadError> {
    match ebpf.map(name) {
        Some(Map::Array(data)) => Mapped::new(data).map_err(|error| LoadError::Map(name, Some(error))),
        _ => Err(LoadError::Map(name, None)),
    }
}

fn per_cpu<T: aya::Pod>(ebpf: &mut Ebpf, name: &'static str) -> Result<PerCpuArray<MapData, T>, LoadError> {
    taken(ebpf, name)
}

fn taken<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, LoadError> {
    let map = ebpf.take_map(name).ok_or(LoadError::Map(name, None))?;
    T::try_from(map).map_err(|error| LoadError::Map(name, Some(error)))
}

/// Kernels before 5.11 charge maps to this limit; later ones do not look at it, so a refusal does no harm.
fn raise_memlock() {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    if let Err(error) = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY) {
        tracing::debug!(%error, "cannot raise RLIMIT_MEMLOCK");
    }
}
