//! The daemon's side of the thread that holds the vips: it is started, told what changes, listened to, and left in peace.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info, warn};

use super::tracking;
use crate::config::Config;
use crate::control::{self, LeaseStatus};
use crate::dataplane::{Kernel, Maps};
use crate::notify::Notifier;
use crate::reconcile::Reconciler;
use crate::state::{View, assign_leases, guards};
use crate::track::{TrackEvent, Tracking};
use crate::vrrp::driver::{Command, Driver, Fate, Leased, Obstacle, Plan, Privileges, VrrpEvent, VrrpStatus};
use crate::vrrp::machine::{Anomaly, Reason, State};

/// Hand-overs that take longer are cut short: a service manager would kill us.
const HAND_OVER: Duration = Duration::from_secs(20);
/// For so long what still comes here is forwarded after others hold the vips.
const LINGER: Duration = Duration::from_secs(1);

/// For so long hooks are waited for at the end.
const HOOKS: Duration = Duration::from_secs(1);

/// The thread, what it is told by and what it tells; nothing if there are no virtual routers.
#[derive(Default)]
pub struct Vrrp {
    running: Option<Running>,
    hooks: Notifier,
}

struct Running {
    driver: Driver,
    events: mpsc::Receiver<VrrpEvent>,
    tracking: Tracking,
    /// Whether it begins once it is known what priorities come to.
    is_to_begin: bool,
}

impl Vrrp {
    /// Starts it before anything else is known: vips that a predecessor held a moment ago must not fall meanwhile. Others are
    /// not taken before [`Vrrp::begin`].
    pub fn start(config: &Config, reconciler: &mut Reconciler, kernel: &mut Kernel) -> Result<Self> {
        let plan = plan(config, reconciler, kernel)?;
        if config.vrrp.is_empty() {
            return Ok(Self::default());
        }
        let (driver, events) = Driver::start(plan).context("cannot start the VRRP thread")?;
        let commander = driver.commander().clone();
        let mut tracking = Tracking::new(tracking::ping(), move |TrackEvent { router, effective }| {
            // If the thread has ended, that is said where its events are missed.
            commander.command(Command::Effective { router, effective });
        });
        tracking.apply(config);
        Ok(Self { running: Some(Running { driver, events, tracking, is_to_begin: false }), ..Self::default() })
    }

    /// From here on vips may be taken: as soon as it is known what priorities come to, which takes a second at most.
    /// Its events must be asked for from then on.
    pub const fn begin(&mut self) {
        if let Some(running) = &mut self.running {
            running.is_to_begin = true;
        }
    }

    /// Another file, after it has been taken. Its leases are written before the thread hears of it.
    pub fn configure(&mut self, config: &Config, reconciler: &mut Reconciler, kernel: &mut Kernel) -> Result<()> {
        let Some(running) = &mut self.running else {
            self.running = Self::start(config, reconciler, kernel)?.running;
            self.begin();
            return Ok(());
        };
        running.tell(Command::Configure(Box::new(plan(config, reconciler, kernel)?)));
        running.tracking.apply(config);
        Ok(())
    }

    /// What the thread says next; never, if there is none.
    pub async fn event(&mut self) -> VrrpEvent {
        if let Some(running) = &mut self.running {
            if let Some(event) = running.event().await {
                return event;
            }
            error!("the VRRP thread has ended; restart the daemon. No vip is answered for until then");
            self.running = None;
        }
        std::future::pending().await
    }

    /// Tells the operator, and hooks.
    pub fn handle(&mut self, event: &VrrpEvent, config: &Config) {
        log(event);
        match event {
            VrrpEvent::Changed { router, to, priority, .. } => {
                self.hooks.handle_router(config, router, *to, priority.get());
            }
            VrrpEvent::GroupChanged { group, state } => self.hooks.handle_group(config, group, *state),
            _ => {}
        }
    }

    /// Tells how all pools are.
    pub fn tell_pools(&self, config: &Config, view: &View) {
        if let Some(running) = &self.running {
            tracking::tell_pools(&running.tracking, config, view);
        }
    }

    /// How all virtual routers are.
    pub async fn status(&self) -> Vec<control::VrrpStatus> {
        match &self.running {
            Some(running) => running.driver.status().await.into_iter().map(in_words).collect(),
            None => Vec::new(),
        }
    }

    /// Hands all vips over, and returns when nothing comes here any more that others could not answer.
    pub async fn hand_over(&mut self, config: &Config) {
        let Some(running) = &mut self.running else { return };
        // Whoever leaves does not begin.
        running.is_to_begin = false;
        running.tell(Command::Leave);
        let deadline = Instant::now() + HAND_OVER;
        loop {
            match timeout_at(deadline, self.event()).await {
                Ok(VrrpEvent::Left { masters: 0 }) => break,
                Ok(VrrpEvent::Left { masters }) => {
                    info!("{masters} virtual routers are handed over; what still comes is forwarded for a moment");
                    sleep(LINGER).await;
                    break;
                }
                Ok(event) => self.handle(&event, config),
                Err(_) => {
                    warn!("handing over takes longer than {} s; not waiting for it", HAND_OVER.as_secs());
                    break;
                }
            }
        }
    }

    /// Ends the thread, which releases what it still holds, and hooks.
    pub async fn end(self) {
        let Self { running, hooks } = self;
        drop(running);
        hooks.finish(HOOKS).await;
    }
}

impl Running {
    async fn event(&mut self) -> Option<VrrpEvent> {
        loop {
            tokio::select! {
                event = self.events.recv() => return event,
                () = self.tracking.completed(), if self.is_to_begin => {
                    self.is_to_begin = false;
                    self.tell(Command::Begin);
                }
            }
        }
    }

    fn tell(&self, command: Command) {
        if !self.driver.commander().command(command) {
            error!("the VRRP thread has ended; restart the daemon");
        }
    }
}

/// With its leases, which are in the maps when this returns.
fn plan(config: &Config, reconciler: &mut Reconciler, kernel: &mut Kernel) -> Result<Plan> {
    let current = kernel.guards().context("cannot read the leases")?;
    let leases = assign_leases(&config.vrrp, &current)?;
    reconciler.guard(&guards(&config.vrrp, &leases)?, kernel)?;
    let ends = kernel.lease_ends();
    let leased = |(router, lease): (&crate::config::VirtualRouter, u32)| {
        let lease = ends.handle(lease).context("the map of leases is too small: this daemon did not make it")?;
        Ok(Leased { router: router.clone(), lease })
    };
    let routers = config.vrrp.iter().zip(leases).map(leased).collect::<Result<Vec<_>>>()?;
    Ok(Plan { routers, groups: config.sync_groups.clone() })
}

fn in_words(status: VrrpStatus) -> control::VrrpStatus {
    let seen = |anomaly: &Anomaly| Some((*anomaly, status.counters.anomaly(*anomaly))).filter(|(_, times)| *times > 0);
    let anomalies =
        Anomaly::ALL.iter().filter_map(seen).map(|(anomaly, times)| format!("{} ({times} times)", odd(anomaly)));
    let lease = status.lease.map(|left| LeaseStatus { held: true, milliseconds: left.as_millis() as u64 });
    control::VrrpStatus {
        name: status.name.to_string(),
        interface: status.interface,
        virtual_router_id: status.vrid.get(),
        state: name(status.state).into(),
        seconds: status.since.as_secs(),
        file_priority: status.configured_priority.get(),
        priority: status.priority.get(),
        vips: status.vips.iter().map(ToString::to_string).collect(),
        master: status.master.map(|master| master.to_string()),
        lease: Some(lease.unwrap_or(LeaseStatus { held: false, milliseconds: 0 })),
        trouble: status.obstacle.map(obstacle_text).into_iter().chain(anomalies).collect(),
    }
}

/// Tells the operator.
fn log(event: &VrrpEvent) {
    match event {
        VrrpEvent::Privileges(privileges) => log_privileges(privileges),
        VrrpEvent::Changed { router, from, to, reason, priority } => {
            info!(priority, "vrrp {router} is {} (was {}): {}", name(*to), name(*from), why(*reason));
        }
        VrrpEvent::GroupChanged { group, state } => info!("sync group {group} is {}", name(*state)),
        VrrpEvent::Odd { router, anomaly } => warn!("vrrp {router}: {} (told once, counted always)", odd(*anomaly)),
        VrrpEvent::Blocked { router, obstacle } => warn!("vrrp {router} cannot work: {}", obstacle_text(*obstacle)),
        VrrpEvent::Unblocked { router } => info!("vrrp {router} can work"),
        VrrpEvent::Address { router, address, fate } => match fate {
            Fate::Foreign => warn!(
                "vrrp {router}: {address} was on the interface already and not put there by xdirector, so it stays there; \
                 remove it from this machine's own configuration"
            ),
            Fate::Restored => warn!("vrrp {router}: {address} was not on its interface; it is there now"),
            Fate::Refused(error) => error!("vrrp {router}: the kernel refuses {address}: {error}"),
        },
        VrrpEvent::Cleared(address) => info!("took away {address}, which a former daemon left"),
        VrrpEvent::NotSent { router, error } => error!("vrrp {router}: adverts do not get out: {error}"),
        VrrpEvent::Lost(events) => warn!("{events} events of virtual routers came too fast to be logged"),
        VrrpEvent::Left { masters } => info!("{masters} virtual routers are handed over"),
        VrrpEvent::Trouble { doing, error } => error!("vrrp, {doing}: {error}"),
    }
}

fn log_privileges(privileges: &Privileges) {
    match &privileges.priority {
        Ok(()) => info!("the VRRP thread has real-time priority"),
        Err(error) => warn!(
            "the VRRP thread has no real-time priority ({error}), so a busy machine may miss adverts; give the daemon \
             CAP_SYS_NICE and, in a control group, time for real-time threads"
        ),
    }
    if let Err(error) = &privileges.memory {
        warn!("the daemon's memory is not locked ({error}), so a machine short of memory may miss adverts");
    }
}

const fn name(state: State) -> &'static str {
    match state {
        State::Init => "stopped",
        State::Backup => "backup",
        State::Master => "master",
        State::Fault => "fault",
    }
}

fn why(reason: Reason) -> String {
    match reason {
        Reason::Started => "started".into(),
        Reason::Resumed => "a daemon before this one was master a moment ago".into(),
        Reason::Stopped => "told to stop".into(),
        Reason::Fault => "something that it depends on is broken".into(),
        Reason::Recovered => "nothing that it depends on is broken any more".into(),
        Reason::MasterDown => "the master is silent".into(),
        Reason::MasterLeft => "the master leaves".into(),
        Reason::Preempted => "the master's priority is lower".into(),
        Reason::HigherPriority(priority, source) => format!("{source} has priority {priority}"),
        Reason::HigherAddress(source) => format!("{source} has the same priority and the higher address"),
        Reason::LateWake => "this process did not run for so long that others must be master by now".into(),
        Reason::Group => "another member of its sync group changed".into(),
    }
}

fn odd(anomaly: Anomaly) -> String {
    let text = match anomaly {
        Anomaly::Ttl => "an advert came through a router",
        Anomaly::Checksum => "an advert's checksum is wrong",
        Anomaly::UnknownPeer => "an advert came from an address that is not in unicast_peers",
        Anomaly::WrongCast => "an advert came to the group where unicast is configured, or the other way round",
        Anomaly::OwnAddress => "an advert came from our own address: another machine has it, or a loop",
        Anomaly::OtherVersion => "an advert of the other version came; set the same on all routers",
        Anomaly::OtherAuth => "an advert came with a password where none is configured, or without one",
        Anomaly::WrongPassword => "an advert came with another password",
        Anomaly::OtherInterval => "an advert has another interval; set the same on all routers",
        Anomaly::OtherAddresses => "an advert lists other addresses; set the same on all routers",
        Anomaly::SecondMaster => {
            "there is another master of lower priority: two parts of the network do not hear each other"
        }
        Anomaly::SecondOwner => "another router owns the vips too; only one may have priority 255",
        Anomaly::LateWake => "this process did not run when it should have",
        other => return format!("an advert is no good ({})", other.name()),
    };
    text.into()
}

fn obstacle_text(obstacle: Obstacle) -> String {
    match obstacle {
        Obstacle::NoInterface => "its interface is not there".into(),
        Obstacle::Down => "its interface is down or has no carrier".into(),
        Obstacle::NoSource => "its interface has no address that adverts could come from".into(),
        Obstacle::NoSuchSource => "its source is not an address of this machine".into(),
        Obstacle::Sockets(code) => format!("no sockets for it: {}", std::io::Error::from_raw_os_error(code)),
        Obstacle::Tracked => "something that it depends on is broken".into(),
    }
}
