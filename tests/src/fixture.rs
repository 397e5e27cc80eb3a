//! A small world that kernel tests and bench run packets through: one director, a pool or more, all MACs known.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use lb_common::abi::{Mac, Protocol};
use lb_common::ring::auto_size;
use lb_user::config::{Config, Director, Limits, Pool, Real, Service, XdpMode};
use lb_user::dataplane::Kernel;
use lb_user::reconcile::Reconciler;
use lb_user::state::View;

/// The director's MAC.
pub const DIRECTOR: Mac = Mac([0x02, 0, 0, 0, 0, 0xd1]);
/// The client's, or rather its router's, MAC.
pub const CLIENT: Mac = Mac([0x02, 0, 0, 0, 0, 0xc1]);
/// The vip of all IPv4 services.
pub const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 66, 0, 100));
/// The vip of all IPv6 services.
pub const VIP_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 0, 0x100));
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
        let address = |index: u16| IpAddr::V4(Ipv4Addr::from_bits(0x0a42_0100 + u32::from(index)));
        let real = |index| Real { name: format!("real{index}"), address: address(index), weight: 1 };
        let mac = |index: u16| Mac([0x02, 0, 0, 1, (index >> 8) as u8, index as u8]);
        let ring_size = auto_size((0..reals).map(|_| 1));
        let pool = Pool { name: "web".into(), ring_size, reals: (0..reals).map(real).collect(), check: None };
        let service = |name: &str, vip, port, protocol| Service { name: name.into(), vip, port, protocol, pool: 0 };
        let director = Director {
            interfaces: vec!["eth0".into()],
            xdp_mode: XdpMode::Auto,
            hash_seed: Some(0x6f1d_0c2b_9a7e_4d35),
            pin_dir: PathBuf::new(),
        };
        let limits = Limits { services: 512, reals: 4096, ring_buckets: 1 << 20 };
        let services = vec![
            service("tcp", VIP, PORT, Protocol::Tcp),
            service("udp", VIP, UDP_PORT, Protocol::Udp),
            service("tcp6", VIP_6, PORT, Protocol::Tcp),
            service("udp6", VIP_6, UDP_PORT, Protocol::Udp),
        ];
        Self {
            config: Config { director, limits, pools: vec![pool], services },
            view: View {
                hash_seed: 0x6f1d_0c2b_9a7e_4d35,
                own_macs: vec![DIRECTOR],
                health: HashMap::new(),
                macs: (0..reals).map(|index| (address(index), mac(index))).collect(),
            },
        }
    }

    /// The bench's: a hundred real servers.
    pub fn bench() -> Self {
        Self::new(100)
    }
}

/// Loads an object, unpinned, and writes the world to its maps.
///
/// # Errors
/// Without root, or if the kernel refuses.
pub fn load(object: &[u8], world: &World) -> Result<Kernel> {
    let mut kernel = Kernel::load_unpinned(object, &world.config.limits)?;
    Reconciler::default().reconcile(&world.config, &world.view, &mut kernel)?;
    Ok(kernel)
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

fn object(name: &str) -> Result<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bpf").join(name);
    std::fs::read(&path).with_context(|| format!("{} is missing: run `cargo xtask build-ebpf`", path.display()))
}
