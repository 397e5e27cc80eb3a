//! Two directors: connections that are off the ring on one of them live on when the vip moves to the other.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tests::lab::{
    CLIENT, Crowd, DIRECTOR, DIRECTOR_B, Director, INTERFACE, Lab, Namespace, Nginx, Seat, Topology, VIP, VIP_6,
    eventually, in_v6, mac_of, real_address,
};

const SOON: Duration = Duration::from_secs(20);
const CONNECTIONS: usize = 600;
const KEY: &str = "correct horse battery staple";
const OTHER_KEY: &str = "correct horse battery stable";

/// HTTP at both vips by three real servers. Without a check a director believes in all of them.
fn file(key: &str, check: &str) -> String {
    let real =
        |number: u8| format!("[[pool.web.real]]\nname = \"real{number}\"\naddress = \"{}\"\n", real_address(number));
    let reals: String = (1..=3).map(real).collect();
    let service = |vip: IpAddr| {
        format!("[[service]]\nvip = \"{vip}\"\nport = 80\nprotocol = \"tcp\"\npool = \"web\"\nidle_timeout = \"1h\"\n")
    };
    let services = service(VIP.into()) + &service(VIP_6.into());
    format!("[limits]\nring_buckets = 65536\n[peering]\nkey = \"{key}\"\n[pool.web]\n{check}\n{reals}{services}")
}

const CHECK: &str = "check = { type = \"tcp\", interval = \"100ms\", timeout = \"1s\", rise = 2, fall = 2 }";

struct Play {
    a: Director,
    b: Director,
    nginx: Vec<Nginx>,
    crowds: Vec<(IpAddr, Crowd)>,
    // Last, so that it is dropped last.
    lab: Lab,
}

impl Play {
    /// A sees real servers come and go, B believes in all. The crowds are of as many connections together.
    fn new(key_of_b: &str) -> Result<Self> {
        let play = Self::with(&file(KEY, CHECK), &file(key_of_b, ""))?;
        for number in 1..=3 {
            play.a.wait_for_state(&format!("real{number}"), "up")?;
            play.b.wait_for_state(&format!("real{number}"), "unchecked")?;
        }
        Ok(play)
    }

    /// The files of A and of B.
    fn with(a: &str, b: &str) -> Result<Self> {
        Crowd::make_room(CONNECTIONS as u64)?;
        let lab = Lab::up(Topology::flat(3))?;
        let machine_b = lab.add_director("director-b", DIRECTOR_B)?;
        let start = |(index, machine)| Nginx::start(&lab, machine, &format!("real{}", index + 1));
        let nginx = lab.reals.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
        let seat = |machine: &Namespace, name: &str, peer: Ipv4Addr| Seat {
            machine: machine.clone(),
            name: name.into(),
            peers: vec![peer.into()],
            ..Seat::first(&lab)
        };
        let a = Director::start_on(&lab, seat(&lab.director, "director", DIRECTOR_B), a)?;
        let b = Director::start_on(&lab, seat(&machine_b, "director-b", DIRECTOR), b)?;
        let crowds = [IpAddr::from(VIP), VIP_6.into()].map(|vip| (vip, Crowd::default())).into();
        Ok(Self { a, b, nginx, crowds, lab })
    }

    fn open(&mut self) -> Result<()> {
        let Self { lab, crowds, .. } = self;
        for (vip, crowd) in crowds {
            let client: IpAddr = match vip {
                IpAddr::V4(_) => CLIENT.into(),
                IpAddr::V6(_) => in_v6(CLIENT).into(),
            };
            let to = SocketAddr::new(*vip, 80);
            let opened = lab.client.enter(|| crowd.open(CONNECTIONS / 2, &[client], to))?;
            ensure!(opened.values().sum::<usize>() == CONNECTIONS / 2, "{opened:?}");
        }
        Ok(())
    }

    /// Real server 2 dies, connections are opened, and it comes back: about a third of them are then off the ring.
    fn open_off_the_ring(&mut self) -> Result<()> {
        self.nginx[1].stop()?;
        self.a.wait_for_state("real2", "down")?;
        self.open()?;
        self.nginx[1].start_again(&self.lab, &self.lab.reals[1])?;
        self.a.wait_for_state("real2", "up")
    }

    /// How many connections have broken.
    fn broken(&mut self) -> usize {
        self.crowds.iter_mut().map(|(_, crowd)| crowd.ask_all().values().sum::<usize>()).sum()
    }

    /// Waits until a director remembers so many flows that are not where its ring says.
    fn wait_for_foreign(&self, director: &Director, least: u64) -> Result<u64> {
        let found = || {
            let foreign = director.stats()?["pins"]["foreign"].as_u64().context("the stats have no pins")?;
            Ok((foreign >= least).then_some(foreign))
        };
        eventually(SOON, &format!("{least} flows are off the ring"), found)
            .with_context(|| format!("A: {}\nB: {}", self.a.process.log(), self.b.process.log()))
    }

    /// The client's packets go to this director from now on.
    fn move_vips(&self, to: Ipv4Addr) -> Result<()> {
        for (vip, option) in [(IpAddr::from(VIP), "-4"), (VIP_6.into(), "-6")] {
            let mac = mac_of(to);
            self.lab
                .client
                .ip(&format!("{option} neighbour replace {vip} lladdr {mac} nud permanent dev {INTERFACE}"))?;
        }
        Ok(())
    }
}

#[test]
fn connections_off_the_ring_live_on_when_the_vip_moves_to_a_director_that_never_saw_why() -> Result<()> {
    let mut play = Play::new(KEY)?;
    play.open_off_the_ring()?;
    ensure!(play.broken() == 0);
    // Of 600 a third is expected.
    let told = play.wait_for_foreign(&play.a, 100)?;
    play.wait_for_foreign(&play.b, told)?;
    play.a.process.stop(Signal::SIGKILL)?;
    play.move_vips(DIRECTOR_B)?;
    let broken = play.broken();
    println!("{told} of {CONNECTIONS} connections were off the ring; {broken} broke when the vip moved to B");
    ensure!(broken == 0, "{broken} connections broke");
    ensure!(play.b.reason("forwarded")? >= CONNECTIONS as u64, "B has not forwarded them");

    // A is back, learns what it has missed, and gets the vip again. It has adopted what it knew; B has seen more since.
    play.a.start_again(&play.lab)?;
    play.a.process.wait_for("connected to director", SOON)?;
    play.move_vips(DIRECTOR)?;
    let broken = play.broken();
    ensure!(broken == 0, "{broken} connections broke on the way back");
    Ok(())
}

#[test]
fn what_a_director_saw_just_before_it_stops_is_told() -> Result<()> {
    let mut play = Play::new(KEY)?;
    play.open_off_the_ring()?;
    play.a.process.wait_for("connected to director", SOON)?;
    // Only now do packets of theirs come by that say where they are.
    ensure!(play.broken() == 0);
    let told = play.wait_for_foreign(&play.a, 100)?;
    play.a.process.stop(Signal::SIGTERM)?;
    play.wait_for_foreign(&play.b, told)?;
    play.move_vips(DIRECTOR_B)?;
    let broken = play.broken();
    ensure!(broken == 0, "{broken} of {CONNECTIONS} connections broke");
    Ok(())
}

#[test]
fn a_director_that_starts_late_is_told_everything() -> Result<()> {
    let mut play = Play::new(KEY)?;
    play.b.process.stop(Signal::SIGTERM)?;
    play.open_off_the_ring()?;
    ensure!(play.broken() == 0);
    let told = play.wait_for_foreign(&play.a, 100)?;
    // After SIGTERM nothing is left on B: it starts with empty maps.
    play.b.start_again(&play.lab)?;
    play.wait_for_foreign(&play.b, told)?;
    play.a.process.stop(Signal::SIGTERM)?;
    play.move_vips(DIRECTOR_B)?;
    let broken = play.broken();
    ensure!(broken == 0, "{broken} of {told} connections broke");
    Ok(())
}

#[test]
fn directors_with_different_keys_say_so_and_tell_each_other_nothing() -> Result<()> {
    let mut play = Play::new(OTHER_KEY)?;
    play.b.process.wait_for("key", SOON)?;
    play.a.process.wait_for("key", SOON)?;
    play.open_off_the_ring()?;
    ensure!(play.broken() == 0);
    let off_ring = play.wait_for_foreign(&play.a, 100)?;
    play.move_vips(DIRECTOR_B)?;
    let broken = play.broken() as u64;
    println!("without a word between the directors {broken} of {CONNECTIONS} connections broke");
    ensure!(broken >= off_ring / 2, "only {broken} of {off_ring} broke: the test above shows nothing");

    // The key is corrected, and with it all is well from then on.
    play.b.reload(&play.lab, &file(KEY, ""))?;
    play.a.process.wait_for("connected to director", SOON)?;
    Ok(())
}

/// To A, real server 2 is behind a MAC that nobody has.
fn cut_off(play: &Play, is_cut: bool) -> Result<()> {
    let (real, nobody) = (real_address(2), "02:00:00:00:00:99");
    let mac = if is_cut { nobody.to_owned() } else { mac_of(real).to_string() };
    play.lab.director.ip(&format!("neighbour replace {real} lladdr {mac} nud permanent dev {INTERFACE}"))
}

#[test]
fn a_real_server_that_only_one_director_does_not_reach_stays_until_it_is_down_to_both() -> Result<()> {
    let check =
        "check = { type = \"tcp\", interval = \"100ms\", timeout = \"1s\", rise = 2, fall = 2, confirm = \"peers\" }";
    let mut play = Play::with(&file(KEY, check), &file(KEY, check))?;
    for number in 1..=3 {
        play.a.wait_for_state(&format!("real{number}"), "up")?;
        play.b.wait_for_state(&format!("real{number}"), "up")?;
    }
    play.a.process.wait_for("connected to director", SOON)?;
    cut_off(&play, true)?;
    play.a.process.wait_for("web/real2 is disputed", SOON)?;
    ensure!(!play.a.process.log().contains("is down"), "{}", play.a.process.log());
    play.nginx[1].stop()?;
    for director in [&play.a, &play.b] {
        director.wait_for_state("real2", "down")?;
    }
    play.nginx[1].start_again(&play.lab, &play.lab.reals[1])?;
    cut_off(&play, false)?;
    for director in [&play.a, &play.b] {
        director.wait_for_state("real2", "up")?;
    }

    // Without the other one its own verdict counts.
    play.b.process.stop(Signal::SIGKILL)?;
    cut_off(&play, true)?;
    play.a.wait_for_state("real2", "down")
}
