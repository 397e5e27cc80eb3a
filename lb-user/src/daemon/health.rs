//! Verdicts: what the checks say goes into the view that rings are made from, into the log, and to the hooks.

mod roll;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::Ordering::Acquire;
use std::time::{Duration, Instant};

use lb_common::abi::{RealId, RealInfo, Value};
use tracing::{debug, info, warn};

use super::Daemon;
use super::control::Verdict;
use super::world::{World, checked_real};
use crate::config::{Config, Real};
use crate::dataplane::{Maps, WordMap};
use crate::health::{Event, Surroundings, Suspicions};
use crate::hooks::Caller;
use crate::state::{Asked, Health, Path, address, read_value, values};
use roll::{Reasons, Roll};

/// What the hooks have been told, and what they are told next.
#[derive(Debug)]
pub struct Told {
    caller: Caller,
    roll: Roll,
    reasons: Reasons,
    /// Whether links or ways have changed since the checks were told of them.
    is_surroundings_stale: bool,
    /// Whether the watcher of neighbours has yet to be told whose checks fail.
    is_doubt_stale: bool,
    /// When the first verdict came that the tables do not have yet.
    waiting_since: Option<Instant>,
    suspicions: Suspicions,
    /// Since when suspicions have their clock.
    start: Instant,
}

/// How often what clients' packets say of real servers is looked at.
pub const SIGNS: Duration = Duration::from_millis(200);

impl Told {
    /// Nobody is told how things stand at the start.
    pub fn new(config: &Config, world: &World) -> Self {
        Self {
            caller: Caller::new(config.hooks.clone()),
            roll: Roll::call(config, &world.view),
            reasons: Reasons::default(),
            is_surroundings_stale: false,
            is_doubt_stale: false,
            waiting_since: None,
            suspicions: Suspicions::default(),
            start: Instant::now(),
        }
    }

    /// The tables have all verdicts now: how long the first of them has waited for that, as the end of a sentence.
    pub fn time_since_verdict(&mut self) -> String {
        let since = self.waiting_since.take();
        since.map(|since| format!(", {:.1?} after the verdict", since.elapsed())).unwrap_or_default()
    }

    /// Links or ways have changed.
    pub const fn doubt_surroundings(&mut self) {
        self.is_surroundings_stale = true;
    }
}

impl Daemon {
    /// Makes the checks, and the program that hooks run, those of the config.
    pub(super) fn start_checks(&mut self) {
        self.engine.set_surroundings(surroundings(&self.config, &self.world));
        let view = &self.world.view;
        self.engine.apply(&self.config, |pool, address| view.health_of(pool, address));
        self.told.caller.set_program(self.config.hooks.clone());
    }

    /// Tells the checks of links and ways that have changed.
    pub(super) fn refresh_surroundings(&mut self) {
        if std::mem::take(&mut self.told.is_surroundings_stale) {
            self.engine.set_surroundings(surroundings(&self.config, &self.world));
        }
    }

    /// Tells the watcher whose MACs may be wrong: those whose checks fail, or may only seem to.
    pub(super) fn watch_doubted(&self) {
        let view = &self.world.view;
        let down = view.health.values().flatten().filter(|(_, health)| **health == Health::Down);
        let held = self.config.pools.iter().filter(|pool| view.held.contains(&pool.name));
        let held = held.flat_map(|pool| &pool.reals).map(|real| real.address);
        let doubted: HashSet<IpAddr> = down.map(|(address, _)| *address).chain(held).collect();
        self.commands.doubted(doubted);
    }

    /// The same, if that may have changed.
    pub(super) fn refresh_doubted(&mut self) {
        if std::mem::take(&mut self.told.is_doubt_stale) {
            self.watch_doubted();
        }
    }

    /// Whether the maps have to be looked at.
    pub(super) fn handle_verdict(&mut self, event: Event) -> bool {
        match event {
            Event::Verdict { pool, address, health, reason, at } => {
                self.told.waiting_since.get_or_insert(at);
                self.handle_health(&pool, address, Verdict { health, reason, at: at.into() })
            }
            Event::Asked { pool, address, asked } => self.handle_asked(&pool, address, asked),
            Event::Held { pool, cause } => {
                if !self.config.pools.iter().any(|known| known.name == pool) {
                    return false;
                }
                warn!("pool {pool} is HELD: {cause}; its ring stays as it is, whoever fails");
                self.told.reasons.set_pool(&pool, cause.to_string());
                self.world.view.held.insert(pool);
                self.told.is_doubt_stale = true;
                true
            }
            Event::Released { pool, reason } => {
                warn!("pool {pool} is held no longer: {reason}; results count anew");
                self.told.is_doubt_stale = true;
                self.world.view.held.remove(&pool)
            }
            Event::Disputed { pool, address, reason } => {
                if let Some(real) = checked_real(&self.config, &pool, address) {
                    let name = &real.name;
                    warn!(
                        "{pool}/{name} is disputed: another director says that it is up, so it stays; here: {reason}"
                    );
                }
                false
            }
        }
    }

    fn handle_health(&mut self, pool: &str, address: IpAddr, verdict: Verdict) -> bool {
        let Verdict { health, reason, .. } = &verdict;
        let Some(real) = checked_real(&self.config, pool, address) else { return false };
        let (from, to) = (self.world.view.health_of(pool, address).name(), health.name());
        match health {
            Health::Down => warn!("{pool}/{} is {to} (was {from}): {reason}", real.name),
            _ => info!("{pool}/{} is {to} (was {from}): {reason}", real.name),
        }
        self.told.reasons.set_real(pool, address, reason.clone());
        self.world.view.set_health(pool, address, *health);
        self.control.verdicts.insert((pool.to_owned(), address), verdict);
        self.told.is_doubt_stale = true;
        true
    }

    fn handle_asked(&mut self, pool: &str, address: IpAddr, asked: Asked) -> bool {
        let Some(real) = checked_real(&self.config, pool, address) else { return false };
        let of_pool = self.world.view.asked.entry(pool.to_owned()).or_default();
        let before = of_pool.insert(address, asked).unwrap_or_default();
        log_asked(pool, real, before, asked);
        before != asked
    }

    /// Whether what clients' packets say is of use to anybody.
    pub(super) fn minds_signs(&self) -> bool {
        self.config.pools.iter().any(|pool| pool.check.is_some())
    }

    /// Has real servers asked at once that do not seem to answer clients.
    pub(super) fn look_at_signs(&mut self) {
        let (infos, signals) = (self.kernel.words(WordMap::RealInfo), self.kernel.words(WordMap::Signals));
        let is_used =
            |id: u32| infos.get(id as usize * RealInfo::ZEROS.len()).is_some_and(|used| used.load(Acquire) != 0);
        let ids = (1..values::<RealInfo>(infos)).filter(|id| is_used(*id));
        let counts = ids.filter_map(|id| Some((RealId::new(u16::try_from(id).ok()?)?, read_value(signals, id))));
        for id in self.told.suspicions.look(self.told.start.elapsed(), counts) {
            let info: RealInfo = read_value(infos, id.index());
            if let Some(address) = address(info.address, info.family) {
                debug!(pool = info.pool.as_str(), %address, "clients seem to get no answer; asking");
                self.engine.suspect(info.pool.as_str(), address);
            }
        }
    }

    /// Tells the hooks what has changed since they were last told.
    pub(super) fn tell_hooks(&mut self) {
        let roll = Roll::call(&self.config, &self.world.view);
        for call in roll.since(&self.told.roll, &self.told.reasons) {
            self.told.caller.call(call);
        }
        self.told.roll = roll;
    }
}

fn log_asked(pool: &str, real: &Real, before: Asked, asked: Asked) {
    let name = &real.name;
    match (before.drain, asked.drain) {
        (false, true) => info!("{pool}/{name} asks for no new flows"),
        (true, false) => info!("{pool}/{name} takes new flows again"),
        _ => {}
    }
    if asked.weight != before.weight {
        let weight = asked.weight.unwrap_or(real.weight);
        info!("{pool}/{name} asks for weight {weight} (the file says {})", real.weight);
    }
    if asked.share != before.share {
        let share = f64::from(asked.share.number()) / 10.0;
        debug!("{pool}/{name} takes {share} % of its share of new flows");
    }
}

/// What the checks have to know of the network: our links, and who is behind which.
fn surroundings(config: &Config, world: &World) -> Surroundings {
    let first = world.links.first().map(|link| link.index);
    let links = world.links.iter().map(|link| (link.index, (link.name.clone(), link.up)));
    let way = |real: &Real| match world.view.paths.get(&real.address) {
        Some(Path::Here) => None,
        Some(Path::By { interface, .. }) => Some((real.address, *interface)),
        None => Some((real.address, first?)),
    };
    let behind: HashMap<IpAddr, u32> = config.pools.iter().flat_map(|pool| &pool.reals).filter_map(way).collect();
    Surroundings { links: links.collect(), behind }
}
