//! A task a check.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lb_common::hash::mix;
use tokio::sync::mpsc::Sender;
use tokio::task::AbortHandle;
use tokio::time::{Instant as TokioInstant, sleep_until};
use tracing::debug;

use super::probe::{Answer, ProbeFailure, Target, probe};
use super::{Schedule, Tracker};
use crate::config::{Check, CheckKind, Config, Real, Via, Way};
use crate::state::Health;

/// A verdict that changed.
#[derive(Clone, Debug)]
pub struct Event {
    /// The pool's name.
    pub pool: String,
    /// The real server's address.
    pub address: IpAddr,
    /// The new verdict.
    pub health: Health,
    /// Why, in words.
    pub reason: String,
    /// When the probe that decided ended.
    pub at: Instant,
}

/// What a check is about: a pool's name and a real server's address.
type Subject = (String, IpAddr);

/// What is done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Job {
    check: Check,
    /// The real server's name.
    real: String,
    /// How its probes get there.
    way: Way,
}

/// All running checks. Dropping it ends them.
#[derive(Debug)]
pub struct Engine {
    events: Sender<Event>,
    running: HashMap<Subject, (Job, Running)>,
}

#[derive(Debug)]
struct Running(AbortHandle, LastProbe);

/// When the last probe ended.
type LastProbe = Arc<Mutex<Option<Instant>>>;

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Engine {
    /// Nothing runs yet. A check whose event does not fit in the channel waits, and so asks less often; it loses
    /// nothing.
    pub fn new(events: Sender<Event>) -> Self {
        Self { events, running: HashMap::new() }
    }

    /// Makes the running checks those of the config: new ones start, those that are gone end, changed ones start anew,
    /// the others are not touched. `health` says the verdict that a check starts from.
    pub fn apply(&mut self, config: &Config, health: impl Fn(&str, IpAddr) -> Health) {
        self.stop_changed(config);
        for (subject, job) in wanted(config) {
            if !self.running.contains_key(&subject) {
                let tracker = Tracker::new(health(&subject.0, subject.1), job.check.rise, job.check.fall);
                let last = LastProbe::default();
                let task = run(subject.clone(), job.clone(), tracker, self.events.clone(), Arc::clone(&last));
                let task = tokio::spawn(task);
                self.running.insert(subject, (job, Running(task.abort_handle(), last)));
            }
        }
    }
}

impl Engine {
    /// How long ago the last probe of a real server ended; `None` if there was none.
    pub fn last_probe(&self, pool: &str, address: IpAddr) -> Option<Duration> {
        let (_, Running(_, last)) = self.running.get(&(pool.to_owned(), address))?;
        let last = *last.lock().unwrap_or_else(PoisonError::into_inner);
        last.map(|last| last.elapsed())
    }

    /// Ends the checks that the config does not have, or has otherwise. What they have said before is in the channel.
    pub fn stop_changed(&mut self, config: &Config) {
        let wanted = wanted(config);
        self.running.retain(|subject, (job, _)| wanted.get(subject) == Some(job));
    }
}

/// The checks of a config: those of pools that a service uses.
fn wanted(config: &Config) -> HashMap<Subject, Job> {
    let mut wanted = HashMap::new();
    let marks = config.probe_marks();
    for (index, pool) in config.pools.iter().enumerate() {
        let used = config.services.iter().any(|service| service.pool == index);
        if let Some(check) = pool.check.as_ref().filter(|_| used) {
            let way = check.via.way(&marks);
            let job = |real: &Real| Job { check: check.clone(), real: real.name.clone(), way };
            wanted.extend(pool.reals.iter().map(|real| ((pool.name.clone(), real.address), job(real))));
        }
    }
    wanted
}

/// Until it is aborted, or nobody listens any more.
async fn run(subject: Subject, job: Job, mut tracker: Tracker, events: Sender<Event>, last: LastProbe) {
    let ((pool, address), Job { check, real, way }) = (subject, job);
    let address_and_port = SocketAddr::new(address, check.port);
    let target = Target { address: address_and_port, pool: &pool, real: &real, way, vip: check.vip };
    let start = TokioInstant::now();
    let mut schedule = Schedule::new(check.interval, seed(target.address));
    loop {
        sleep_until(start + schedule.due()).await;
        let result = probe(&check.kind, target, check.timeout).await;
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        match &result {
            Ok(Answer { weight: None, drain: false }) => {}
            Ok(Answer { weight, drain }) => debug!(pool, %address, ?weight, drain, "it asks for another share"),
            Err(failure) => debug!(pool, %address, %failure, "probe failed"),
        }
        if let Some(health) = tracker.handle_result(result.is_ok()) {
            let event =
                Event { pool: pool.clone(), address, health, reason: words(&check, result), at: Instant::now() };
            if events.send(event).await.is_err() {
                return;
            }
        }
        let interval = if tracker.is_wavering() { check.fast_interval } else { check.interval };
        schedule.handle_end(start.elapsed(), interval);
    }
}

fn words(check: &Check, result: Result<Answer, ProbeFailure>) -> String {
    let asked = match &check.kind {
        CheckKind::Icmp => "ping".into(),
        CheckKind::Script(script) => script.program.display().to_string(),
        _ => format!("port {}", check.port),
    };
    let asked = match check.via {
        Via::Real => asked,
        Via::Vip(vip) => format!("{asked} of {vip}"),
    };
    match result {
        Ok(_) => format!("{asked} answers"),
        Err(failure) => format!("{asked}: {failure}"),
    }
}

/// Spreads the checks; any number that differs for each of them does.
fn seed(target: SocketAddr) -> u64 {
    let address = match target.ip() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    mix(address as u64 ^ mix((address >> 64) as u64)) ^ u64::from(target.port())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;
    use crate::config::{Director, Limits, Pool, Service};

    const DEADLINE: Duration = Duration::from_secs(10);

    fn config(port: u16) -> Config {
        let interval = Duration::from_millis(20);
        let timeout = Duration::from_millis(500);
        let check = Check {
            kind: CheckKind::Tcp,
            port,
            via: Via::Real,
            vip: None,
            interval,
            fast_interval: interval,
            timeout,
            rise: 2,
            fall: 2,
        };
        let address = Ipv4Addr::LOCALHOST.into();
        let reals = vec![Real::new("local", address, 1)];
        let protocol = lb_common::abi::Protocol::Tcp;
        let pools = vec![Pool { check: Some(check), ..Pool::new("web", 251, reals) }];
        let services = vec![Service::new("s", Ipv4Addr::new(10, 0, 0, 1).into(), port, protocol, 0)];
        Config::new(Director::new(vec!["eth0".into()]), Limits::default(), pools, services)
    }

    async fn next(events: &mut mpsc::Receiver<Event>) -> Event {
        tokio::time::timeout(DEADLINE, events.recv()).await.expect("an event in time").expect("the engine lives")
    }

    #[tokio::test]
    async fn a_listener_that_closes_and_opens_again_is_down_and_up_again() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a port");
        let address = listener.local_addr().expect("it is bound");
        let (sender, mut events) = mpsc::channel(8);
        let mut engine = Engine::new(sender);
        engine.apply(&config(address.port()), |_, _| Health::Unchecked);
        assert_eq!(next(&mut events).await.health, Health::Up);
        drop(listener);
        let event = next(&mut events).await;
        assert_eq!(event.health, Health::Down);
        assert_eq!(event.reason, format!("port {}: connection refused", address.port()));
        let _listener = TcpListener::bind(address).await.expect("the port is free again");
        assert_eq!(next(&mut events).await.health, Health::Up);
    }

    #[tokio::test]
    async fn an_unchanged_check_goes_on_and_a_removed_one_ends() {
        let (sender, mut events) = mpsc::channel(8);
        let mut engine = Engine::new(sender);
        let mut config = config(1);
        engine.apply(&config, |_, _| Health::Up);
        let before = engine.running.values().next().expect("one check").1.0.id();
        engine.apply(&config, |_, _| Health::Unchecked);
        assert_eq!(engine.running.values().next().expect("one check").1.0.id(), before);
        assert_eq!(next(&mut events).await.health, Health::Down);
        config.services.clear();
        engine.apply(&config, |_, _| Health::Unchecked);
        assert!(engine.running.is_empty());
    }
}
