//! `redis` against Redis.

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tests::lab::{Process, output, real_address};

use super::{Ward, stub};

/// Redis on a real server, by its number from 1, in a directory of its own.
fn start(ward: &Ward, real: u8, name: &str, more: &[&str]) -> Result<Process> {
    let directory = ward.lab.directory().join(format!("redis{real}"));
    std::fs::create_dir_all(&directory)?;
    let directory = directory.to_string_lossy().into_owned();
    let arguments = [&["--bind", "*", "--protected-mode", "no", "--save", "", "--dir", &directory], more].concat();
    let mut redis = ward.lab.spawn(&ward.lab.reals[usize::from(real) - 1], name, "redis-server", &arguments)?;
    redis.wait_for("Server initialized", super::SOON)?;
    Ok(redis)
}

fn command(ward: &Ward, real: u8, words: &[&str]) -> Result<String> {
    output(ward.lab.reals[usize::from(real) - 1].command("redis-cli").args(words))
}

fn redis(rest: &str) -> String {
    format!("type = \"redis\", port = 6379{rest}")
}

#[test]
fn redis_answers_ping_with_the_right_password_only() -> Result<()> {
    let ward = Ward::new(1)?;
    let _redis = start(&ward, 1, "redis", &["--requirepass", "geheim"])?;
    ward.comes_up(real_address(1), &redis(", password = \"geheim\""))?;
    ward.is_up(&redis(", user = \"default\", password = \"geheim\", role = \"master\""))?;
    ward.is_down(&redis(""), "Redis answers PING with: NOAUTH Authentication required.")?;
    ward.is_down(&redis(", password = \"wrong\""), "Redis answers AUTH with: WRONGPASS")?;
    ward.is_down(&redis(", password = \"geheim\", role = \"replica\""), "its role is master, expected replica")?;
    ward.is_down("type = \"redis\", port = 6380", "connection refused")
}

#[test]
fn a_replica_is_down_while_its_link_to_the_master_is() -> Result<()> {
    let ward = Ward::new(2)?;
    let (master, replica) = (real_address(1), real_address(2));
    let mut first = start(&ward, 1, "master", &[])?;
    let source = format!("{master} 6379");
    let _second = start(&ward, 2, "replica", &["--replicaof", &source, "--repl-timeout", "5"])?;
    ward.comes_up(replica, &redis(", role = \"replica\""))?;
    ward.goes_down(replica, &redis(", role = \"master\""), "its role is replica, expected master")?;
    first.stop(Signal::SIGTERM)?;
    ward.goes_down(replica, &redis(", role = \"replica\""), &format!("its link to the master {master} is down"))?;
    ward.comes_up(replica, &redis(""))?;
    command(&ward, 2, &["config", "set", "replica-serve-stale-data", "no"])?;
    ward.goes_down(replica, &redis(""), "Redis answers PING with: MASTERDOWN Link with MASTER is down")?;
    let _first = start(&ward, 1, "master-again", &[])?;
    ward.comes_up(replica, &redis(", role = \"replica\""))
}

#[test]
fn redis_is_down_while_it_loads_its_data() -> Result<()> {
    let ward = Ward::new(1)?;
    let mut first = start(&ward, 1, "before", &["--enable-debug-command", "yes"])?;
    ward.comes_up(real_address(1), &redis(""))?;
    command(&ward, 1, &["debug", "populate", "20000", "key", "200"])?;
    command(&ward, 1, &["save"])?;
    first.stop(Signal::SIGTERM)?;
    // Microseconds for each key: long enough to be seen, and answered in between.
    let slow = ["--key-load-delay", "1000", "--loading-process-events-interval-bytes", "2048"];
    let second = start(&ward, 1, "after", &slow)?;
    ward.goes_down(real_address(1), &redis(""), "LOADING").with_context(|| second.log())?;
    Ok(())
}

#[test]
fn what_is_not_redis_is_named() -> Result<()> {
    let ward = Ward::new(1)?;
    stub::with(&ward.lab.reals[0], 6379, b"HTTP/1.1 400 Bad Request\r\n\r\n", || {
        ward.is_down(&redis(""), "\"HTTP/1.1 400 Bad Request\" is no answer of Redis")
    })?;
    stub::with(&ward.lab.reals[0], 6379, b"", || {
        let silence = "no answer within 300ms, while waiting for the answer to PING";
        ward.is_down(&redis(", timeout = \"300ms\""), silence)
    })
}
