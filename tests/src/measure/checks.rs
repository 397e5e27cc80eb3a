//! What a thousand checks cost the daemon: one a second each, over TCP, in the lab.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::unistd::{Pid, SysconfVar, sysconf};
use serde::Serialize;

use crate::lab::{Director, Lab, Namespace, Nginx, Topology, VIP, eventually, mac_of, output, real_address};

/// Checks that run.
pub const CHECKS: u32 = 1000;
/// How long they may take to find everybody up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Checks that ran, each once a second.
    pub checks: u32,
    /// Connections that were made.
    pub probes_per_second: f64,
    /// Of one core, in user and kernel mode.
    pub cpu_percent: f64,
    /// Memory that is resident, the mapped tables of the kernel included.
    pub resident_mib: f64,
    /// From the verdict on one that dies to the last word of the tables, in milliseconds.
    pub verdict_to_tables_ms: f64,
}

impl Cost {
    /// For people.
    pub fn table(&self) -> String {
        let Self { checks, probes_per_second, cpu_percent, resident_mib, verdict_to_tables_ms } = self;
        let heads = ["checks", "probes/s", "cpu %", "resident MiB", "verdict to tables, ms"];
        let [a, b, c, d, e] = heads;
        format!(
            "{a:>8} {b:>10} {c:>8} {d:>14} {e:>23}\n{checks:>8} {probes_per_second:>10.0} {cpu_percent:>8.1} \
             {resident_mib:>14.1} {verdict_to_tables_ms:>23.1}\n"
        )
    }
}

/// Runs the daemon with its checks for this long.
///
/// # Errors
/// If the lab or the daemon does not come up.
pub fn measure(time: Duration) -> Result<Cost> {
    let lab = Lab::up(Topology::flat(1))?;
    let real = &lab.reals[0];
    let _nginx = Nginx::start(&lab, real, "real1")?;
    give_addresses(&lab, real)?;
    let director = Director::start(&lab, &file())?;
    let up = || Ok(director.process.log().matches("is up (was unchecked)").count() >= CHECKS as usize);
    eventually(PATIENCE, "all are up", || up().map(|all| all.then_some(())))
        .with_context(|| director.process.log().lines().last().unwrap_or_default().to_owned())?;
    let pid = director.process.pid();
    let (cpu, opened, start) = (cpu_time(pid)?, connections(real)?, Instant::now());
    // tidy: allow(sleep): the time that is measured
    std::thread::sleep(time);
    let (spent, made, took) = (cpu_time(pid)? - cpu, connections(real)? - opened, start.elapsed());
    let log = director.process.log();
    ensure!(!log.contains("is down"), "the machine is too busy for this: {}", log.lines().last().unwrap_or_default());
    Ok(Cost {
        checks: CHECKS,
        probes_per_second: f64::from(made) / took.as_secs_f64(),
        cpu_percent: spent.as_secs_f64() / took.as_secs_f64() * 100.0,
        resident_mib: resident(pid)?,
        verdict_to_tables_ms: lose_one(&director, real)?,
    })
}

/// One of the real servers is no more. The daemon says in its log how long the tables took after the verdict.
fn lose_one(director: &Director, real: &Namespace) -> Result<f64> {
    let lost = address(CHECKS / 2);
    let begin = director.process.log().len();
    real.ip(&format!("address del {lost}/32 dev lo"))?;
    let said = || {
        let log = director.process.log().split_off(begin);
        let lines = log.lines().skip_while(|line| !line.contains(&format!("{lost} is down")));
        let line =
            lines.filter_map(|line| line.split_once("tables written: ")?.1.strip_suffix(" after the verdict")).next();
        Ok(line.and_then(|line| line.rsplit(", ").next()).map(String::from))
    };
    let time = eventually(PATIENCE, &format!("the tables are without {lost}"), said)?;
    milliseconds(&time).with_context(|| format!("\"{time}\" is no time"))
}

/// As Rust writes short durations.
fn milliseconds(text: &str) -> Option<f64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(split);
    let each = match unit {
        "s" => 1000.0,
        "ms" => 1.0,
        "µs" => 0.001,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * each)
}

/// The address of a real server, from 0.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(Ipv4Addr::new(10, 69, 0, 1).to_bits() + number)
}

/// One machine plays them all. The director's neighbour table is for everybody on this host, so entries that the kernel must
/// not throw away are permanent.
fn give_addresses(lab: &Lab, real: &Namespace) -> Result<()> {
    let mac = mac_of(real_address(1));
    let own = (0..CHECKS).map(|number| format!("address add {}/32 dev lo\n", address(number)));
    batch(lab.directory(), real, "addresses", own)?;
    lab.director.ip("route add 10.69.0.0/16 dev eth0")?;
    let known =
        (0..CHECKS).map(|number| format!("neigh add {} lladdr {mac} nud permanent dev eth0\n", address(number)));
    batch(lab.directory(), &lab.director, "neighbours", known)
}

fn batch(directory: &Path, machine: &Namespace, name: &str, lines: impl Iterator<Item = String>) -> Result<()> {
    let path = directory.join(name);
    fs::write(&path, lines.collect::<String>())?;
    output(machine.command("ip").arg("-batch").arg(&path)).map(drop)
}

fn file() -> String {
    let real = |number| format!("[[pool.web.real]]\naddress = \"{}\"\n", address(number));
    let reals: String = (0..CHECKS).map(real).collect();
    format!(
        "[pool.web]\nring_size = 65537\ncheck = {{ type = \"tcp\", interval = \"1s\", timeout = \"1s\" }}\n{reals}\
         [[service]]\nvip = \"{VIP}\"\nport = 80\nprotocol = \"tcp\"\npool = \"web\"\n"
    )
}

/// User and kernel mode; in clock ticks, usually of ten milliseconds.
fn cpu_time(pid: Pid) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program, in parentheses, may hold anything.
    let rest = stat.rsplit(") ").next().context("a line in /proc has a name")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let tick = |field: usize| -> Result<u32> { Ok(fields.get(field).context("it has that many fields")?.parse()?) };
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("ticks have a length")?;
    // utime and stime are the 14th and the 15th; the third is the first here.
    Ok(Duration::from_secs((tick(11)? + tick(12)?).into()) / u32::try_from(per_second)?)
}

fn resident(pid: Pid) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("it has memory")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// TCP connections that a machine has accepted.
fn connections(machine: &Namespace) -> Result<u32> {
    let text = machine.enter(|| Ok(fs::read_to_string("/proc/thread-self/net/snmp")?))?;
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (rows.next().context("names")?, rows.next().context("values")?);
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, value) = pairs.find(|(name, _)| *name == "PassiveOpens").context("the kernel counts them")?;
    Ok(value.parse()?)
}
