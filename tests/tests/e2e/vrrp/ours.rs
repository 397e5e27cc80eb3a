//! Two of ours: what keepalived cannot do.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::failover::{Cast, Clients, Stage};
use tests::lab::{Brand, DIRECTOR, Router, Side, VIP, VIP_6, Weighed, eventually, fetch, in_v6};

use super::{AFTER, lost_a_down_interval, lost_nothing, there_and_back};

const BOTH: [Brand; 2] = [Brand::Ours; 2];
const SHORT: Duration = Duration::from_millis(100);
/// Between two looks at who answers.
const LOOK: Duration = Duration::from_millis(20);
/// Connections that are to live.
const CONNECTIONS: usize = 300;

fn v3(side: Side) -> Router {
    Router::v3(side, SHORT)
}

/// Nobody takes over by itself.
fn lazy(side: Side) -> Router {
    Router { preempt: false, ..v3(side) }
}

#[test]
fn a_polite_stop_and_a_preemption_are_not_noticed() -> Result<()> {
    for router in [Router::v2, v3] {
        let mut stage = Stage::up(Cast::new(BOTH, router))?;
        let stop = |stage: &mut Stage| stage.member_mut(Side::A).stop();
        let start = |stage: &mut Stage| stage.start_again(Side::A);
        let [stopped, back] = there_and_back(&mut stage, stop, start)?;
        lost_nothing(&stopped, "polite stop")?;
        lost_nothing(&back, "preemption")?;
    }
    Ok(())
}

#[test]
fn after_a_kill_exactly_one_mac_answers() -> Result<()> {
    let mut stage = Stage::up(Cast::new(BOTH, v3))?;
    let event = |stage: &mut Stage| {
        stage.member_mut(Side::A).kill()?;
        let killed = Instant::now();
        let master = stage.wait_for_master(Side::B, killed)?;
        let last = stage.observer.adverts("director", killed - SHORT * 3).last().map(|(at, _)| *at);
        println!("B is master {:?} after the last advert of A", last.map(|last| master - last));
        one_mac_answers(stage, Duration::from_secs(1))
    };
    let watched = stage.watch(event, AFTER)?;
    lost_nothing(&watched, "kill -9 for good")
}

/// For so long, whenever one asks.
fn one_mac_answers(stage: &Stage, time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        let macs = stage.macs_that_answer(LOOK)?;
        ensure!(macs == 1, "{macs} MACs answer for the vip");
    }
    Ok(())
}

#[test]
fn a_daemon_that_crashes_and_is_restarted_stays_master() -> Result<()> {
    let mut stage = Stage::up(Cast::new(BOTH, Router::v2))?;
    let crashed = Instant::now();
    let watched = stage.watch(|stage| stage.crash(Side::A), Duration::from_secs(5))?;
    lost_nothing(&watched, "crash and restart")?;
    let others = stage.observer.adverts("partner", crashed);
    ensure!(others.is_empty(), "B sent {} adverts; A: {}", others.len(), stage.member(Side::A).log());
    stage.settle()
}

#[test]
fn a_frozen_daemon_is_silent_before_the_backup_speaks_and_listens_on_waking() -> Result<()> {
    let mut stage = Stage::up(Cast::new(BOTH, lazy))?;
    let event = |stage: &mut Stage| {
        let frozen = Instant::now();
        stage.member(Side::A).freeze()?;
        let master = stage.wait_for_master(Side::B, frozen)?;
        println!("B is master {:?} after A was frozen", master - frozen);
        one_mac_answers(stage, Duration::from_secs(1))?;
        ensure!(stage.answering(SHORT)? == [Side::B]);
        Ok(())
    };
    let watched = stage.watch(event, AFTER)?;
    lost_nothing(&watched, "frozen")?;
    let woken = Instant::now();
    let watched = stage.watch(
        |stage| {
            stage.member(Side::A).thaw()?;
            one_mac_answers(stage, Duration::from_secs(1))
        },
        AFTER,
    )?;
    lost_nothing(&watched, "woken")?;
    let said = stage.observer.adverts("director", woken).len();
    let announced = stage.observer.announcements("director", stage.vip()?, woken).len();
    ensure!(said == 0 && announced == 0, "on waking A sent {said} adverts and {announced} announcements");
    Ok(())
}

#[test]
fn a_silent_machine_is_replaced_after_its_down_interval_and_returns_unnoticed() -> Result<()> {
    let mut stage = Stage::up(Cast::new(BOTH, v3))?;
    let silence = |stage: &mut Stage| stage.pair.silence(Side::A);
    let speak = |stage: &mut Stage| stage.pair.let_speak(Side::A);
    let [silent, back] = there_and_back(&mut stage, silence, speak)?;
    lost_a_down_interval(&stage, &silent, "silent")?;
    lost_nothing(&back, "speaks again")
}

#[test]
fn a_link_that_is_lost_is_told_by_the_second_path() -> Result<()> {
    let second = |side: Side| {
        let unicast = Some((side.second_address().into(), side.other().second_address().into()));
        Router { unicast, links: vec!["eth0"], ..Router::v2(side) }
    };
    let mut stage = Stage::up(Cast { second_path: true, ..Cast::new(BOTH, second) })?;
    let unplug = |stage: &mut Stage| stage.pair.unplug(Side::A);
    let plug = |stage: &mut Stage| stage.pair.plug_in(Side::A);
    let [lost, _] = there_and_back(&mut stage, unplug, plug)?;
    let outage = lost.after().outage();
    println!("link lost: outage {outage:?}");
    // Far from the three seconds of a down interval.
    ensure!(outage < Duration::from_secs(1), "no answer for {outage:?}");
    Ok(())
}

#[test]
fn connections_live_through_every_move() -> Result<()> {
    let mut stage = Stage::up(Cast { reals: 3, ..Cast::new(BOTH, v3) }.with_web_and_databases())?;
    let mut clients = Clients::new()?;
    println!("opened: {:?}", clients.fill(&stage, CONNECTIONS)?);
    let mut all_live = |event: &str| {
        let broken = clients.ask_all();
        ensure!(broken == 0, "{event}: {broken} of {CONNECTIONS} connections broke");
        Ok(())
    };
    all_live("before anything")?;
    let moved = |stage: &Stage, since: Instant| stage.wait_for_master(Side::B, since).map(drop);

    let begun = Instant::now();
    stage.member_mut(Side::A).stop()?;
    moved(&stage, begun)?;
    all_live("polite stop")?;
    stage.start_again(Side::A)?;
    stage.settle()?;
    all_live("back")?;

    let begun = Instant::now();
    stage.member_mut(Side::A).kill()?;
    moved(&stage, begun)?;
    all_live("kill -9")?;
    stage.start_again(Side::A)?;
    stage.settle()?;
    all_live("back after the kill")?;

    let begun = Instant::now();
    stage.pair.silence(Side::A)?;
    moved(&stage, begun)?;
    all_live("silent machine")?;
    stage.pair.let_speak(Side::A)?;
    stage.settle()?;
    all_live("back after the silence")
}

#[test]
fn a_pool_without_healthy_servers_gives_the_vip_away() -> Result<()> {
    let weighed = Weighed { name: "web".into(), weight: -20 };
    let router = |side| Router { pool: (side == Side::A).then(|| weighed.clone()), ..v3(side) };
    let stage = Stage::up(Cast::new(BOTH, router).with_web())?;
    // A cannot reach the real servers any more; clients and B can reach A, and B the real servers.
    let begun = Instant::now();
    stage.pair.hide_reals_from(Side::A)?;
    stage.wait_for_master(Side::B, begun)?;
    println!("B is master {:?} after A lost its real servers", begun.elapsed());
    eventually(AFTER, "B answers alone", || Ok((stage.answering(LOOK)? == [Side::B]).then_some(())))?;
    stage.pair.show_reals_to(Side::A)?;
    stage.settle()
}

#[test]
fn what_a_stopped_daemon_added_is_gone() -> Result<()> {
    let mut stage = Stage::up(Cast::new(BOTH, v3))?;
    let vip = stage.router(Side::A).vips[0].clone();
    ensure!(stage.member(Side::A).holds(&vip)?);
    stage.member_mut(Side::A).stop()?;
    ensure!(!stage.member(Side::A).holds(&vip)?, "{vip} is still there");
    Ok(())
}

#[test]
fn a_vip_that_is_not_accepted_leads_to_services_only() -> Result<()> {
    let closed = |router: Router| Router { accept: false, ..router };
    let routers = Side::ALL.map(|side| vec![closed(v3(side)), Router { vrid: 61, ..closed(Router::v6(side, SHORT)) }]);
    let stage = Stage::up(Cast { routers, ..Cast::new(BOTH, v3) }.with_web())?;
    let client = &stage.pair.lab.client;
    let answers = |address: IpAddr| {
        let mut ping = client.command("ping");
        anyhow::Ok(ping.args(["-c", "1", "-W", "1", &address.to_string()]).output()?.status.success())
    };
    eventually(AFTER, "A has both vips", || {
        let holds = |vip| stage.member(Side::A).holds(vip);
        Ok((holds(&stage.cast.routers[0][0].vips[0])? && holds(&stage.cast.routers[0][1].vips[1])?).then_some(()))
    })?;
    for (own, vip) in [(IpAddr::from(DIRECTOR), IpAddr::from(VIP)), (in_v6(DIRECTOR).into(), VIP_6.into())] {
        client.enter(|| fetch(vip, 80, "/"))?;
        ensure!(answers(own)?, "{own} does not answer");
        ensure!(!answers(vip)?, "{vip} answers");
    }
    let director = stage.member(Side::A).director().context("A is not ours")?;
    ensure!(director.reason("not-accepted")? >= 2, "{}", director.stats()?);
    Ok(())
}

#[test]
fn a_hook_is_told_what_keepalived_would_tell_it() -> Result<()> {
    let path = |what: &str| std::env::temp_dir().join(format!("xdirector-hook-{}-{what}", std::process::id()));
    let (hook, told) = (path("program"), path("told"));
    std::fs::write(&hook, format!("#!/bin/sh\necho \"$@\" >>{}\n", told.display()))?;
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let router = |side| Router { notify: (side == Side::A).then(|| hook.clone()), ..v3(side) };
    let outcome = Stage::up(Cast::new(BOTH, router)).and_then(|mut stage| stage.member_mut(Side::A).stop());
    let lines = std::fs::read_to_string(&told).unwrap_or_default();
    // They are not the lab's, so they do not go with the lab.
    [hook, told].iter().for_each(|file| drop(std::fs::remove_file(file)));
    outcome?;
    let words: Vec<String> =
        lines.lines().map(|line| line.rsplit_once(' ').map_or(line, |(words, _)| words).into()).collect();
    ensure!(words == ["INSTANCE VI_1 BACKUP", "INSTANCE VI_1 MASTER", "INSTANCE VI_1 STOP"], "{lines}");
    Ok(())
}
