//! Where packets go.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::lab::{
    CLIENT, DIRECTOR, Director, Lab, Nginx, Topology, VIP, VIP_6, ask, echo, eventually, fetch, in_v6, output,
    real_address,
};

use crate::scene::{Scene, config};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn connections_are_spread_by_weight() -> Result<()> {
    let scene = Scene::new(&[1, 1, 2])?;
    let names = scene.fetch_names(400)?;
    let count = |name: &str| names.iter().filter(|other| *other == name).count();
    let counts = [count("real1"), count("real2"), count("real3")];
    // 100, 100 and 200 are expected; five standard deviations (9 to 10) away is a defect.
    ensure!((55..=145).contains(&counts[0]) && (55..=145).contains(&counts[1]), "{counts:?}");
    ensure!((150..=250).contains(&counts[2]), "{counts:?}");
    Ok(())
}

#[test]
fn the_real_server_sees_the_clients_own_address_and_the_vip() -> Result<()> {
    let scene = Scene::new(&[1])?;
    scene.fetch_names(3)?;
    // nginx writes the line after it has sent the answer.
    let log = || Ok(Some(scene.nginx[0].access_log()).filter(|log| log.len() >= 3));
    let log = eventually(SOON, "nginx has logged three requests", log)?;
    ensure!(log == vec![format!("{CLIENT} {VIP} /"); 3], "{log:?}");
    Ok(())
}

#[test]
fn answers_do_not_pass_the_director() -> Result<()> {
    let scene = Scene::new(&[1, 1])?;
    let before = scene.lab.traffic(&scene.lab.director)?;
    let bodies = 50;
    scene.lab.client.enter(|| {
        for _ in 0..bodies {
            ensure!(fetch(VIP, 80, "/big")?.body.len() == Nginx::BIG);
        }
        Ok(())
    })?;
    let after = scene.lab.traffic(&scene.lab.director)?;
    let passed = after.received.1 - before.received.1;
    let answered = (bodies * Nginx::BIG) as u64;
    ensure!(passed < answered / 5, "{passed} bytes came to the director while clients received {answered}");
    Ok(())
}

#[test]
fn the_stats_count_what_the_client_sent() -> Result<()> {
    let scene = Scene::new(&[1, 1])?;
    let before = scene.director.stats()?["services"][0]["packets"].as_u64();
    scene.fetch_names(20)?;
    // The last connections may still be closing.
    let packets = eventually(SOON, "all counts agree", || {
        let stats = scene.director.stats()?;
        let of = |row: &serde_json::Value| row["packets"].as_u64().unwrap_or(0);
        let service = of(&stats["services"][0]);
        let reals: u64 = stats["services"][0]["reals"].as_array().into_iter().flatten().map(of).sum();
        let reasons = stats["reasons"].as_array().into_iter().flatten();
        let forwarded: u64 = reasons.filter(|row| row["name"] == "forwarded").map(of).sum();
        Ok((service == reals && service == forwarded).then_some(service))
    })?;
    // At least SYN, ACK, request, FIN or the ACK of one.
    ensure!(
        Some(packets) >= before.map(|before| before + 80),
        "{packets} packets after 20 requests, {before:?} before"
    );
    ensure!(scene.director.stats_text(&["--interval", "0s"])?.contains("http 10.66.0.100:80/tcp"));
    Ok(())
}

#[test]
fn ipv6_is_served_like_ipv4() -> Result<()> {
    let lab = Lab::up(Topology::flat(2))?;
    let nginx = [Nginx::start(&lab, &lab.reals[0], "real1")?, Nginx::start(&lab, &lab.reals[1], "real2")?];
    let v6 = |text: String, v4: std::net::Ipv4Addr| text.replace(&format!("\"{v4}\""), &format!("\"{}\"", in_v6(v4)));
    let file = [VIP, real_address(1), real_address(2)].into_iter().fold(config(&[1, 1]), v6);
    let director = Director::start(&lab, &file)?;
    director.wait_for_state("real1", "up")?;
    director.wait_for_state("real2", "up")?;
    let names = lab.client.enter(|| (0..100).map(|_| Ok(fetch(VIP_6, 80, "/")?.text())).collect::<Result<Vec<_>>>())?;
    for name in ["real1", "real2"] {
        ensure!(names.iter().filter(|other| *other == name).count() > 20, "{names:?}");
    }
    let log = || Ok(nginx[0].access_log().into_iter().find(|line| line.contains("fd66")));
    let line = eventually(SOON, "nginx has logged a request", log)?;
    ensure!(line == format!("{} {VIP_6} /", in_v6(CLIENT)), "{line}");
    let table = director.stats_text(&["--interval", "0s"])?;
    ensure!(table.contains("http [fd66::100]:80/tcp"), "{table}");
    Ok(())
}

/// The real server sends full segments; only the router knows that they are too long, and it can tell nobody but the
/// vip. If the director kept that to itself the download would never end.
#[test]
fn path_mtu_discovery_works_through_the_director() -> Result<()> {
    let lab = Lab::up(Topology { router: Some(1400), ..Topology::flat(3) })?;
    let start = |(index, machine)| Nginx::start(&lab, machine, &format!("real{}", index + 1));
    let _nginx = lab.reals.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
    let mut both = config(&[1, 1, 1]);
    both +=
        &format!("[[service]]\nname = \"http6\"\nvip = \"{VIP_6}\"\nport = 80\nprotocol = \"tcp\"\npool = \"web\"\n");
    let director = Director::start(&lab, &both)?;
    for index in 1..=3 {
        director.wait_for_state(&format!("real{index}"), "up")?;
    }
    lab.client.enter(|| {
        for _ in 0..10 {
            ensure!(fetch(VIP, 80, "/big")?.body.len() == Nginx::BIG);
            ensure!(fetch(VIP_6, 80, "/big")?.body.len() == Nginx::BIG);
        }
        Ok(())
    })?;
    let errors = director.reason("icmp-error")?;
    ensure!(errors >= 2, "{errors} ICMP errors were sent on: the path was not too narrow after all");
    Ok(())
}

#[test]
fn no_frame_is_sent_on_for_ever() -> Result<()> {
    let scene = Scene::new(&[1])?;
    let before = scene.director.reason("ttl-expired")?;
    scene.lab.client.sysctl("net/ipv4/ip_default_ttl", "1")?;
    let output = scene.lab.client.command("curl").args(["-sS", "-m", "1", &format!("http://{VIP}/")]).output()?;
    ensure!(!output.status.success(), "an answer came although no frame may be sent on");
    ensure!(scene.director.reason("ttl-expired")? > before);
    Ok(())
}

#[test]
fn a_udp_service_answers() -> Result<()> {
    let lab = Lab::up(Topology::flat(2))?;
    let service = config(&[1, 1]).replace("port = 80\nprotocol = \"tcp\"", "port = 53\nprotocol = \"udp\"");
    let unchecked = service.lines().filter(|line| !line.starts_with("check")).collect::<Vec<_>>().join("\n");
    let _echoes = [echo(&lab.reals[0], VIP, 53, "real1")?, echo(&lab.reals[1], VIP, 53, "real2")?];
    let director = Director::start(&lab, &unchecked)?;
    let answers = lab.client.enter(|| (0..60).map(|_| ask(VIP, 53, "hello")).collect::<Result<Vec<_>>>())?;
    for name in ["real1 hello", "real2 hello"] {
        ensure!(answers.iter().filter(|answer| *answer == name).count() > 5, "{answers:?}");
    }
    ensure!(director.reason("forwarded")? >= 60);
    Ok(())
}

/// Eight kilobytes are six fragments; only the first has the ports.
#[test]
fn fragmented_datagrams_arrive_whole() -> Result<()> {
    let lab = Lab::up(Topology::flat(3))?;
    let service = |name: &str, vip: std::net::IpAddr| {
        format!("[[service]]\nname = \"{name}\"\nvip = \"{vip}\"\nport = 53\nprotocol = \"udp\"\npool = \"web\"\n")
    };
    let file = config(&[1, 1, 1]);
    let pool = &file[..file.find("[[service]]").unwrap_or(file.len())];
    let pool: String = pool.lines().filter(|line| !line.starts_with("check")).map(|line| format!("{line}\n")).collect();
    let director = Director::start(&lab, &(pool + &service("four", VIP.into()) + &service("six", VIP_6.into())))?;
    let mut echoes = Vec::new();
    for (index, real) in lab.reals.iter().enumerate() {
        echoes.push(echo(real, VIP, 53, &format!("real{index}"))?);
        echoes.push(echo(real, VIP_6, 53, &format!("real{index}"))?);
    }
    let text: String = (0..8000).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
    lab.client.enter(|| {
        for _ in 0..30 {
            for answer in [ask(VIP, 53, &text)?, ask(VIP_6, 53, &text)?] {
                ensure!(answer.ends_with(&text), "{} bytes came back", answer.len());
            }
        }
        Ok(())
    })?;
    ensure!(director.reason("fragment")? == 0, "fragments were not recognised");
    ensure!(director.reason("forwarded")? >= 60 * 6);
    Ok(())
}

#[test]
fn what_is_not_ours_passes() -> Result<()> {
    let scene = Scene::new(&[1])?;
    let lab = &scene.lab;
    for address in [DIRECTOR, VIP] {
        output(lab.client.command("ping").args(["-c", "2", "-i", "0.1", "-W", "2", &address.to_string()]))?;
    }
    let listener = lab.director.enter(|| Ok(std::net::TcpListener::bind((DIRECTOR, 2222))?))?;
    lab.client.enter(|| Ok(std::net::TcpStream::connect((DIRECTOR, 2222))?))?;
    listener.accept()?;
    // The director reaches a real server's own address, as its health checks do.
    lab.director.enter(|| fetch(real_address(1), 80, "/"))?;
    ensure!(scene.director.reason("no-service")? > 0 && scene.director.reason("not-balanced")? > 0);
    Ok(())
}
