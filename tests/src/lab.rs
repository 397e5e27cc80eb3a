//! The lab: machines as network namespaces, cables as veths, one switch.
//!
//! ```text
//! client .10 ---+
//! director .2 --+-- bridge        10.66.0.0/24, vip .100; over IPv6 the same last numbers in fd66::/64
//! real1 .101 ---+
//! real2 .102 ---+                 the vips on the loopback of every real server, without ARP
//! ```
//!
//! With a router the client is at 10.67.0.10, behind 10.66.0.1. A [`Topology`] is a value; [`Lab::up`] builds it and dropping the lab takes it down, whatever happened: on success,
//! failure, panic, Ctrl-C and SIGTERM. What a killed process left is swept away by the next lab.

mod command;
mod crowd;
mod director;
mod http;
mod namespace;
mod nginx;
mod process;
mod teardown;
mod udp;

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aya::programs::XdpMode;
use aya::programs::links::FdLink;
use lb_common::abi::Mac;
use lb_user::config::Limits;
use lb_user::dataplane::Kernel;

pub use command::output;
pub use crowd::{Count, Crowd};
pub use director::{Director, binary};
pub use http::{Connection, Response, fetch};
pub use namespace::Namespace;
pub use nginx::Nginx;
pub use process::Process;
pub use teardown::{Kept, sweep_kept};
pub use udp::{ask, echo};

use crate::fixture;
use command::run;
use teardown::Teardown;

/// The vip of the lab.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 100);
/// The IPv6 vip of the lab.
pub const VIP_6: Ipv6Addr = in_v6(VIP);
/// The client's address.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 10);
/// The router's address on the real servers' segment, where there is one.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 1);
/// The director's own address.
pub const DIRECTOR: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 2);
/// The interface of every machine.
pub const INTERFACE: &str = "eth0";

/// What to build.
#[derive(Clone, Copy, Debug)]
pub struct Topology {
    /// Real servers, 1 to 99.
    pub reals: u8,
    /// Whether the lab stays when it is dropped.
    pub keep: bool,
    /// Whether the client is behind a router, by a link of this MTU.
    pub router: Option<u16>,
}

impl Topology {
    /// So many real servers, and the client on their segment.
    pub const fn flat(reals: u8) -> Self {
        Self { reals, keep: false, router: None }
    }
}

/// Machines, cables and a switch; up as long as this value lives.
#[derive(Debug)]
pub struct Lab {
    /// Where the clients are.
    pub client: Namespace,
    /// Where the director is.
    pub director: Namespace,
    /// Where the real servers are.
    pub reals: Vec<Namespace>,
    bridge: Namespace,
    router: Option<(Namespace, u16)>,
    directory: PathBuf,
    // Last, so that it is dropped last.
    teardown: Teardown,
}

impl Lab {
    /// Builds it. Takes a second or less.
    ///
    /// # Errors
    /// Without root, or if a command fails: then nothing is left of it.
    pub fn up(topology: Topology) -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "the lab needs root: it makes network namespaces");
        ensure!((1..100).contains(&topology.reals), "the lab has 1 to 99 real servers");
        let teardown = Teardown::new(topology.keep)?;
        let directory = teardown.directory().to_path_buf();
        let machine = |name: &str| teardown.namespace(name);
        let reals: Result<Vec<_>> = (1..=topology.reals).map(|index| machine(&format!("real{index}"))).collect();
        let (bridge, client, director) = (machine("bridge")?, machine("client")?, machine("director")?);
        let router = topology.router.map(|mtu| Ok::<_, anyhow::Error>((machine("router")?, mtu))).transpose()?;
        let mut lab = Self { client, director, reals: reals?, bridge, router, directory, teardown };
        lab.build()?;
        lab.teardown.built();
        Ok(lab)
    }

    fn build(&self) -> Result<()> {
        let bridge = &self.bridge;
        bridge.ip("link add br0 type bridge forward_delay 0")?;
        bridge.ip("link set br0 up")?;
        match &self.router {
            None => self.plug(&self.client, "client", CLIENT)?,
            Some((router, mtu)) => self.route_client(router, *mtu)?,
        }
        self.plug(&self.director, "director", DIRECTOR)?;
        // No VRRP yet: the director simply has the vip, and so answers ARP for it. Over IPv6 it is deprecated at once, or it
        // would be the source of the director's own probes, which the real servers would then answer to themselves.
        self.director.ip(&format!("address add {VIP}/32 dev {INTERFACE}"))?;
        self.director.ip(&format!("address add {VIP_6}/128 dev {INTERFACE} nodad preferred_lft 0"))?;
        for (index, real) in (1..).zip(&self.reals) {
            real.sysctl("net/ipv4/conf/all/arp_ignore", "1")?;
            real.sysctl("net/ipv4/conf/all/arp_announce", "2")?;
            self.plug(real, &format!("real{index}"), real_address(index))?;
            real.ip(&format!("address add {VIP}/32 dev lo"))?;
            real.ip(&format!("address add {VIP_6}/128 dev lo nodad"))?;
        }
        if self.router.is_some() {
            for machine in self.reals.iter().chain([&self.director]) {
                machine.ip(&format!("route add default via {ROUTER}"))?;
                machine.ip(&format!("route add default via {}", in_v6(ROUTER)))?;
            }
        }
        self.let_transmitted_frames_arrive()
    }

    /// Client, link, router, switch. The link's MTU is the router's: what is too long for it comes to the router first.
    fn route_client(&self, router: &Namespace, mtu: u16) -> Result<()> {
        self.plug(router, "router", ROUTER)?;
        router.sysctl("net/ipv4/ip_forward", "1")?;
        router.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        let (client, there) = (&self.client, router.name());
        client.ip(&format!("link add {INTERFACE} type veth peer name far netns {there}"))?;
        run(client.command("ethtool").args(["-K", INTERFACE, "tx", "off"]))?;
        for (machine, interface, last) in [(client, INTERFACE, 10), (router, "far", 1)] {
            machine.ip(&format!("address add 10.67.0.{last}/24 dev {interface}"))?;
            machine.ip(&format!("address add fd67::{last}/64 dev {interface} nodad"))?;
            machine.ip(&format!("link set {interface} up"))?;
        }
        router.ip(&format!("link set far mtu {mtu}"))?;
        client.ip("link set lo up")?;
        client.ip("route add default via 10.67.0.1")?;
        client.ip("route add default via fd67::1")
    }

    /// A cable from a machine to the switch.
    fn plug(&self, machine: &Namespace, port: &str, address: Ipv4Addr) -> Result<()> {
        let (there, mac) = (self.bridge.name(), mac_of(address));
        machine.ip(&format!("link add {INTERFACE} address {mac} type veth peer name {port} netns {there}"))?;
        self.bridge.ip(&format!("link set {port} master br0 up"))?;
        machine.ip("link set lo up")?;
        // Frames born on a veth carry unfinished checksums, and after XDP_TX nobody finishes them.
        run(machine.command("ethtool").args(["-K", INTERFACE, "tx", "off"]))?;
        machine.ip(&format!("address add {address}/24 dev {INTERFACE}"))?;
        machine.ip(&format!("address add {}/64 dev {INTERFACE} nodad", in_v6(address)))?;
        machine.ip(&format!("link set {INTERFACE} up"))
    }

    /// XDP_TX on a veth delivers only if the peer runs an XDP program too.
    fn let_transmitted_frames_arrive(&self) -> Result<()> {
        let limits = Limits { services: 1, reals: 1, ring_buckets: 251, pins: 1024, access_prefixes: 1 };
        let pin = self.teardown.pin("pass")?;
        self.bridge.enter(move || {
            let mut kernel = Kernel::load_unpinned(&fixture::bench_object()?, &limits)?;
            let program = kernel.program("pass")?;
            let link = program.attach("director", XdpMode::Driver)?;
            let link: FdLink = program.take_link(link)?.try_into()?;
            link.pin(&pin).context("cannot pin the link of the switch's port")?;
            Ok(())
        })
    }

    /// A directory for configs, logs and pids; it goes with the lab.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the director of this lab pins its maps.
    pub fn pin_dir(&self) -> PathBuf {
        self.teardown.pin_dir().join("director")
    }

    /// Starts a program in a machine; it ends with the lab.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&self, machine: &Namespace, name: &str, program: &str, arguments: &[&str]) -> Result<Process> {
        let mut command = machine.command(program);
        command.args(arguments);
        Process::spawn(command, name, &self.directory.join(format!("{name}.log")))
    }

    /// Frames and bytes that a machine has received and sent on its interface.
    ///
    /// # Errors
    /// If the counters cannot be read.
    pub fn traffic(&self, machine: &Namespace) -> Result<Traffic> {
        machine.enter(|| {
            let read = |name: &str| -> Result<u64> {
                let text = command::interface_counter(INTERFACE, name)?;
                text.trim().parse().with_context(|| format!("{name} is {text:?}"))
            };
            Ok(Traffic {
                received: (read("rx_packets")?, read("rx_bytes")?),
                sent: (read("tx_packets")?, read("tx_bytes")?),
            })
        })
    }
}

/// (frames, bytes) each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Into the machine.
    pub received: (u64, u64),
    /// Out of the machine.
    pub sent: (u64, u64),
}

/// The address of a real server, by its number from 1.
pub fn real_address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 66, 0, 100 + index)
}

/// The IPv6 address of the machine with this IPv4 address: fd66::, and the last number as it is written.
pub const fn in_v6(address: Ipv4Addr) -> Ipv6Addr {
    let last = address.octets()[3] as u16;
    let written = ((last / 100) << 8) | ((last / 10 % 10) << 4) | (last % 10);
    Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 0, written)
}

/// The MAC that the lab gives to the machine with this address.
pub fn mac_of(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    Mac([2, 0, a, b, c, d])
}

/// Waits until `condition` gives something, and gives that; asks every few milliseconds.
///
/// # Errors
/// After the deadline: with `what`, and the last error of the condition.
pub fn eventually<T>(deadline: Duration, what: &str, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        let last = match condition() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if Instant::now() >= end {
            match last {
                Some(error) => return Err(error.context(format!("{what}: not within {deadline:?}"))),
                None => bail!("{what}: not within {deadline:?}"),
            }
        }
        // tidy: allow(sleep): the pause between two looks at the condition
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The path of a file below the lab's directory, written anew.
pub(crate) fn write_file(directory: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
