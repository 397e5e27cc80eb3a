//! From what was written to what makes sense. All that is wrong is said at once.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use lb_common::abi::Protocol;
use lb_common::abi::limits as abi;
use lb_common::ring::{MAX_RING_SIZE, MIN_RING_SIZE, auto_size, is_prime, next_prime};
use toml::Spanned;

use super::problem::Report;
use super::values::{address, name, number, protocol};
use super::{Config, Director, Limits, Pool, Real, Service, XdpMode, check, raw};

const PIN_DIR: &str = "/sys/fs/bpf/xdirector";
/// IFNAMSIZ less the zero at the end.
const INTERFACE_NAME: usize = 15;
const MAX_WEIGHT: u32 = 65_535;

/// `None` if the report has errors.
pub fn validate(report: &mut Report<'_>, file: &raw::File) -> Option<Config> {
    let director = director(report, file.director.get_ref());
    let limits = limits(report, &file.limits);
    let services = services(report, file);
    let pools: Vec<_> =
        file.pool.iter().enumerate().map(|(i, (name, raw))| pool(report, i, name, raw, &services)).collect();
    within_limits(report, file, &limits, &pools, &services);
    report.errors.is_empty().then_some(())?;
    let services = services.into_iter().map(|(_, service)| service).collect();
    Some(Config { director, limits, pools, services })
}

fn director(report: &mut Report<'_>, raw: &raw::Director) -> Director {
    let raw::Director { interfaces, xdp_mode, hash_seed, pin_dir } = raw;
    let names = interfaces.get_ref();
    if names.is_empty() || names.len() > abi::MAX_OWN_MACS {
        let (count, most) = (names.len(), abi::MAX_OWN_MACS);
        report.error(interfaces.span(), format!("director.interfaces has {count} names; it must have 1 to {most}"));
    }
    let mut seen = HashSet::new();
    for name in names {
        let text = name.get_ref();
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '/' || c == ':';
        if text.is_empty() || text.len() > INTERFACE_NAME || text.contains(odd) {
            report.error(
                name.span(),
                format!("\"{text}\" in director.interfaces is no interface name; `ip link` lists them"),
            );
        } else if !seen.insert(text) {
            report.error(name.span(), format!("{text} is twice in director.interfaces"));
        }
    }
    Director {
        interfaces: names.iter().map(|name| name.get_ref().clone()).collect(),
        xdp_mode: xdp_mode.as_ref().map_or(XdpMode::Auto, |mode| xdp_mode_of(report, mode)),
        hash_seed: hash_seed.as_ref().and_then(|seed| hash_seed_of(report, seed)),
        pin_dir: pin_dir.as_ref().map_or_else(|| PIN_DIR.into(), |dir| pin_dir_of(report, dir)),
    }
}

fn xdp_mode_of(report: &mut Report<'_>, mode: &Spanned<String>) -> XdpMode {
    match mode.get_ref().as_str() {
        "auto" => XdpMode::Auto,
        "native" => XdpMode::Native,
        "generic" => XdpMode::Generic,
        other => {
            let message = format!("director.xdp_mode is \"{other}\"; it must be \"auto\", \"native\" or \"generic\"");
            report.error(mode.span(), message);
            XdpMode::Auto
        }
    }
}

fn hash_seed_of(report: &mut Report<'_>, seed: &Spanned<String>) -> Option<u64> {
    let text = seed.get_ref();
    let digits = (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(text, 16).ok().filter(|_| digits);
    if number.is_none() {
        report.error(seed.span(), format!("director.hash_seed is \"{text}\"; it must be 1 to 16 hexadecimal digits"));
    }
    number
}

fn pin_dir_of(report: &mut Report<'_>, dir: &Spanned<String>) -> PathBuf {
    let path = PathBuf::from(dir.get_ref());
    let odd = |part: &std::ffi::OsStr| part.as_encoded_bytes().iter().any(|byte| *byte == b'.' || *byte == 0);
    if !path.is_absolute() || path.iter().any(odd) {
        let message = "director.pin_dir must be an absolute path without dots (a BPF file system takes none), as in";
        report.error(dir.span(), format!("{message} \"{PIN_DIR}\""));
    }
    path
}

fn limits(report: &mut Report<'_>, raw: &raw::Limits) -> Limits {
    let raw::Limits { services, reals, ring_buckets } = raw;
    let (least, most) = (MIN_RING_SIZE, abi::MAX_RING_BUCKETS);
    Limits {
        services: number(report, "limits.services", services.as_ref(), 1..=abi::MAX_SERVICES, abi::MAX_SERVICES),
        reals: number(report, "limits.reals", reals.as_ref(), 1..=abi::MAX_REALS, abi::DEFAULT_REALS),
        ring_buckets: number(
            report,
            "limits.ring_buckets",
            ring_buckets.as_ref(),
            least..=most,
            abi::DEFAULT_RING_BUCKETS,
        ),
    }
}

type Located<T> = (std::ops::Range<usize>, T);

fn services(report: &mut Report<'_>, file: &raw::File) -> Vec<Located<Service>> {
    let mut services: Vec<Located<Service>> = Vec::new();
    for raw in &file.service {
        let Some(service) = service(report, file, raw.get_ref()) else { continue };
        for (_, other) in &services {
            if (other.vip, other.port, other.protocol) == (service.vip, service.port, service.protocol) {
                let message =
                    format!("service {} has the vip, port and protocol of service {}", service.name, other.name);
                report.error(raw.span(), message);
            } else if other.name == service.name {
                report.error(raw.span(), format!("two services are named {}", service.name));
            }
        }
        services.push((raw.span(), service));
    }
    services
}

fn service(report: &mut Report<'_>, file: &raw::File, raw: &raw::Service) -> Option<Service> {
    let raw::Service { name: given, vip, port, protocol: word, pool } = raw;
    let given = given.as_ref().map(|given| name(report, "service.name", given));
    let vip = address(report, "service.vip", vip);
    let port_number = number(report, "service.port", Some(port), 1..=65_535, 0);
    let protocol = protocol(report, word);
    let known = file.pool.keys().position(|name| name.get_ref() == pool.get_ref());
    if known.is_none() {
        let names: Vec<&str> = file.pool.keys().map(|name| name.get_ref().as_str()).collect();
        let (pool_name, names) = (pool.get_ref(), if names.is_empty() { "none".into() } else { names.join(", ") });
        report
            .error(pool.span(), format!("service.pool is \"{pool_name}\", and no such pool is there; pools: {names}"));
    }
    let (vip, port, protocol) = (vip?, u16::try_from(port_number).ok()?, protocol?);
    let written = if protocol == Protocol::Tcp { "tcp" } else { "udp" };
    Some(Service {
        name: given.unwrap_or_else(|| format!("{}/{written}", SocketAddr::new(vip, port))),
        vip,
        port,
        protocol,
        pool: known?,
    })
}

fn pool(
    report: &mut Report<'_>,
    index: usize,
    pool_name: &Spanned<String>,
    raw: &Spanned<raw::Pool>,
    services: &[Located<Service>],
) -> Pool {
    let raw::Pool { ring_size, check, real } = raw.get_ref();
    let name = name(report, "the name of a pool", pool_name);
    let users: Vec<&Service> =
        services.iter().map(|(_, service)| service).filter(|service| service.pool == index).collect();
    if users.is_empty() {
        report.warning(pool_name.span(), format!("pool {name} is used by no service"));
    }
    let reals = reals(report, &name, real, &users);
    if real.is_empty() {
        report.error(
            pool_name.span(),
            format!("pool {name} has no real servers; add [[pool.{name}.real]] with an address"),
        );
    } else if reals.iter().all(|real| real.weight == 0) && reals.len() == real.len() {
        report.error(pool_name.span(), format!("all real servers of pool {name} have weight 0, so none would serve"));
    }
    let auto = auto_size(reals.iter().map(|real| real.weight));
    let ring_size = ring_size.as_ref().map_or(auto, |size| ring_size_of(report, &name, size, auto));
    let check = check.as_ref().map(|raw| check::check(report, &name, raw, &users));
    Pool { name, ring_size, reals, check }
}

fn ring_size_of(report: &mut Report<'_>, pool: &str, size: &Spanned<raw::RingSize>, auto: u32) -> u32 {
    let problem = match size.get_ref() {
        raw::RingSize::Word(word) if word == "auto" => return auto,
        raw::RingSize::Word(word) => format!("\"{word}\"; it must be \"auto\" or a prime"),
        raw::RingSize::Number(number) => match u32::try_from(*number) {
            Ok(size) if !(MIN_RING_SIZE..=MAX_RING_SIZE).contains(&size) => {
                format!("{size}; it must be from {MIN_RING_SIZE} to {MAX_RING_SIZE}")
            }
            Ok(size) if is_prime(size) => return size,
            Ok(size) => format!("{size}, which is no prime; the next one is {}", next_prime(size)),
            Err(_) => format!("{number}; it must be from {MIN_RING_SIZE} to {MAX_RING_SIZE}"),
        },
    };
    report.error(size.span(), format!("pool.{pool}.ring_size is {problem}"));
    auto
}

fn reals(report: &mut Report<'_>, pool: &str, raws: &[Spanned<raw::Real>], users: &[&Service]) -> Vec<Real> {
    let mut reals: Vec<Real> = Vec::new();
    for raw in raws {
        let raw::Real { name: given, address: written, weight } = raw.get_ref();
        let key = |last| format!("pool.{pool}.real.{last}");
        let given = given.as_ref().map(|given| name(report, &key("name"), given));
        let weight = number(report, &key("weight"), weight.as_ref(), 0..=MAX_WEIGHT, 1);
        let Some(address) = address(report, &key("address"), written) else { continue };
        let real = Real { name: given.unwrap_or_else(|| address.to_string()), address, weight };
        if reals.iter().any(|other| other.address == address) {
            report.error(written.span(), format!("{address} is twice in pool {pool}"));
        } else if reals.iter().any(|other| other.name == real.name) {
            report.error(raw.span(), format!("two real servers of pool {pool} are named {}", real.name));
        } else if users.iter().any(|service| service.vip == address) {
            let message =
                format!("{address} is the vip of a service of pool {pool}; write the real server's own address");
            report.error(written.span(), message);
        }
        reals.push(real);
    }
    reals
}

fn within_limits(
    report: &mut Report<'_>,
    file: &raw::File,
    limits: &Limits,
    pools: &[Pool],
    services: &[Located<Service>],
) {
    let used: BTreeMap<usize, &Pool> =
        services.iter().filter_map(|(_, service)| Some((service.pool, pools.get(service.pool)?))).collect();
    let counts = [
        ("services", services.len() as u64, limits.services),
        ("real servers", pools.iter().map(|pool| pool.reals.len() as u64).sum(), limits.reals),
        ("ring buckets", used.values().map(|pool| u64::from(pool.ring_size)).sum(), limits.ring_buckets),
    ];
    for ((what, count, limit), key) in counts.into_iter().zip(["services", "reals", "ring_buckets"]) {
        if count > u64::from(limit) {
            report.error(file.director.span(), format!("the file has {count} {what}; limits.{key} allows {limit}"));
        }
    }
}
