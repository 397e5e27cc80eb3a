//! Wires it all: the order of start, the loop, reload and stop.
//!
//! Architecture invariant: one task owns the state and writes the maps. Checks and netlink only send it events.

mod control;
mod discovery;
mod health;
mod orders;
mod peering;
mod reload;
mod status;
pub mod tracking;
mod vrrp;
mod world;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::time::{ClockId, clock_gettime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, timeout_at};
use tracing::{error, info, warn};

use crate::config::{Config, Parsed};
use crate::dataplane::{Attached, EgressWay, Former, Kernel, Mode};
use crate::health::{Engine, Event};
use crate::net::{self, Commands, Link, NetEvent};
use crate::reconcile::Reconciler;
use crate::state::{Moment, Path, Summary, View};
use control::Control;
use discovery::Discovered;
use health::Told;
use peering::Peers;
use vrrp::Vrrp;
use world::{World, addresses};

pub use control::LogSwitch;

/// How long a start waits for the MACs of real servers before it attaches without those that are missing.
const RESOLVE: Duration = Duration::from_secs(1);
/// A failed write of the maps is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// How often the pins are looked at while something waits for them.
const SWEEP: Duration = Duration::from_secs(5);
/// How often at least, so that none outlives the clock that it is dated by.
const SLOW_SWEEP: Duration = Duration::from_secs(600);

/// Runs until SIGTERM or SIGINT, then detaches.
///
/// # Errors
/// What keeps it from starting, or from detaching. While it runs it reports errors and goes on.
pub async fn run(path: PathBuf, parsed: Parsed, log: LogSwitch) -> Result<()> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    raise_open_files();
    warn_all(&parsed);
    let mut daemon = Daemon::start(path, parsed.config, log).await?;
    daemon.serve(&mut signals).await;
    daemon.stop(&mut signals).await
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

struct Daemon {
    path: PathBuf,
    config: Config,
    world: World,
    kernel: Kernel,
    reconciler: Reconciler,
    engine: Engine,
    verdicts: mpsc::UnboundedReceiver<Event>,
    told: Told,
    commands: Commands,
    network: mpsc::Receiver<NetEvent>,
    /// Indexes of the interfaces that the program runs on.
    attached: Vec<u32>,
    /// By those indexes.
    modes: HashMap<u32, Mode>,
    control: Control,
    discovered: Discovered,
    /// When the maps are to be written again although nothing has changed.
    retry: Option<Instant>,
    /// When the pins were looked at.
    swept: Instant,
    peers: Peers,
    vrrp: Vrrp,
}

impl Daemon {
    async fn start(path: PathBuf, file: Config, log: LogSwitch) -> Result<Self> {
        let (commands, network) = net::watch(file.director.interfaces.clone())?;
        let links = own_links(&file, net::links().await?)?;
        let mut kernel = Kernel::load(&file.director.pin_dir, &file.limits)?;
        let former = if kernel.is_new() { Former::open(&file.director.pin_dir) } else { None };
        let mut reconciler = Reconciler::default();
        // What a predecessor held must not fall while the rest starts.
        let vrrp = Vrrp::start(&file, &mut reconciler, &mut kernel)?;
        let discovered = match &former {
            Some(former) => Discovered::start(file, former).await,
            None => Discovered::start(file, &kernel).await,
        };
        let config = discovered.effective();
        let mut world = match &former {
            Some(former) => World::adopt(&config, former, links),
            None => World::adopt(&config, &kernel, links),
        };
        let control = Control::start(&config, log)?;
        world.view.orders = control.view_orders();
        let (sender, verdicts) = mpsc::unbounded_channel();
        let engine = Engine::new(sender);
        let told = Told::new(&config, &world);
        let mut daemon = Self {
            path,
            config,
            world,
            kernel,
            reconciler,
            engine,
            verdicts,
            told,
            commands,
            network,
            attached: Vec::new(),
            modes: HashMap::new(),
            control,
            discovered,
            retry: None,
            swept: Instant::now(),
            peers: Peers::default(),
            vrrp,
        };
        let all = addresses(&daemon.config);
        daemon.resolve(all.clone(), all).await;
        daemon.watch_doubted();
        daemon.write_first().await.context("cannot write the tables")?;
        if let Err(error) = daemon.attach() {
            // Nobody would watch over what has been attached.
            daemon.kernel.detach_new().context(error.to_string())?;
            return Err(error);
        }
        daemon.start_checks();
        daemon.apply_peering();
        daemon.save_answers();
        daemon.vrrp.tell_pools(&daemon.config, &daemon.world.view);
        daemon.vrrp.begin();
        let Config { pools, services, .. } = &daemon.config;
        info!("ready: {} services, {} pools", services.len(), pools.len());
        Ok(daemon)
    }

    /// An answer of a discovery that a running daemon would have refused must not keep a new one from its start.
    async fn write_first(&mut self) -> Result<()> {
        let Err(error) = self.write() else { return Ok(()) };
        if !self.discovered.go_back_to_former() {
            return Err(error);
        }
        warn!("what was found just now is not taken: {error:#}; going on with the answers of before");
        self.config = self.discovered.effective();
        let all = addresses(&self.config);
        self.resolve(all.clone(), all).await;
        self.write()
    }

    /// Has these addresses looked for, and waits until the way to each of the new ones is known, but not for long.
    async fn resolve(&mut self, addresses: Vec<IpAddr>, new: Vec<IpAddr>) {
        self.commands.targets(addresses);
        let deadline = Instant::now() + RESOLVE;
        let found = |view: &View, address: &IpAddr| match view.paths.get(address) {
            Some(Path::Here) => true,
            Some(Path::By { .. }) => view.macs.contains_key(address),
            None => false,
        };
        let missing = |view: &View| new.iter().copied().find(|address| !found(view, address));
        while let Some(missing) = missing(&self.world.view) {
            match timeout_at(deadline, self.network.recv()).await {
                Ok(Some(event)) => {
                    self.handle_network(event);
                }
                Ok(None) => return,
                Err(_) => return warn!(%missing, "going on although not every real server has been found"),
            }
        }
    }

    fn attach(&mut self) -> Result<()> {
        let interfaces: Vec<(String, u32)> =
            self.world.links.iter().map(|link| (link.name.clone(), link.index)).collect();
        let wanted = self.config.director.xdp_mode;
        let (attached, outcome) = self.kernel.attach(&interfaces, wanted);
        self.attached = attached.iter().map(|attached| attached.index).collect();
        self.modes.extend(attached.iter().map(|attached| (attached.index, attached.mode)));
        for Attached { interface, mode, adopted, native_refused, .. } in attached {
            let how = if adopted { "took over" } else { "attached to" };
            info!(mode = mode.name(), "{how} {interface}");
            if mode == Mode::Generic
                && let Some(why) = native_refused
            {
                warn!("{interface} does not take XDP in native mode ({why}); generic mode works, but is slow");
            }
        }
        outcome?;
        let by_vip = !self.config.probe_marks().is_empty();
        self.attach_egress(by_vip)
    }

    /// Probes by a vip need a program on what leaves our interfaces; where no check goes that way it runs nowhere.
    fn attach_egress(&mut self, by_vip: bool) -> Result<()> {
        let links = self.world.links.iter().filter(|_| by_vip);
        let interfaces: Vec<(String, u32)> = links.map(|link| (link.name.clone(), link.index)).collect();
        Ok(self.kernel.attach_egress(&interfaces, &[EgressWay::Link, EgressWay::Filter])?)
    }

    async fn serve(&mut self, signals: &mut Signals) {
        let mut signs = tokio::time::interval(health::SIGNS);
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let sweep = self.swept + if self.reconciler.tracks() { SWEEP } else { SLOW_SWEEP };
            let retry = self.retry.unwrap_or(sweep);
            let changed = tokio::select! {
                _ = signals.terminate.recv() => return,
                _ = signals.interrupt.recv() => return,
                _ = signals.hangup.recv() => {
                    // What came of it is in the log.
                    let _ = self.reload().await;
                    true
                }
                Some(call) = self.control.calls.recv() => {
                    self.handle_call(call).await;
                    false
                }
                Some(finding) = self.discovered.findings.recv() => self.handle_finding(finding).await,
                Some(event) = self.verdicts.recv() => self.handle_verdict(event),
                Some(event) = self.network.recv() => self.handle_network(event),
                turn = self.peers.turn() => self.handle_peering(turn),
                event = self.vrrp.event() => {
                    self.vrrp.handle(&event, &self.config);
                    false
                }
                () = tokio::time::sleep_until(sweep) => {
                    self.sweep();
                    false
                }
                _ = signs.tick(), if self.minds_signs() => {
                    self.look_at_signs();
                    false
                }
                () = tokio::time::sleep_until(retry), if self.retry.is_some() => true,
            };
            if changed {
                self.settle();
            }
        }
    }

    /// Takes everything else that has arrived along, then writes once.
    fn settle(&mut self) {
        self.drain();
        self.refresh_surroundings();
        self.refresh_doubted();
        self.vrrp.tell_pools(&self.config, &self.world.view);
        self.retry = None;
        let attached = self.attach_again();
        let outcome = self.write().and(attached);
        self.control.trouble = outcome.as_ref().err().map(|error| format!("{error:#}"));
        if let Err(error) = outcome {
            error!("the tables are not what they should be; trying again: {error:#}");
            self.retry = Some(Instant::now() + RETRY);
        }
        self.tell_hooks();
    }

    fn drain(&mut self) {
        while let Ok(event) = self.verdicts.try_recv() {
            self.handle_verdict(event);
        }
        while let Ok(event) = self.network.try_recv() {
            self.handle_network(event);
        }
    }

    /// Attaches to interfaces that have come back under another index.
    fn attach_again(&mut self) -> Result<()> {
        let replaced = self.world.links.iter().any(|link| !self.attached.contains(&link.index));
        if replaced { self.attach() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        let summary = self.reconciler.reconcile(&self.config, &self.world.view, &mut self.kernel, now()?)?;
        let after = self.told.time_since_verdict();
        if summary != Summary::default() {
            info!("tables written: {summary}{after}");
        }
        Ok(())
    }

    /// Gives up what no flow needs any more.
    fn sweep(&mut self) {
        self.swept = Instant::now();
        let now = match now() {
            Ok(now) => now,
            Err(error) => return error!("the pins are not looked at: {error:#}"),
        };
        match self.reconciler.sweep(&self.config, &self.world.view, &mut self.kernel, now) {
            Ok((summary, found)) if summary != Summary::default() => {
                info!("tables written: {summary}; {} pins, {} of them off the ring", found.live, found.foreign);
            }
            Ok(_) => {}
            // The maps are as they were; the next one may find them otherwise.
            Err(error) => error!("nothing is given up: {error:#}"),
        }
    }

    /// Whether the maps have to be looked at.
    fn handle_network(&mut self, event: NetEvent) -> bool {
        match event {
            NetEvent::Neighbour { address, mac } => {
                let old = self.world.view.macs.insert(address, mac);
                match old {
                    Some(old) if old != mac => info!(%address, "has a new MAC: {mac} (was {old})"),
                    _ => info!(%address, "is at {mac}"),
                }
                old != Some(mac)
            }
            NetEvent::Path { address, path } => self.handle_path(address, path),
            NetEvent::Link(link) => self.handle_link(link),
            NetEvent::Vlans(has_vlans) => std::mem::replace(&mut self.world.view.has_vlans, has_vlans) != has_vlans,
        }
    }

    fn handle_path(&mut self, address: IpAddr, path: Path) -> bool {
        let old = self.world.view.paths.insert(address, path);
        self.told.doubt_surroundings();
        let is_real = || self.config.pools.iter().flat_map(|pool| &pool.reals).any(|real| real.address == address);
        if path == Path::Here && old != Some(path) && self.config.director.peers.is_empty() && is_real() {
            warn!(
                %address,
                "is this machine: write the addresses of the other directors, if there are any, to director.peers, or \
                 they and this one may send a packet back and forth until its time to live has run out"
            );
        }
        old != Some(path)
    }

    fn handle_link(&mut self, link: Link) -> bool {
        let Some(known) = self.world.links.iter_mut().find(|known| known.name == link.name) else { return false };
        if *known == link {
            return false;
        }
        let Link { name, up, .. } = &link;
        if known.up != *up {
            warn!("{name} is {}", if *up { "up" } else { "down" });
        }
        *known = link;
        self.told.doubt_surroundings();
        self.world.refresh_interfaces();
        true
    }

    /// Hands over first, unless the operator asks once more.
    async fn stop(mut self, signals: &mut Signals) -> Result<()> {
        let mut vrrp = std::mem::take(&mut self.vrrp);
        tokio::select! {
            () = self.hand_over(&mut vrrp) => {}
            _ = signals.terminate.recv() => {}
            _ = signals.interrupt.recv() => {}
        }
        info!("stopping: nothing is forwarded from here on");
        vrrp.end().await;
        drop(self.engine);
        self.kernel.detach().context("cannot detach")?;
        Ok(())
    }

    /// Others get the vips, and hear to the end of the flows that go with them.
    async fn hand_over(&mut self, vrrp: &mut Vrrp) {
        let config = self.config.clone();
        let mut handing_over = std::pin::pin!(vrrp.hand_over(&config));
        loop {
            tokio::select! {
                () = &mut handing_over => break,
                // What is heard is for those who go on.
                turn = self.peers.turn() => {
                    self.handle_peering(turn);
                }
            }
        }
        self.tell_peers();
        self.peers.said().await;
    }
}

/// Each probe under way has a socket, and thousands may wait for real servers that are silent.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!("the limit of open files stays as it is: {error}");
    }
}

/// By the clock that packets see too.
fn now() -> Result<Moment> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).context("cannot read the clock")?;
    Ok(Moment::new(time.into()))
}

/// The links of `director.interfaces`, in that order.
fn own_links(config: &Config, links: Vec<Link>) -> Result<Vec<Link>> {
    let own = |name: &String| {
        let link = links.iter().find(|link| link.name == *name);
        let link = link
            .with_context(|| format!("interface {name} of director.interfaces is not there; `ip link` lists them"))?;
        ensure!(link.mac.is_some(), "interface {name} has no MAC; xdirector needs Ethernet");
        Ok(link.clone())
    };
    config.director.interfaces.iter().map(own).collect()
}

fn warn_all(parsed: &Parsed) {
    for warning in &parsed.warnings {
        warn!("{warning}");
    }
}
