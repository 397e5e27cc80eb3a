//! Where packets go.

use anyhow::{Result, ensure};
use tests::lab::{CLIENT, DIRECTOR, Director, Lab, Nginx, Topology, VIP, ask, echo, fetch, output, real_address};

use crate::scene::{Scene, config};

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
    let expected = vec![format!("{CLIENT} {VIP} /"); 3];
    ensure!(scene.nginx[0].access_log() == expected, "{:?}", scene.nginx[0].access_log());
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
    let stats = scene.director.stats()?;
    let service = &stats["services"][0];
    let packets = service["packets"].as_u64().zip(before).map(|(after, before)| after - before);
    // At least SYN, ACK, request, FIN or the ACK of one.
    ensure!(packets >= Some(80), "{packets:?} packets for 20 requests");
    let of_reals: u64 = scene.director.reals()?.iter().filter_map(|real| real["packets"].as_u64()).sum();
    ensure!(service["packets"].as_u64() == Some(of_reals), "the real servers' packets are not the service's: {stats}");
    ensure!(scene.director.reason("forwarded")? == of_reals);
    ensure!(scene.director.stats_text(&["--interval", "0s"])?.contains("http 10.66.0.100:80/tcp"));
    Ok(())
}

#[test]
fn a_udp_service_answers() -> Result<()> {
    let lab = Lab::up(Topology { reals: 2, keep: false })?;
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
