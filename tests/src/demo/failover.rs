//! `cargo xtask demo --failover`: a vip between two directors, and an account of every way in which it can move.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::account::Account;
use super::load::{self, Request};
use crate::failover::{Cast, Clients, Stage, Watched};
use crate::lab::{Brand, CLIENT, DIRECTOR, DIRECTOR_B, INTERFACE, Namespace, Router, Side, VIP, binary, output};

const REALS: u8 = 3;
const HELD: usize = 200;
const CURLS: usize = 10;
/// Short, so that nobody has to wait; the default is a second.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long the client is watched after each event.
const AFTER: Duration = Duration::from_millis(700);
/// What a busy machine may add to a time of the protocol's.
const BUSY: Duration = Duration::from_millis(200);

/// Plays it.
///
/// # Errors
/// If the lab cannot be built, or something in it does not come at all.
pub fn play(account: &mut Account, keep: bool) -> Result<()> {
    let mut scene = Scene::up(account, keep)?;
    scene.requests(account)?;
    scene.polite_stop(account)?;
    scene.kill(account)?;
    scene.freeze(account)?;
    scene.silence(account)?;
    scene.partition(account)?;
    account.heading("The directors' own words about it");
    scene.logs(account);
    if keep {
        scene.look_around(account);
    }
    Ok(())
}

struct Scene {
    stage: Stage,
    clients: Clients,
}

/// What clients saw of an event.
struct Seen {
    watched: Watched,
    requests: Vec<Request>,
    /// From the event to the first advert of the one who is master then.
    moved: Duration,
}

impl Scene {
    fn up(account: &mut Account, keep: bool) -> Result<Self> {
        account.heading("A lab of network namespaces, with two directors");
        let cast = Cast { reals: REALS, keep, ..Cast::new([Brand::Ours; 2], |side| Router::v3(side, INTERVAL)) };
        let stage = Stage::up(cast.with_web_and_databases())?;
        account.text(&format!(
            "client {CLIENT}, directors A {DIRECTOR} (priority 100) and B {DIRECTOR_B} (priority 90), {REALS} machines with nginx and MariaDB.\n\
             The vip {VIP} is nobody's: VRRP gives it to one of the two (version 3, an advert every {} ms).\n",
            INTERVAL.as_millis(),
        ));
        let mut scene = Self { stage, clients: Clients::new()? };
        let vip = scene.stage.router(Side::A).vips[0].clone();
        let holds = |side| scene.stage.member(side).holds(&vip);
        account.check(
            holds(Side::A)? && !holds(Side::B)?,
            "A has the higher priority, is master and has the vip; B has not",
        );
        scene.one_answers(account, Side::A)?;
        let opened = scene.clients.fill(&scene.stage, HELD)?;
        account.text(&format!(
            "clients hold {HELD} connections open from here to the end, half of them HTTP, half MySQL: {opened:?}\n"
        ));
        Ok(scene)
    }

    fn requests(&self, account: &mut Account) -> Result<()> {
        account.heading(&format!("{CURLS} times: curl http://{VIP}/"));
        let mut answers = Vec::new();
        for _ in 0..CURLS {
            let mut curl = self.stage.pair.lab.client.command("curl");
            answers.push(output(curl.args([
                "--silent",
                "--show-error",
                "--max-time",
                "5",
                &format!("http://{VIP}/"),
            ]))?);
        }
        account.text(&format!("{}\n", answers.join(" ")));
        account.check(answers.iter().all(|name| name.starts_with("real")), "every one was answered by a real server");
        Ok(())
    }

    fn polite_stop(&mut self, account: &mut Account) -> Result<()> {
        account.heading("A is stopped as systemd stops it (SIGTERM)");
        let seen = self.watch(Side::B, |stage| stage.member_mut(Side::A).stop())?;
        account.text(&format!("B was master {} ms later\n", seen.moved.as_millis()));
        seen.nothing_lost(account);
        let vip = self.stage.router(Side::A).vips[0].clone();
        account.check(!self.stage.member(Side::A).holds(&vip)?, "A took the vip off its interface");
        self.one_answers(account, Side::B)?;
        self.all_live(account);

        account.heading("A is started again, and takes the vip back");
        let seen = self.watch(Side::A, |stage| stage.start_again(Side::A))?;
        seen.nothing_lost(account);
        self.settled(account, Side::A)?;
        self.all_live(account);
        Ok(())
    }

    fn kill(&mut self, account: &mut Account) -> Result<()> {
        account.heading("The daemon of A is killed (SIGKILL) and nobody restarts it");
        let seen = self.watch(Side::B, |stage| stage.member_mut(Side::A).kill())?;
        let vip = self.stage.router(Side::A).vips[0].clone();
        let left = self.stage.member(Side::A).holds(&vip)?;
        let still = if left { "still has the vip on its interface" } else { "has not got the vip any more" };
        account.text(&format!(
            "A's kernel {still}. Its lease has run out, so it does not answer for the vip, but it forwards.\n"
        ));
        self.took_a_down_interval(account, seen.moved);
        seen.nothing_lost(account);
        self.one_answers(account, Side::B)?;
        self.all_live(account);
        self.stage.start_again(Side::A)?;
        self.settled(account, Side::A)
    }

    fn freeze(&mut self, account: &mut Account) -> Result<()> {
        account.heading(
            "The daemon of A is frozen (SIGSTOP), as a virtual machine is while it is moved, and wakes up (SIGCONT)",
        );
        let seen = self.watch(Side::B, |stage| stage.member(Side::A).freeze())?;
        self.took_a_down_interval(account, seen.moved);
        seen.nothing_lost(account);
        self.one_answers(account, Side::B)?;
        let woken = Instant::now();
        self.stage.member(Side::A).thaw()?;
        self.settled(account, Side::A)?;
        let adverts = self.stage.observer.adverts(Side::A.port(), woken);
        let (first, _) = adverts.first().context("A has said nothing since it woke up")?;
        let listened = *first - woken;
        account.check(
            listened > self.stage.router(Side::A).down_interval() * 9 / 10,
            &format!("on waking A listened for {} ms before it said anything", listened.as_millis()),
        );
        self.all_live(account);
        Ok(())
    }

    fn silence(&mut self, account: &mut Account) -> Result<()> {
        account.heading("The machine of A dies: no frame comes from it, none reaches it");
        let seen = self.watch(Side::B, |stage| stage.pair.silence(Side::A))?;
        let after = seen.watched.after();
        account.text(&format!(
            "a client that asks every millisecond had no answer for {} ms\n",
            after.outage().as_millis()
        ));
        let down = self.stage.cast.down_interval();
        account.check(
            after.outage() < down + BUSY,
            &format!(
                "that is no longer than the protocol's {} ms (and {} for a busy machine)",
                down.as_millis(),
                BUSY.as_millis()
            ),
        );
        self.one_answers(account, Side::B)?;
        self.all_live(account);
        self.stage.pair.let_speak(Side::A)?;
        self.settled(account, Side::A)?;
        self.all_live(account);
        Ok(())
    }

    fn partition(&mut self, account: &mut Account) -> Result<()> {
        account.heading("A and B do not hear each other, while all others hear both; then they do again");
        let parted = Instant::now();
        self.stage.pair.part()?;
        self.stage.wait_for_master(Side::B, parted)?;
        account.text("both are master now; no protocol can help that\n");
        load::wait_until(Instant::now() + AFTER);
        let seen = self.watch(Side::A, |stage| stage.pair.heal())?;
        account.check(
            seen.watched.after().outage() < BUSY,
            &format!("after it healed the client had no answer for {} ms", seen.watched.after().outage().as_millis()),
        );
        self.settled(account, Side::A)?;
        self.all_live(account);
        Ok(())
    }

    /// Has a client ask once a millisecond, and another one fetch pages, while something happens that makes this side master.
    fn watch(&mut self, next: Side, event: impl FnOnce(&mut Stage) -> Result<()> + Send) -> Result<Seen> {
        let ended = AtomicBool::new(false);
        let client = self.stage.pair.lab.client.clone();
        let stage = &mut self.stage;
        let mut moved = Duration::ZERO;
        let (watched, requests) = std::thread::scope(|scope| {
            let requests = scope.spawn(|| client.enter(|| Ok(load::requests_until(&ended))));
            let happen = |stage: &mut Stage| {
                let begun = Instant::now();
                event(stage)?;
                moved = stage.wait_for_master(next, begun)? - begun;
                Ok(())
            };
            let watched = stage.watch(happen, AFTER);
            ended.store(true, Ordering::Relaxed);
            let requests = requests.join().map_err(|_| anyhow!("the load panicked"))?;
            anyhow::Ok((watched?, requests?))
        })?;
        Ok(Seen { watched, requests, moved })
    }

    fn one_answers(&self, account: &mut Account, side: Side) -> Result<()> {
        let (sides, macs) = (self.stage.answering(INTERVAL)?, self.stage.macs_that_answer(INTERVAL)?);
        account.check(
            sides == [side] && macs == 1,
            &format!("asked by ARP who has {VIP}, exactly one machine answers: {}", name(side)),
        );
        Ok(())
    }

    fn settled(&self, account: &mut Account, side: Side) -> Result<()> {
        self.stage.settle()?;
        account.check(true, &format!("{} is the only master again", name(side)));
        Ok(())
    }

    fn took_a_down_interval(&self, account: &mut Account, moved: Duration) {
        // What was heard last was at most an interval before the event; a lease ends after the same time.
        let bound = self.stage.cast.down_interval() + BUSY;
        account.check(
            moved < bound,
            &format!("B was master {} ms later: three adverts that did not come, and its skew", moved.as_millis()),
        );
    }

    fn all_live(&mut self, account: &mut Account) {
        let open = self.clients.len();
        let broken = self.clients.ask_all();
        account.check(broken == 0 && open > 0, &format!("{broken} of {open} open connections broke"));
    }

    fn logs(&self, account: &Account) {
        for side in Side::ALL {
            account.text(&format!("{}:\n", name(side)));
            let log = self.stage.member(side).log();
            let name = &self.stage.router(side).name;
            let lines = log.lines().filter(|line| line.contains(name.as_str()));
            lines.for_each(|line| account.text(&format!("  {line}\n")));
        }
    }

    fn look_around(&self, account: &Account) {
        let inside = |machine: &Namespace| format!("nsenter --net=/run/netns/{}", machine.name());
        let pair = &self.stage.pair;
        let (client, a) = (&pair.lab.client, pair.machine(Side::A));
        account.heading("The lab stays. Look around:");
        account.text(&format!(
            "  {client} curl http://{VIP}/\n  {client} ip neigh show {VIP}\n  {a} ip address show dev {INTERFACE}\n  \
             {a} tcpdump -eni {INTERFACE} vrrp or arp\n  {binary} stats --config {config} --watch\n  kill -STOP {pid}     # and -CONT, -TERM, -KILL\n\
             and take it down:\n  cargo xtask demo --down\n",
            client = inside(client),
            a = inside(a),
            binary = binary().display(),
            config = self.stage.member(Side::A).director().map(|it| it.config.display().to_string()).unwrap_or_default(),
            pid = self.stage.member(Side::A).pids().ok().and_then(|pids| pids.first().copied()).map_or(0, nix::unistd::Pid::as_raw),
        ));
    }
}

impl Seen {
    /// Nobody noticed, by and large: on a busy machine the measuring client itself may be late.
    fn nothing_lost(&self, account: &mut Account) {
        let after = self.watched.after();
        let (lost, all) = (after.lost(), after.records().len());
        account.check(lost == 0, &format!("{lost} of {all} datagrams, one a millisecond, were lost meanwhile"));
        let failed = self.requests.iter().filter(|request| request.answer.is_none()).count();
        account.check(failed == 0, &format!("{failed} of {} HTTP requests failed meanwhile", self.requests.len()));
    }
}

const fn name(side: Side) -> &'static str {
    match side {
        Side::A => "A",
        Side::B => "B",
    }
}
