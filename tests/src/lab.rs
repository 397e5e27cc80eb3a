//! The lab: machines as network namespaces, cables as veths, one switch.
//!
//! ```text
//! client .10 ---+
//! director .2 --+-- bridge        10.66.0.0/24, vip .100; over IPv6 the same last numbers in fd66::/64
//! real1 .101 ---+
//! real2 .102 ---+                 the vips on the loopback of every real server, without ARP
//! ```
//!
//! A [`Pair`] has a second director at .3, and its vips are nobody's until a redundancy protocol gives them to one of the two.
//!
//! With a router the client is at 10.67.0.10, behind 10.66.0.1. With a far segment the real servers are in 10.68.0.0/24, by
//! the director's second interface; what they answer a router takes to the client. A test may add machines of its own.
//!
//! A [`Topology`] is a value; [`Lab::up`] builds it and dropping the lab takes it down, whatever happened: on success,
//! failure, panic, Ctrl-C and SIGTERM. What a killed process left is swept away by the next lab.

mod cabling;
mod command;
mod crowd;
mod director;
mod frr;
mod http;
mod keepalived;
mod mariadb;
mod member;
mod namespace;
mod nginx;
mod observer;
mod pair;
mod probe;
mod process;
mod raw;
mod router;
mod sessions;
mod teardown;
mod udp;

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lb_common::abi::Mac;

pub use cabling::Plug;
pub use command::output;
pub use crowd::{Count, Crowd};
pub use director::{Director, Seat, binary};
pub use frr::Frr;
pub use http::{Connection, Response, fetch, fetch_from};
pub use keepalived::Keepalived;
pub use mariadb::Mariadb;
pub use member::{Brand, Member};
pub use namespace::Namespace;
pub use nginx::Nginx;
pub use observer::{Observer, Sighting, What};
pub use pair::{Pair, Side};
pub use probe::{Answer, Probe, Probed, Record, real_time};
pub use process::Process;
pub use raw::send_frame;
pub use router::{Router, Script, Weighed};
pub use sessions::Sessions;
pub use teardown::{Kept, sweep_kept};
pub use udp::{Echo, ask, ask_from, echo};

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
/// Another director's own address, where a test adds one.
pub const DIRECTOR_B: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 3);
/// The interface of every machine.
pub const INTERFACE: &str = "eth0";
/// The director's second interface, where the real servers are on a segment of their own.
pub const FAR_INTERFACE: &str = "eth1";

/// What to build.
#[derive(Clone, Copy, Debug)]
pub struct Topology {
    /// Real servers, 1 to 99.
    pub reals: u8,
    /// Whether the lab stays when it is dropped.
    pub keep: bool,
    /// Whether the client is behind a router, by a link of this MTU.
    pub router: Option<u16>,
    /// Whether the real servers are on a segment of their own, by a second interface of the director with this MTU. Then
    /// the client has no router of its own.
    pub far: Option<u16>,
    /// Whether the vips float: no director has them until a redundancy protocol gives them to it.
    pub floating: bool,
}

impl Topology {
    /// So many real servers, and the client on their segment.
    pub const fn flat(reals: u8) -> Self {
        Self { reals, keep: false, router: None, far: None, floating: false }
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
    router: Option<Namespace>,
    topology: Topology,
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
        ensure!(topology.router.is_none() || topology.far.is_none(), "the lab has one router");
        let teardown = Teardown::new(topology.keep)?;
        let directory = teardown.directory().to_path_buf();
        let machine = |name: &str| teardown.namespace(name);
        let reals: Result<Vec<_>> = (1..=topology.reals).map(|index| machine(&format!("real{index}"))).collect();
        let (bridge, client, director) = (machine("bridge")?, machine("client")?, machine("director")?);
        let router = topology.router.or(topology.far).map(|_| machine("router")).transpose()?;
        let mut lab = Self { client, director, reals: reals?, bridge, router, topology, directory, teardown };
        lab.build()?;
        lab.teardown.built();
        Ok(lab)
    }

    /// A directory for configs, logs and pids; it goes with the lab.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the director of this lab pins its maps.
    pub fn pin_dir(&self) -> PathBuf {
        self.pin_dir_of(director::FIRST)
    }

    /// The same of any.
    fn pin_dir_of(&self, director: &str) -> PathBuf {
        self.teardown.pin_dir().join(director)
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

    /// Frames and bytes that a machine has received and sent on its first interface.
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

/// The same on the far segment.
pub fn far_address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 68, 0, 100 + index)
}

/// The IPv6 address of the machine with this IPv4 address: fd66:: (or fd and what its second number is written as), and
/// the last number as it is written.
pub const fn in_v6(address: Ipv4Addr) -> Ipv6Addr {
    let [_, segment, _, last] = address.octets();
    Ipv6Addr::new(0xfd00 | as_written(segment), 0, 0, 0, 0, 0, 0, as_written(last))
}

/// Its decimal digits as hexadecimal ones.
const fn as_written(number: u8) -> u16 {
    let number = number as u16;
    ((number / 100) << 8) | ((number / 10 % 10) << 4) | (number % 10)
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
