//! What a service can be: which ports, which vips, whose clients, and where they go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use tests::lab::{
    CLIENT, Connection, Director, Echo, INTERFACE, Lab, Namespace, Nginx, Topology, VIP, VIP_6, ask, ask_from, echo,
    eventually, fetch, fetch_from, in_v6, real_address,
};

use crate::scene::{self, service};

const SOON: Duration = Duration::from_secs(10);

/// A pool of some of the lab's real servers.
fn pool(name: &str, reals: &[u8]) -> String {
    let real = |index: &u8| (format!("real{index}"), real_address(*index).into());
    scene::pool(name, 80, &reals.iter().map(real).collect::<Vec<_>>())
}

/// A lab of real servers that listen on these ports, and a director that has found them all up.
struct Stage {
    director: Director,
    // Never looked at; they serve until the stage is struck.
    _nginx: Vec<Nginx>,
    // Last, so that it is dropped last.
    lab: Lab,
}

impl Stage {
    fn new(reals: u8, ports: &[u16], file: &str) -> Result<Self> {
        let lab = Lab::up(Topology::flat(reals))?;
        let start = |(index, machine)| Nginx::start_on(&lab, machine, &format!("real{}", index + 1), ports);
        let nginx = lab.reals.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
        let director = Director::start(&lab, file)?;
        let up = || {
            let stats = director.stats()?;
            let services = stats["services"].as_array().context("no services")?.iter();
            let mut reals = services.flat_map(|service| service["reals"].as_array().into_iter().flatten());
            Ok(reals.all(|real| real["state"] == "up").then_some(()))
        };
        eventually(SOON, "all real servers are up", up).with_context(|| director.process.log())?;
        Ok(Self { director, _nginx: nginx, lab })
    }

    /// The names of those who answer at these ports of the vip, one request each.
    fn names_at(&self, ports: &[u16]) -> Result<Vec<String>> {
        self.lab.client.enter(|| {
            let name = |port: &u16| fetch(VIP, *port, "/").with_context(|| format!("port {port}"));
            ports.iter().map(|port| Ok(name(port)?.text())).collect()
        })
    }
}

/// Nobody answers, not even with a reset.
fn ensure_silence<T>(outcome: Result<T>) -> Result<()> {
    let Err(error) = outcome else { bail!("it was answered") };
    let errno = error.downcast_ref::<Errno>();
    ensure!(errno == Some(&Errno::EINPROGRESS), "not silence, but: {error:#}");
    Ok(())
}

fn is_refused(outcome: Result<String>) -> bool {
    let refused = |error: &anyhow::Error| {
        error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    };
    outcome.is_err_and(|error| refused(&error))
}

#[test]
fn the_narrowest_service_that_has_the_port_is_meant() -> Result<()> {
    let file = pool("first", &[1])
        + &pool("second", &[2])
        + &pool("third", &[3])
        + &service(VIP, "tcp", "first", "port = \"any\"")
        + &service(VIP, "tcp", "second", "ports = \"8000-9000\"")
        + &service(VIP, "tcp", "third", "port = 8080");
    let ports = [80, 7999, 9001, 65_535, 8000, 8079, 8081, 8192, 9000, 8080];
    let stage = Stage::new(3, &ports, &file)?;
    let names = stage.names_at(&ports)?;
    let expected = [[1; 4].as_slice(), &[2; 5], &[3]].concat();
    ensure!(names == expected.iter().map(|index| format!("real{index}")).collect::<Vec<_>>(), "{names:?}");
    // No port of the other protocol is ours, whoever listens there.
    let _echo = echo(&stage.lab.reals[0], VIP, 80, "real1")?;
    ensure!(stage.lab.client.enter(|| ask(VIP, 80, "hello")).is_err());
    let table = stage.director.stats_text(&["--interval", "0s"])?;
    for endpoint in ["10.66.0.100:any/tcp", "10.66.0.100:8000-9000/tcp", "10.66.0.100:8080/tcp"] {
        ensure!(table.contains(endpoint), "{table}");
    }
    Ok(())
}

#[test]
fn ports_beside_a_range_are_left_to_the_directors_own_stack() -> Result<()> {
    let file = pool("web", &[1, 2]) + &service(VIP, "tcp", "web", "ports = \"8000-9000\"");
    // The real servers would answer there too.
    let outside = [80, 7999, 9001, 18_080];
    let stage = Stage::new(2, &[&outside[..], &[8000, 8999, 9000]].concat(), &file)?;
    stage.names_at(&[8000, 8999, 9000])?;
    for port in outside {
        let outcome = stage.lab.client.enter(|| Ok(fetch(VIP, port, "/")?.text()));
        ensure!(is_refused(outcome), "port {port} is not refused by the director itself");
    }
    ensure!(stage.director.reason("no-service")? >= 4);
    // What the director itself has at such a port is reached.
    let listener = stage.lab.director.enter(|| Ok(std::net::TcpListener::bind((VIP, 7999))?))?;
    stage.lab.client.enter(|| Connection::open(VIP, 7999))?;
    listener.accept()?;
    Ok(())
}

#[test]
fn one_pool_serves_many_vips_and_ports() -> Result<()> {
    let other = Ipv4Addr::new(10, 66, 0, 99);
    let (http, http6) = (service(VIP, "tcp", "web", "port = 80"), service(VIP_6, "tcp", "web", "ports = \"80-81\""));
    let dns = service(VIP, "udp", "web", "port = 53");
    let late = service(other, "tcp", "web", "port = 80");
    let file = pool("web", &[1, 2]) + &http + &http6 + &dns;
    let mut stage = Stage::new(2, &[80, 81], &file)?;
    stage.lab.director.ip(&format!("address add {other}/32 dev {INTERFACE}"))?;
    for real in &stage.lab.reals {
        real.ip(&format!("address add {other}/32 dev lo"))?;
    }
    let _echoes = [echo(&stage.lab.reals[0], VIP, 53, "real1")?, echo(&stage.lab.reals[1], VIP, 53, "real2")?];
    let mut connection = stage.lab.client.enter(|| Connection::open(VIP, 80))?;
    let name = connection.ask("/")?.text();
    stage.director.reload(&stage.lab, &(file.clone() + &late))?;
    let asked: [(&str, &(dyn Fn() -> Result<String> + Sync)); 5] = [
        ("10.66.0.100:80/tcp", &|| Ok(fetch(VIP, 80, "/")?.text())),
        ("[fd66::100]:80-81/tcp", &|| Ok(fetch(VIP_6, 80, "/")?.text())),
        ("[fd66::100]:80-81/tcp", &|| Ok(fetch(VIP_6, 81, "/")?.text())),
        ("10.66.0.100:53/udp", &|| ask(VIP, 53, "hello")),
        ("10.66.0.99:80/tcp", &|| Ok(fetch(other, 80, "/")?.text())),
    ];
    for (endpoint, ask) in asked {
        let names: BTreeSet<String> = stage.lab.client.enter(|| (0..40).map(|_| ask()).collect())?;
        ensure!(names.len() == 2, "{endpoint}: {names:?}");
    }
    let stats = stage.director.stats()?;
    let counts = stats["services"].as_array().context("no services")?;
    let counts: Vec<_> = counts.iter().filter_map(|service| service["packets"].as_u64()).collect();
    ensure!(counts.len() == 4 && counts.iter().all(|packets| *packets >= 40), "{counts:?}");
    // Each has its own counter; the pool's real servers have those of all.
    let reals = stage.director.reals()?;
    let forwarded: u64 = reals.iter().filter_map(|real| real["packets"].as_u64()).sum();
    ensure!(forwarded == counts.iter().sum::<u64>(), "{forwarded} are not {counts:?}");
    stage.director.reload(&stage.lab, &file)?;
    ensure!(is_refused(stage.lab.client.enter(|| Ok(fetch(other, 80, "/")?.text()))), "a removed service serves");
    ensure!(connection.ask("/")?.text() == name, "another service came and went, and a connection moved");
    Ok(())
}

/// Sixty-four addresses of the client behind those of its own segment, and as many of its IPv6 segment.
fn add_clients(lab: &Lab) -> Result<(Vec<IpAddr>, Vec<IpAddr>)> {
    let v4: Vec<IpAddr> = (0..64).map(|last| Ipv4Addr::new(10, 66, 1, last).into()).collect();
    let v6: Vec<IpAddr> = (0..64).map(|last| Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 1, last).into()).collect();
    lab.reals.iter().try_for_each(|real| real.ip(&format!("route add 10.66.1.0/24 dev {INTERFACE}")))?;
    for address in &v4 {
        lab.client.ip(&format!("address add {address}/32 dev {INTERFACE}"))?;
    }
    for address in &v6 {
        lab.client.ip(&format!("address add {address}/64 dev {INTERFACE} nodad"))?;
    }
    Ok((v4, v6))
}

/// The only one who ever answers this client, on all services.
fn only_server(client: &Namespace, source: IpAddr) -> Result<String> {
    let vip: IpAddr = if source.is_ipv4() { VIP.into() } else { VIP_6.into() };
    let names: BTreeSet<String> = client.enter(|| {
        let tcp = [80, 81, 80, 81].map(|port| Ok(fetch_from(source, vip, port, "/")?.text()));
        let udp = (0..2).map(|_| Ok(ask_from(source, vip, 53, "")?.trim().to_owned()));
        tcp.into_iter().chain(udp).collect()
    })?;
    let name = names.first().context("nobody was asked")?;
    ensure!(names.len() == 1, "{source} was served by {names:?}");
    Ok(name.clone())
}

fn by_source(vip: impl Into<IpAddr>, mask: &str) -> String {
    let vip = vip.into();
    let keys = |port| format!("port = {port}\naffinity = \"source\"\n{mask}");
    let services = [("tcp", 80), ("tcp", 81), ("udp", 53)];
    services.map(|(protocol, port)| service(vip, protocol, "web", &keys(port))).concat()
}

#[test]
fn a_client_stays_with_one_real_server_on_all_services_of_a_pool() -> Result<()> {
    let file = |mask: &str| pool("web", &[1, 2, 3]) + &by_source(VIP, mask) + &by_source(VIP_6, mask);
    let mut stage = Stage::new(3, &[80, 81], &file(""))?;
    let reals = || (1..).zip(&stage.lab.reals);
    let echoes = |vip: IpAddr| reals().map(move |(index, real)| echo(real, vip, 53, &format!("real{index}")));
    let _echoes: Vec<Echo> = echoes(VIP.into()).chain(echoes(VIP_6.into())).collect::<Result<_>>()?;
    let (v4, v6) = add_clients(&stage.lab)?;
    let client = stage.lab.client.clone();
    for clients in [&v4, &v6] {
        let mut counts = BTreeMap::new();
        for source in clients {
            *counts.entry(only_server(&client, *source)?).or_insert(0) += 1;
        }
        // A third of 64 is 21.
        ensure!(counts.len() == 3 && counts.values().all(|count| *count >= 9), "{counts:?}");
    }
    stage.director.reload(&stage.lab, &file("source_mask = { v4 = 28, v6 = 124 }"))?;
    for clients in [&v4, &v6] {
        let mut groups = BTreeSet::new();
        for group in clients.chunks(16) {
            let names: BTreeSet<String> =
                group.iter().step_by(3).map(|source| only_server(&client, *source)).collect::<Result<_>>()?;
            ensure!(names.len() == 1, "neighbours under one prefix were served by {names:?}");
            groups.extend(names);
        }
        ensure!(groups.len() > 1, "all four prefixes went to {groups:?}");
    }
    Ok(())
}

/// The last numbers of the client's addresses, v4 and v6, from that of the lab on.
fn more_addresses(client: &Namespace) -> Result<[[IpAddr; 2]; 4]> {
    let [_, more @ ..] = [10, 11, 12, 13].map(|last| Ipv4Addr::new(10, 66, 0, last));
    for address in more {
        client.ip(&format!("address add {address}/24 dev {INTERFACE}"))?;
        client.ip(&format!("address add {}/64 dev {INTERFACE} nodad", in_v6(address)))?;
    }
    Ok([CLIENT, more[0], more[1], more[2]].map(|address| [address.into(), in_v6(address).into()]))
}

#[test]
fn an_access_list_lets_in_whom_it_should_and_nobody_else() -> Result<()> {
    // v4: all but a few, and one of them after all; v6: only a few, and one of them not.
    let file = pool("web", &[1])
        + &service(VIP, "tcp", "web", "port = 80\nallow = [\"0.0.0.0/0\", \"10.66.0.13\"]\ndeny = [\"10.66.0.12/31\"]")
        + &service(VIP_6, "tcp", "web", "port = 80\nallow = [\"fd66::12/127\"]\ndeny = [\"fd66::12\"]");
    let stage = Stage::new(1, &[80], &file)?;
    let addresses = more_addresses(&stage.lab.client)?;
    let served = [[true, false], [true, false], [false, false], [true, true]];
    let mut denied = 0;
    for (addresses, served) in addresses.iter().flatten().zip(served.as_flattened()) {
        let vip: IpAddr = if addresses.is_ipv4() { VIP.into() } else { VIP_6.into() };
        let outcome = stage.lab.client.enter(|| fetch_from(*addresses, vip, 80, "/"));
        if *served {
            ensure!(outcome.with_context(|| addresses.to_string())?.text() == "real1");
        } else {
            ensure_silence(outcome).with_context(|| addresses.to_string())?;
            let now = stage.director.reason("access-denied")?;
            ensure!(now > denied, "{addresses}: {now} after {denied}");
            denied = now;
        }
    }
    // What the director itself offers is none of the list's business.
    let listener = stage.lab.director.enter(|| Ok(std::net::TcpListener::bind((VIP, 81))?))?;
    stage.lab.client.enter(|| Connection::open_from(addresses[2][0], VIP, 81))?;
    listener.accept()?;
    Ok(())
}

#[test]
fn a_reload_changes_an_access_list_and_breaks_nobody_else() -> Result<()> {
    let file = |list: &str| {
        pool("web", &[1, 2])
            + &service(VIP, "tcp", "web", &format!("port = 80\n{list}"))
            + &service(VIP, "tcp", "web", "port = 81\ndeny = [\"10.66.0.13\"]")
            + &service(VIP_6, "tcp", "web", "port = 80\nallow = [\"fd66::/64\"]")
    };
    let mut stage = Stage::new(2, &[80, 81], &file("deny = [\"10.66.0.11\"]"))?;
    let client = stage.lab.client.clone();
    let addresses = more_addresses(&client)?;
    let [first, second, third, fourth] = addresses.map(|[v4, _]| v4);
    let mut doomed = client.enter(|| Connection::open_from(first, VIP, 80))?;
    let mut others = client.enter(|| {
        Ok([
            Connection::open_from(third, VIP, 80)?,
            Connection::open_from(first, VIP, 81)?,
            Connection::open_from(addresses[0][1], VIP_6, 80)?,
        ])
    })?;
    let names = others.each_mut().map(|connection| connection.ask("/").map(|answer| answer.text()));
    let names = names.into_iter().collect::<Result<Vec<_>>>()?;
    doomed.ask("/")?;
    ensure_silence(client.enter(|| Connection::open_from(second, VIP, 80)))?;

    stage.director.reload(&stage.lab, &file("deny = [\"10.66.0.10\"]"))?;
    ensure!(doomed.ask("/").is_err(), "who is denied from now on was answered");
    ensure_silence(client.enter(|| Connection::open_from(first, VIP, 80)))?;
    client.enter(|| fetch_from(second, VIP, 80, "/"))?;
    ensure_silence(client.enter(|| Connection::open_from(fourth, VIP, 81)))?;
    for (connection, name) in others.iter_mut().zip(&names) {
        ensure!(connection.ask("/")?.text() == *name, "a connection that the change is not about has moved");
    }

    stage.director.reload(&stage.lab, &file(""))?;
    client.enter(|| fetch_from(first, VIP, 80, "/"))?;
    for (connection, name) in others.iter_mut().zip(&names) {
        ensure!(connection.ask("/")?.text() == *name, "a connection that the change is not about has moved");
    }
    // A new daemon finds the lists as they are.
    stage.director.process.stop(nix::sys::signal::Signal::SIGKILL)?;
    stage.director.start_again(&stage.lab)?;
    ensure!(!stage.director.process.log().contains("access prefixes"), "{}", stage.director.process.log());
    ensure_silence(client.enter(|| Connection::open_from(fourth, VIP, 81)))
}
