//! `script` against programs of this machine.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_user::health::{Answer, Weight};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tests::lab::{eventually, real_address};

use super::{SOON, Ward, ask_from_here, check};

fn shell(script: &str) -> String {
    format!("type = \"script\", command = [\"/bin/sh\", \"-c\", '''{script}''']")
}

#[test]
fn a_script_is_judged_by_its_exit_status() -> Result<()> {
    let ward = Ward::new(1)?;
    ward.is_up(&shell("exit 0"))?;
    for (code, units) in [(2, 0), (52, 50), (255, 253)] {
        let outcome = ward.ask(&shell(&format!("exit {code}")))?;
        ensure!(outcome == Ok(Answer { weight: Some(Weight::Units(units)), drain: false }), "{code}: {outcome:?}");
    }
    ward.is_down(&shell("echo; echo disk is full >&2; exit 1"), "the script ended with status 1: disk is full")?;
    ward.is_down(&shell("kill -9 $$"), "the script was ended by signal 9")?;
    // More than a pipe holds must not stop it.
    ward.is_up(&shell("head -c 1000000 /dev/zero"))?;
    // What it leaves in the background holds its output, and is not waited for.
    ward.is_up(&shell("sleep 5 & exit 0"))?;
    ward.is_down("type = \"script\", command = [\"/nowhere/check\"]", "starting the script: No such file or directory")
}

#[test]
fn a_script_is_told_what_to_check_and_nothing_else() -> Result<()> {
    let ward = Ward::new(1)?;
    let script =
        "echo $XDIRECTOR_POOL $XDIRECTOR_REAL $XDIRECTOR_ADDRESS $XDIRECTOR_PORT $XDIRECTOR_VIP $HOME $(pwd); exit 1";
    ward.is_down(&shell(script), "status 1: pool real1 10.66.0.101 80 10.66.0.100 /")?;
    let root = "echo $(id -u) $(id -G); exit 1";
    ward.is_down(&shell(root), "status 1: 0 ")?;
    ward.is_down(&format!("{}, user = \"nobody\"", shell(root)), "status 1: 65534 65534")
}

/// A check whose script starts another program, says who they are in a file, and waits for longer than any test.
fn endless(ward: &Ward) -> (PathBuf, String) {
    let file = ward.lab.directory().join("pids");
    let script = format!("sleep 100 & echo $$ $! > {}; wait", file.display());
    (file, shell(&script))
}

fn end_before_long(pids: &str) -> Result<()> {
    let pids: Vec<i32> = pids.split_whitespace().map(|pid| pid.parse().context("a pid")).collect::<Result<_>>()?;
    ensure!(pids.len() == 2, "{pids:?}");
    pids.into_iter().try_for_each(|pid| eventually(SOON, "the process is gone", || Ok(is_gone(pid)?.then_some(()))))
}

#[test]
fn a_script_that_takes_too_long_is_killed_with_all_that_it_started() -> Result<()> {
    let ward = Ward::new(1)?;
    let (file, check) = endless(&ward);
    let too_long = "no answer within 500ms, while waiting for the script to end";
    ward.is_down(&format!("{check}, timeout = \"500ms\""), too_long)?;
    end_before_long(&fs::read_to_string(&file)?)
}

#[test]
fn a_script_that_is_not_waited_for_any_more_is_killed_too() -> Result<()> {
    let ward = Ward::new(1)?;
    let (file, written) = endless(&ward);
    let check = check(&format!("{written}, timeout = \"1m\""))?;
    let outcome = ask_from_here(&check, real_address(1).into(), Duration::from_millis(500))?;
    ensure!(outcome == Err("given up".into()), "{outcome:?}");
    end_before_long(&fs::read_to_string(&file)?)
}

/// Ended at least: the shell's child is left to init, which may take its time.
fn is_gone(pid: i32) -> Result<bool> {
    if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
        return Ok(true);
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    Ok(stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}
