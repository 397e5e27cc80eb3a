//! Real servers that are found while the daemon runs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::lab::{Director, Lab, Nginx, Process, Topology, VIP, eventually, fetch, real_address};

const SOON: Duration = Duration::from_secs(15);

/// A pool that has nothing but what is found.
fn file(reals: &str) -> String {
    format!(
        "[limits]\nring_buckets = 65536\n[pool.web]\nreals = {reals}\n\
         check = {{ type = \"tcp\", interval = \"100ms\", timeout = \"1s\", rise = 1, fall = 2 }}\n\
         [[service]]\nname = \"http\"\nvip = \"{VIP}\"\nport = 80\nprotocol = \"tcp\"\npool = \"web\"\n"
    )
}

fn start_all(lab: &Lab) -> Result<Vec<Nginx>> {
    let start = |(index, machine)| Nginx::start(lab, machine, &format!("real{}", index + 1));
    lab.reals.iter().enumerate().map(start).collect()
}

fn names(lab: &Lab) -> Result<Vec<String>> {
    let mut names: Vec<String> =
        lab.client.enter(|| (0..60).map(|_| Ok(fetch(VIP, 80, "/")?.text())).collect::<Result<_>>())?;
    names.sort();
    names.dedup();
    Ok(names)
}

/// Waits until the pool has these real servers, by their last numbers, and nobody else takes new flows.
fn wait_for(director: &Director, wanted: &[u8]) -> Result<Value> {
    let addresses: Vec<Value> = wanted.iter().map(|number| real_address(*number).to_string().into()).collect();
    let found = || {
        let pool = director.ask(&["status"])?["pools"][0].clone();
        let reals = pool["reals"].as_array().context("the pool has no list")?;
        let up: Vec<Value> =
            reals.iter().filter(|real| real["state"] == "up").map(|real| real["address"].clone()).collect();
        if up == addresses { Ok(Some(pool)) } else { bail!("{pool}") }
    };
    eventually(SOON, &format!("{wanted:?} are up"), found).with_context(|| director.process.log())
}

/// Waits until the log says something.
fn wait_for_words(director: &Director, words: &str) -> Result<()> {
    let says = || Ok(director.process.log().contains(words).then_some(()));
    eventually(SOON, words, says).with_context(|| director.process.log())
}

struct Dns {
    process: Process,
    hosts: std::path::PathBuf,
}

impl Dns {
    /// On the first real server.
    fn start(lab: &Lab) -> Result<Self> {
        let hosts = lab.directory().join("hosts");
        fs::write(&hosts, "")?;
        let arguments = [
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
            "--pid-file=",
            "--log-facility=-",
            "--local=/lab/",
            "--local-ttl=1",
            &format!("--addn-hosts={}", hosts.display()),
        ];
        let process = lab.spawn(&lab.reals[0], "dnsmasq", "dnsmasq", &arguments)?;
        Ok(Self { process, hosts })
    }

    fn set(&self, reals: &[u8]) -> Result<()> {
        let rows: String = reals.iter().map(|number| format!("{} web.lab\n", real_address(*number))).collect();
        fs::write(&self.hosts, rows)?;
        self.process.signal(Signal::SIGHUP)
    }
}

#[test]
fn a_names_addresses_are_followed_and_the_last_answer_outlives_the_name_server() -> Result<()> {
    let lab = Lab::up(Topology::flat(3))?;
    let _nginx = start_all(&lab)?;
    let mut dns = Dns::start(&lab)?;
    let resolver = real_address(1);
    let source = format!("{{ dns = \"web.lab\", port = 80, weight = 2, resolvers = [\"{resolver}\"] }}");
    let mut director = Director::start(&lab, &file(&source))?;
    wait_for_words(&director, "pool web has no real servers: dns web.lab gives no answer yet")?;
    dns.set(&[1, 2])?;
    let pool = wait_for(&director, &[1, 2])?;
    ensure!(pool["reals"][0]["file_weight"] == 2 && pool["discovery"]["reals"] == 2, "{pool}");
    ensure!(names(&lab)? == ["real1", "real2"]);

    dns.set(&[3, 2])?;
    wait_for(&director, &[2, 3])?;
    ensure!(names(&lab)? == ["real2", "real3"]);
    director.ask(&["drain", &format!("web/{}", real_address(2))])?;
    ensure!(names(&lab)? == ["real3"]);

    // Neither an empty answer nor none at all takes anybody out.
    dns.set(&[])?;
    wait_for_words(&director, "the 2 real servers of the last answer stay")?;
    ensure!(names(&lab)? == ["real3"]);
    dns.process.stop(Signal::SIGKILL)?;
    director.ask(&["undrain", &format!("web/{}", real_address(2))])?;
    wait_for(&director, &[2, 3])?;

    // And a start finds it again.
    director.process.stop(Signal::SIGTERM)?;
    director.start_again(&lab)?;
    wait_for_words(&director, "going on with 2 real servers, saved before this start")?;
    let pool = wait_for(&director, &[2, 3])?;
    ensure!(pool["discovery"]["answered_seconds"].is_null(), "{pool}");
    ensure!(names(&lab)? == ["real2", "real3"]);
    Ok(())
}

fn replace(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    Ok(fs::rename(new, path)?)
}

#[test]
fn a_list_is_watched_and_one_that_is_no_good_changes_nothing() -> Result<()> {
    let lab = Lab::up(Topology::flat(3))?;
    let _nginx = start_all(&lab)?;
    let path = lab.directory().join("web.reals");
    let line = |number: u8, rest: &str| format!("{} {rest}\n", real_address(number));
    fs::write(&path, line(1, "name=one weight=3") + &line(2, ""))?;
    let director = Director::start(&lab, &file(&format!("{{ file = {path:?} }}")))?;
    let pool = wait_for(&director, &[1, 2])?;
    ensure!(pool["reals"][0]["name"] == "one" && pool["reals"][0]["file_weight"] == 3, "{pool}");

    replace(&path, &(line(2, "# in the place of one") + &line(3, "")))?;
    wait_for(&director, &[2, 3])?;
    ensure!(names(&lab)? == ["real2", "real3"]);
    fs::write(&path, line(1, "") + &line(3, ""))?;
    wait_for(&director, &[1, 3])?;

    // From a list to the file's own and back: nobody is out for a moment, whatever comes first.
    let own = |number: u8| format!("[[pool.web.real]]\naddress = \"{}\"\n[[service]]", real_address(number));
    let listed = file(&format!("{{ file = {path:?} }}"));
    let static_file = listed.replace(&format!("reals = {{ file = {path:?} }}\n"), "").replace("[[service]]", &own(1));
    director.write(&lab, &static_file)?;
    director.ask(&["reload"])?;
    ensure!(names(&lab)? == ["real1"]);
    director.write(&lab, &listed.replace("web.reals", "not-there.reals"))?;
    director.ask(&["reload"])?;
    ensure!(names(&lab)? == ["real1"], "without an answer the real servers of before stay");
    director.write(&lab, &listed)?;
    director.ask(&["reload"])?;
    wait_for(&director, &[1, 3])?;

    replace(&path, &(line(2, "") + "db1.internal\n"))?;
    wait_for_words(&director, "line 2: \"db1.internal\" is no address of a host")?;
    wait_for(&director, &[1, 3])?;
    fs::remove_file(&path)?;
    wait_for_words(&director, "cannot read it")?;
    wait_for(&director, &[1, 3])?;
    replace(&path, &line(2, ""))?;
    let pool = wait_for(&director, &[2])?;
    ensure!(pool["discovery"]["trouble"].is_null(), "{pool}");
    ensure!(names(&lab)? == ["real2"]);
    Ok(())
}

#[test]
fn a_start_does_without_an_answer_that_a_running_daemon_would_refuse() -> Result<()> {
    let lab = Lab::up(Topology::flat(2))?;
    let _nginx = start_all(&lab)?;
    let path = lab.directory().join("web.reals");
    let list =
        |numbers: &[u8]| -> String { numbers.iter().map(|number| format!("{}\n", real_address(*number))).collect() };
    fs::write(&path, list(&[1, 2]))?;
    let text = file(&format!("{{ file = {path:?} }}")).replace("[limits]\n", "[limits]\nreals = 16\n");
    let mut director = Director::start(&lab, &text)?;
    wait_for(&director, &[1, 2])?;
    // Too many, and then the vip itself.
    for (bad, words) in [(list(&(1..=40).collect::<Vec<_>>()), "limits.reals"), (format!("{VIP}\n"), "is the vip")] {
        replace(&path, &bad)?;
        wait_for_words(&director, words)?;
        director.process.stop(Signal::SIGKILL)?;
        director.start_again(&lab)?;
        wait_for_words(&director, words)?;
        wait_for(&director, &[1, 2])?;
        ensure!(names(&lab)? == ["real1", "real2"]);
    }
    Ok(())
}
