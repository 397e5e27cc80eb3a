//! Who serves how much: tiers, pools of which nobody is left, zones.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::lab::{CLIENT, Connection, Director, INTERFACE, Lab, Nginx, Topology, VIP, fetch, fetch_from, real_address};

use crate::scene::service;

/// Real servers that run nginx, and a director that has found them all.
struct Stage {
    director: Director,
    nginx: Vec<Nginx>,
    // Last, so that it is dropped last.
    lab: Lab,
}

impl Stage {
    /// A real server for each of these keys of it; `pool` are those of the pool, `keys` those of the service.
    fn new(pool: &str, reals: &[&str], keys: &str) -> Result<Self> {
        let lab = Lab::up(Topology::flat(u8::try_from(reals.len())?))?;
        let start = |(index, machine)| Nginx::start(&lab, machine, &format!("real{}", index + 1));
        let nginx = lab.reals.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
        let director = Director::start(&lab, &file(pool, reals, keys))?;
        Ok(Self { director, nginx, lab })
    }

    /// Kills a real server's nginx, and waits until that is known.
    fn stop(&mut self, index: usize) -> Result<()> {
        self.nginx[index - 1].stop()?;
        self.director.wait_for_state(&format!("real{index}"), "down")
    }

    fn start_again(&mut self, index: usize) -> Result<()> {
        self.nginx[index - 1].start_again(&self.lab, &self.lab.reals[index - 1])?;
        self.director.wait_for_state(&format!("real{index}"), "up")
    }

    /// Opens connections, each of which has been answered once.
    fn open(&self, source: Ipv4Addr, count: usize) -> Result<Vec<(Connection, String)>> {
        let one = |_| {
            let mut connection = Connection::open_from(source.into(), VIP, 80)?;
            let name = connection.ask("/")?.text();
            Ok((connection, name))
        };
        self.lab.client.enter(|| (0..count).map(one).collect())
    }

    /// Who answers so many requests of this client.
    fn answering(&self, source: Ipv4Addr, count: usize) -> Result<BTreeSet<String>> {
        let name = |_| Ok(fetch_from(source.into(), VIP, 80, "/")?.text());
        self.lab.client.enter(|| (0..count).map(name).collect())
    }
}

fn file(pool: &str, reals: &[&str], keys: &str) -> String {
    let real = |(index, keys): (u8, &&str)| {
        let address = real_address(index);
        format!("[[pool.web.real]]\nname = \"real{index}\"\naddress = \"{address}\"\n{keys}\n")
    };
    let reals: String = (1..).zip(reals).map(real).collect();
    let check = "check = { type = \"tcp\", port = 80, interval = \"100ms\", timeout = \"100ms\", rise = 2, fall = 2 }";
    format!("[pool.web]\n{check}\n{pool}\n{reals}")
        + &service(VIP, "tcp", "web", &format!("name = \"http\"\nport = 80\n{keys}"))
}

/// Every connection is answered by whom it was answered before.
fn ensure_unbroken(connections: &mut [(Connection, String)]) -> Result<()> {
    for (connection, name) in connections {
        let answer = connection.ask("/").with_context(|| format!("a connection to {name} is broken"))?.text();
        ensure!(answer == *name, "a connection to {name} was answered by {answer}");
    }
    Ok(())
}

fn names<const N: usize>(numbers: [u8; N]) -> BTreeSet<String> {
    numbers.into_iter().map(|number| format!("real{number}")).collect()
}

#[test]
fn a_spare_real_server_takes_over_and_gives_back_without_breaking_a_connection() -> Result<()> {
    let mut stage = Stage::new("", &["", "tier = 1"], "")?;
    stage.director.wait_for_state("real1", "up")?;
    stage.director.wait_for_state("real2", "standby")?;
    ensure!(stage.answering(CLIENT, 20)? == names([1]));

    stage.stop(1)?;
    stage.director.wait_for_state("real2", "up")?;
    ensure!(stage.answering(CLIENT, 20)? == names([2]));
    let mut on_spare = stage.open(CLIENT, 40)?;

    stage.start_again(1)?;
    stage.director.wait_for_state("real2", "standby")?;
    ensure!(stage.answering(CLIENT, 20)? == names([1]));
    ensure_unbroken(&mut on_spare)
}

#[test]
fn a_second_tier_helps_a_first_that_is_short_of_real_servers() -> Result<()> {
    let mut stage = Stage::new("min_healthy = 2", &["", "", "tier = 1"], "")?;
    stage.director.wait_for_state("real3", "standby")?;
    let mut open = stage.open(CLIENT, 60)?;
    stage.stop(2)?;
    stage.director.wait_for_state("real3", "up")?;
    open.retain(|(_, name)| name != "real2");
    ensure!(stage.answering(CLIENT, 60)? == names([1, 3]));
    open.extend(stage.open(CLIENT, 30)?);
    stage.start_again(2)?;
    stage.director.wait_for_state("real3", "standby")?;
    ensure!(stage.answering(CLIENT, 60)? == names([1, 2]));
    ensure_unbroken(&mut open)
}

#[test]
fn a_pool_of_which_nobody_is_left_passes_to_a_web_server_on_the_director() -> Result<()> {
    let mut stage = Stage::new("on_empty = \"pass\"", &[""], "")?;
    stage.director.wait_for_state("real1", "up")?;
    let sorry = Nginx::start(&stage.lab, &stage.lab.director, "sorry")?;
    let name = |stage: &Stage| stage.lab.client.enter(|| Ok(fetch(VIP, 80, "/")?.text()));
    ensure!(name(&stage)? == "real1");
    stage.stop(1)?;
    ensure!(name(&stage)? == "sorry");
    ensure!(stage.director.reason("empty-passed")? >= 3 && stage.director.reason("no-usable-real")? == 0);
    stage.start_again(1)?;
    ensure!(name(&stage)? == "real1");
    drop(sorry);
    Ok(())
}

#[test]
fn a_pool_of_which_nobody_is_left_can_go_on_with_who_was_there_last() -> Result<()> {
    let mut stage = Stage::new("on_empty = \"keep\"", &["", ""], "")?;
    stage.director.wait_for_state("real1", "up")?;
    stage.stop(1)?;
    stage.stop(2)?;
    // A real server whose check alone has failed would serve; this one can only refuse.
    let refused = stage.lab.client.enter(|| fetch(VIP, 80, "/"));
    ensure!(refused.is_err() && stage.director.reason("no-usable-real")? == 0);
    stage.director.process.stop(nix::sys::signal::Signal::SIGKILL)?;
    stage.director.start_again(&stage.lab)?;
    let reals = stage.director.reals()?;
    ensure!(reals[0]["share"] == 0.0 && reals[1]["share"] == 1.0, "{reals:?}");
    stage.start_again(1)?;
    ensure!(stage.answering(CLIENT, 20)? == names([1]));
    Ok(())
}

const EAST: Ipv4Addr = CLIENT;
const WEST: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 11);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 12);

#[test]
fn clients_are_sent_to_their_zones_and_overflow_to_the_others() -> Result<()> {
    let reals = ["zone = \"east\"", "zone = \"east\"", "zone = \"west\""];
    let mut stage = Stage::new("", &reals, "")?;
    for source in [WEST, ELSEWHERE] {
        stage.lab.client.ip(&format!("address add {source}/24 dev {INTERFACE}"))?;
    }
    for real in ["real1", "real2", "real3"] {
        stage.director.wait_for_state(real, "up")?;
    }
    let sources = [EAST, WEST, ELSEWHERE];
    let mut open = Vec::new();
    for source in sources {
        ensure!(stage.answering(source, 60)? == names([1, 2, 3]));
        open.extend(stage.open(source, 30)?);
    }
    // Zones come by a reload: nobody is moved to one.
    let locality = format!("locality = {{ \"{EAST}/32\" = \"east\", \"{WEST}\" = \"west\" }}");
    stage.director.reload(&stage.lab, &file("", &reals, &locality))?;
    ensure_unbroken(&mut open)?;
    let near = |stage: &Stage| -> Result<[BTreeSet<String>; 3]> {
        Ok([stage.answering(EAST, 60)?, stage.answering(WEST, 20)?, stage.answering(ELSEWHERE, 60)?])
    };
    ensure!(near(&stage)? == [names([1, 2]), names([3]), names([1, 2, 3])], "{:?}", near(&stage)?);
    open.extend(stage.open(WEST, 10)?);

    stage.stop(3)?;
    open.retain(|(_, name)| name != "real3");
    ensure!(near(&stage)? == [names([1, 2]), names([1, 2]), names([1, 2])], "{:?}", near(&stage)?);
    open.extend(stage.open(WEST, 20)?);

    stage.start_again(3)?;
    ensure!(near(&stage)? == [names([1, 2]), names([3]), names([1, 2, 3])], "{:?}", near(&stage)?);
    ensure_unbroken(&mut open)?;

    let stats = stage.director.stats()?;
    let services = stats["services"].as_array().context("the stats have no services")?;
    let packets = |name: &str| services.iter().find(|row| row["name"] == name).and_then(|row| row["packets"].as_u64());
    ensure!(["http", "http@east", "http@west"].iter().all(|name| packets(name) > Some(100)), "{stats}");
    let west = services.iter().find(|row| row["name"] == "http@west").context("no row of the west")?;
    let shares: Vec<&Value> = west["reals"].as_array().into_iter().flatten().map(|real| &real["share"]).collect();
    ensure!(shares == [&0.0, &0.0, &1.0], "{shares:?}");

    // A new daemon finds it all as it is.
    stage.director.process.stop(nix::sys::signal::Signal::SIGKILL)?;
    stage.director.start_again(&stage.lab)?;
    ensure_unbroken(&mut open)
}

#[test]
fn the_clients_address_decides_and_not_that_of_the_vip() -> Result<()> {
    let reals = ["zone = \"east\"", "zone = \"west\""];
    let vip: IpAddr = VIP.into();
    let stage = Stage::new("", &reals, &format!("locality = {{ \"{vip}\" = \"west\", \"{CLIENT}\" = \"east\" }}"))?;
    stage.director.wait_for_state("real1", "up")?;
    stage.director.wait_for_state("real2", "up")?;
    ensure!(stage.answering(CLIENT, 20)? == names([1]));
    Ok(())
}
