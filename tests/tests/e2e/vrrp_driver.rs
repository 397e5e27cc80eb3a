//! What the thread that holds the vips does to its machine, and what it leaves alone.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tests::failover::{ECHO_PORT, services};
use tests::lab::{Director, INTERFACE, Observer, Pair, Router, Seat, Side, VIP, ask, echo, eventually, mac_of, output};

const SOON: Duration = Duration::from_secs(10);
/// Between adverts.
const SHORT: Duration = Duration::from_millis(100);
/// For answers to ARP requests.
const LOOK: Duration = Duration::from_millis(50);
/// A second vip.
const OTHER_VIP: &str = "10.66.0.150";

fn v3(side: Side) -> Router {
    Router::v3(side, SHORT)
}

/// With the MAC of the virtual router.
fn with_virtual_mac(side: Side) -> String {
    v3(side).ours().replace("[[vrrp]]\n", "[[vrrp]]\nvirtual_mac = true\n")
}

fn second(side: Side) -> String {
    let vips = vec![format!("{OTHER_VIP}/32")];
    Router { name: "VI_2".into(), vrid: 67, vips, ..v3(side) }.ours()
}

/// A director of ours with these virtual routers.
fn start(pair: &Pair, side: Side, routers: &str) -> Result<Director> {
    let seat = Seat {
        machine: pair.machine(side).clone(),
        name: side.port().into(),
        interfaces: vec![INTERFACE],
        peers: vec![side.other().address().into()],
    };
    Director::start_on(&pair.lab, seat, &file(routers))
}

fn file(routers: &str) -> String {
    services(1, false, &[VIP.into()]) + routers
}

fn is_there(pair: &Pair, side: Side, address: &str) -> Result<bool> {
    let shown = output(pair.machine(side).command("ip").args(["-o", "address", "show"]))?;
    Ok(shown.contains(&format!(" {address}/")))
}

fn wait_until(pair: &Pair, side: Side, address: &str, expected: bool) -> Result<()> {
    let what = format!("{address} is {} on {side:?}", if expected { "there" } else { "gone" });
    eventually(SOON, &what, || Ok((is_there(pair, side, address)? == expected).then_some(())))
}

/// Waits until the log has this text so many times.
fn wait_for(director: &Director, text: &str, times: usize) -> Result<()> {
    let said = || Ok((director.process.log().matches(text).count() >= times).then_some(()));
    eventually(SOON, &format!("the log says \"{text}\""), said).with_context(|| director.process.log())
}

#[test]
fn a_reload_does_not_touch_routers_that_stay_as_they_are() -> Result<()> {
    let pair = Pair::up(1)?;
    let one = v3(Side::A).ours();
    let mut director = start(&pair, Side::A, &one)?;
    wait_for(&director, "vrrp VI_1 is master", 1)?;
    director.reload(&pair.lab, &file(&(one.clone() + &second(Side::A))))?;
    wait_until(&pair, Side::A, OTHER_VIP, true)?;
    director.reload(&pair.lab, &file(&one))?;
    wait_until(&pair, Side::A, OTHER_VIP, false)?;
    ensure!(is_there(&pair, Side::A, &VIP.to_string())?);
    let moves = director.process.log().matches("vrrp VI_1 is ").count();
    ensure!(moves == 2, "backup, master, and nothing else was expected: {}", director.process.log());
    Ok(())
}

#[test]
fn an_address_that_somebody_takes_away_is_put_back() -> Result<()> {
    let pair = Pair::up(1)?;
    let director = start(&pair, Side::A, &v3(Side::A).ours())?;
    let vip = VIP.to_string();
    wait_until(&pair, Side::A, &vip, true)?;
    pair.machine(Side::A).ip(&format!("address del {vip}/24 dev {INTERFACE}"))?;
    wait_for(&director, "it is there now", 1)?;
    wait_until(&pair, Side::A, &vip, true)?;
    ensure!(director.process.log().matches("vrrp VI_1 is ").count() == 2, "{}", director.process.log());
    Ok(())
}

#[test]
fn an_address_that_was_there_before_is_left_alone() -> Result<()> {
    let pair = Pair::up(1)?;
    let vip = VIP.to_string();
    pair.machine(Side::A).ip(&format!("address add {vip}/24 dev {INTERFACE}"))?;
    let mut director = start(&pair, Side::A, &v3(Side::A).ours())?;
    wait_for(&director, "was on the interface already", 1)?;
    director.process.stop(Signal::SIGTERM)?;
    ensure!(is_there(&pair, Side::A, &vip)?, "{vip} is gone");
    // Until whoever added it does as the log says.
    director.start_again(&pair.lab)?;
    wait_for(&director, "was on the interface already", 1)?;
    pair.machine(Side::A).ip(&format!("address del {vip}/24 dev {INTERFACE}"))?;
    wait_for(&director, "it is there now", 1)?;
    director.process.stop(Signal::SIGTERM)?;
    ensure!(!is_there(&pair, Side::A, &vip)?, "{vip} is still there");
    Ok(())
}

#[test]
fn what_a_dead_daemon_left_is_silent_and_is_taken_away_by_the_next_one() -> Result<()> {
    let pair = Pair::up(1)?;
    let observer = Observer::start(&pair.lab)?;
    let vip = VIP.to_string();
    let mut a = start(&pair, Side::A, &v3(Side::A).ours())?;
    wait_until(&pair, Side::A, &vip, true)?;
    let _b = start(&pair, Side::B, &v3(Side::B).ours())?;
    a.process.stop(Signal::SIGKILL)?;
    wait_until(&pair, Side::B, &vip, true)?;
    ensure!(is_there(&pair, Side::A, &vip)?, "a killed process cannot have taken its vip away");
    let answering = observer.who_has(&pair.lab, VIP.into(), LOOK)?;
    ensure!(answering.iter().map(|(mac, _)| *mac).eq([mac_of(Side::B.address())]), "{answering:?}");
    a.start_again(&pair.lab)?;
    wait_for(&a, "which a former daemon left", 1)?;
    Ok(())
}

#[test]
fn a_virtual_mac_moves_with_the_vip() -> Result<()> {
    let pair = Pair::up(1)?;
    let observer = Observer::start(&pair.lab)?;
    let _echo = echo(&pair.lab.reals[0], VIP, ECHO_PORT, "real1")?;
    let mut a = start(&pair, Side::A, &with_virtual_mac(Side::A))?;
    wait_until(&pair, Side::A, &VIP.to_string(), true)?;
    let _b = start(&pair, Side::B, &with_virtual_mac(Side::B))?;
    let is_served = |port: &str| -> Result<()> {
        let answering = observer.who_has(&pair.lab, VIP.into(), LOOK)?;
        let [(mac, from)] = answering.iter().collect::<Vec<_>>()[..] else { anyhow::bail!("{answering:?}") };
        ensure!(mac.0 == [0, 0, 0x5e, 0, 1, 66] && from == port, "{mac} answers from {from}");
        let answer = pair.lab.client.enter(|| ask(IpAddr::from(VIP), ECHO_PORT, "x"))?;
        ensure!(answer == "real1 x", "{answer}");
        Ok(())
    };
    is_served(Side::A.port())?;
    let links = output(pair.machine(Side::A).command("ip").args(["-o", "link"]))?;
    let interface = links.split_whitespace().find(|word| word.starts_with("xdv4.")).context("no macvlan")?;
    let interface = interface.split('@').next().unwrap_or(interface);
    pair.machine(Side::A).ip(&format!("link del {interface}"))?;
    eventually(SOON, "the interface is made anew", || Ok(is_served(Side::A.port()).ok()))
        .with_context(|| a.process.log())?;
    a.process.stop(Signal::SIGTERM)?;
    wait_until(&pair, Side::B, &VIP.to_string(), true)?;
    is_served(Side::B.port())?;
    let left = output(pair.machine(Side::A).command("ip").args(["-o", "link"]))?;
    ensure!(!left.contains("xdv"), "an interface was left: {left}");

    Ok(())
}

#[test]
fn routes_and_rules_come_and_go_with_the_vip() -> Result<()> {
    let pair = Pair::up(1)?;
    let keys = "[[vrrp]]\n\
                routes = [{ to = \"10.99.0.0/24\", via = \"10.66.0.10\", table = 100 }, { to = \"10.98.0.0/24\" }]\n\
                rules = [{ from = \"10.66.0.100/32\", table = 100, priority = 1000 }]\n";
    let mut director = start(&pair, Side::A, &v3(Side::A).ours().replace("[[vrrp]]\n", keys))?;
    wait_until(&pair, Side::A, &VIP.to_string(), true)?;
    let shown = |arguments: &[&str]| output(pair.machine(Side::A).command("ip").args(arguments));
    let all = || -> Result<String> { Ok(shown(&["route", "show", "table", "all"])? + &shown(&["rule"])?) };
    let expected = ["10.99.0.0/24 via 10.66.0.10", "10.98.0.0/24 dev eth0", "from 10.66.0.100 lookup 100"];
    let there = || Ok(expected.iter().all(|line| all().is_ok_and(|all| all.contains(line))).then_some(()));
    eventually(SOON, "routes and rules are there", there).with_context(|| director.process.log())?;
    director.process.stop(Signal::SIGTERM)?;
    let left = all()?;
    ensure!(!expected.iter().any(|line| left.contains(line)), "{left}");
    Ok(())
}

#[test]
fn a_sync_group_moves_as_one_and_outlives_reloads() -> Result<()> {
    let pair = Pair::up(1)?;
    let routers = |side: Side| v3(side).ours() + &second(side);
    let group = "[[sync_group]]\nname = \"G1\"\nmembers = [\"VI_1\", \"VI_2\"]\n";
    let mut a = start(&pair, Side::A, &(routers(Side::A) + group))?;
    wait_for(&a, "sync group G1 is master", 1)?;
    let b = start(&pair, Side::B, &(routers(Side::B) + group))?;
    wait_for(&b, "sync group G1 is backup", 1)?;
    // Without its group, and with it again: nobody moves.
    for rest in ["", group] {
        a.reload(&pair.lab, &file(&(routers(Side::A) + rest)))?;
        ensure!(is_there(&pair, Side::A, OTHER_VIP)? && is_there(&pair, Side::A, &VIP.to_string())?);
    }
    ensure!(a.process.log().matches("vrrp VI_1 is ").count() == 2, "{}", a.process.log());
    a.process.stop(Signal::SIGTERM)?;
    wait_for(&b, "sync group G1 is master", 1)?;
    ensure!(is_there(&pair, Side::B, OTHER_VIP)? && is_there(&pair, Side::B, &VIP.to_string())?);
    Ok(())
}

#[test]
fn a_sync_group_takes_in_new_members_without_letting_go() -> Result<()> {
    let pair = Pair::up(1)?;
    let group = |members: &str| format!("[[sync_group]]\nname = \"G1\"\nmembers = [{members}]\n");
    let third = Router { name: "VI_3".into(), vrid: 68, vips: vec!["10.66.0.151/32".into()], ..v3(Side::A) }.ours();
    let two = v3(Side::A).ours() + &second(Side::A);
    let mut a = start(&pair, Side::A, &(two.clone() + &group("\"VI_1\", \"VI_2\"")))?;
    wait_for(&a, "sync group G1 is master", 1)?;
    let three = |routers: &str| file(&(routers.to_owned() + &third + &group("\"VI_1\", \"VI_2\", \"VI_3\"")));
    a.reload(&pair.lab, &three(&two))?;
    wait_for(&a, "vrrp VI_3 is master", 1)?;
    ensure!(a.process.log().matches("vrrp VI_1 is ").count() == 2, "{}", a.process.log());
    // Under another number it is another virtual router, which takes the place of the one that goes.
    a.reload(&pair.lab, &three(&two.replace("virtual_router_id = 66", "virtual_router_id = 77")))?;
    wait_for(&a, "vrrp VI_1 is master", 2)?;
    for vip in [&VIP.to_string(), OTHER_VIP, "10.66.0.151"] {
        wait_until(&pair, Side::A, vip, true).with_context(|| a.process.log())?;
    }
    Ok(())
}

#[test]
fn other_vips_are_answered_for_after_a_reload() -> Result<()> {
    let pair = Pair::up(1)?;
    let observer = Observer::start(&pair.lab)?;
    let mut director = start(&pair, Side::A, &v3(Side::A).ours())?;
    wait_until(&pair, Side::A, &VIP.to_string(), true)?;
    let other = Router { vips: vec![format!("{OTHER_VIP}/32")], ..v3(Side::A) };
    director.reload(&pair.lab, &file(&other.ours()))?;
    wait_until(&pair, Side::A, OTHER_VIP, true)?;
    wait_until(&pair, Side::A, &VIP.to_string(), false)?;
    let answers = || Ok((observer.who_has(&pair.lab, OTHER_VIP.parse()?, LOOK)?.len() == 1).then_some(()));
    eventually(SOON, "the new vip is answered for", answers)?;
    ensure!(director.process.log().matches("vrrp VI_1 is ").count() == 2, "{}", director.process.log());
    Ok(())
}
