//! From what was written to what makes sense. All that is wrong is said at once.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use lb_common::abi::limits as abi;
use lb_common::ring::{MAX_RING_SIZE, MIN_RING_SIZE, auto_size, is_prime, next_prime};
use toml::Spanned;

use super::problem::Report;
use super::service::{Located, services};
use super::values::{address, duration_within, is_interface_name, name, number};
use super::{Config, Director, Limits, OnEmpty, PIN_DIR, Pool, Real, Service, XdpMode, check, raw};

const MAX_WEIGHT: u32 = 65_535;
/// Fewer would not be worth their name.
const MIN_PINS: u32 = 1024;
const MAX_GATEWAYS: usize = 8;
const MAX_TIER: u8 = 7;
const SLOWEST_START: Duration = Duration::from_secs(3600);

/// `None` if the report has errors.
pub fn validate(report: &mut Report<'_>, file: &raw::File) -> Option<Config> {
    let director = director(report, file.director.get_ref());
    let limits = limits(report, &file.limits);
    let services = services(report, file);
    let pools: Vec<_> =
        file.pool.iter().enumerate().map(|(i, (name, raw))| pool(report, i, name, raw, &services)).collect();
    within_limits(report, file, &limits, &pools, &services);
    let (vrrp, sync_groups) = super::vrrp::parse(report, file, &director, &pools, &services);
    report.errors.is_empty().then_some(())?;
    let services = services.into_iter().map(|(_, service)| service).collect();
    Some(Config { vrrp, sync_groups, ..Config::new(director, limits, pools, services) })
}

fn director(report: &mut Report<'_>, raw: &raw::Director) -> Director {
    let raw::Director { interfaces, xdp_mode, hash_seed, pin_dir, peers, control_socket, state_dir, gateways } = raw;
    let names = interfaces.get_ref();
    if names.is_empty() || names.len() > abi::MAX_INTERFACES {
        let (count, most) = (names.len(), abi::MAX_INTERFACES);
        report.error(interfaces.span(), format!("director.interfaces has {count} names; it must have 1 to {most}"));
    }
    let mut seen = HashSet::new();
    for name in names {
        let text = name.get_ref();
        if !is_interface_name(text) {
            report.error(
                name.span(),
                format!("\"{text}\" in director.interfaces is no interface name; `ip link` lists them"),
            );
        } else if !seen.insert(text) {
            report.error(name.span(), format!("{text} is twice in director.interfaces"));
        }
    }
    let default = Director::new(Vec::new());
    let path = |report: &mut Report<'_>, key, given: &Option<Spanned<String>>, default| match given {
        Some(given) => absolute_path(report, key, given),
        None => default,
    };
    Director {
        interfaces: names.iter().map(|name| name.get_ref().clone()).collect(),
        xdp_mode: xdp_mode.as_ref().map_or(XdpMode::Auto, |mode| xdp_mode_of(report, mode)),
        hash_seed: hash_seed.as_ref().and_then(|seed| hash_seed_of(report, seed)),
        pin_dir: pin_dir.as_ref().map_or_else(|| PIN_DIR.into(), |dir| pin_dir_of(report, dir)),
        peers: addresses(report, "director.peers", peers, abi::MAX_PEERS),
        control_socket: path(report, "director.control_socket", control_socket, default.control_socket),
        state_dir: path(report, "director.state_dir", state_dir, default.state_dir),
        gateways: addresses(report, "director.gateways", gateways, MAX_GATEWAYS),
    }
}

pub fn absolute_path(report: &mut Report<'_>, key: &str, given: &Spanned<String>) -> PathBuf {
    let path = PathBuf::from(given.get_ref());
    if !path.is_absolute() || given.get_ref().contains('\0') {
        report.error(given.span(), format!("{key} is \"{}\"; it must be an absolute path", given.get_ref()));
    }
    path
}

/// A list of addresses of hosts, none twice.
fn addresses(report: &mut Report<'_>, key: &str, written: &[Spanned<String>], most: usize) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for one in written {
        if addresses.len() == most {
            report.error(one.span(), format!("{key} has more than {most} addresses"));
            break;
        }
        let Some(address) = address(report, key, one) else { continue };
        if addresses.contains(&address) {
            report.error(one.span(), format!("{address} is twice in {key}"));
        }
        addresses.push(address);
    }
    addresses
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
    let raw::Limits { services, reals, ring_buckets, pins, access_prefixes } = raw;
    let default = Limits::default();
    let mut limit = |key: &str, value: &Option<Spanned<i64>>, least, most, default| {
        number(report, &format!("limits.{key}"), value.as_ref(), least..=most, default)
    };
    Limits {
        services: limit("services", services, 1, abi::MAX_SERVICES, default.services),
        reals: limit("reals", reals, 1, abi::MAX_REALS, default.reals),
        ring_buckets: limit("ring_buckets", ring_buckets, MIN_RING_SIZE, abi::MAX_RING_BUCKETS, default.ring_buckets),
        pins: limit("pins", pins, MIN_PINS, abi::MAX_PINS, default.pins).next_power_of_two(),
        access_prefixes: limit(
            "access_prefixes",
            access_prefixes,
            1,
            abi::MAX_ACCESS_PREFIXES,
            default.access_prefixes,
        ),
    }
}

fn pool(
    report: &mut Report<'_>,
    index: usize,
    pool_name: &Spanned<String>,
    raw: &Spanned<raw::Pool>,
    services: &[Located<Service>],
) -> Pool {
    let raw::Pool { ring_size, check, min_healthy, on_empty, slow_start, real } = raw.get_ref();
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
    let most = u32::try_from(reals.len()).unwrap_or(u32::MAX).max(1);
    let min_healthy = number(report, &format!("pool.{name}.min_healthy"), min_healthy.as_ref(), 1..=most, 1);
    let on_empty = on_empty.as_ref().map_or(OnEmpty::Drop, |word| on_empty_of(report, &name, word));
    let slow_start = slow_start_of(report, &name, slow_start.as_ref());
    Pool { name, ring_size, reals, check, min_healthy, on_empty, slow_start }
}

fn on_empty_of(report: &mut Report<'_>, pool: &str, word: &Spanned<String>) -> OnEmpty {
    match word.get_ref().as_str() {
        "drop" => OnEmpty::Drop,
        "pass" => OnEmpty::Pass,
        "keep" => OnEmpty::Keep,
        other => {
            let message = format!("pool.{pool}.on_empty is \"{other}\"; it must be \"drop\", \"pass\" or \"keep\"");
            report.error(word.span(), message);
            OnEmpty::Drop
        }
    }
}

fn slow_start_of(report: &mut Report<'_>, pool: &str, written: Option<&Spanned<String>>) -> Duration {
    let range = Duration::ZERO..=SLOWEST_START;
    duration_within(report, &format!("pool.{pool}.slow_start"), written, Duration::ZERO, range)
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
        let raw::Real { name: given, address: written, weight, tier, zone } = raw.get_ref();
        let key = |last| format!("pool.{pool}.real.{last}");
        let given = given.as_ref().map(|given| name(report, &key("name"), given));
        let weight = number(report, &key("weight"), weight.as_ref(), 0..=MAX_WEIGHT, 1);
        let tier = number(report, &key("tier"), tier.as_ref(), 0..=u32::from(MAX_TIER), 0);
        let zone = zone.as_ref().map(|zone| name(report, &key("zone"), zone));
        let Some(address) = address(report, &key("address"), written) else { continue };
        let name = given.unwrap_or_else(|| address.to_string());
        // The range has made sure that it fits.
        let real = Real { tier: tier as u8, zone, ..Real::new(&name, address, weight) };
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
    let slots: u64 = services.iter().map(|(_, service)| service.ports.blocks().count() as u64).sum();
    // While one list replaces another both are there.
    let prefixes = services.iter().filter_map(|(_, service)| service.access.as_ref());
    let prefixes: u64 = prefixes.map(|access| 2 * access.rules.len() as u64).sum();
    let counts = [
        ("services (a range of ports counts once for each aligned block in it)", slots, limits.services),
        ("access prefixes (counted twice, so that a list can replace another)", prefixes, limits.access_prefixes),
        ("real servers", pools.iter().map(|pool| pool.reals.len() as u64).sum(), limits.reals),
        ("ring buckets", used.values().map(|pool| u64::from(pool.ring_size)).sum(), limits.ring_buckets),
    ];
    let keys = ["services", "access_prefixes", "reals", "ring_buckets"];
    for ((what, count, limit), key) in counts.into_iter().zip(keys) {
        if count > u64::from(limit) {
            report.error(file.director.span(), format!("the file has {count} {what}; limits.{key} allows {limit}"));
        }
    }
}
