//! Health checks, each type against the program it is made for.
//!
//! The probes are the library's, run where the director is; what is not there (a server that hangs, or talks nonsense) is
//! played by the test.

mod dns;
mod http;
mod mysql;
mod packets;
mod redis;
mod replication;
mod script;
mod served;
mod stub;
mod via_vip;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lb_user::config::{Check, Config};
use lb_user::health::{Answer, Target, probe};
use tests::lab::{Lab, Topology, eventually, real_address};

/// How long what a real program does at once may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// A lab whose real servers are asked.
struct Ward {
    lab: Lab,
}

impl Ward {
    fn new(reals: u8) -> Result<Self> {
        Ok(Self { lab: Lab::up(Topology::flat(reals))? })
    }

    /// Asks the first real server, with what is between the braces of `check = { … }`.
    fn ask(&self, check: &str) -> Result<Result<Answer, String>> {
        self.ask_at(real_address(1), check)
    }

    fn ask_at(&self, address: impl Into<IpAddr>, written: &str) -> Result<Result<Answer, String>> {
        let (check, address) = (check(written)?, address.into());
        self.lab.director.enter(|| ask_from_here(&check, address, check.timeout + SOON))
    }

    /// It must be up at once.
    fn is_up(&self, check: &str) -> Result<()> {
        let outcome = self.ask(check)?;
        ensure!(outcome == Ok(Answer::default()), "{check}: {outcome:?}");
        Ok(())
    }

    /// It must be down at once, and say this.
    fn is_down(&self, check: &str, words: &str) -> Result<()> {
        let outcome = self.ask(check)?;
        let said = outcome.as_ref().is_err_and(|failure| failure.contains(words));
        ensure!(said, "{check}\n says:     {outcome:?}\n expected: {words}");
        Ok(())
    }

    /// It must come up before long.
    fn comes_up(&self, address: impl Into<IpAddr>, check: &str) -> Result<()> {
        self.becomes(address, check, None)
    }

    /// It must go down before long, and say this in the end.
    fn goes_down(&self, address: impl Into<IpAddr>, check: &str, words: &str) -> Result<()> {
        self.becomes(address, check, Some(words))
    }

    fn becomes(&self, address: impl Into<IpAddr>, check: &str, words: Option<&str>) -> Result<()> {
        let address = address.into();
        eventually(SOON, &format!("{check} of {address}"), || match (self.ask_at(address, check)?, words) {
            (Ok(_), None) => Ok(Some(())),
            (Err(failure), Some(words)) if failure.contains(words) => Ok(Some(())),
            (outcome, _) => bail!("expected {words:?}, and it says {outcome:?}"),
        })
    }
}

/// From the calling thread's machine. With more patience than the check has, nothing is different; with less, the probe is
/// given up as by a reload.
fn ask_from_here(check: &Check, address: IpAddr, patience: Duration) -> Result<Result<Answer, String>> {
    let address = SocketAddr::new(address, check.port);
    let target = Target { pool: "pool", real: "real1", vip: check.vip, ..Target::from(address) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = async { tokio::time::timeout(patience, probe(&check.kind, target, check.timeout)).await };
    match runtime.block_on(asked) {
        Ok(outcome) => Ok(outcome.map_err(|failure| failure.to_string())),
        Err(_) => Ok(Err("given up".into())),
    }
}

/// Through a whole file, as the daemon has it.
fn check(written: &str) -> Result<Check> {
    let patience = if written.contains("timeout = ") { "" } else { "timeout = \"2s\", " };
    let file = format!(
        "[director]\ninterfaces = [\"eth0\"]\n[pool.p]\ncheck = {{ {patience}{written} }}\n[[pool.p.real]]\n\
         address = \"{}\"\n[[service]]\nvip = \"10.66.0.100\"\nport = 80\nprotocol = \"tcp\"\npool = \"p\"\n",
        real_address(1)
    );
    let config = Config::parse("test.toml", &file)?.config;
    config.pools.into_iter().next().and_then(|pool| pool.check).context("the pool has no check")
}
