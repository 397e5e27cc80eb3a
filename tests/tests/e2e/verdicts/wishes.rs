//! What a real server's check, or the time since it came back, wants of its share.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::lab::{Director, Lab, Namespace, Nginx, Topology, eventually};

use super::{CHECK, SOON, file};

/// The state of a real server, and the part of all buckets that it has.
fn standing(director: &Director, real: &str) -> Result<(String, f64)> {
    let reals = director.reals()?;
    let row = reals.iter().find(|row| row["name"] == real).context("it is there")?;
    let share = row["share"].as_f64().context("it has a share")?;
    Ok((row["state"].as_str().map(String::from).unwrap_or_default(), share))
}

fn becomes(director: &Director, real: &str, what: &str, is: impl Fn(&str, f64) -> bool) -> Result<()> {
    let last = || format!("{:?}", standing(director, real));
    let found = || standing(director, real).map(|(state, share)| is(&state, share).then_some(()));
    eventually(SOON, &format!("{real} is {what}"), found).with_context(|| last() + &director.process.log())
}

fn write(path: &Path, text: &str) -> Result<()> {
    // Renamed into place, so that nobody reads half of it.
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, path).context("it is ours")
}

#[test]
fn a_script_says_the_weight_of_its_real_server() -> Result<()> {
    let lab = Lab::up(Topology::flat(2))?;
    let status = |real: &str, code: &str| write(&lab.directory().join(real), code);
    status("real1", "0")?;
    status("real2", "0")?;
    let script = format!("exit $(cat {}/$XDIRECTOR_REAL)", lab.directory().display());
    let check = format!(
        "type = \"script\", command = [\"/bin/sh\", \"-c\", '{script}'], interval = \"100ms\", timeout = \"2s\", fall = 2"
    );
    let rest = file("", &check, "", 2).replace("address = ", "weight = 100\naddress = ");
    let director = Director::start(&lab, &rest)?;
    becomes(&director, "real2", "up with half", |state, share| state == "up" && (0.45..0.55).contains(&share))?;
    // 27 is weight 25: a fifth of all.
    status("real2", "27")?;
    becomes(&director, "real2", "at a fifth", |_, share| (0.14..0.27).contains(&share))?;
    status("real2", "2")?;
    becomes(&director, "real2", "at nothing", |state, share| state == "draining" && share == 0.0)?;
    status("real2", "1")?;
    becomes(&director, "real2", "down", |state, _| state == "down")?;
    status("real2", "0")?;
    becomes(&director, "real2", "back", |state, share| state == "up" && (0.45..0.55).contains(&share))?;
    let log = director.process.log();
    ensure!(log.contains("web/real2 asks for weight 25 (the file says 100)"), "{log}");
    Ok(())
}

/// An agent that says to everybody what is in a file, until the tests end.
fn run_agent(machine: &Namespace, file: PathBuf) -> Result<()> {
    let listener = machine.enter(|| Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 9777))?))?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // What is not said in time is a failed probe, and the test will say so.
            let _ = stream.write_all(&fs::read(&file).unwrap_or_default());
        }
    });
    Ok(())
}

#[test]
fn an_agent_says_its_share_and_drains() -> Result<()> {
    let lab = Lab::up(Topology::flat(2))?;
    let words = |real: &str, words: &str| write(&lab.directory().join(real), words);
    for (machine, real) in lab.reals.iter().zip(["real1", "real2"]) {
        words(real, "up\n")?;
        run_agent(machine, lab.directory().join(real))?;
    }
    let check = "type = \"agent\", port = 9777, interval = \"100ms\", timeout = \"2s\", fall = 2";
    let director = Director::start(&lab, &file("", check, "", 2))?;
    becomes(&director, "real1", "up", |state, _| state == "up")?;
    becomes(&director, "real2", "up", |state, _| state == "up")?;
    words("real1", "50%\n")?;
    becomes(&director, "real1", "at a third", |_, share| (0.27..0.4).contains(&share))?;
    words("real1", "drain\n")?;
    becomes(&director, "real1", "draining", |state, share| state == "draining" && share == 0.0)?;
    words("real1", "down # maintenance\n")?;
    becomes(&director, "real1", "down", |state, _| state == "down")?;
    words("real1", "up ready 100%\n")?;
    becomes(&director, "real1", "up", |state, share| state == "up" && (0.45..0.55).contains(&share))
}

#[test]
fn one_that_comes_back_starts_slowly() -> Result<()> {
    let lab = Lab::up(Topology::flat(2))?;
    let start = |(index, machine)| Nginx::start(&lab, machine, &format!("real{}", index + 1));
    let mut nginx = lab.reals.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
    let rest = file("", CHECK, "slow_start = \"4s\"", 2);
    let mut director = Director::start(&lab, &rest)?;
    becomes(&director, "real2", "up with half from the start", |state, share| state == "up" && share > 0.4)?;
    nginx[1].stop()?;
    becomes(&director, "real2", "down", |state, _| state == "down")?;
    nginx[1].start_again(&lab, &lab.reals[1])?;
    let mut shares: Vec<f64> = Vec::new();
    let mut reloaded = false;
    eventually(SOON, "real2 has its share again", || {
        let row: Vec<Value> = director.reals()?;
        let (state, share) = (row[1]["state"].as_str().unwrap_or_default(), row[1]["share"].as_f64().unwrap_or(0.0));
        if state != "down" && shares.last() != Some(&share) {
            shares.push(share);
        }
        // A reload amid it changes nothing.
        if shares.len() == 4 && !std::mem::replace(&mut reloaded, true) {
            director.reload(&lab, &rest)?;
        }
        Ok((state == "up" && share > 0.4).then_some(()))
    })
    .with_context(|| director.process.log())?;
    println!("shares on the way back: {shares:.3?}");
    ensure!(shares.is_sorted() && shares.len() >= 4, "{shares:?}");
    ensure!((0.01..0.3).contains(&shares[0]), "{shares:?}");
    Ok(())
}
