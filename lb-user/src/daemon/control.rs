//! What is done for those who ask at the control socket.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use lb_common::abi::{Name, RealId, RealState};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::Daemon;
use super::orders::{Change, describe};
use super::world::checked_real;
use crate::config::{Config, Pool, Real, nearest};
use crate::control::{
    Answer, Call, Failure, FailureKind, FlowsReport, LogLevel, OrderReport, ReloadReport, Request, Response, Server,
    Target,
};
use crate::saved::{ORDERS, Orders, Placed, Saved, StateDir, Writer};
use crate::state::{Directory, Duty, Health, Moment, Order, Remembered, remembered};

/// Commands between two turns of the loop; a client whose command finds no room waits.
const CALLS: usize = 16;
/// The most that a weight can be.
const MAX_WEIGHT: u32 = 65_535;
/// The pins are not read more often than this for those who ask.
const LOOK: Duration = Duration::from_secs(1);
/// Names in a message, at most.
const NAMES: usize = 8;

/// Changes what is logged.
pub struct LogSwitch {
    level: LogLevel,
    set: Box<dyn Fn(LogLevel) -> Result<(), String> + Send>,
}

impl LogSwitch {
    /// `level` is in effect; `set` puts another into effect, or says why it cannot.
    pub fn new(level: LogLevel, set: impl Fn(LogLevel) -> Result<(), String> + Send + 'static) -> Self {
        Self { level, set: Box::new(set) }
    }
}

/// A verdict as it came.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub health: Health,
    pub reason: String,
    pub at: Instant,
}

/// What the control socket needs, and what is kept to be shown there.
pub(super) struct Control {
    pub calls: mpsc::Receiver<Call>,
    _server: Server,
    log: LogSwitch,
    pub writer: Writer,
    pub orders: Orders,
    pub verdicts: HashMap<(String, IpAddr), Verdict>,
    pub started: Instant,
    pub trouble: Option<String>,
    pub reload_refused: Option<String>,
    flows: Option<(Instant, HashMap<RealId, Remembered>)>,
}

impl Control {
    /// Listens, and knows what the operator has set before.
    pub fn start(config: &Config, log: LogSwitch) -> Result<Self> {
        let dir = StateDir::new(&config.director.state_dir);
        let (sender, calls) = mpsc::channel(CALLS);
        let mut control = Self {
            calls,
            _server: Server::start(&config.director.control_socket, sender)?,
            log,
            orders: dir.load(ORDERS),
            writer: Writer::start(dir),
            verdicts: HashMap::new(),
            started: Instant::now(),
            trouble: None,
            reload_refused: None,
            flows: None,
        };
        for ((pool, address), Placed { order, who, .. }) in &control.orders {
            info!("{pool}/{address} is ordered to {}, by {who}, from before this start", describe(*order));
        }
        control.forget_all_but(config);
        Ok(control)
    }

    pub fn log_level(&self) -> LogLevel {
        self.log.level
    }

    /// Drops what is about real servers that the config does not have. One that a discovery may bring back keeps its order.
    pub fn forget_all_but(&mut self, config: &Config) {
        let real = |pool: &str, address| find(config, pool, address).is_some();
        self.verdicts.retain(|(pool, address), _| checked_real(config, pool, *address).is_some());
        let before = self.orders.len();
        self.orders.retain(|(pool, address), placed| {
            let may_return = config.pools.iter().any(|other| other.name == *pool && other.discovery.is_some());
            let stays = may_return || real(pool, *address);
            if !stays {
                warn!("{pool}/{address} is in the file no longer: the order to {} is dropped", describe(placed.order));
            }
            stays
        });
        if self.orders.len() != before {
            self.save_orders_aside();
        }
    }

    /// Whoever caused it does not wait for it; a failure is logged.
    fn save_orders_aside(&self) {
        let saved = self.writer.save(ORDERS, self.orders.encode());
        tokio::spawn(async move {
            if let Err(error) = saved.await {
                warn!("the operator's orders are not saved: {error}");
            }
        });
    }

    /// The orders as the tables want them.
    pub fn view_orders(&self) -> HashMap<String, HashMap<IpAddr, Order>> {
        let mut orders: HashMap<String, HashMap<IpAddr, Order>> = HashMap::new();
        for ((pool, address), placed) in &self.orders {
            orders.entry(pool.clone()).or_default().insert(*address, placed.order);
        }
        orders
    }
}

/// A real server of a config.
fn find<'a>(config: &'a Config, pool: &str, address: IpAddr) -> Option<&'a Real> {
    let pool = config.pools.iter().find(|other| other.name == pool)?;
    pool.reals.iter().find(|real| real.address == address)
}

/// Seconds since 1970.
pub(super) fn unix_now() -> u64 {
    // A clock that is before 1970 is wrong, and so are ages by it.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Daemon {
    /// Does what is asked, and has it answered. Nobody waits for the disk but whoever asked.
    pub(super) async fn handle_call(&mut self, call: Call) {
        let Call { request, who, reply } = call;
        debug!(who, ?request, "asked");
        let outcome = match request {
            Request::Status => Ok(Answer::Status(Box::new(self.status().await))),
            Request::Flows(target) => self.flows_of(&target),
            Request::LogLevel { level } => self.set_log_level(level, &who),
            Request::Reload => self.reload_for(&who).await,
            Request::Drain(target) => return self.order(target, Change::Drain, who, reply),
            Request::Undrain(target) => return self.order(target, Change::Undrain, who, reply),
            Request::Maintenance { target, on: true } => return self.order(target, Change::Maintenance, who, reply),
            Request::Maintenance { target, on: false } => {
                return self.order(target, Change::MaintenanceOff, who, reply);
            }
            Request::Weight { target, weight } => return self.order(target, Change::Weight(weight), who, reply),
        };
        answer(reply, Response::new(outcome));
    }

    fn set_log_level(&mut self, level: LogLevel, who: &str) -> Result<Answer, Failure> {
        let log = &mut self.control.log;
        (log.set)(level)
            .map_err(|error| Failure::new(FailureKind::Refused, format!("cannot change what is logged: {error}")))?;
        let before = std::mem::replace(&mut log.level, level);
        warn!("what is logged: {} (was {}), by {who}", level.name(), before.name());
        Ok(Answer::LogLevel { level })
    }

    async fn reload_for(&mut self, who: &str) -> Result<Answer, Failure> {
        info!("reloading, for {who}");
        let file = self.path.display().to_string();
        let outcome = self.reload().await;
        // Whatever else has arrived meanwhile.
        self.settle();
        match outcome {
            Ok(reloaded) => Ok(Answer::Reload(ReloadReport {
                file,
                changes: reloaded.changes,
                tables: reloaded.summary.to_string(),
            })),
            Err(refusal) => Err(Failure::new(refusal.kind, refusal.message)),
        }
    }

    /// The order is in the tables before it is on the disk, and on the disk before it is answered.
    fn order(&mut self, target: Target, change: Change, who: String, reply: tokio::sync::oneshot::Sender<Response>) {
        let outcome = self.place(&target, change, &who);
        let mut response = Response::new(outcome.map(Answer::Order));
        let changed = matches!(&response.outcome, crate::control::Outcome::Ok(Answer::Order(report)) if report.changed);
        if !changed {
            return answer(reply, response);
        }
        self.settle();
        response.warnings.extend(self.control.trouble.as_ref().map(|error| {
            format!("the kernel's tables are not what they should be yet; that is tried again and again: {error}")
        }));
        response.warnings.extend(self.emptied(&target.pool));
        let saved = self.control.writer.save(ORDERS, self.control.orders.encode());
        tokio::spawn(async move {
            if let Err(error) = saved.await {
                warn!("the operator's orders are not saved: {error}");
                response.warnings.push(format!("it is not saved, and so will not survive a restart: {error}"));
            }
            answer(reply, response);
        });
    }

    /// Notes an order; the tables have it after the next write.
    fn place(&mut self, target: &Target, change: Change, who: &str) -> Result<OrderReport, Failure> {
        if let Change::Weight(Some(weight)) = change
            && weight > MAX_WEIGHT
        {
            return Err(Failure::new(
                FailureKind::Refused,
                format!("a weight is from 0 to {MAX_WEIGHT}, not {weight}"),
            ));
        }
        let (key, real) = match wanted(&self.config, target) {
            Ok((pool, real)) => ((pool.name.clone(), real.address), real.clone()),
            Err(failure) => self.waiting(target).ok_or(failure)?,
        };
        let before = self.control.orders.get(&key).map(|placed| placed.order).unwrap_or_default();
        let order = change
            .apply(before)
            .map_err(|why| Failure::new(FailureKind::Refused, format!("{}/{}: {why}", key.0, real.name)))?;
        let changed = order != before;
        if changed {
            info!("{}/{} is ordered to {} (was {}), by {who}", key.0, real.name, describe(order), describe(before));
            if order == Order::default() {
                self.control.orders.remove(&key);
            } else {
                self.control.orders.insert(key.clone(), Placed { order, who: who.into(), since: unix_now() });
            }
            self.world.view.orders = self.control.view_orders();
        }
        let Order { duty, weight } = order;
        let (address, duty) = (real.address.to_string(), duty.name().into());
        Ok(OrderReport { pool: key.0, real: real.name, address, duty, file_weight: real.weight, weight, changed })
    }

    /// A real server that has an order, but is not there now.
    fn waiting(&self, target: &Target) -> Option<((String, IpAddr), Real)> {
        let key = (target.pool.clone(), target.real.parse().ok()?);
        let real = Real::new(&target.real, key.1, 0);
        self.control.orders.contains_key(&key).then_some((key, real))
    }

    /// What to say if nobody of a pool takes new flows any more.
    fn emptied(&self, pool: &str) -> Option<String> {
        let pool = self.config.pools.iter().find(|other| other.name == *pool)?;
        let (directory, key) = (Directory::read(&self.kernel), Name::new(&pool.name));
        let state = |real: &Real| RealState::new(directory.reals.get(&directory.real(&key, real.address)?)?.state);
        let takes = |real: &Real| {
            let order = self.control.orders.get(&(pool.name.clone(), real.address)).map(|placed| placed.order);
            let Order { duty, weight } = order.unwrap_or_default();
            let serves = duty == Duty::Serve && weight.unwrap_or(real.weight) > 0;
            serves && state(real).is_some_and(RealState::is_usable)
        };
        let (name, then) = (&pool.name, pool.on_empty.name());
        let nobody = !pool.reals.iter().any(takes);
        nobody.then(|| {
            format!(
                "no real server of pool {name} takes new flows now; on_empty = \"{then}\" says what becomes of them"
            )
        })
    }

    fn flows_of(&mut self, target: &Target) -> Result<Answer, Failure> {
        let (pool, real) = wanted(&self.config, target)?;
        let (pool, real) = (pool.clone(), real.clone());
        let id = Directory::read(&self.kernel).real(&Name::new(&pool.name), real.address);
        let found = id.and_then(|id| self.look_at_flows()?.get(&id).copied());
        let order = self.control.orders.get(&(pool.name.clone(), real.address));
        let users = self.config.services.iter().filter(|service| self.config.pools[service.pool].name == pool.name);
        Ok(Answer::Flows(FlowsReport {
            flows: found.map_or(0, |flows| flows.live),
            silent_seconds: found.map(|flows| flows.silent_for().as_secs()),
            ordered_seconds: order.map(|placed| unix_now().saturating_sub(placed.since)),
            idle_timeout_seconds: users.map(|service| service.idle_timeout.as_secs()).max().unwrap_or(0),
            pool: pool.name,
            real: real.name,
        }))
    }

    /// By real server; read anew if that was a while ago. `None`: the clock cannot be read.
    pub(super) fn look_at_flows(&mut self) -> Option<&HashMap<RealId, Remembered>> {
        let now: Moment = super::now().inspect_err(|error| warn!("the pins are not looked at: {error:#}")).ok()?;
        if self.control.flows.as_ref().is_none_or(|(at, _)| at.elapsed() > LOOK) {
            self.control.flows = Some((Instant::now(), remembered(&self.kernel, now)));
        }
        self.control.flows.as_ref().map(|(_, flows)| flows)
    }
}

/// Whoever asked may have gone.
fn answer(reply: tokio::sync::oneshot::Sender<Response>, response: Response) {
    if reply.send(response).is_err() {
        debug!("nobody waits for an answer any more");
    }
}

/// By its name, else by its address.
fn wanted<'a>(config: &'a Config, target: &Target) -> Result<(&'a Pool, &'a Real), Failure> {
    let Target { pool, real } = target;
    let found = config.pools.iter().find(|other| other.name == *pool);
    let found = found.ok_or_else(|| unknown("pool", pool, config.pools.iter().map(|pool| pool.name.as_str())))?;
    let address = real.parse::<IpAddr>().ok();
    let by_name = found.reals.iter().find(|other| other.name == *real);
    let by_address = || found.reals.iter().find(|other| Some(other.address) == address);
    let names = found.reals.iter().map(|real| real.name.as_str());
    let real =
        by_name.or_else(by_address).ok_or_else(|| unknown(&format!("real server of pool {pool}"), real, names))?;
    Ok((found, real))
}

/// With what may have been meant.
fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Failure {
    let known: Vec<&str> = known.collect();
    let hint = match nearest(name, &known) {
        Some(near) => format!("did you mean {near}?"),
        None if known.is_empty() => "there is none at all".into(),
        None if known.len() > NAMES => {
            format!("there are {} of them, such as {}", known.len(), known[..NAMES].join(", "))
        }
        None => format!("there is {}", known.join(", ")),
    };
    Failure::new(FailureKind::Unknown, format!("no {what} is \"{name}\"; {hint}"))
}
