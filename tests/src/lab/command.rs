//! Running a command to its end.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Runs it and says what it printed on stdout.
///
/// # Errors
/// If it cannot be started or fails; quotes the command and its stderr.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command.output().with_context(|| format!("cannot start: {shown}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{shown}: {}: {}", output.status, stderr.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The same for what prints nothing of interest.
pub fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

fn shown(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A counter of an interface in the calling thread's namespace. Sysfs shows the namespace of who mounted it, so this
/// asks `ip`.
pub fn interface_counter(interface: &str, name: &str) -> Result<String> {
    let (direction, field) = name.split_once('_').context("counters are named rx_ or tx_something")?;
    let text = output(Command::new("ip").args(["-s", "-j", "link", "show", "dev", interface]))?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let value = &json[0]["stats64"][direction][field];
    ensure!(value.is_u64(), "`ip -s -j link` shows no {name}");
    Ok(value.to_string())
}

/// Writes a sysctl of the calling thread's network namespace.
pub fn write_sysctl(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{name}");
    fs::write(&path, value).with_context(|| format!("cannot write {path}"))
}
