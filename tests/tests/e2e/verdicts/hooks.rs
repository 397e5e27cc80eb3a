//! What hooks are told.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use tests::lab::{Plug, eventually};

use super::{CHECK, SOON, Ward, file};

#[test]
fn hooks_are_told_of_real_servers_and_pools() -> Result<()> {
    let mut ward = Ward::new(2, "")?;
    let directory = ward.lab.directory();
    let (hook, said) = (directory.join("hook.sh"), directory.join("said"));
    fs::write(&hook, format!("#!/bin/sh\necho \"$# $*\" >> {}\necho heard $1\n", said.display()))?;
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755))?;
    let hooks = format!("[hooks]\ncommand = \"{}\"\ntimeout = \"5s\"\n", hook.display());
    let rest = file("", CHECK, "min_healthy = 2", 2) + &hooks;
    ward.director.reload(&ward.lab, &rest)?;
    let heard = |line: &str| {
        let text = || fs::read_to_string(&said).unwrap_or_default();
        let found = || Ok(text().lines().any(|heard| heard == line).then_some(()));
        eventually(SOON, line, found).with_context(text)
    };
    ward.nginx[0].stop()?;
    heard("4 REAL web/real1 DOWN port 80: connection refused")?;
    heard("5 POOL web DOWN 1 2")?;
    ward.nginx[1].stop()?;
    heard("4 REAL web/real2 DOWN port 80: connection refused")?;
    heard("5 POOL web EMPTY 0 2")?;
    for index in [0, 1] {
        ward.nginx[index].start_again(&ward.lab, &ward.lab.reals[index])?;
    }
    heard("4 REAL web/real1 UP port 80 answers")?;
    heard("5 POOL web UP 2 2")?;
    ward.lab.set_port("director", Plug::Out)?;
    heard("6 POOL web HELD 2 2 eth0 has no link")?;
    let text = fs::read_to_string(&said)?;
    let firsts: Vec<&str> = text.lines().filter(|line| line.contains("POOL")).collect();
    ensure!(firsts[..2] == ["5 POOL web DOWN 1 2", "5 POOL web EMPTY 0 2"], "{text}");
    let log = ward.director.process.log();
    ensure!(log.contains("hook.sh POOL web EMPTY 0 2: heard POOL"), "{log}");
    Ok(())
}
