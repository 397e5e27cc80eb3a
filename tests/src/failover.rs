//! Two directors with a vip between them, everything around them, and a client that asks once a millisecond: what the
//! end-to-end tests, the measurements and the demo of a vip that moves have in common.

mod clients;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::lab::{
    Brand, Echo, INTERFACE, Mariadb, Member, Nginx, Observer, Pair, Probe, Probed, Router, Side, Topology, VIP, VIP_6,
    echo, eventually, real_address,
};

pub use clients::Clients;

/// Where what answers the probe listens.
pub const ECHO_PORT: u16 = 7777;

/// From one look at the canary to the next.
pub const CANARY: Duration = Duration::from_millis(100);
const CANARY_PORT: u16 = 8081;

/// How long a client is watched before something happens to it.
const BEFORE: Duration = Duration::from_millis(300);

/// How long a machine may take over its down interval on a busy day, where a bound is wanted at all.
pub const GRACE: Duration = Duration::from_secs(3);

/// Who plays, and on what.
#[derive(Clone, Debug)]
pub struct Cast {
    /// Who is the director at .2, and who the one at .3.
    pub brands: [Brand; 2],
    /// The virtual routers of each.
    pub routers: [Vec<Router>; 2],
    /// Real servers.
    pub reals: u8,
    /// Whether these run nginx.
    pub web: bool,
    /// Whether these run MariaDB.
    pub databases: bool,
    /// Whether there is a second way between the directors.
    pub second_path: bool,
    /// Whether there is a pool beside the one that serves, with a web server of its own, for a virtual router to track.
    pub canary: bool,
    /// Whether the lab stays when it is dropped.
    pub keep: bool,
}

impl Cast {
    /// One virtual router each, the same but for what depends on the side.
    pub fn new(brands: [Brand; 2], router: impl Fn(Side) -> Router) -> Self {
        let routers = Side::ALL.map(|side| vec![router(side)]);
        Self { brands, routers, reals: 2, web: false, databases: false, second_path: false, canary: false, keep: false }
    }

    /// The words of the pool that is tracked: one failure is enough, at an interval of [`CANARY`].
    fn canary_pool(&self) -> String {
        if !self.canary {
            return String::new();
        }
        let interval = CANARY.as_millis();
        format!(
            "[pool.canary]\ncheck = {{ type = \"tcp\", interval = \"{interval}ms\", timeout = \"1s\", rise = 1, fall = 1 }}\n\
             [[pool.canary.real]]\nname = \"canary\"\naddress = \"{}\"\n\
             [[service]]\nvip = \"{VIP}\"\nport = {CANARY_PORT}\nprotocol = \"tcp\"\npool = \"canary\"\n",
            real_address(1),
        )
    }

    /// With nginx on the real servers.
    pub fn with_web(self) -> Self {
        Self { web: true, ..self }
    }

    /// With nginx and MariaDB on the real servers.
    pub fn with_web_and_databases(self) -> Self {
        Self { databases: true, ..self.with_web() }
    }

    /// The words of its pool and service. The account is one that the server has: see [`Mariadb`].
    fn database_pool(&self) -> String {
        if !self.databases {
            return String::new();
        }
        let port = Mariadb::PORT;
        format!(
            "[pool.db]\ncheck = {{ type = \"mysql\", port = {port}, user = \"open\", interval = \"1s\", timeout = \"3s\" }}\n\
             {}[[service]]\nvip = \"{VIP}\"\nport = {port}\nprotocol = \"tcp\"\npool = \"db\"\n",
            reals_of("db", self.reals),
        )
    }
}

/// Everything running: A is master, B is ready to be.
#[derive(Debug)]
pub struct Stage {
    members: [Member; 2],
    /// Who plays.
    pub cast: Cast,
    /// What the switch sees.
    pub observer: Observer,
    /// The web servers, if there are any.
    pub nginx: Vec<Nginx>,
    /// The web server of the pool that is tracked, if there is one.
    pub canary: Option<Nginx>,
    /// When a director was started last. What was heard before that, it has not heard.
    started: Instant,
    _databases: Vec<Mariadb>,
    _echoes: Vec<Echo>,
    /// Where it plays. Last, so that it is dropped last.
    pub pair: Pair,
}

/// What a client saw of an event.
#[derive(Clone, Debug)]
pub struct Watched {
    /// When the event began.
    pub at: Instant,
    /// All datagrams, also those from before.
    pub probed: Probed,
}

/// `[pool.web]` with so many real servers, a web service and one that echoes, for each of these vips.
pub fn services(reals: u8, web: bool, vips: &[IpAddr]) -> String {
    let check = if web {
        "check = { type = \"tcp\", port = 80, interval = \"100ms\", timeout = \"1s\", fall = 2 }\n"
    } else {
        ""
    };
    let reals = reals_of("web", reals);
    let service = |vip: &IpAddr| {
        let of = |protocol: &str, port: u16| {
            format!("[[service]]\nvip = \"{vip}\"\nport = {port}\nprotocol = \"{protocol}\"\npool = \"web\"\n")
        };
        of("udp", ECHO_PORT) + &of("tcp", 80)
    };
    let services: String = vips.iter().map(service).collect();
    format!("[limits]\nring_buckets = 65536\n[pool.web]\n{check}{reals}{services}")
}

fn reals_of(pool: &str, reals: u8) -> String {
    let real =
        |number| format!("[[pool.{pool}.real]]\nname = \"real{number}\"\naddress = \"{}\"\n", real_address(number));
    (1..=reals).map(real).collect()
}

impl Stage {
    /// Builds it all and waits until A is master.
    ///
    /// # Errors
    /// If something does not start, or A does not become master.
    pub fn up(cast: Cast) -> Result<Self> {
        let pair = Pair::build(Topology { keep: cast.keep, ..Topology::flat(cast.reals) })?;
        if cast.second_path {
            pair.add_second_path()?;
        }
        let observer = Observer::start(&pair.lab)?;
        let echoes = echoes(&pair, &cast)?;
        let nginx = match cast.web {
            true => nginx(&pair)?,
            false => Vec::new(),
        };
        let databases = match cast.databases {
            true => databases(&pair)?,
            false => Vec::new(),
        };
        let canary = match cast.canary {
            true => Some(Nginx::start_on(&pair.lab, &pair.lab.reals[0], "canary", &[CANARY_PORT])?),
            false => None,
        };
        let begun = Instant::now();
        let a = member(&pair, Side::A, &cast)?;
        let leads = || Ok(first_sign(&observer, &cast, Side::A, begun));
        eventually(cast.patience(), "A is master", leads).with_context(|| a.log())?;
        let b = member(&pair, Side::B, &cast)?;
        let started = Instant::now();
        let stage = Self {
            members: [a, b],
            cast,
            observer,
            nginx,
            canary,
            started,
            _databases: databases,
            _echoes: echoes,
            pair,
        };
        stage.settle()?;
        Ok(stage)
    }

    /// One of the two.
    pub fn member(&self, side: Side) -> &Member {
        match side {
            Side::A => &self.members[0],
            Side::B => &self.members[1],
        }
    }

    /// One of the two, to be told something.
    pub fn member_mut(&mut self, side: Side) -> &mut Member {
        match side {
            Side::A => &mut self.members[0],
            Side::B => &mut self.members[1],
        }
    }

    /// The first virtual router of a side.
    pub fn router(&self, side: Side) -> &Router {
        match side {
            Side::A => &self.cast.routers[0][0],
            Side::B => &self.cast.routers[1][0],
        }
    }

    /// The vip that clients ask for: the last one of the first virtual router.
    ///
    /// # Errors
    /// If it is no address.
    pub fn vip(&self) -> Result<IpAddr> {
        let vip = self.router(Side::A).vips.last().context("no vip")?;
        Ok(vip.split('/').next().unwrap_or(vip).parse()?)
    }

    /// Starts a side again after it has ended; waits until it is ready, not until it is master.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_again(&mut self, side: Side) -> Result<()> {
        *self.member_mut(side) = member(&self.pair, side, &self.cast)?;
        self.started = Instant::now();
        Ok(())
    }

    /// Has what speaks VRRP on a side crash, and its supervisor start it again.
    ///
    /// # Errors
    /// As [`Member::crash`].
    pub fn crash(&mut self, side: Side) -> Result<()> {
        let Self { members: [a, b], pair, .. } = self;
        match side {
            Side::A => a.crash(pair),
            Side::B => b.crash(pair),
        }
    }

    /// Waits until this side is master. Says when its first advert from then on came.
    ///
    /// # Errors
    /// If that does not come; quotes its log.
    pub fn wait_for_master(&self, side: Side, since: Instant) -> Result<Instant> {
        let found = || Ok(self.first_sign(side, since));
        let found = eventually(self.cast.patience(), &format!("{} is master", side.port()), found);
        found.with_context(|| format!("its log:\n{}", self.member(side).log()))
    }

    /// When a side first showed, from then on, that it is master: by an advert; or by an announcement of the vip, where
    /// adverts do not pass the switch.
    pub fn first_sign(&self, side: Side, since: Instant) -> Option<Instant> {
        first_sign(&self.observer, &self.cast, side, since)
    }

    /// Waits until there is exactly one master, A, which whoever was started last has heard, and exactly it answers for the vip.
    ///
    /// # Errors
    /// If that does not come; quotes both logs.
    pub fn settle(&self) -> Result<()> {
        let logs = || Side::ALL.map(|side| self.member(side).log()).join("\n-- and the other one --\n");
        self.settle_quietly().with_context(logs)
    }

    fn settle_quietly(&self) -> Result<()> {
        let interval = self.router(Side::A).interval;
        let patience = self.cast.patience();
        let alone = || {
            let since = Instant::now() - interval - Duration::from_millis(200);
            let leads =
                |side: Side| self.observer.adverts(side.port(), since).iter().any(|(_, priority)| *priority > 0);
            let heard = self.first_sign(Side::A, self.started).is_some();
            Ok((heard && leads(Side::A) && !leads(Side::B)).then_some(()))
        };
        if !self.cast.second_path {
            eventually(patience, "A is the only master", alone)?;
        }
        let served = || Ok((self.answering(Duration::from_millis(50))? == [Side::A]).then_some(()));
        eventually(patience, "A answers for the vip, and nobody else", served)
    }

    /// The client forgets who has which address, and will ask anew.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn forget_neighbours(&self) -> Result<()> {
        self.pair.lab.client.ip(&format!("neigh flush dev {INTERFACE}"))
    }

    /// The sides that answer a question for the vip within this time.
    ///
    /// # Errors
    /// If the question cannot be asked.
    pub fn answering(&self, wait: Duration) -> Result<Vec<Side>> {
        let answers = self.observer.who_has(&self.pair.lab, self.vip()?, wait)?;
        let answers = |side: &Side| answers.iter().any(|(_, port)| port == side.port());
        Ok(Side::ALL.into_iter().filter(answers).collect())
    }

    /// How many different MACs answer a question for the vip within this time.
    ///
    /// # Errors
    /// If the question cannot be asked.
    pub fn macs_that_answer(&self, wait: Duration) -> Result<usize> {
        Ok(self.observer.who_has(&self.pair.lab, self.vip()?, wait)?.len())
    }

    /// Watches a client while something happens, and for so long after it.
    ///
    /// # Errors
    /// Those of the event, or if nobody answers the client even before.
    pub fn watch(&mut self, event: impl FnOnce(&mut Self) -> Result<()>, after: Duration) -> Result<Watched> {
        let probe = Probe::start(&self.pair.lab.client, SocketAddr::new(self.vip()?, ECHO_PORT))?;
        pass(BEFORE);
        let at = Instant::now();
        event(self)?;
        pass(after);
        let probed = probe.finish()?;
        let before = probed.records().iter().filter(|record| record.sent < at);
        ensure!(
            before.clone().any(|record| record.answer.is_some()),
            "nobody answers the client, even before the event"
        );
        Ok(Watched { at, probed })
    }
}

impl Watched {
    /// What was sent from the event on.
    pub fn after(&self) -> Probed {
        self.probed.since(self.at)
    }
}

impl Cast {
    /// The longest that a machine may take to become master: its start, and its down interval.
    pub fn patience(&self) -> Duration {
        let routers = self.routers.iter().flatten();
        routers.map(Router::down_interval).max().unwrap_or_default() * 2 + 3 * GRACE
    }

    /// The down interval of the second director's first virtual router: how long it waits for a silent master.
    pub fn down_interval(&self) -> Duration {
        self.routers[1].first().map(Router::down_interval).unwrap_or_default()
    }
}

/// Lets time pass: a client is watched meanwhile, and nothing is waited for.
pub fn pass(time: Duration) {
    // tidy: allow(sleep): the client is watched meanwhile; nothing is waited for
    std::thread::sleep(time);
}

fn first_sign(observer: &Observer, cast: &Cast, side: Side, since: Instant) -> Option<Instant> {
    if cast.second_path {
        return observer.announcements(side.port(), VIP.into(), since).first().copied();
    }
    observer.adverts(side.port(), since).iter().find(|(_, priority)| *priority > 0).map(|(at, _)| *at)
}

fn member(pair: &Pair, side: Side, cast: &Cast) -> Result<Member> {
    let (brand, routers) = match side {
        Side::A => (cast.brands[0], &cast.routers[0]),
        Side::B => (cast.brands[1], &cast.routers[1]),
    };
    let vips: Vec<IpAddr> = match routers.iter().any(|router| router.vips.iter().any(|vip| vip.contains(':'))) {
        true => vec![VIP.into(), VIP_6.into()],
        false => vec![VIP.into()],
    };
    Member::start(
        pair,
        side,
        brand,
        routers,
        &(services(cast.reals, cast.web, &vips) + &cast.database_pool() + &cast.canary_pool()),
    )
}

/// Real servers answer for what is forwarded to them; a machine with keepalived, which has nothing behind it here, answers itself.
fn echoes(pair: &Pair, cast: &Cast) -> Result<Vec<Echo>> {
    let mut machines = Vec::new();
    for (number, real) in (1..).zip(&pair.lab.reals) {
        machines.push((real, format!("real{number}")));
    }
    for (side, brand) in Side::ALL.into_iter().zip(cast.brands) {
        if brand != Brand::Ours {
            machines.push((pair.machine(side), side.port().into()));
        }
    }
    let both = machines.iter().flat_map(|machine| [(machine, IpAddr::from(VIP)), (machine, VIP_6.into())]);
    both.map(|((machine, name), vip)| echo(machine, vip, ECHO_PORT, name)).collect()
}

fn nginx(pair: &Pair) -> Result<Vec<Nginx>> {
    let start = |(number, machine)| Nginx::start(&pair.lab, machine, &format!("real{number}"));
    (1..).zip(&pair.lab.reals).map(start).collect()
}

/// All at once: each takes some seconds.
fn databases(pair: &Pair) -> Result<Vec<Mariadb>> {
    std::thread::scope(|scope| {
        let start = |(number, _)| scope.spawn(move || Mariadb::start(&pair.lab, number));
        let starting: Vec<_> = (1..).zip(&pair.lab.reals).map(start).collect();
        starting.into_iter().map(|one| one.join().map_err(|_| anyhow!("a start panicked"))?).collect()
    })
}
