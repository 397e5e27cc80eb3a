//! `cargo xtask demo`: a director, three web servers and a client, and an account of what happens to them.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tests::demo::account::Account;
use tests::demo::failover;
use tests::demo::load::{self, Request};
use tests::lab::{
    CLIENT, Connection, Director, INTERFACE, Lab, Namespace, Nginx, Topology, VIP, binary, eventually, fetch,
    real_address, sweep_kept,
};

/// Three real nginx servers behind one address: real requests, a death, a return, and what was seen of it.
#[derive(Parser)]
#[command(after_help = "Exit code: 0 only if every statement that is printed was checked and holds.")]
struct Args {
    /// Leave the lab up and say how to look around
    #[arg(long)]
    keep: bool,
    /// Show two directors and a vip that moves between them instead
    #[arg(long)]
    failover: bool,
    /// Take down labs that were kept
    #[arg(long, conflicts_with = "keep")]
    down: bool,
}

const REQUESTS: usize = 300;
const HELD: usize = 60;
const BIG: usize = 40;
const REALS: u8 = 3;
/// The check's settings, as the config below has them.
const INTERVAL: Duration = Duration::from_millis(200);
const TIMEOUT: Duration = Duration::from_millis(200);
const FALL: u32 = 2;

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    ensure!(nix::unistd::geteuid().is_root(), "the demo needs root: it makes network namespaces and loads a program");
    if args.down {
        let kept = sweep_kept()?;
        kept.iter().for_each(|lab| println!("took down {}", lab.name));
        return Ok(ExitCode::SUCCESS);
    }
    let mut account = Account::new(std::io::stdout().is_terminal());
    if args.failover {
        failover::play(&mut account, args.keep)?;
        return Ok(account.close());
    }
    let mut scene = Scene::up(&mut account, args.keep)?;
    scene.spread(&mut account)?;
    scene.death_and_return(&mut account)?;
    scene.direct_return(&mut account)?;
    account.heading("What the operator sees: xdirector stats");
    account.text(&scene.director.stats_text(&["--interval", "1s"])?);
    if args.keep {
        scene.look_around(&mut account);
    }
    Ok(account.close())
}

struct Scene {
    director: Director,
    nginx: Vec<Nginx>,
    lab: Lab,
}

fn config() -> String {
    let real =
        |index: u8| format!("[[pool.web.real]]\nname = \"real{index}\"\naddress = \"{}\"\n", real_address(index));
    let reals: String = (1..=REALS).map(real).collect();
    format!(
        "[pool.web]\ncheck = {{ type = \"tcp\", interval = \"{}ms\", timeout = \"{}ms\", rise = 2, fall = {FALL} }}\n{reals}\n\
         [[service]]\nname = \"http\"\nvip = \"{VIP}\"\nport = 80\nprotocol = \"tcp\"\npool = \"web\"\n",
        INTERVAL.as_millis(),
        TIMEOUT.as_millis(),
    )
}

impl Scene {
    fn up(account: &mut Account, keep: bool) -> Result<Self> {
        account.heading("A lab of network namespaces");
        let lab = Lab::up(Topology { keep, ..Topology::flat(REALS) })?;
        let start = |(index, machine)| Nginx::start(&lab, machine, &format!("real{}", index + 1));
        let nginx = lab.reals.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
        account.text(&format!(
            "client {CLIENT}, director with vip {VIP}, and {REALS} machines with nginx and the vip on their loopback.\n"
        ));
        let director = Director::start(&lab, &config())?;
        for index in 1..=REALS {
            director.wait_for_state(&format!("real{index}"), "up")?;
        }
        account.check(true, "xdirector is attached, and its health checks reach all real servers");
        Ok(Self { director, nginx, lab })
    }

    fn spread(&self, account: &mut Account) -> Result<()> {
        account.heading(&format!("{REQUESTS} requests to http://{VIP}/, each over a connection of its own"));
        let requests = self.lab.client.enter(|| Ok(load::requests(REQUESTS)))?;
        let mut fewest = REQUESTS;
        for index in 1..=REALS {
            let name = format!("real{index}");
            let count = requests.iter().filter(|request| request.answer.as_deref() == Some(&name)).count();
            account.text(&format!("{name}  {count:>4}\n"));
            fewest = fewest.min(count);
        }
        let failed = requests.iter().filter(|request| request.answer.is_none()).count();
        account.check(failed == 0, &format!("{failed} of {REQUESTS} requests failed"));
        account.check(fewest > REQUESTS / 6, &format!("every real server had its part (the smallest: {fewest})"));
        // nginx writes a line after it has sent the answer.
        let logs = || {
            Ok(Some(self.nginx.iter().flat_map(Nginx::access_log).collect::<Vec<_>>()).filter(|l| l.len() >= REQUESTS))
        };
        let logs = eventually(Duration::from_secs(10), "nginx has logged every request", logs)?;
        let own = logs.iter().filter(|line| line.starts_with(&format!("{CLIENT} {VIP} "))).count();
        let what = format!("nginx logged {own} of {} requests as \"{CLIENT} to {VIP}\": nothing is NATed", logs.len());
        account.check(own == logs.len() && own >= REQUESTS, &what);
        Ok(())
    }

    fn death_and_return(&mut self, account: &mut Account) -> Result<()> {
        account.heading(&format!(
            "nginx on real2 stops and starts again, while requests go on and {HELD} connections are open"
        ));
        let mut held = hold(&self.lab.client)?;
        let shares = self.shares()?;
        let ended = AtomicBool::new(false);
        let client = self.lab.client.clone();
        let (story, requests) = std::thread::scope(|scope| {
            let load = scope.spawn(|| client.enter(|| Ok(load::requests_until(&ended))));
            let story = self.stop_and_start();
            ended.store(true, Ordering::Relaxed);
            let requests = load.join().map_err(|_| anyhow::anyhow!("the load panicked"))?;
            anyhow::Ok((story?, requests?))
        })?;
        story.tell(account, &requests);
        held.retain(|(_, name)| name != "real2");
        let broken =
            held.iter_mut().filter_map(|(open, name)| (open.ask("/").ok()?.text() == *name).then_some(())).count();
        let broken = held.len() - broken;
        account.check(broken == 0, &format!("{broken} of {} connections to the other two broke", held.len()));
        account.check(self.shares()? == shares, "the ring is exactly what it was before the death");
        account.text("\nThe director's log of it:\n");
        let log = self.director.process.log();
        log.lines().filter(|line| line.contains("real2 is")).for_each(|line| account.text(&format!("  {line}\n")));
        Ok(())
    }

    fn stop_and_start(&mut self) -> Result<Story> {
        let run = || Instant::now() + Duration::from_millis(500);
        load::wait_until(run());
        let stopped = Instant::now();
        self.nginx[1].stop()?;
        self.director.wait_for_state("real2", "down")?;
        let down = Instant::now();
        load::wait_until(run());
        let started = Instant::now();
        self.nginx[1].start_again(&self.lab, &self.lab.reals[1])?;
        self.director.wait_for_state("real2", "up")?;
        let up = Instant::now();
        load::wait_until(run());
        Ok(Story { stopped, down, started, up })
    }

    fn shares(&self) -> Result<Vec<serde_json::Value>> {
        Ok(self.director.reals()?.iter().map(|real| real["share"].clone()).collect())
    }

    fn direct_return(&self, account: &mut Account) -> Result<()> {
        account.heading(&format!("{BIG} downloads of {} KiB: the answers do not pass the director", Nginx::BIG / 1024));
        let traffic =
            || Ok::<_, anyhow::Error>((self.lab.traffic(&self.lab.director)?, self.lab.traffic(&self.lab.client)?));
        let (director, client) = traffic()?;
        let bytes = self.lab.client.enter(|| {
            let one = |_| Ok(fetch(VIP, 80, "/big")?.body.len());
            (0..BIG).map(one).sum::<Result<usize>>()
        })?;
        let (director_after, client_after) = traffic()?;
        let passed = director_after.received.1 - director.received.1;
        let sent = client_after.sent.1 - client.sent.1;
        account.text(&format!("the client sent {sent} bytes and received {bytes} of bodies\n"));
        account.text(&format!("the director received {passed} bytes, health checks and all\n"));
        account.check(bytes == BIG * Nginx::BIG, "every byte of the bodies arrived");
        let what = format!("what reached the director is {:.1} % of the answers", 100.0 * passed as f64 / bytes as f64);
        account.check(passed < bytes as u64 / 5, &what);
        Ok(())
    }

    fn look_around(&self, account: &mut Account) {
        let inside = |machine: &Namespace| format!("nsenter --net=/run/netns/{}", machine.name());
        let (client, director, real) = (&self.lab.client, &self.lab.director, &self.lab.reals[0]);
        account.heading("The lab stays. Look around:");
        account.text(&format!(
            "  {} curl http://{VIP}/\n  {} tcpdump -eni {INTERFACE}\n  {} tcpdump -eni {INTERFACE} host {VIP}\n  \
             {binary} stats --config {config} --watch\n  tail -f {log}\n  kill -HUP {pid}     # after editing {config}\n\
             and take it down:\n  cargo xtask demo --down\n",
            inside(client),
            inside(director),
            inside(real),
            binary = binary().display(),
            config = self.director.config.display(),
            log = self.lab.directory().join("director0.log").display(),
            pid = self.director.process.pid(),
        ));
    }
}

/// Open connections, each with the name of who answers it.
fn hold(client: &Namespace) -> Result<Vec<(Connection, String)>> {
    let one = |_| {
        let mut open = Connection::open(VIP, 80).context("cannot open a connection to hold")?;
        let name = open.ask("/")?.text();
        Ok((open, name))
    };
    client.enter(|| (0..HELD).map(one).collect())
}

/// When what happened.
struct Story {
    stopped: Instant,
    down: Instant,
    started: Instant,
    up: Instant,
}

impl Story {
    fn tell(&self, account: &mut Account, requests: &[Request]) {
        let Self { stopped, down, started, up } = *self;
        account
            .text(&format!("real2 out of the ring {:>4} ms after nginx was stopped\n", (down - stopped).as_millis()));
        account.text(&format!("real2 back in the ring {:>3} ms after nginx was started\n", (up - started).as_millis()));
        let failed: Vec<&Request> = requests.iter().filter(|request| request.answer.is_none()).collect();
        // A request that began just before the stop may be cut by it.
        let from = stopped - Duration::from_millis(50);
        let outside = failed.iter().filter(|request| request.began < from || request.began > down).count();
        let what = format!(
            "{} of {} requests failed, {outside} of them outside the time between the stop and the verdict",
            failed.len(),
            requests.len()
        );
        account.check(outside == 0, &what);
        let bound = INTERVAL * FALL + TIMEOUT + Duration::from_millis(500);
        account.check(
            down - stopped < bound,
            &format!(
                "the verdict came within fall x interval + timeout (and half a second for a busy machine: {bound:?})"
            ),
        );
        let while_down = |request: &&Request| request.began > down && request.began < started;
        let answered =
            requests.iter().filter(while_down).filter(|request| request.answer.as_deref() == Some("real2")).count();
        let all = requests.iter().filter(while_down).count();
        account
            .check(answered == 0 && all > 0, &format!("{answered} of {all} requests went to real2 while it was down"));
        let again =
            requests.iter().filter(|request| request.began > up && request.answer.as_deref() == Some("real2")).count();
        account.check(again > 0, &format!("{again} requests went to real2 after its return"));
    }
}
