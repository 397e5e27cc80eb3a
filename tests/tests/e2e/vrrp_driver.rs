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
    wait_for(&director, "it is there again", 1)?;
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
    a.process.stop(Signal::SIGTERM)?;
    wait_until(&pair, Side::B, &VIP.to_string(), true)?;
    is_served(Side::B.port())?;
    let left = output(pair.machine(Side::A).command("ip").args(["-o", "link"]))?;
    ensure!(!left.contains("xdv"), "an interface was left: {left}");

    Ok(())
}
