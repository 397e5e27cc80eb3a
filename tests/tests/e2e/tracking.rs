//! What priorities depend on, where it needs a network: links and gateways.

use std::fs;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lb_user::config::vrrp::{Track, Tracked, VirtualRouter};
use lb_user::config::{Config, Director, Limits};
use lb_user::daemon::tracking::ping;
use lb_user::track::{TrackEvent, Tracking};
use lb_user::vrrp::priority::Effective;
use nix::sys::signal::Signal;
use tests::lab::{DIRECTOR, Director as DirectorProcess, Lab, Namespace, Topology, eventually};
use tokio::sync::oneshot;

const ENOUGH: Duration = Duration::from_secs(30);

/// What is said of a virtual router of priority 100, and when.
struct Said(Receiver<(Instant, Effective)>);

impl Said {
    fn next(&self, expected: Option<u8>) -> Result<Instant> {
        let (time, effective) = self.0.recv_timeout(ENOUGH).context("nothing is said")?;
        let wanted = expected.and_then(NonZeroU8::new).map_or(Effective::Fault, Effective::Priority);
        ensure!(effective == wanted, "{effective:?} is said, and not {wanted:?}");
        Ok(time)
    }
}

/// Tracks this in a machine while the test goes on.
fn while_tracking(
    machine: &Namespace,
    (what, weight): (Tracked, i16),
    test: impl FnOnce(Said) -> Result<()>,
) -> Result<()> {
    let mut config = Config::new(Director::new(vec!["eth0".into()]), Limits::default(), Vec::new(), Vec::new());
    let vips = vec!["10.66.0.200/24".parse()?];
    let mut router = VirtualRouter::new("VI_1", "eth0", NonZeroU8::MIN, vips).context("it has a vip")?;
    router.tracked.push(Track { what, weight });
    config.vrrp.push(router);
    let (sender, said) = channel();
    let (end, ended) = oneshot::channel::<()>();
    let track = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let sink = move |TrackEvent { effective, .. }| {
                // The test may have seen enough.
                if sender.send((Instant::now(), effective)).is_err() {}
            };
            let mut tracking = Tracking::new(ping(), sink);
            tracking.apply(&config);
            drop(ended.await);
        });
        Ok(())
    };
    std::thread::scope(|scope| {
        let tracker = scope.spawn(|| machine.enter(track));
        let outcome = test(Said(said));
        drop(end);
        let tracked = tracker.join().map_err(|_| anyhow::anyhow!("the tracking panicked"))?;
        outcome.and(tracked)
    })
}

#[test]
fn an_interface_that_loses_its_link_or_is_gone_is_a_fault() -> Result<()> {
    let lab = Lab::up(Topology::flat(1))?;
    let machine = &lab.client;
    machine.ip("link add here0 type veth peer name there0")?;
    machine.ip("link set here0 up")?;
    machine.ip("link set there0 up")?;
    while_tracking(machine, (Tracked::Interface("here0".into()), 0), |said| {
        said.next(Some(100))?;
        let mut times = Vec::new();
        for _ in 0..20 {
            let start = Instant::now();
            machine.ip("link set there0 down")?;
            times.push(said.next(None)?.saturating_duration_since(start));
            machine.ip("link set there0 up")?;
            said.next(Some(100))?;
        }
        times.sort_unstable();
        println!(
            "a lost link is known after {:?}, at worst {:?} (with the command that cuts it)",
            times[10], times[19]
        );
        machine.ip("link set here0 name other0")?;
        said.next(None)?;
        machine.ip("link set other0 name here0")?;
        said.next(Some(100))?;
        machine.ip("link delete here0")?;
        said.next(None)?;
        Ok(())
    })
}

#[test]
fn a_gateway_that_answers_no_pings_takes_its_weight_away() -> Result<()> {
    let lab = Lab::up(Topology::flat(1))?;
    while_tracking(&lab.client, (Tracked::Gateway(IpAddr::from(DIRECTOR)), -20), |said| {
        said.next(Some(100))?;
        lab.director.ip("link set eth0 down")?;
        said.next(Some(80))?;
        lab.director.ip("link set eth0 up")?;
        said.next(Some(100))?;
        Ok(())
    })
}

/// A virtual router with a hook that writes down what it is told, and tracks a file; it is alone, so it becomes master.
#[test]
fn a_hook_is_told_of_each_state_and_a_file_changes_the_priority() -> Result<()> {
    let lab = Lab::up(Topology::flat(1))?;
    let (hook, said, weight) =
        (lab.directory().join("hook"), lab.directory().join("said"), lab.directory().join("weight"));
    fs::write(&hook, format!("#!/bin/sh\necho \"$@\" >>{}\n", said.display()))?;
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755))?;
    fs::write(&weight, "-30")?;
    let router = format!(
        "[[vrrp]]\nname = \"VI_1\"\ninterface = \"eth0\"\nversion = 3\nvirtual_router_id = 7\nadvert_interval = \"50ms\"\n\
         vips = [\"10.66.0.200/24\"]\nnotify = \"{}\"\ntrack = [{{ file = \"{}\" }}]\n",
        hook.display(),
        weight.display()
    );
    let mut director = DirectorProcess::start(&lab, &router)?;
    let told = |expected: &str| {
        let told = || Ok(fs::read_to_string(&said).ok().filter(|text| text == expected));
        let read = || fs::read_to_string(&said).unwrap_or_default();
        eventually(ENOUGH, "the hook is told", told).with_context(|| format!("it was told {:?}", read()))
    };
    let mut all = String::from("INSTANCE VI_1 BACKUP 70\nINSTANCE VI_1 MASTER 70\n");
    told(&all)?;
    fs::write(&weight, "-254")?;
    all += "INSTANCE VI_1 FAULT 70\n";
    told(&all)?;
    fs::write(&weight, "5")?;
    all += "INSTANCE VI_1 BACKUP 105\nINSTANCE VI_1 MASTER 105\n";
    told(&all)?;
    director.process.stop(Signal::SIGTERM)?;
    all += "INSTANCE VI_1 STOP 105\n";
    told(&all)?;
    Ok(())
}
