//! A small world that kernel tests and bench run packets through: one director, a pool or more, all MACs known.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::path::Path;

use anyhow::{Context, Result};
use aya::programs::{TestRun, TestRunOptions};
use ipnet::IpNet;
use lb_common::abi::limits::MAX_REALS;
use lb_common::abi::{Access, Mac, Protocol};
use lb_common::ring::auto_size;
use lb_user::config::{
    AccessRules, Affinity, Check, CheckKind, Config, Director, Limits, OnEmpty, Pool, Ports, Real, Service, Tracking,
    Via, VirtualRouter,
};
use lb_user::dataplane::Kernel;
use lb_user::reconcile::Reconciler;
use lb_user::state::{Asked, Health, Interface, Moment, Path as Way, Share, View};

/// The director's MAC.
pub const DIRECTOR: Mac = Mac([0x02, 0, 0, 0, 0, 0xd1]);
/// The client's, or rather its router's, MAC.
pub const CLIENT: Mac = Mac([0x02, 0, 0, 0, 0, 0xc1]);
/// The other director's MAC.
pub const PEER: Mac = Mac([0x02, 0, 0, 0, 0, 0xd2]);
const PEER_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 66, 0, 3));
/// The vip of the services of any port, where there are some.
pub const ANY_VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 66, 0, 99));
/// The vip of all IPv4 services.
pub const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 66, 0, 100));
/// The vip of all IPv6 services.
pub const VIP_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 0, 0x100));
/// The index of the interface by which BPF_PROG_TEST_RUN has frames come in: the loopback's.
pub const INTERFACE: u32 = 1;
/// The port of the TCP service.
pub const PORT: u16 = 80;
/// The port of the UDP service.
pub const UDP_PORT: u16 = 53;

/// What the director knows.
#[derive(Clone, Debug)]
pub struct World {
    /// As if read from a file.
    pub config: Config,
    /// All resolved, none checked.
    pub view: View,
}

impl World {
    /// A TCP and a UDP service for each family over one pool of so many equal real servers, with room for a few more.
    pub fn new(reals: u16) -> Self {
        let mac = |index: u16| Mac([0x02, 0, 0, 1, (index >> 8) as u8, index as u8]);
        let ring_size = auto_size((0..reals).map(|_| 1));
        let pool = Pool::new("web", ring_size, (0..reals).map(real).collect());
        let service = |name: &str, vip, port, protocol| Service::new(name, vip, port, protocol, 0);
        let director = Director { hash_seed: Some(0x6f1d_0c2b_9a7e_4d35), ..Director::new(vec!["eth0".into()]) };
        let limits = Limits { ring_buckets: 1 << 20, ..Limits::default() };
        let services = vec![
            service("tcp", VIP, PORT, Protocol::Tcp),
            service("udp", VIP, UDP_PORT, Protocol::Udp),
            service("tcp6", VIP_6, PORT, Protocol::Tcp),
            service("udp6", VIP_6, UDP_PORT, Protocol::Udp),
        ];
        Self {
            config: Config::new(director, limits, vec![pool], services),
            view: View {
                hash_seed: 0x6f1d_0c2b_9a7e_4d35,
                interfaces: vec![Interface { index: INTERFACE, mac: DIRECTOR, mtu: 1500 }],
                macs: (0..reals).map(|index| (address(index), mac(index))).collect(),
                ..View::default()
            },
        }
    }

    /// One whose ring has so many buckets.
    pub fn with_ring(reals: u16, buckets: u32) -> Self {
        let mut world = Self::new(reals);
        world.config.pools[0].ring_size = buckets;
        world
    }

    /// One in which sets of pins fill up.
    pub fn with_few_pins() -> Self {
        let mut world = Self::new(5);
        world.config.limits.pins = 1024;
        world
    }

    /// One that has something of everything that the packet path knows. Its other interface has the index `other`.
    pub fn of_everything(other: u32) -> Self {
        let mut world = Self::new(6);
        let Self { config, view } = &mut world;
        config.limits.pins = 4096;
        view.interfaces.push(Interface { index: other, mac: Mac([0x02, 0, 0, 0, 1, 0xd1]), mtu: 1500 });
        let mut far: Vec<Real> = (100..104).map(real).collect();
        put_in_zones(&mut far);
        put_in_zones(&mut config.pools[0].reals);
        for (real, (interface, vlan)) in far.iter().zip([(other, 0), (INTERFACE, 20), (other, 30), (INTERFACE, 0)]) {
            view.paths.insert(real.address, Way::By { interface, vlan });
            view.macs.insert(real.address, Mac([0x02, 0, 0, 2, 0, vlan as u8 + 1]));
        }
        let [_, _, down, idle, here, _] = &mut config.pools[0].reals[..] else { return world };
        idle.weight = 0;
        view.set_health("web", down.address, Health::Down);
        view.paths.insert(here.address, Way::Here);
        view.interfaces[1].mtu = 120;
        config.pools.push(Pool::new("far", 401, far));
        share_out(&mut config.pools, view);
        // Nobody in it serves, and its packets are left to the host.
        let gone = Pool { on_empty: OnEmpty::Pass, ..Pool::new("gone", 251, vec![real(110)]) };
        config.pools.push(gone);
        config.director.peers = vec![PEER_ADDRESS];
        // Which vips that are is in the map of their leases.
        let closed = VirtualRouter::new("closed", "eth0", NonZeroU8::MIN, vec![IpNet::from(VIP)]);
        config.vrrp.extend(closed.map(|router| VirtualRouter { accept: false, ..router }));
        config.pools.iter_mut().zip([VIP, VIP_6]).for_each(|(pool, vip)| pool.check = Some(check_by(vip)));
        view.macs.insert(PEER_ADDRESS, PEER);
        let service = |name: &str, vip, ports, protocol, pool| {
            let service = Service::new(name, vip, 1, protocol, pool);
            Service { ports, ..service }
        };
        let range = Ports { first: 8000, last: 9000 };
        config.services.extend([
            service("range", VIP, range, Protocol::Tcp, 1),
            Service {
                affinity: Affinity::Source { bits: 24 },
                ..service("any", ANY_VIP, Ports::ANY, Protocol::Tcp, 0)
            },
            Service { tracking: Tracking::Full, ..service("full", ANY_VIP, Ports::ANY, Protocol::Udp, 1) },
            service("gone", VIP_6, Ports { first: 443, last: 443 }, Protocol::Tcp, 2),
            Service {
                access: Some(denying("10.0.0.0/30")),
                locality: locality(["10.0.0.2/31", "10.0.0.8/29"]),
                ..service("denying", VIP, Ports { first: 443, last: 443 }, Protocol::Tcp, 0)
            },
            Service {
                access: Some(denying("::/126")),
                locality: locality(["::4/127", "::8/125"]),
                affinity: Affinity::Source { bits: 127 },
                ..service("denying6", VIP_6, range, Protocol::Tcp, 1)
            },
        ]);
        world
    }

    /// The bench's: a hundred real servers.
    pub fn bench() -> Self {
        Self::new(100)
    }

    /// The same, with every flow pinned and room for so many pins.
    pub fn tracking(pins: u32) -> Self {
        let mut world = Self::bench();
        world.config.limits.pins = pins;
        world.config.services.iter_mut().for_each(|service| service.tracking = Tracking::Full);
        world
    }

    /// 512 TCP services with a hundred real servers each, as the bench's programs spread frames over them. Four services
    /// share a pool: there are no ids for more real servers.
    pub fn many_services() -> Self {
        const POOLS: u16 = 128;
        const EACH: u16 = 100;
        let mut world = Self::new(POOLS * EACH);
        let Config { limits, pools, services, .. } = &mut world.config;
        let reals: Vec<Real> = pools.remove(0).reals;
        let pool = |(number, reals): (usize, &[Real])| {
            let ring_size = auto_size(reals.iter().map(|real| real.weight));
            Pool::new(&format!("pool{number}"), ring_size, reals.to_vec())
        };
        *pools = reals.chunks(EACH.into()).enumerate().map(pool).collect();
        let service = |number: u16| {
            let (vip, port) = many_services_address(number);
            Service::new(&format!("service{number}"), vip, port, Protocol::Tcp, usize::from(number % POOLS))
        };
        *services = (0..4 * POOLS).map(service).collect();
        (limits.reals, limits.ring_buckets) = (MAX_REALS, 1 << 21);
        world
    }
}

/// One that goes by this vip.
fn check_by(vip: IpAddr) -> Check {
    Check { port: PORT, via: Via::Vip(vip), vip: Some(vip), ..Check::new(CheckKind::Tcp) }
}

/// Where one of 512 services is: what `lb-ebpf/src/bench/frames.rs` writes into its frames.
fn many_services_address(number: u16) -> (IpAddr, u16) {
    let row = (number >> 5) as u8;
    (Ipv4Addr::new(10, row, 245, 255 - row).into(), 8000 + number % 32)
}

/// Vip and port of the first of many services.
pub fn many_services_first() -> (IpAddr, u16) {
    many_services_address(0)
}

fn address(index: u16) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a42_0100 + u32::from(index)))
}

fn real(index: u16) -> Real {
    Real::new(&format!("real{index}"), address(index), 1)
}

/// Every other one in the one zone, and every other one of the rest in the other.
fn put_in_zones(reals: &mut [Real]) {
    for (index, real) in reals.iter_mut().enumerate() {
        real.zone = [Some("east"), None, Some("west"), None][index % 4].map(String::from);
    }
}

/// Clients of these two networks prefer the one zone and the other.
fn locality(nets: [&str; 2]) -> BTreeMap<IpNet, String> {
    let zones = ["east", "west"].map(String::from);
    nets.into_iter().map(|net| net.parse().expect("a prefix")).zip(zones).collect()
}

/// One real server of each pool takes but a part of what is its own, and one helps because its zone is short of others.
fn share_out(pools: &mut [Pool], view: &mut View) {
    for pool in pools {
        let share = Asked { share: Share::thousandths(400), ..Asked::default() };
        view.asked.entry(pool.name.clone()).or_default().insert(pool.reals[1].address, share);
        if let Some(last) = pool.reals.last_mut() {
            last.tier = 1;
        }
        pool.min_healthy = 3;
    }
}

/// Everybody but these.
fn denying(prefix: &str) -> AccessRules {
    let denied: IpNet = prefix.parse().expect("a prefix");
    let rest: IpNet = if denied.addr().is_ipv4() { "0.0.0.0/0" } else { "::/0" }.parse().expect("a prefix");
    AccessRules { rules: [(denied, Access::Denied), (rest, Access::Allowed)].into() }
}

/// Loads an object, unpinned, and writes the world to its maps.
///
/// # Errors
/// Without root, or if the kernel refuses.
pub fn load(object: &[u8], world: &World) -> Result<Kernel> {
    let mut kernel = Kernel::load_unpinned(object, &world.config.limits)?;
    Reconciler::default().reconcile(&world.config, &world.view, &mut kernel, Moment::default())?;
    Ok(kernel)
}

/// Verdict and frame after one run of the director's program.
///
/// # Errors
/// The kernel's: a frame shorter than an Ethernet header, above all.
pub fn run(kernel: &mut Kernel, frame: &[u8]) -> Result<(u32, Vec<u8>)> {
    let mut out = vec![0; frame.len() + 64];
    let options = TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::new() };
    let result = kernel.program("xdirector")?.test_run(options)?;
    out.truncate(result.data_size_out as usize);
    Ok((result.return_value, out))
}

/// Verdict and frame after one run of the director's program for what leaves it, on a frame with this mark.
///
/// # Errors
/// The kernel's.
pub fn run_egress(kernel: &mut Kernel, frame: &[u8], mark: u32) -> Result<(i32, Vec<u8>)> {
    let mut out = vec![0; frame.len() + 64];
    // The beginning of `struct __sk_buff`: length, kind of packet, mark.
    let context: Vec<u8> = [0, 0, mark].into_iter().flat_map(u32::to_ne_bytes).collect();
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: Some(&context),
        ..TestRunOptions::new()
    };
    let result = kernel.egress()?.test_run(options)?;
    out.truncate(result.data_size_out as usize);
    Ok((result.return_value.cast_signed(), out))
}

/// The program that `xdirector` embeds.
///
/// # Errors
/// If it has not been built.
pub fn program_object() -> Result<Vec<u8>> {
    object("xdirector.bpf.o")
}

/// The programs of bench and lab.
///
/// # Errors
/// If they have not been built.
pub fn bench_object() -> Result<Vec<u8>> {
    object("bench.bpf.o")
}

/// The program that the bench measures ours against, with its table.
///
/// # Errors
/// If it has not been built.
pub fn rival_object() -> Result<Vec<u8>> {
    object("rival.bpf.o")
}

fn object(name: &str) -> Result<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bpf").join(name);
    std::fs::read(&path).with_context(|| format!("{} is missing: run `cargo xtask build-ebpf`", path.display()))
}
