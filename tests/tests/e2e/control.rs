//! Commands to a running daemon.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::process::Output;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::lab::{CLIENT, Connection, Crowd, Director, Lab, Nginx, Topology, VIP, eventually, real_address};

use crate::scene::{Scene, config};

const CONNECTIONS: usize = 5000;
const SOON: Duration = Duration::from_secs(10);
/// From then on, after the answer, no new flow may go to a drained real server.
const DRAINED: Duration = Duration::from_millis(10);
/// For how long one looks whether any does.
const AFTER_DRAIN: Duration = Duration::from_millis(500);

/// The same file, with a check that a busy machine does not fail.
fn patient(weights: &[u32]) -> String {
    config(weights).replace("timeout = \"100ms\"", "timeout = \"5s\"").replace("100ms", "200ms")
}

/// Three real servers with thousands of open connections.
struct Play {
    crowd: Crowd,
    director: Director,
    _nginx: Vec<Nginx>,
    // Last, so that it is dropped last.
    lab: Lab,
}

impl Play {
    fn new() -> Result<Self> {
        Crowd::make_room(CONNECTIONS as u64 + 3000)?;
        let lab = Lab::up(Topology::flat(3))?;
        let start = |(index, machine)| Nginx::start(&lab, machine, &format!("real{}", index + 1));
        let nginx = lab.reals.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
        let director = Director::start(&lab, &patient(&[1, 1, 1]))?;
        for number in 1..=3 {
            director.wait_for_state(&format!("real{number}"), "up")?;
        }
        let mut play = Self { crowd: Crowd::default(), director, _nginx: nginx, lab };
        let opened = play.open(CONNECTIONS)?;
        ensure!(opened.len() == 3, "{opened:?}");
        Ok(play)
    }

    fn open(&mut self, count: usize) -> Result<tests::lab::Count> {
        let crowd = &mut self.crowd;
        self.lab.client.enter(move || crowd.open(count, &[IpAddr::from(CLIENT)], SocketAddr::new(VIP.into(), 80)))
    }

    fn none_broke(&mut self, when: &str) -> Result<()> {
        let open = self.crowd.len();
        let broken = self.crowd.ask_all();
        println!("{when}: of {open} connections {} broke", broken.values().sum::<usize>());
        ensure!(broken.is_empty() && open >= CONNECTIONS, "{when}: {broken:?} of {open}");
        Ok(())
    }
}

/// What `status` says of a real server of the first pool.
fn real(director: &Director, name: &str) -> Result<Value> {
    let status = director.ask(&["status"])?;
    let reals = status["pools"][0]["reals"].as_array().context("the pool has no real servers")?;
    reals.iter().find(|real| real["name"] == name).cloned().with_context(|| format!("no {name} in {status}"))
}

/// Opens one connection after another: when each was begun, and who answered. Call it within the client's namespace.
fn keep_opening(is_over: &AtomicBool) -> Result<Vec<(Instant, String)>> {
    let mut opened = Vec::new();
    while !is_over.load(Relaxed) {
        let begun = Instant::now();
        opened.push((begun, Connection::open(VIP, 80)?.ask("/")?.text()));
    }
    Ok(opened)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_drained_real_server_keeps_its_connections_and_gets_no_others() -> Result<()> {
    let mut play = Play::new()?;
    let is_over = AtomicBool::new(false);
    let started = Instant::now();
    let (answered, opened) = thread::scope(|scope| -> Result<_> {
        let client = scope.spawn(|| play.lab.client.enter(|| keep_opening(&is_over)));
        let outcome = play.director.ask(&["drain", "web/real1"]);
        let answered = Instant::now();
        let later = eventually(SOON, "some time is over", || Ok((answered.elapsed() > AFTER_DRAIN).then_some(())));
        is_over.store(true, Relaxed);
        let opened = client.join().expect("no test goes on after a panic")?;
        later?;
        let answer = outcome?;
        ensure!(answer["duty"] == "drain" && answer["changed"] == true, "{answer}");
        Ok((answered, opened))
    })?;
    let there = opened.iter().filter(|(_, name)| name == "real1").map(|(begun, _)| *begun);
    let last = there.max().context("nobody was at real1 before")?;
    let after = opened.iter().filter(|(begun, _)| *begun > answered).count();
    println!(
        "drain: answered {:?} after it was asked for; of {} connections one after another {after} were begun after that; the \
         last that went to the drained real server was begun {:?} before the answer",
        answered - started,
        opened.len(),
        answered.saturating_duration_since(last)
    );
    ensure!(last <= answered + DRAINED && after > 20, "{:?} late", last.saturating_duration_since(answered));
    let opened = play.open(500)?;
    ensure!(!opened.contains_key("real1") && opened.len() == 2, "{opened:?}");
    play.none_broke("real1 is drained")?;
    let shown = real(&play.director, "real1")?;
    ensure!(shown["state"] == "draining" && shown["order"]["duty"] == "drain", "{shown}");
    ensure!(
        shown["flows"].as_u64() > Some(1000) && shown["order"]["who"].as_str().is_some_and(|who| who.contains("pid")),
        "{shown}"
    );

    let waited = play.director.command(&["drain", "web/real1", "--wait", "50ms"])?;
    ensure!(
        waited.status.code() == Some(1) && stderr(&waited).contains("flows, the last of them seen"),
        "{}",
        stderr(&waited)
    );

    let answer = play.director.ask(&["undrain", "web/real1"])?;
    ensure!(answer["duty"] == "serve", "{answer}");
    play.none_broke("real1 is back")?;
    let opened = play.open(500)?;
    ensure!(opened.contains_key("real1"), "{opened:?}");
    ensure!(real(&play.director, "real1")?["order"].is_null());
    Ok(())
}

#[test]
fn a_reload_under_thousands_of_connections_breaks_none_and_says_what_it_changed() -> Result<()> {
    let mut play = Play::new()?;
    let file = patient(&[1, 5, 1]).replace("rise = 2", "rise = 3");
    play.director.write(&play.lab, &file)?;
    let started = Instant::now();
    let report = play.director.ask(&["reload"])?;
    println!("reload: {:?}", started.elapsed());
    ensure!(
        report["changes"]
            == serde_json::json!([
                "pool web: ring_size 509 -> 1021",
                "pool web: check changed",
                "pool web: weight of real2 1 -> 5"
            ]),
        "{report}"
    );
    play.none_broke("a weight and the check were changed")?;
    play.director.write(&play.lab, &patient(&[1, 5]))?;
    let report = play.director.ask(&["reload"])?;
    ensure!(
        report["changes"].as_array().is_some_and(|all| all.contains(&"pool web: real real3 removed".into())),
        "{report}"
    );
    play.none_broke("real3 was removed")?;
    ensure!(real(&play.director, "real3")?["state"] == "draining");
    Ok(())
}

#[test]
fn maintenance_moves_the_flows_of_one_and_of_no_other() -> Result<()> {
    let scene = Scene::new(&[1, 1, 1])?;
    let open = |_| {
        let mut connection = Connection::open(VIP, 80)?;
        let name = connection.ask("/")?.text();
        Ok((connection, name))
    };
    let mut all = scene.lab.client.enter(|| (0..60).map(open).collect::<Result<Vec<_>>>())?;
    scene.director.ask(&["maintenance", "web/real2"])?;
    ensure!(scene.director.reals()?[1]["share"] == 0.0, "{:?}", scene.director.reals()?);
    all.retain(|(_, name)| name != "real2");
    for (connection, name) in &mut all {
        ensure!(connection.ask("/")?.text() == *name);
    }
    ensure!(!scene.fetch_names(60)?.contains(&"real2".into()));
    ensure!(real(&scene.director, "real2")?["state"] == "maintenance");

    // The two pairs of commands are not mixed up.
    let refused = scene.director.command(&["undrain", "web/real2"])?;
    ensure!(
        refused.status.code() == Some(1) && stderr(&refused).contains("`maintenance --off` ends that"),
        "{}",
        stderr(&refused)
    );
    scene.director.ask(&["maintenance", "web/real2", "--off"])?;
    ensure!(scene.fetch_names(60)?.contains(&"real2".into()));
    Ok(())
}

#[test]
fn a_weight_that_was_set_counts_until_it_is_auto_again() -> Result<()> {
    let scene = Scene::new(&[1, 1])?;
    let share = || Ok::<_, anyhow::Error>(real(&scene.director, "real1")?["share"].as_f64().unwrap_or(-1.0));
    let before = share()?;
    scene.director.ask(&["weight", "web/real1", "3"])?;
    let shown = real(&scene.director, "real1")?;
    ensure!(shown["weight"] == 3 && shown["file_weight"] == 1 && shown["order"]["weight"] == 3, "{shown}");
    ensure!((share()? - 0.75).abs() < 0.05, "{shown}");
    scene.director.ask(&["weight", "web/real1", "0"])?;
    ensure!(scene.fetch_names(40)?.iter().all(|name| name == "real2"));
    scene.director.ask(&["weight", "web/10.66.0.101", "auto"])?;
    ensure!(share()? == before, "{} is not {before}", share()?);
    let refused = scene.director.command(&["weight", "web/real1", "65536"])?;
    ensure!(refused.status.code() == Some(2) && stderr(&refused).contains("from 0 to 65535"), "{}", stderr(&refused));
    Ok(())
}

#[test]
fn draining_everybody_is_obeyed_with_a_warning() -> Result<()> {
    let scene = Scene::new(&[1, 1])?;
    ensure!(stderr(&scene.director.command(&["drain", "web/real1"])?).is_empty());
    let last = scene.director.command(&["drain", "web/real2"])?;
    let words = "no real server of pool web takes new flows now; on_empty = \"drop\"";
    ensure!(last.status.success() && stderr(&last).contains(words), "{}", stderr(&last));
    Ok(())
}

#[test]
fn a_bad_file_is_refused_with_what_is_wrong_and_all_goes_on() -> Result<()> {
    let scene = Scene::new(&[1, 1])?;
    for (bad, word) in [
        (config(&[1, 1]).replace("weight = 1", "weight = -1"), "weight is -1"),
        (config(&[1, 1]).replace("ring_buckets = 65536", "ring_buckets = 70000"), "restart the daemon"),
        ("nonsense".into(), "xdirector.toml:"),
    ] {
        scene.director.write(&scene.lab, &bad)?;
        // Not by --config: the command would read the bad file itself.
        let socket = scene.director.socket(&scene.lab);
        let mut command = std::process::Command::new(tests::lab::binary());
        let refused = command.arg("reload").arg("--socket").arg(&socket).output()?;
        ensure!(refused.status.code() == Some(2) && stderr(&refused).contains(word), "{}", stderr(&refused));
        let status =
            std::process::Command::new(tests::lab::binary()).arg("status").arg("--socket").arg(&socket).output()?;
        ensure!(String::from_utf8_lossy(&status.stdout).contains("the last reload was refused"));
        scene.fetch_names(10)?;
    }
    scene.director.write(&scene.lab, &config(&[1, 1]))?;
    ensure!(scene.director.ask(&["reload"])?["changes"] == serde_json::json!([]));
    ensure!(scene.director.ask(&["status"])?["daemon"]["reload_refused"].is_null());
    Ok(())
}

#[test]
fn what_was_ordered_survives_a_kill_and_goes_with_its_real_server() -> Result<()> {
    let mut scene = Scene::new(&[1, 1, 1])?;
    scene.director.ask(&["drain", "web/real1"])?;
    scene.director.ask(&["maintenance", "web/real2"])?;
    scene.director.process.stop(Signal::SIGKILL)?;
    scene.fetch_names(20)?;
    scene.director.start_again(&scene.lab)?;
    ensure!(real(&scene.director, "real1")?["state"] == "draining");
    ensure!(real(&scene.director, "real2")?["order"]["duty"] == "maintenance");
    ensure!(scene.fetch_names(60)?.iter().all(|name| name == "real3"));
    scene.director.reload(&scene.lab, &config(&[1, 1, 2]))?;
    ensure!(real(&scene.director, "real1")?["state"] == "draining", "a reload forgot an order");

    // What is in the file no longer has no order, and gets none by coming back.
    scene.director.reload(&scene.lab, &config(&[1]).replace("real1", "real3").replace("101", "103"))?;
    let log = scene.director.process.log();
    ensure!(log.contains("the order to drain: keep its flows, take no others is dropped"), "{log}");
    scene.director.reload(&scene.lab, &config(&[1, 1, 1]))?;
    ensure!(real(&scene.director, "real1")?["order"].is_null());

    // A file that somebody has broken is set aside.
    scene.director.ask(&["drain", "web/real1"])?;
    scene.director.process.stop(Signal::SIGKILL)?;
    let file = scene.director.state_dir(&scene.lab).join("orders.json");
    fs::write(&file, "{ nonsense")?;
    scene.director.start_again(&scene.lab)?;
    let log = scene.director.process.log();
    ensure!(log.contains("orders.json.broken") && !file.exists(), "{log}");
    ensure!(real(&scene.director, "real1")?["order"].is_null());
    Ok(())
}

#[test]
fn an_order_that_cannot_be_saved_is_obeyed_with_a_warning() -> Result<()> {
    let scene = Scene::new(&[1, 1])?;
    let dir = scene.director.state_dir(&scene.lab);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::write(&dir, "a file where a directory should be")?;
    let drained = scene.director.command(&["drain", "web/real1"])?;
    let said = stderr(&drained);
    ensure!(drained.status.success() && said.contains("it is not saved, and so will not survive a restart"), "{said}");
    ensure!(scene.fetch_names(40)?.iter().all(|name| name == "real2"));
    Ok(())
}

#[test]
fn the_socket_is_for_root_and_its_group_and_names_are_looked_up() -> Result<()> {
    let mut scene = Scene::new(&[1, 1])?;
    let path = scene.director.socket(&scene.lab);
    let socket = fs::metadata(&path)?;
    ensure!(socket.file_type().is_socket() && socket.permissions().mode() & 0o7777 == 0o660, "{socket:?}");
    ensure!(socket.uid() == 0);
    for (arguments, words) in [
        (["drain", "webb/real1"], "no pool is \"webb\"; did you mean web?"),
        (["drain", "web/real11"], "no real server of pool web is \"real11\"; did you mean real1?"),
        (["drain", "web/db"], "no real server of pool web is \"db\"; there is real1, real2"),
    ] {
        let refused = scene.director.command(&arguments)?;
        ensure!(refused.status.code() == Some(2) && stderr(&refused).contains(words), "{}", stderr(&refused));
    }
    let text = String::from_utf8(scene.director.command(&["status"])?.stdout)?;
    ensure!(text.contains("pool web: check tcp") && text.contains(&real_address(1).to_string()), "{text}");
    scene.director.process.stop(Signal::SIGTERM)?;
    ensure!(!path.exists(), "the socket was left");
    let absent = scene.director.command(&["status"])?;
    ensure!(absent.status.code() == Some(1) && stderr(&absent).contains("no daemon listens at"), "{}", stderr(&absent));
    Ok(())
}

#[test]
fn what_is_logged_can_be_changed_while_it_runs() -> Result<()> {
    let scene = Scene::new(&[1])?;
    ensure!(!scene.director.process.log().contains("DEBUG"));
    scene.director.ask(&["log-level", "debug"])?;
    let says = |what: &str| scene.director.process.log().contains(what).then_some(());
    eventually(SOON, "the log has more", || {
        scene.director.ask(&["status"])?;
        Ok(says("DEBUG"))
    })?;
    scene.director.ask(&["log-level", "error"])?;
    let before = scene.director.process.log().len();
    scene.director.ask(&["drain", "web/real1"])?;
    ensure!(scene.director.process.log().len() == before, "{}", &scene.director.process.log()[before..]);
    Ok(())
}
