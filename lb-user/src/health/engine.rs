//! A task a check.

mod court;

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_common::hash::mix;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::sleep_until;
use tracing::{debug, warn};

use super::hold::Cause;
use super::judge::{Finding, Outcome, Standing, Subject, Terms};
use super::network::Surroundings;
use super::opinion::{Opinion, SecondOpinion};
use super::probe::{Answer, ProbeFailure, Target, probe};
use super::schedule::Schedule;
use crate::config::{Check, CheckKind, Config, Confirm, Pool, Real, Via, Way};
use crate::state::{Asked, Health};
use court::Court;

/// From one ping of a gateway to the next.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// How long its answer may take.
const PING_TIMEOUT: Duration = Duration::from_millis(900);

/// Something that has changed.
#[derive(Clone, Debug)]
pub enum Event {
    /// A verdict.
    Verdict {
        /// The pool's name.
        pool: String,
        /// The real server's address.
        address: IpAddr,
        /// The new verdict.
        health: Health,
        /// Why, in words.
        reason: String,
        /// When it was found.
        at: Instant,
    },
    /// What a real server's check, or the time since it came back, wants of it.
    Asked {
        /// The pool's name.
        pool: String,
        /// The real server's address.
        address: IpAddr,
        /// What it wants.
        asked: Asked,
    },
    /// A pool's verdicts are not believed from now on.
    Held {
        /// The pool's name.
        pool: String,
        /// Why.
        cause: Cause,
    },
    /// They are again.
    Released {
        /// The pool's name.
        pool: String,
        /// What ended it, in words.
        reason: String,
    },
    /// A real server is down to us, but up to another director, and so stays.
    Disputed {
        /// The pool's name.
        pool: String,
        /// The real server's address.
        address: IpAddr,
        /// What we found, in words.
        reason: String,
    },
}

/// What is done about a real server.
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
    court: Arc<Court>,
    running: HashMap<Subject, (Job, Running)>,
    gateways: HashMap<IpAddr, Running>,
}

/// A check's task, and what makes it ask at once.
#[derive(Debug)]
struct Running {
    task: AbortHandle,
    /// When it was last told to.
    bell: watch::Sender<Duration>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Engine {
    /// Nothing runs yet. The channel has no bound, since nobody may wait while all verdicts do: there is at most one event
    /// for each probe, and nearly always none.
    pub fn new(events: mpsc::UnboundedSender<Event>) -> Self {
        Self { court: Arc::new(Court::new(events)), running: HashMap::new(), gateways: HashMap::new() }
    }

    /// Makes the running checks those of the config: new ones start, those that are gone end, changed ones start anew,
    /// the others are not touched. `health` says the verdict that a check starts from.
    pub fn apply(&mut self, config: &Config, health: impl Fn(&str, IpAddr) -> Health) {
        self.stop_changed(config);
        self.court.take_down();
        self.apply_gateways(&config.director.gateways);
        for (subject, (job, terms)) in wanted(config) {
            if self.running.contains_key(&subject) {
                self.court.judge(|judge| judge.revise(&subject, terms));
                continue;
            }
            let health = health(&subject.0, subject.1);
            self.court.judge(|judge| judge.enter(&subject, terms, health));
            let (bell, rung) = watch::channel(Duration::ZERO);
            let task = tokio::spawn(run(subject.clone(), job.clone(), Arc::clone(&self.court), rung));
            self.court.hang(subject.clone(), bell.clone());
            self.running.insert(subject, (job, Running { task: task.abort_handle(), bell }));
        }
    }

    /// Ends the checks that the config does not have, or has otherwise. What they have said before is in the channel.
    pub fn stop_changed(&mut self, config: &Config) {
        let wanted = wanted(config);
        self.running.retain(|subject, (job, _)| wanted.get(subject).is_some_and(|(other, _)| other == job));
        let subjects: HashSet<Subject> = wanted.into_keys().collect();
        self.court.rule(|judge, _| judge.retain(&subjects));
    }

    /// Takes links and ways as they are now: a pool that has lost every link is held.
    pub fn set_surroundings(&self, surroundings: Surroundings) {
        self.court.rule(|judge, _| judge.set_surroundings(surroundings));
    }

    /// Whom to ask before a real server is taken out whose check says `confirm = "peers"`. Without anybody, our own verdict
    /// counts.
    pub fn set_second_opinion(&self, second_opinion: Option<Arc<dyn SecondOpinion>>) {
        self.court.set_second_opinion(second_opinion);
    }

    /// Its packets look as if this real server did not answer: it is asked at once, and at the fast interval for three
    /// seconds. Its verdict takes as many failures as ever. More of this within that time only makes it longer.
    pub fn suspect(&self, pool: &str, address: IpAddr) {
        let subject = (pool.to_owned(), address);
        let now = self.court.now();
        if self.court.judge(|judge| judge.suspect(&subject, now))
            && let Some((_, running)) = self.running.get(&subject)
        {
            running.bell.send_replace(now);
        }
    }

    /// How a real server that is checked stands; `None`: it is not.
    pub fn standing(&self, pool: &str, address: IpAddr) -> Option<Standing> {
        let now = self.court.now();
        self.court.judge(|judge| judge.standing(&(pool.to_owned(), address), now))
    }

    /// How long ago the last probe of a real server ended; `None`: there was none.
    pub fn last_probe(&self, pool: &str, address: IpAddr) -> Option<Duration> {
        self.standing(pool, address)?.age
    }

    /// What we say of a real server to another director that asks: what our own check found, not what has been made of it.
    pub fn opinion(&self, pool: &str, address: IpAddr) -> Opinion {
        self.court.judge(|judge| judge.opinion(&(pool.to_owned(), address)))
    }

    /// The pools that are held, and why.
    pub fn held(&self) -> Vec<(String, Cause)> {
        self.court.judge(|judge| judge.held().map(|(pool, cause)| (pool.to_owned(), cause.clone())).collect())
    }

    fn apply_gateways(&mut self, addresses: &[IpAddr]) {
        self.gateways.retain(|address, _| addresses.contains(address));
        self.court.rule(|judge, _| judge.set_gateways(addresses));
        for address in addresses {
            if !self.gateways.contains_key(address) {
                let (bell, rung) = watch::channel(Duration::ZERO);
                let task = tokio::spawn(ping(*address, Arc::clone(&self.court), rung));
                self.court.hang(court::gateway(*address), bell.clone());
                self.gateways.insert(*address, Running { task: task.abort_handle(), bell });
            }
        }
    }
}

/// The checks of a config: those of pools that a service uses.
fn wanted(config: &Config) -> HashMap<Subject, (Job, Terms)> {
    let mut wanted = HashMap::new();
    let marks = config.probe_marks();
    for (index, pool) in config.pools.iter().enumerate() {
        let used = config.services.iter().any(|service| service.pool == index);
        if let Some(check) = pool.check.as_ref().filter(|_| used) {
            let way = check.via.way(&marks);
            let job = |real: &Real| Job { check: check.clone(), real: real.name.clone(), way };
            let all = pool.reals.iter();
            wanted.extend(all.map(|real| ((pool.name.clone(), real.address), (job(real), terms(pool, check, real)))));
        }
    }
    wanted
}

fn terms(pool: &Pool, check: &Check, real: &Real) -> Terms {
    Terms {
        rise: check.rise,
        fall: check.fall,
        damping: check.damping,
        confirm: check.confirm == Confirm::Peers,
        patience: check.timeout,
        slow_start: pool.slow_start,
        weight: real.weight,
    }
}

/// Until it is aborted, or nobody listens any more.
async fn run(subject: Subject, job: Job, court: Arc<Court>, mut rung: watch::Receiver<Duration>) {
    let ((pool, address), Job { check, real, way }) = (&subject, job);
    let address_and_port = SocketAddr::new(*address, check.port);
    let target = Target { address: address_and_port, pool, real: &real, way, vip: check.vip };
    let asked: Arc<str> = asked(&check).into();
    let answers: Arc<str> = format!("{asked} answers").into();
    let mut started = court.now();
    let mut could_not = false;
    let mut schedule = Schedule::new(started, check.interval, seed(target.address));
    while court.has_listener() {
        wait(&mut schedule, &court, started, &mut rung).await;
        started = court.now();
        let result = probe(&check.kind, target, check.timeout).await;
        if let Err(failure) = &result {
            debug!(pool, %address, %failure, "probe failed");
            if failure.is_of_our_own() && !std::mem::replace(&mut could_not, true) {
                warn!("{pool}/{real} cannot be asked, and stays as it is: {failure}");
            }
        } else {
            could_not = false;
        }
        let finding = finding(&check.kind, &result);
        let words = result.map_or_else(|failure| format!("{asked}: {failure}").into(), |_| Arc::clone(&answers));
        let outcome = Outcome { started, ended: court.now(), finding, words };
        let interval = if court.hear(&subject, outcome) { check.fast_interval } else { check.interval };
        schedule.handle_end(court.now(), interval, check.jitter.of(interval));
    }
}

/// Until a probe is due, or the bell rings; one that rang before the last probe began has had its answer.
async fn wait(schedule: &mut Schedule, court: &Court, started: Duration, rung: &mut watch::Receiver<Duration>) {
    tokio::select! {
        () = sleep_until(court.moment(schedule.due())) => {}
        Ok(_) = rung.wait_for(|rung| *rung > started) => schedule.hurry(court.now()),
    }
}

/// Pings a gateway until it is aborted, or nobody listens any more.
async fn ping(address: IpAddr, court: Arc<Court>, mut rung: watch::Receiver<Duration>) {
    let mut started = court.now();
    let mut schedule = Schedule::new(started, Duration::ZERO, 0);
    while court.has_listener() {
        wait(&mut schedule, &court, started, &mut rung).await;
        started = court.now();
        let result = probe(&CheckKind::Icmp, SocketAddr::new(address, 0), PING_TIMEOUT).await;
        if let Err(failure) = &result {
            debug!(%address, %failure, "a gateway does not answer");
        }
        court.rule(|judge, now| judge.handle_gateway(address, result.is_ok(), now));
        schedule.handle_end(court.now(), PING_INTERVAL, Duration::ZERO);
    }
}

/// What a result says of the way to the real server. How a script ends says nothing of that if it fails.
fn finding(kind: &CheckKind, result: &Result<Answer, ProbeFailure>) -> Finding {
    match result {
        Ok(answer) => Finding::Answered(*answer),
        Err(failure) if failure.is_of_our_own() => Finding::NotAsked,
        Err(failure) if failure.is_reply() && !matches!(kind, CheckKind::Script(_)) => Finding::Refused,
        Err(_) => Finding::Silent,
    }
}

/// What is asked, in words.
fn asked(check: &Check) -> String {
    let asked = match &check.kind {
        CheckKind::Icmp => "ping".into(),
        CheckKind::Script(script) => script.program.display().to_string(),
        _ => format!("port {}", check.port),
    };
    match check.via {
        Via::Real => asked,
        Via::Vip(vip) => format!("{asked} of {vip}"),
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
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::net::TcpListener;

    use super::super::opinion::Opinions;
    use super::*;
    use crate::config::{Director, Limits, Pool, Service};

    const DEADLINE: Duration = Duration::from_secs(10);

    fn config(port: u16) -> Config {
        let interval = Duration::from_millis(20);
        let timeout = Duration::from_millis(500);
        let check = Check { port, interval, fast_interval: interval, timeout, fall: 2, ..Check::new(CheckKind::Tcp) };
        let address = Ipv4Addr::LOCALHOST.into();
        let reals = vec![Real::new("local", address, 1)];
        let protocol = lb_common::abi::Protocol::Tcp;
        let pools = vec![Pool { check: Some(check), ..Pool::new("web", 251, reals) }];
        let services = vec![Service::new("s", Ipv4Addr::new(10, 0, 0, 1).into(), port, protocol, 0)];
        Config::new(Director::new(vec!["eth0".into()]), Limits::default(), pools, services)
    }

    async fn next(events: &mut mpsc::UnboundedReceiver<Event>) -> (Health, String) {
        let event = tokio::time::timeout(DEADLINE, events.recv()).await.expect("an event in time");
        match event.expect("the engine lives") {
            Event::Verdict { health, reason, .. } => (health, reason),
            other => panic!("it is no verdict: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_listener_that_closes_and_opens_again_is_down_and_up_again() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a port");
        let address = listener.local_addr().expect("it is bound");
        let (sender, mut events) = mpsc::unbounded_channel();
        let mut engine = Engine::new(sender);
        engine.apply(&config(address.port()), |_, _| Health::Unchecked);
        assert_eq!(next(&mut events).await.0, Health::Up);
        drop(listener);
        let (health, reason) = next(&mut events).await;
        assert_eq!(health, Health::Down);
        assert_eq!(reason, format!("port {}: connection refused", address.port()));
        let _listener = TcpListener::bind(address).await.expect("the port is free again");
        assert_eq!(next(&mut events).await.0, Health::Up);
    }

    #[tokio::test]
    async fn an_unchanged_check_goes_on_and_a_removed_one_ends() {
        let (sender, mut events) = mpsc::unbounded_channel();
        let mut engine = Engine::new(sender);
        let mut config = config(1);
        engine.apply(&config, |_, _| Health::Up);
        let before = engine.running.values().next().expect("one check").1.task.id();
        engine.apply(&config, |_, _| Health::Unchecked);
        assert_eq!(engine.running.values().next().expect("one check").1.task.id(), before);
        assert_eq!(next(&mut events).await.0, Health::Down);
        config.services.clear();
        engine.apply(&config, |_, _| Health::Unchecked);
        assert!(engine.running.is_empty());
    }
    #[tokio::test]
    async fn a_suspect_is_asked_at_once_and_a_few_times_more() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a port");
        let mut config = config(listener.local_addr().expect("it is bound").port());
        let check = config.pools[0].check.as_mut().expect("it has one");
        (check.interval, check.fast_interval) = (Duration::from_secs(3600), Duration::from_millis(20));
        let (sender, mut events) = mpsc::unbounded_channel();
        let mut engine = Engine::new(sender);
        engine.apply(&config, |_, _| Health::Unchecked);
        assert_eq!(next(&mut events).await.0, Health::Up);
        let accept = async |count: u32| {
            for _ in 0..count {
                tokio::time::timeout(DEADLINE, listener.accept()).await.expect("in time").expect("a connection");
            }
        };
        accept(1).await;
        engine.suspect("web", Ipv4Addr::LOCALHOST.into());
        accept(5).await;
        assert_eq!(engine.standing("web", Ipv4Addr::LOCALHOST.into()).map(|found| found.health), Some(Health::Up));
    }

    /// Another director, that says this when it is asked for the first time.
    #[derive(Debug)]
    struct Other(Opinion, AtomicU32);

    impl SecondOpinion for Other {
        fn ask(&self, pool: &str, address: IpAddr, _: Duration) -> Opinions {
            assert_eq!((pool, address), ("web", Ipv4Addr::LOCALHOST.into()));
            let is_first = self.1.fetch_add(1, Ordering::Relaxed) == 0;
            let opinion = if is_first { self.0 } else { Opinion::Down };
            Box::pin(async move { vec![opinion] })
        }
    }

    #[tokio::test]
    async fn a_real_server_stays_as_long_as_another_director_says_that_it_is_up() {
        let mut config = config(1);
        config.pools[0].check.as_mut().expect("it has one").confirm = Confirm::Peers;
        let (sender, mut events) = mpsc::unbounded_channel();
        let mut engine = Engine::new(sender);
        let other = Arc::new(Other(Opinion::Up, AtomicU32::new(0)));
        engine.set_second_opinion(Some(Arc::clone(&other) as Arc<dyn SecondOpinion>));
        engine.apply(&config, |_, _| Health::Up);
        let first = tokio::time::timeout(DEADLINE, events.recv()).await.expect("an event in time");
        assert!(matches!(first, Some(Event::Disputed { .. })), "{first:?}");
        assert_eq!(next(&mut events).await.0, Health::Down);
        assert_eq!(other.1.load(Ordering::Relaxed), 2);
    }
}
