//! Wires it all: the order of start, the loop, reload and stop.
//!
//! Architecture invariant: one task owns the state and writes the maps. Checks and netlink only send it events.

mod world;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

use crate::config::{Config, Parsed};
use crate::dataplane::{Attached, Kernel, Mode};
use crate::health::{Engine, Event};
use crate::net::{self, Commands, Link, NetEvent};
use crate::reconcile::Reconciler;
use crate::state::{Health, Summary};
use world::World;

/// How long a start waits for the MACs of real servers before it attaches without those that are missing.
const RESOLVE: Duration = Duration::from_secs(1);
/// Verdicts between two turns of the loop; a check that finds no room waits.
const VERDICTS: usize = 1024;
/// A failed write of the maps is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT, then detaches.
///
/// # Errors
/// What keeps it from starting, or from detaching. While it runs it reports errors and goes on.
pub async fn run(path: PathBuf, parsed: Parsed) -> Result<()> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    warn_all(&parsed);
    let mut daemon = Daemon::start(path, parsed.config).await?;
    daemon.serve(&mut signals).await;
    daemon.stop()
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
    verdicts: mpsc::Receiver<Event>,
    commands: Commands,
    network: mpsc::Receiver<NetEvent>,
    /// When the maps are to be written again although nothing has changed.
    retry: Option<Instant>,
}

impl Daemon {
    async fn start(path: PathBuf, config: Config) -> Result<Self> {
        let links = own_links(&config, net::links().await?)?;
        let kernel = Kernel::load(&config.director.pin_dir, &config.limits)?;
        let world = World::adopt(&config, &kernel, links);
        let (commands, network) = net::watch()?;
        let (sender, verdicts) = mpsc::channel(VERDICTS);
        let engine = Engine::new(sender);
        let reconciler = Reconciler::default();
        let mut daemon =
            Self { path, config, world, kernel, reconciler, engine, verdicts, commands, network, retry: None };
        daemon.commands.targets(addresses(&daemon.config)).await;
        daemon.resolve().await;
        daemon.write().context("cannot write the tables")?;
        daemon.attach()?;
        daemon.start_checks();
        let Config { pools, services, .. } = &daemon.config;
        info!("ready: {} services, {} pools", services.len(), pools.len());
        Ok(daemon)
    }

    /// Waits until every real server has a MAC, but not for long.
    async fn resolve(&mut self) {
        let deadline = Instant::now() + RESOLVE;
        while let Some(missing) = self.unresolved() {
            match timeout_at(deadline, self.network.recv()).await {
                Ok(Some(event)) => {
                    self.handle_network(event);
                }
                Ok(None) => return,
                Err(_) => return warn!(%missing, "starting although not every real server has been found"),
            }
        }
    }

    fn unresolved(&self) -> Option<IpAddr> {
        addresses(&self.config).into_iter().find(|address| !self.world.view.macs.contains_key(address))
    }

    fn attach(&mut self) -> Result<()> {
        let interfaces: Vec<(String, u32)> =
            self.world.links.iter().map(|link| (link.name.clone(), link.index)).collect();
        let mode = self.config.director.xdp_mode;
        for Attached { interface, mode, adopted, .. } in self.kernel.attach(&interfaces, mode)? {
            let how = if adopted { "took over" } else { "attached to" };
            info!(mode = mode.name(), "{how} {interface}");
            if mode == Mode::Generic && self.config.director.xdp_mode != crate::config::XdpMode::Generic {
                warn!("{interface} has no native XDP: generic mode works, but is slow");
            }
        }
        Ok(())
    }

    fn start_checks(&mut self) {
        let view = &self.world.view;
        self.engine.apply(&self.config, |pool, address| view.health_of(pool, address));
    }

    async fn serve(&mut self, signals: &mut Signals) {
        loop {
            let retry = self.retry.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            let changed = tokio::select! {
                _ = signals.terminate.recv() => return,
                _ = signals.interrupt.recv() => return,
                _ = signals.hangup.recv() => {
                    self.reload().await;
                    false
                }
                Some(event) = self.verdicts.recv() => self.handle_verdict(event).await,
                Some(event) = self.network.recv() => self.handle_network(event),
                () = tokio::time::sleep_until(retry) => true,
            };
            if changed {
                self.settle().await;
            }
        }
    }

    /// Takes everything else that has arrived along, then writes once.
    async fn settle(&mut self) {
        while let Ok(event) = self.verdicts.try_recv() {
            self.handle_verdict(event).await;
        }
        while let Ok(event) = self.network.try_recv() {
            self.handle_network(event);
        }
        self.retry = None;
        if let Err(error) = self.write() {
            error!("the tables are not what they should be; trying again: {error:#}");
            self.retry = Some(Instant::now() + RETRY);
        }
    }

    fn write(&mut self) -> Result<()> {
        let summary = self.reconciler.reconcile(&self.config, &self.world.view, &mut self.kernel)?;
        if summary != Summary::default() {
            info!("tables written: {summary}");
        }
        Ok(())
    }

    async fn handle_verdict(&mut self, event: Event) -> bool {
        let Event { pool, address, health, reason, at: _ } = event;
        let Some(real) = world::real(&self.config, &pool, address) else { return false };
        let (from, to) = (self.world.view.health_of(&pool, address).name(), health.name());
        match health {
            Health::Down => warn!("{pool}/{} is {to} (was {from}): {reason}", real.name),
            _ => info!("{pool}/{} is {to} (was {from}): {reason}", real.name),
        }
        self.world.view.health.insert((pool, address), health);
        self.commands.doubt(address, health == Health::Down).await;
        true
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
            NetEvent::Link(link) => self.handle_link(link),
        }
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
        let replaced = known.index != link.index;
        *known = link;
        if replaced && let Err(error) = self.attach() {
            error!("an interface has come back, and: {error:#}");
        }
        self.world.refresh_macs();
        true
    }

    /// A file that is no good, or asks for what a running daemon cannot change, is refused whole.
    async fn reload(&mut self) {
        match self.try_reload().await {
            Ok(summary) => info!("reloaded {}: {summary}", self.path.display()),
            Err(error) => error!("reload refused, all stays as it was: {error:#}"),
        }
    }

    async fn try_reload(&mut self) -> Result<Summary> {
        let parsed = Config::load(&self.path)?;
        unchangeable(&self.config, &parsed.config)?;
        let mut world = self.world.clone();
        world.forget_all_but(&parsed.config);
        world.view.hash_seed = parsed.config.director.hash_seed.unwrap_or(world.view.hash_seed);
        let summary = self.reconciler.reconcile(&parsed.config, &world.view, &mut self.kernel)?;
        warn_all(&parsed);
        (self.config, self.world) = (parsed.config, world);
        self.commands.targets(addresses(&self.config)).await;
        self.start_checks();
        Ok(summary)
    }

    fn stop(self) -> Result<()> {
        info!("stopping: nothing is forwarded from here on");
        drop(self.engine);
        self.kernel.detach().context("cannot detach")?;
        Ok(())
    }
}

/// What a reload cannot change, because packets and maps depend on it from the start.
fn unchangeable(now: &Config, new: &Config) -> Result<()> {
    let (a, b) = (&now.director, &new.director);
    ensure!(a.interfaces == b.interfaces, "director.interfaces cannot change while it runs; restart the daemon");
    ensure!(a.xdp_mode == b.xdp_mode, "director.xdp_mode cannot change while it runs; restart the daemon");
    ensure!(a.pin_dir == b.pin_dir, "director.pin_dir cannot change while it runs; restart the daemon");
    ensure!(now.limits == new.limits, "limits cannot change while it runs; restart the daemon");
    Ok(())
}

/// Every real server's address, once.
fn addresses(config: &Config) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> =
        config.pools.iter().flat_map(|pool| &pool.reals).map(|real| real.address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
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
