//! The ways to a real server: by another interface, here, by way of another director, through VLANs.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_common::abi::{Mac, Protocol};
use tests::lab::{
    CLIENT, DIRECTOR, DIRECTOR_B, Director, FAR_INTERFACE, INTERFACE, Lab, Nginx, Seat, Topology, VIP, VIP_6, ask,
    echo, eventually, far_address, fetch, mac_of, real_address, send_frame,
};
use tests::packet::Packet;

use crate::scene::{pool, service};

const SOON: Duration = Duration::from_secs(10);

fn named(name: &str, address: Ipv4Addr) -> (String, IpAddr) {
    (name.into(), address.into())
}

/// HTTP at both vips.
fn http() -> String {
    service(VIP, "tcp", "web", "port = 80") + &service(VIP_6, "tcp", "web", "port = 80")
}

/// DNS without a check, at both vips.
fn dns(reals: &[(&str, Ipv4Addr)]) -> String {
    let real =
        |(name, address): &(&str, Ipv4Addr)| format!("[[pool.dns.real]]\nname = \"{name}\"\naddress = \"{address}\"\n");
    reals.iter().map(real).collect::<String>()
        + &service(VIP, "udp", "dns", "port = 5300")
        + &service(VIP_6, "udp", "dns", "port = 5300")
}

/// The director with both its interfaces.
fn both_interfaces(lab: &Lab) -> Seat {
    Seat { interfaces: vec![INTERFACE, FAR_INTERFACE], ..Seat::first(lab) }
}

/// How often each of these answered a hundred requests to each vip.
fn answers(lab: &Lab, names: &[&str]) -> Result<Vec<usize>> {
    let answers = lab.client.enter(|| {
        let ask = |request| if request % 2 == 0 { fetch(VIP, 80, "/") } else { fetch(VIP_6, 80, "/") };
        (0..200).map(|request| Ok(ask(request)?.text())).collect::<Result<Vec<_>>>()
    })?;
    Ok(names.iter().map(|name| answers.iter().filter(|answer| answer == name).count()).collect())
}

#[test]
fn real_servers_on_another_segment_serve_beside_those_on_the_clients() -> Result<()> {
    let lab = Lab::up(Topology { far: Some(1500), ..Topology::flat(2) })?;
    let near = lab.add_real_server("near", real_address(9))?;
    let machines = [("far1", &lab.reals[0]), ("far2", &lab.reals[1]), ("near", &near)];
    let nginx = machines.map(|(name, machine)| Nginx::start(&lab, machine, name));
    let nginx = nginx.into_iter().collect::<Result<Vec<_>>>()?;
    let reals = [named("far1", far_address(1)), named("far2", far_address(2)), named("near", real_address(9))];
    let director = Director::start_on(&lab, both_interfaces(&lab), &(pool("web", 80, &reals) + &http()))?;
    for (name, _) in machines {
        director.wait_for_state(name, "up")?;
    }
    let counts = answers(&lab, &["far1", "far2", "near"])?;
    // 66 or 67 are expected, and five standard deviations are 33.
    ensure!(counts.iter().all(|count| *count > 30), "{counts:?}");
    let line = || Ok(nginx[0].access_log().into_iter().find(|line| line.starts_with("10.")));
    let line = eventually(SOON, "nginx has logged a request", line)?;
    ensure!(line == format!("{CLIENT} {VIP} /"), "{line}");
    let body = lab.client.enter(|| fetch(VIP, 80, "/big"))?.body;
    ensure!(body.len() == Nginx::BIG);
    Ok(())
}

#[test]
fn a_packet_that_is_too_long_for_the_way_out_is_dropped_and_counted() -> Result<()> {
    let lab = Lab::up(Topology { far: Some(1400), ..Topology::flat(1) })?;
    let file = dns(&[("far1", far_address(1))]);
    let _echoes = [echo(&lab.reals[0], VIP, 5300, "far1")?, echo(&lab.reals[0], VIP_6, 5300, "far1")?];
    let director = Director::start_on(&lab, both_interfaces(&lab), &file)?;
    // What is left of the MTU beside the headers of IP and UDP.
    for (vip, most) in [(IpAddr::from(VIP), 1400 - 28), (VIP_6.into(), 1400 - 48)] {
        let ask = |length| lab.client.enter(|| ask(vip, 5300, &"x".repeat(length)));
        ensure!(ask(most)?.len() == "far1 ".len() + most, "{vip}: a datagram that just fits");
        let before = director.reason("too-big")?;
        ensure!(ask(most + 1).is_err(), "{vip}: a datagram that is too long by a byte was answered");
        ensure!(director.reason("too-big")? == before + 1);
    }
    lab.director.ip(&format!("link set {FAR_INTERFACE} mtu 1500"))?;
    // Nobody says when the daemon has heard of it, but it has soon.
    let fits = || lab.client.enter(|| Ok(ask(VIP, 5300, &"x".repeat(1500 - 28)).ok()));
    let answer = eventually(SOON, "the greater MTU is in use", fits)?;
    ensure!(answer.len() > 1400);
    // Six fragments, of which only the first has the ports.
    let long = "x".repeat(8000);
    ensure!(lab.client.enter(|| ask(VIP, 5300, &long))?.ends_with(&long));
    Ok(())
}

#[test]
fn a_director_is_one_of_the_real_servers() -> Result<()> {
    let lab = Lab::up(Topology::flat(1))?;
    let _nginx = [Nginx::start(&lab, &lab.reals[0], "real1")?, Nginx::start(&lab, &lab.director, "here")?];
    let file = pool("web", 80, &[named("real1", real_address(1)), named("here", DIRECTOR)]) + &http();
    let director = Director::start(&lab, &file)?;
    for name in ["real1", "here"] {
        director.wait_for_state(name, "up")?;
    }
    let counts = answers(&lab, &["real1", "here"])?;
    // Five standard deviations are 35.
    ensure!(counts.iter().all(|count| *count > 60), "{counts:?}");
    let reals = director.reals()?;
    let packets = |index: usize| reals[index]["packets"].as_u64().unwrap_or(0);
    ensure!(packets(0) == director.reason("forwarded")? && packets(1) == director.reason("local")?, "{reals:?}");
    ensure!(packets(0) > 0 && packets(1) > 0);
    ensure!(director.process.log().contains("director.peers"), "nobody was told to name other directors");
    Ok(())
}

/// Each of the two believes the other to be up. A believes that both are; B believes that it is down itself. So what A
/// sends to B is what B would send to A, for ever.
#[test]
fn two_directors_that_are_each_others_real_server_play_no_ping_pong() -> Result<()> {
    let lab = Lab::up(Topology::flat(1))?;
    let machine_b = lab.add_director("director-b", DIRECTOR_B)?;
    let _nginx =
        [Nginx::start_on(&lab, &lab.director, "a", &[80, 81])?, Nginx::start_on(&lab, &machine_b, "b", &[80])?];
    let file = |checked| pool("web", checked, &[named("a", DIRECTOR), named("b", DIRECTOR_B)]) + &http();
    let seat_a = Seat { peers: vec![DIRECTOR_B.into()], ..Seat::first(&lab) };
    let seat_b = Seat {
        machine: machine_b.clone(),
        name: "director-b".into(),
        peers: vec![DIRECTOR.into()],
        ..Seat::first(&lab)
    };
    let a = Director::start_on(&lab, seat_a, &file(80))?;
    // Nobody but A listens at port 81.
    let b = Director::start_on(&lab, seat_b, &file(81))?;
    for (director, state_of_b) in [(&a, "up"), (&b, "down")] {
        director.wait_for_state("a", "up")?;
        director.wait_for_state("b", state_of_b)?;
    }
    let before = lab.traffic(&machine_b)?;
    let counts = answers(&lab, &["a", "b"])?;
    ensure!(counts.iter().all(|count| *count > 60), "{counts:?}");
    // What A sent B received, once, and kept.
    let settled = || {
        let (sent, kept) = (a.reason("forwarded")?, b.reason("local")?);
        Ok((sent == kept && sent > 0).then_some(sent))
    };
    let sent = eventually(SOON, "B keeps what A sends", settled)?;
    ensure!(b.reason("forwarded")? == 0, "B sent something back");
    let received = lab.traffic(&machine_b)?.received.0 - before.received.0;
    // Beside them there are probes, ten a second each way, and their answers.
    ensure!(received < 2 * sent + 1000, "B received {received} frames, of which A sent {sent}");

    // The vip moves to B, which believes that only A can serve.
    for (vip, option) in [(IpAddr::from(VIP), "-4"), (VIP_6.into(), "-6")] {
        let mac = mac_of(DIRECTOR_B);
        lab.client.ip(&format!("{option} neighbour replace {vip} lladdr {mac} nud permanent dev {INTERFACE}"))?;
    }
    let before = (a.reason("forwarded")?, a.reason("local")?);
    let counts = answers(&lab, &["a", "b"])?;
    ensure!(counts == [200, 0], "{counts:?}");
    let settled = || {
        let (sent, kept) = (b.reason("forwarded")?, a.reason("local")? - before.1);
        Ok((sent == kept && sent > 0).then_some(()))
    };
    eventually(SOON, "A keeps what B sends", settled)?;
    ensure!(a.reason("forwarded")? == before.0, "A sent something back");
    ensure!(a.reason("ttl-expired")? + b.reason("ttl-expired")? == 0);
    Ok(())
}

/// A datagram from the client to the director with these tags: a frame of 60 bytes beside them.
fn tagged(tags: &[(u16, u16)]) -> Vec<u8> {
    let packet = Packet::new(Protocol::Udp, (CLIENT.into(), 40_000), (VIP.into(), 5300));
    let (destination_mac, source_mac): (Mac, Mac) = (mac_of(DIRECTOR), mac_of(CLIENT));
    Packet { destination_mac, source_mac, tags: tags.to_vec(), ..packet }.bytes()
}

/// Bytes of the first service's frames as they came to the director.
fn bytes(director: &Director) -> Result<u64> {
    director.stats()?["services"][0]["bytes"].as_u64().context("the service has no bytes")
}

const CUSTOMER: u16 = 0x8100;
const PROVIDER: u16 = 0x88a8;

#[test]
fn frames_keep_their_vlan_tags() -> Result<()> {
    let lab = Lab::up(Topology::flat(1))?;
    lab.keep_tags_in_frames()?;
    let file = dns(&[("real1", real_address(1))]);
    let director = Director::start(&lab, &file)?;
    let arguments = ["-l", "-n", "-e", "-i", INTERFACE, "udp port 5300 or vlan"];
    let mut capture = lab.spawn(&lab.reals[0], "capture", "tcpdump", &arguments)?;
    capture.wait_for("listening on", SOON)?;
    let rows: [(&[(u16, u16)], &str); 4] = [
        (&[], "ethertype IPv4 (0x0800), length"),
        (&[(CUSTOMER, 42)], "ethertype 802.1Q (0x8100), length 64: vlan 42, p 0, ethertype IPv4"),
        (&[(CUSTOMER, 5 << 13 | 43)], "vlan 43, p 5, ethertype IPv4"),
        (&[(PROVIDER, 7), (CUSTOMER, 44)], "vlan 7, p 0, ethertype 802.1Q (0x8100), vlan 44, p 0, ethertype IPv4"),
    ];
    let addresses = format!("{} > {}, ", mac_of(DIRECTOR), mac_of(real_address(1)));
    for (number, (tags, expected)) in (1..).zip(rows) {
        send_frame(&lab.client, INTERFACE, &tagged(tags))?;
        let found = || {
            let log = capture.log();
            let mut lines = log.lines().filter(|line| line.contains(&addresses));
            Ok(lines.find(|line| line.contains(expected)).map(ToOwned::to_owned))
        };
        let line = eventually(SOON, expected, found).with_context(|| capture.log())?;
        ensure!(line.contains(&format!("{CLIENT}.40000 > {VIP}.5300")), "{line}");
        ensure!(director.reason("forwarded")? == number, "{tags:?}");
    }
    ensure!(bytes(&director)? == 4 * 60 + 4 + 4 + 8, "the director has not seen the tags");
    Ok(())
}

/// The director has two interfaces and no VLAN: a real server's way is then known to have no tag.
#[test]
fn a_tag_ends_at_the_director_where_the_way_to_the_real_server_has_none() -> Result<()> {
    let lab = Lab::up(Topology { far: Some(1500), ..Topology::flat(1) })?;
    lab.keep_tags_in_frames()?;
    let _echoes = [echo(&lab.reals[0], VIP, 5300, "far1")?, echo(&lab.reals[0], VIP_6, 5300, "far1")?];
    let director = Director::start_on(&lab, both_interfaces(&lab), &dns(&[("far1", far_address(1))]))?;
    let socket = lab.client.enter(|| Ok(UdpSocket::bind((CLIENT, 40_000))?))?;
    socket.set_read_timeout(Some(SOON))?;
    for tags in [&[][..], &[(CUSTOMER, 42)], &[(PROVIDER, 7), (CUSTOMER, 42)]] {
        send_frame(&lab.client, INTERFACE, &tagged(tags))?;
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).with_context(|| format!("no answer to {tags:?}"))?;
        ensure!(buffer[..length].starts_with(b"far1 "), "{tags:?}");
    }
    ensure!(bytes(&director)? == 3 * 60 + 4 + 8, "the director has not seen the tags");
    Ok(())
}
