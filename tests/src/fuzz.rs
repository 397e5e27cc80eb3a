//! The differential test: host pipeline against kernel program, on random packets through a world that changes. They must
//! agree on verdict, bytes, pins and every counter.

pub mod frames;
pub mod probes;

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_common::abi::{Counter, RealId, ServiceId, Tick, VipGuard, WAYS};
use lb_common::datapath::process;
use lb_common::reason::{Action, Reason};
use lb_common::wire::Buffer;
use lb_user::dataplane::{CounterId, HostTables, Kernel, Maps, WordMap};
use lb_user::reconcile::Reconciler;
use lb_user::state::{Duty, Health, Moment, Order};
use nix::sched::{CloneFlags, unshare};
use nix::time::{ClockId, clock_gettime};

use crate::bench::case::aya_verdict::{DROP, PASS, REDIRECT, TX};
use crate::fixture::{self, ANY_VIP, INTERFACE, VIP, VIP_6, World};
use frames::{Random, random_frame};

/// Packets between two changes of the world.
const LULL: u64 = 50_000;
/// Bytes for a tag, before the frame.
const ROOM: usize = 8;

/// Both sides of the test, and how far it has come.
pub struct Differential {
    start: World,
    seed: u64,
    random: Random,
    packets: u64,
    kernel: Kernel,
    host: HostTables,
    reconciler: Reconciler,
}

impl Differential {
    /// Loads the kernel program over `start`. What follows is a function of the seed, and of the clock where a pin grows old.
    ///
    /// # Errors
    /// Without root, or if the kernel refuses.
    pub fn new(start: World, seed: u64) -> Result<Self> {
        let mut kernel = fixture::load(&fixture::program_object()?, &start)?;
        // One lease has run out, the other does in centuries. Some vips lead to services only.
        for (vip, lease, is_closed) in [(VIP, 0, true), (VIP_6, 0, true), (ANY_VIP, 1, false)] {
            kernel.set_guard(vip, Some(VipGuard::new(lease, is_closed)))?;
        }
        kernel.words(WordMap::Leases)[1].store(u64::MAX, Ordering::Release);
        let mut host = HostTables::new(&kernel, &start.config.limits)?;
        probes::note_all(&mut kernel, &mut host)?;
        let random = Random(seed);
        Ok(Self { start, seed, random, packets: 0, kernel, host, reconciler: Reconciler::default() })
    }

    /// How many packets have been tried.
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// How many packets had this verdict.
    pub const fn count(&self, reason: Reason) -> u64 {
        self.host.counted.reasons[reason as usize]
    }

    /// How many flows are pinned, and how many of those pins are confirmed.
    pub fn pins(&self) -> (usize, usize) {
        let pins = self.host.pins.iter().flat_map(|set| (0..WAYS).map(|way| set.pin(way)));
        let pins = pins.filter(|pin| pin.to_word() != 0);
        (pins.clone().count(), pins.filter(|pin| pin.is_confirmed()).count())
    }

    /// Tries one more packet; now and then changes the world first.
    ///
    /// # Errors
    /// That the two disagree, and about what; or the kernel's.
    pub fn step(&mut self) -> Result<()> {
        self.try_one().with_context(|| format!("seed {}, packet {}", self.seed, self.packets))?;
        self.packets += 1;
        Ok(())
    }

    fn try_one(&mut self) -> Result<()> {
        if self.packets.is_multiple_of(LULL) {
            self.compare()?;
            self.change()?;
        }
        let frame = random_frame(&mut self.random);
        let mut expected = [vec![0; ROOM], frame.clone()].concat();
        let before = clock()?;
        self.host.now = Tick::from_nanoseconds(before);
        self.host.nanoseconds = 1; // between the ends of the two leases
        let mut buffer = Buffer::new(&mut expected, ROOM, INTERFACE);
        let outcome = process(&mut buffer, &mut self.host);
        let (verdict, expected) = match (outcome.reason.action(), outcome.interface) {
            (Action::Transmit, None) => (TX, buffer.frame()),
            (Action::Transmit, Some(_)) => (REDIRECT, buffer.frame()),
            (Action::Pass, _) => (PASS, buffer.frame()),
            (Action::Drop, _) => (DROP, buffer.frame()),
        };
        let (kernels_verdict, after) = fixture::run(&mut self.kernel, &frame)?;
        ensure!(
            kernels_verdict == verdict && after == expected,
            "the host says {} ({verdict}), the kernel {kernels_verdict}\n\
             frame  {frame:02x?}\nhost   {expected:02x?}\nkernel {after:02x?}",
            outcome.reason.name()
        );
        let after = clock()?;
        if Tick::from_nanoseconds(after) != self.host.now {
            // The kernel may have read the clock before or after it went on.
            self.host.refresh(&self.kernel, &self.start.config.limits)?;
        }
        Ok(())
    }

    /// To another world, in which both count anew.
    fn change(&mut self) -> Result<()> {
        let changes = self.packets / LULL;
        let World { config, view } = changed(&self.start, changes, &mut self.random);
        let now = Moment { seconds: changes * 600, tick: tick()? };
        self.reconciler.sweep(&config, &view, &mut self.kernel, now)?;
        self.host.refresh(&self.kernel, &self.start.config.limits)?;
        zero_counters(&mut self.kernel, &mut self.host)
    }

    /// Looks at all counters and pins.
    ///
    /// # Errors
    /// That one differs; or the kernel's.
    pub fn compare(&self) -> Result<()> {
        compare(&self.kernel, &self.host)
    }
}

/// The world as it is after so many changes: weights, health, members come and go.
fn changed(world: &World, changes: u64, random: &mut Random) -> World {
    let mut world = world.clone();
    let World { config, view } = &mut world;
    if changes == 0 {
        return world;
    }
    for (index, pool) in config.pools.iter_mut().enumerate() {
        for real in &mut pool.reals {
            let health = random.pick(&[Health::Up, Health::Up, Health::Down]);
            view.set_health(&pool.name, real.address, health);
            if random.one_in(8) {
                real.weight = random.below(3) as u32;
            }
            let duty = random.pick(&[Duty::Serve, Duty::Serve, Duty::Serve, Duty::Drain, Duty::Maintenance]);
            let weight = random.one_in(6).then(|| random.below(3) as u32);
            view.orders.entry(pool.name.clone()).or_default().insert(real.address, Order { duty, weight });
        }
        if changes % 2 == index as u64 {
            pool.reals.pop();
        }
    }
    if changes % 4 == 3 {
        config.services.pop();
    }
    world
}

const SERVICES: u16 = 20;
const REALS: u16 = 40;

/// Has both count anew: the ids that a change gives out do too.
fn zero_counters(kernel: &mut Kernel, host: &mut HostTables) -> Result<()> {
    for id in (1..=SERVICES).filter_map(ServiceId::new) {
        kernel.zero_counter(CounterId::Service(id))?;
    }
    for id in (1..=REALS).filter_map(RealId::new) {
        kernel.zero_counter(CounterId::Real(id))?;
    }
    host.counted.service_counters.fill(Counter::default());
    host.counted.real_counters.fill(Counter::default());
    host.counted.words(WordMap::Signals).iter().for_each(|word| word.store(0, Ordering::Release));
    Ok(())
}

fn compare(kernel: &Kernel, host: &HostTables) -> Result<()> {
    for reason in Reason::ALL {
        let (kernel, host) = (kernel.reason(reason)?, host.counted.reasons[reason as usize]);
        ensure!(kernel == host, "{}: {kernel} in the kernel, {host} on the host", reason.name());
    }
    for id in (1..=SERVICES).filter_map(ServiceId::new) {
        ensure!(kernel.counter(CounterId::Service(id))? == host.counted.service_counters[id.index() as usize]);
    }
    for id in (1..=REALS).filter_map(RealId::new) {
        ensure!(kernel.counter(CounterId::Real(id))? == host.counted.real_counters[id.index() as usize]);
    }
    for (number, (kernel, host)) in
        kernel.words(WordMap::Signals).iter().zip(host.counted.words(WordMap::Signals)).enumerate()
    {
        let (kernel, host) = (kernel.load(Ordering::Acquire), host.load(Ordering::Acquire));
        ensure!(
            kernel == host,
            "signal {} of real server {}: {kernel} in the kernel, {host} on the host",
            number % 2,
            number / 2
        );
    }
    let words = kernel.words(WordMap::Pins).chunks_exact(WAYS);
    for (number, (kernel, host)) in words.zip(&host.pins).enumerate() {
        for (way, word) in kernel.iter().enumerate() {
            let (kernel, host) = (word.load(Ordering::Acquire), host.pin(way).to_word());
            ensure!(kernel == host, "pin {number}.{way}: {kernel:016x} in the kernel, {host:016x} on the host");
        }
    }
    Ok(())
}

fn tick() -> Result<Tick> {
    Ok(Tick::from_nanoseconds(clock()?))
}

/// As the kernel program reads it, in nanoseconds.
fn clock() -> Result<u64> {
    let time: Duration = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE)?.into();
    Ok(time.as_nanos() as u64)
}

/// Another interface than the loopback, in a network namespace of this thread's own. Gives its index.
///
/// # Errors
/// Without root.
pub fn other_interface() -> Result<u32> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
    let added = std::process::Command::new("ip").args(["link", "add", "other", "type", "veth"]).status()?;
    ensure!(added.success(), "cannot add an interface");
    Ok(nix::net::if_::if_nametoindex("other")?)
}
