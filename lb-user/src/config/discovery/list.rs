//! A list of real servers: `ADDRESS [weight=N] [name=X] [zone=Z] [tier=N]`, one on a line; `#` begins a comment.

use std::net::IpAddr;
use std::str::FromStr;

use lb_common::abi::limits::NAME_BYTES;

use super::super::values::is_host;
use super::Real;

const MAX_WEIGHT: u32 = 65_535;
const MAX_TIER: u8 = 7;

/// All of them, in their order: no address and no name twice; at least one.
///
/// # Errors
/// The first thing that is wrong, with its line and the cure.
pub fn parse_reals(text: &str) -> Result<Vec<Real>, String> {
    let mut reals: Vec<Real> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let real = real(line).map_err(|problem| format!("line {number}: {problem}"))?;
        if reals.iter().any(|other| other.address == real.address) {
            return Err(format!("line {number}: {} is there twice", real.address));
        }
        if reals.iter().any(|other| other.name == real.name) {
            return Err(format!("line {number}: two are named {}", real.name));
        }
        reals.push(real);
    }
    if reals.is_empty() { Err("it has no real servers; write an address on a line".into()) } else { Ok(reals) }
}

fn real(line: &str) -> Result<Real, String> {
    let mut words = line.split_whitespace();
    let address = words.next().unwrap_or_default();
    let host = address.parse::<IpAddr>().ok().filter(|address| is_host(*address));
    let host =
        host.ok_or_else(|| format!("\"{address}\" is no address of a host, as in \"10.0.0.1\" or \"fd00::1\""))?;
    let mut real = Real::new(&host.to_string(), host, 1);
    let mut seen = Vec::new();
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "weight" => real.weight = within(key, value, MAX_WEIGHT)?,
            "tier" => real.tier = within(key, value, MAX_TIER)?,
            "name" => real.name = name(key, value)?,
            "zone" => real.zone = Some(name(key, value)?),
            _ => {
                return Err(format!("\"{word}\" is not known; after the address come weight=, name=, zone= and tier="));
            }
        }
        if seen.contains(&key) {
            return Err(format!("{key}= is there twice"));
        }
        seen.push(key);
    }
    Ok(real)
}

fn within<T: FromStr + PartialOrd + std::fmt::Display + Copy>(key: &str, value: &str, most: T) -> Result<T, String> {
    let number = value.parse::<T>().ok().filter(|number| *number <= most);
    number.ok_or_else(|| format!("{key} is \"{value}\"; it must be from 0 to {most}"))
}

fn name(key: &str, value: &str) -> Result<String, String> {
    if value.is_empty() || value.len() > NAME_BYTES || value.chars().any(char::is_control) {
        return Err(format!("{key} must have 1 to {NAME_BYTES} bytes and no control characters"));
    }
    Ok(value.to_owned())
}
