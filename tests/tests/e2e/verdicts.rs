//! How results become verdicts: who is believed, who is not, and who is told.

mod checks;
mod hooks;
mod signs;
mod wishes;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::lab::{CLIENT, Connection, Director, Lab, Nginx, Plug, Topology, VIP, eventually, real_address};

/// How long anything that takes a few intervals may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);
/// `fall` x `interval` + `timeout` of [`CHECK`].
const BUDGET: Duration = Duration::from_millis(400);
const CHECK: &str = "type = \"tcp\", interval = \"100ms\", timeout = \"100ms\", rise = 2, fall = 3";

/// What follows `[director]` in a file: more of its keys, a check, keys of the pool, and so many real servers.
fn file(director: &str, check: &str, pool: &str, reals: u8) -> String {
    let real = |number| format!("[[pool.web.real]]\nname = \"real{number}\"\naddress = \"{}\"\n", real_address(number));
    let reals: String = (1..=reals).map(real).collect();
    format!(
        "{director}\n[limits]\nring_buckets = 65536\n[pool.web]\n{pool}\ncheck = {{ {check} }}\n{reals}\
         [[service]]\nname = \"http\"\nvip = \"{VIP}\"\nport = 80\nprotocol = \"tcp\"\npool = \"web\"\n"
    )
}

/// Real servers that run nginx, all up, and open connections to them.
struct Ward {
    director: Director,
    nginx: Vec<Nginx>,
    open: Vec<(Connection, String)>,
    // Last, so that it is dropped last.
    lab: Lab,
}

impl Ward {
    fn new(reals: u8, director: &str) -> Result<Self> {
        let lab = Lab::up(Topology::flat(reals))?;
        let start = |(index, machine)| Nginx::start(&lab, machine, &format!("real{}", index + 1));
        let nginx = lab.reals.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
        let director = Director::start(&lab, &file(director, CHECK, "", reals))?;
        for index in 1..=reals {
            director.wait_for_state(&format!("real{index}"), "up")?;
        }
        let open = lab.client.enter(|| {
            let one = |_| {
                let mut connection = Connection::open(VIP, 80)?;
                let name = connection.ask("/")?.text();
                Ok((connection, name))
            };
            (0..30).map(one).collect::<Result<Vec<_>>>()
        })?;
        Ok(Self { director, nginx, open, lab })
    }

    /// Until the log has this, from `begin` on; how long that took.
    fn wait_for(&self, begin: usize, words: &str, started: Instant) -> Result<Duration> {
        let log = || self.director.process.log().split_off(begin);
        let found = || Ok(log().contains(words).then(|| started.elapsed()));
        eventually(SOON, words, found).with_context(log)
    }

    fn log_length(&self) -> usize {
        self.director.process.log().len()
    }

    /// Every open connection is answered by whoever had it.
    fn all_live(&mut self) -> Result<()> {
        for (connection, name) in &mut self.open {
            let answer = connection.ask("/").with_context(|| format!("a connection to {name} broke"))?.text();
            ensure!(answer == *name, "a connection to {name} is answered by {answer}");
        }
        Ok(())
    }

    fn set_ports(&self, reals: u8, plug: Plug) -> Result<()> {
        (1..=reals).try_for_each(|number| self.lab.set_port(&format!("real{number}"), plug))
    }
}

#[test]
fn a_real_server_that_dies_is_out_within_fall_intervals_and_a_timeout() -> Result<()> {
    let mut ward = Ward::new(3, "")?;
    let begin = ward.log_length();
    let started = Instant::now();
    ward.nginx[1].stop()?;
    let process = ward.wait_for(begin, "web/real2 is down", started)?;
    ward.nginx[1].start_again(&ward.lab, &ward.lab.reals[1])?;
    ward.director.wait_for_state("real2", "up")?;
    let begin = ward.log_length();
    let started = Instant::now();
    ward.lab.set_port("real2", Plug::Out)?;
    let link = ward.wait_for(begin, "web/real2 is down", started)?;
    println!("out of the ring: {process:?} after its process ended, {link:?} after its link did; target {BUDGET:?}");
    // A machine that is busy with other tests delays probes; what takes much longer is a fault.
    ensure!(process.max(link) < BUDGET + Duration::from_secs(2));
    ward.open.retain(|(_, name)| name != "real2");
    ward.all_live()
}

#[test]
fn a_director_without_its_link_holds_the_ring_and_nothing_flaps_when_it_is_back() -> Result<()> {
    let mut ward = Ward::new(3, "")?;
    let before = ward.director.reals()?;
    let begin = ward.log_length();
    let started = Instant::now();
    ward.lab.set_port("director", Plug::Out)?;
    println!("held after {:?}", ward.wait_for(begin, "pool web is HELD: eth0 has no link", started)?);
    // Longer than it would take to lose everybody.
    hold_on(BUDGET * 3);
    ensure!(ward.director.reals()? == before, "the ring is not what it was: {:?}", ward.director.reals()?);
    let started = Instant::now();
    ward.lab.set_port("director", Plug::In)?;
    println!("believed again after {:?}", ward.wait_for(begin, "pool web is held no longer", started)?);
    ward.all_live()?;
    hold_on(BUDGET * 3);
    let log = ward.director.process.log().split_off(begin);
    ensure!(!log.contains("is down (was"), "{log}");
    ensure!(log.matches("HELD").count() == 1, "{log}");
    ward.all_live()
}

#[test]
fn a_director_that_reaches_nobody_holds_the_ring_though_its_link_is_there() -> Result<()> {
    let mut ward = Ward::new(3, "")?;
    let before = ward.director.reals()?;
    let begin = ward.log_length();
    let started = Instant::now();
    ward.set_ports(3, Plug::Out)?;
    let held = ward.wait_for(begin, "pool web is HELD: its real servers are silent", started)?;
    println!("held after {held:?}");
    hold_on(BUDGET * 3);
    ensure!(ward.director.reals()? == before, "the ring is not what it was: {:?}", ward.director.reals()?);
    ward.set_ports(3, Plug::In)?;
    ward.wait_for(begin, "pool web is held no longer", started)?;
    ward.all_live()?;
    hold_on(BUDGET * 3);
    let log = ward.director.process.log().split_off(begin);
    ensure!(!log.contains("is down (was"), "{log}");
    Ok(())
}

#[test]
fn a_gateway_tells_who_is_cut_off() -> Result<()> {
    let ward = Ward::new(2, &format!("gateways = [\"{CLIENT}\"]"))?;
    let begin = ward.log_length();
    let started = Instant::now();
    ward.set_ports(2, Plug::Out)?;
    for real in ["real1", "real2"] {
        println!(
            "{real} is out {:?} after its link was",
            ward.wait_for(begin, &format!("web/{real} is down"), started)?
        );
    }
    ward.set_ports(2, Plug::In)?;
    for real in ["real1", "real2"] {
        ward.director.wait_for_state(real, "up")?;
    }
    let log = ward.director.process.log();
    ensure!(!log.contains("HELD"), "{log}");
    let begin = ward.log_length();
    let started = Instant::now();
    ward.lab.set_port("client", Plug::Out)?;
    let gateway = format!("pool web is HELD: no gateway answers ({CLIENT})");
    println!("held {:?} after the gateway's link was out", ward.wait_for(begin, &gateway, started)?);
    ward.set_ports(2, Plug::Out)?;
    hold_on(BUDGET * 3);
    ward.lab.set_port("client", Plug::In)?;
    ward.set_ports(2, Plug::In)?;
    ward.wait_for(begin, "pool web is held no longer", started)?;
    let log = ward.director.process.log().split_off(begin);
    ensure!(!log.contains("is down (was"), "{log}");
    Ok(())
}

#[test]
fn one_that_flaps_is_told_to_prove_itself_longer() -> Result<()> {
    let mut ward = Ward::new(2, "")?;
    for round in 0..3 {
        let begin = ward.log_length();
        ward.nginx[0].stop()?;
        let words = if round < 2 { "web/real1 is down" } else { "flaps: needs 4 successes" };
        ward.wait_for(begin, words, Instant::now())?;
        ward.nginx[0].start_again(&ward.lab, &ward.lab.reals[0])?;
        ward.wait_for(begin, "web/real1 is up", Instant::now())?;
    }
    Ok(())
}

/// Time passes: what must not come needs some to come in.
fn hold_on(time: Duration) {
    // tidy: allow(sleep): nothing is waited for
    std::thread::sleep(time);
}
