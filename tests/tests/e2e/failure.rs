//! Real servers and daemons that die.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tests::lab::{Connection, VIP, eventually, mac_of, real_address};

use crate::scene::Scene;

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_dead_real_server_leaves_the_ring_and_comes_back() -> Result<()> {
    let mut scene = Scene::new(&[1, 1, 1])?;
    let before = scene.director.reals()?;
    let stopped = Instant::now();
    scene.nginx[1].stop()?;
    scene.director.wait_for_state("real2", "down")?;
    println!("down {:?} after nginx was stopped (interval 100 ms, fall 2)", stopped.elapsed());
    ensure!(scene.director.reals()?[1]["share"] == 0.0);
    ensure!(!scene.fetch_names(100)?.contains(&"real2".into()));
    scene.nginx[1].start_again(&scene.lab, &scene.lab.reals[1])?;
    scene.director.wait_for_state("real2", "up")?;
    let share = |reals: &[serde_json::Value]| reals.iter().map(|real| real["share"].clone()).collect::<Vec<_>>();
    ensure!(share(&scene.director.reals()?) == share(&before), "the ring is not what it was");
    ensure!(scene.fetch_names(100)?.contains(&"real2".into()));
    Ok(())
}

#[test]
fn open_connections_to_the_others_survive_a_death_and_a_return() -> Result<()> {
    let mut scene = Scene::new(&[1, 1, 1])?;
    let client = scene.lab.client.clone();
    let mut open = client.enter(|| {
        let one = |_| {
            let mut connection = Connection::open(VIP, 80)?;
            let name = connection.ask("/")?.text();
            Ok((connection, name))
        };
        (0..150).map(one).collect::<Result<Vec<_>>>()
    })?;
    scene.nginx[1].stop()?;
    scene.director.wait_for_state("real2", "down")?;
    open.retain(|(_, name)| name != "real2");
    ensure!(open.len() > 60, "only {} connections went to the others", open.len());
    let mut all_answer = || {
        for (connection, name) in &mut open {
            ensure!(connection.ask("/")?.text() == *name, "a connection to {name} was answered by another");
        }
        Ok(())
    };
    all_answer()?;
    scene.nginx[1].start_again(&scene.lab, &scene.lab.reals[1])?;
    scene.director.wait_for_state("real2", "up")?;
    all_answer()
}

#[test]
fn a_real_servers_new_mac_is_learned() -> Result<()> {
    let scene = Scene::new(&[1])?;
    // The same machine with another network card, and nobody announces it.
    let mac = mac_of([10, 66, 9, 9].into());
    scene.lab.reals[0].ip("link set eth0 down")?;
    scene.lab.reals[0].ip(&format!("link set eth0 address {mac}"))?;
    scene.lab.reals[0].ip("link set eth0 up")?;
    let started = Instant::now();
    let learned = || Ok((scene.director.reals()?[0]["mac"] == mac.to_string()).then_some(()));
    eventually(SOON, "the new MAC is in the ring", learned)?;
    println!("learned after {:?}", started.elapsed());
    scene.director.wait_for_state("real1", "up")?;
    scene.fetch_names(10)?;
    Ok(())
}

#[test]
fn a_killed_daemon_keeps_forwarding_and_its_successor_adopts() -> Result<()> {
    let mut scene = Scene::new(&[1, 1])?;
    let mut connection = scene.lab.client.enter(|| Connection::open(VIP, 80))?;
    let name = connection.ask("/")?.text();
    scene.director.process.stop(Signal::SIGKILL)?;
    scene.fetch_names(50)?;
    ensure!(connection.ask("/")?.text() == name);
    let before = scene.director.stats()?["services"][0]["packets"].as_u64();
    scene.director.start_again(&scene.lab)?;
    let log = scene.director.process.log();
    ensure!(log.contains("adopting 1 services and 2 real servers"), "{log}");
    ensure!(log.contains("took over eth0"), "{log}");
    ensure!(!log.contains("tables written"), "the successor wrote although nothing had changed: {log}");
    ensure!(connection.ask("/")?.text() == name);
    scene.fetch_names(10)?;
    let after = scene.director.stats()?["services"][0]["packets"].as_u64();
    ensure!(after > before && before > Some(0), "counters started anew: {before:?}, then {after:?}");
    Ok(())
}

#[test]
fn a_real_server_that_was_down_before_the_daemon_died_stays_down_for_its_successor() -> Result<()> {
    let mut scene = Scene::new(&[1, 1])?;
    scene.nginx[0].stop()?;
    scene.director.wait_for_state("real1", "down")?;
    scene.director.process.stop(Signal::SIGKILL)?;
    scene.director.start_again(&scene.lab)?;
    ensure!(scene.director.reals()?[0]["state"] == "down");
    ensure!(real_address(1).to_string() == scene.director.reals()?[0]["address"]);
    ensure!(scene.fetch_names(30)?.iter().all(|name| name == "real2"));
    Ok(())
}
