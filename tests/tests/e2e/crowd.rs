//! Ten thousand connections through every change there is: only those of the dead die.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tests::lab::{Count, Crowd, Director, Lab, Nginx, Topology, VIP, VIP_6, in_v6, real_address};

const CONNECTIONS: usize = 10_000;
/// The last numbers of the client's addresses, one for each 2,500 connections.
const CLIENTS: [u8; 4] = [10, 11, 12, 13];

/// A file with these real servers: (number, weight).
fn file(vip: IpAddr, reals: &[(u8, u32)]) -> String {
    let real = |&(number, weight): &(u8, u32)| {
        let address = real_address(number);
        format!("[[pool.web.real]]\nname = \"real{number}\"\naddress = \"{address}\"\nweight = {weight}\n")
    };
    let reals: String = reals.iter().map(real).collect();
    // The machine is busy with ten thousand connections: no verdict should come from that.
    let check = "{ type = \"tcp\", interval = \"200ms\", timeout = \"2s\", rise = 1, fall = 2 }";
    let service =
        format!("[[service]]\nname = \"http\"\nvip = \"{vip}\"\nport = 80\nprotocol = \"tcp\"\npool = \"web\"\n");
    format!("[limits]\nring_buckets = 65536\n[pool.web]\ncheck = {check}\n{reals}{service}")
}

struct Play {
    vip: IpAddr,
    clients: Vec<IpAddr>,
    crowd: Crowd,
    director: Director,
    nginx: Vec<Nginx>,
    // Last, so that it is dropped last.
    lab: Lab,
}

impl Play {
    fn new(vip: IpAddr) -> Result<Self> {
        Crowd::make_room(CONNECTIONS as u64 + 3000)?;
        let lab = Lab::up(Topology::flat(4))?;
        let clients: Vec<IpAddr> = CLIENTS
            .into_iter()
            .map(|last| [10, 66, 0, last].into())
            .map(|address| if vip.is_ipv4() { IpAddr::V4(address) } else { in_v6(address).into() })
            .collect();
        for address in &clients[1..] {
            let rest = if vip.is_ipv4() { "/24 dev eth0" } else { "/64 dev eth0 nodad" };
            lab.client.ip(&format!("address add {address}{rest}"))?;
        }
        let start = |(index, machine)| Nginx::start(&lab, machine, &format!("real{}", index + 1));
        let nginx = lab.reals.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
        let director = Director::start(&lab, &file(vip, &[(1, 1), (2, 1), (3, 1)]))?;
        for number in 1..=3 {
            director.wait_for_state(&format!("real{number}"), "up")?;
        }
        Ok(Self { vip, clients, crowd: Crowd::default(), director, nginx, lab })
    }

    /// Opens connections until there are as many as there should be, and `extra` more.
    fn fill(&mut self, extra: usize) -> Result<Count> {
        let count = (CONNECTIONS + extra).saturating_sub(self.crowd.len());
        let (clients, to) = (&self.clients, SocketAddr::new(self.vip, 80));
        let crowd = &mut self.crowd;
        self.lab.client.enter(move || crowd.open(count, clients, to))
    }

    /// Has all ask once more. None but those of `dead` may have broken.
    fn all_live(&mut self, when: &str, dead: &str) -> Result<()> {
        let open = self.crowd.len();
        let mut broken = self.crowd.ask_all();
        let died = broken.remove(dead).unwrap_or(0);
        let others: usize = broken.values().sum();
        let of = if dead.is_empty() { String::new() } else { format!(", {died} of {dead} died") };
        println!("{when}: of {open} connections {others} of others broke{of}");
        ensure!(others == 0, "{when}: {broken:?}");
        ensure!(open >= CONNECTIONS, "only {open} connections were open");
        Ok(())
    }

    fn reload(&mut self, reals: &[(u8, u32)]) -> Result<()> {
        self.director.reload(&self.lab, &file(self.vip, reals))
    }
}

fn only_those_of_the_dead_die(vip: IpAddr) -> Result<()> {
    let mut play = Play::new(vip)?;
    println!("opened: {:?}", play.fill(0)?);
    play.all_live("before anything", "")?;

    play.nginx[1].stop()?;
    play.director.wait_for_state("real2", "down")?;
    play.all_live("real2 died", "real2")?;
    println!("opened while real2 is down: {:?}", play.fill(500)?);
    play.nginx[1].start_again(&play.lab, &play.lab.reals[1])?;
    play.director.wait_for_state("real2", "up")?;
    play.all_live("real2 came back", "")?;

    play.reload(&[(1, 1), (2, 1), (3, 1), (4, 1)])?;
    play.director.wait_for_state("real4", "up")?;
    play.all_live("real4 was added", "")?;
    let opened = play.fill(1500)?;
    ensure!(opened.contains_key("real4") && opened.contains_key("real2"), "{opened:?}");

    play.reload(&[(1, 3), (2, 1), (3, 2), (4, 1)])?;
    play.all_live("weights changed", "")?;

    play.reload(&[(1, 3), (2, 1), (4, 1)])?;
    play.all_live("real3 was removed", "")?;
    let drained = play.director.reals()?.iter().any(|real| real["name"] == "real3" && real["state"] == "draining");
    ensure!(drained, "real3 does not drain: {:?}", play.director.reals()?);
    let opened = play.fill(2000)?;
    ensure!(!opened.contains_key("real3") && play.crowd.shares().contains_key("real3"), "{opened:?}");

    play.reload(&[(1, 0), (2, 1), (4, 1)])?;
    play.all_live("real1 got weight 0", "")?;
    let opened = play.fill(2500)?;
    ensure!(!opened.contains_key("real1") && play.crowd.shares().contains_key("real1"), "{opened:?}");

    play.director.process.stop(Signal::SIGKILL)?;
    play.director.start_again(&play.lab)?;
    play.all_live("the daemon was killed and started again", "")?;
    play.reload(&[(1, 1), (2, 1), (3, 1), (4, 1)])?;
    play.all_live("all are back", "")?;
    println!("in the end: {:?}", play.crowd.shares());
    Ok(())
}

#[test]
fn ten_thousand_connections_live_through_every_change() -> Result<()> {
    only_those_of_the_dead_die(VIP.into())
}

#[test]
fn ten_thousand_connections_live_through_every_change_over_ipv6() -> Result<()> {
    only_those_of_the_dead_die(VIP_6.into())
}
