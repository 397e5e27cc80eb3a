//! A new file, or another answer of a discovery: both are applied by the same diff, whole or not at all.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use tracing::{error, info, warn};

use super::discovery::effective;
use super::world::addresses;
use super::{Daemon, now, warn_all};
use crate::config::{Config, Parsed, changes};
use crate::control::FailureKind;
use crate::state::Summary;

/// What a reload has changed.
#[derive(Debug)]
pub(super) struct Reloaded {
    /// In the config, each in words.
    pub changes: Vec<String>,
    /// In the tables.
    pub summary: Summary,
}

/// Why all stays as it was.
#[derive(Debug)]
pub(super) struct Refusal {
    pub kind: FailureKind,
    pub message: String,
}

impl Daemon {
    /// A file that is no good, or asks for what a running daemon cannot change, is refused whole.
    pub(super) async fn reload(&mut self) -> Result<Reloaded, Refusal> {
        let outcome = self.try_reload().await;
        match &outcome {
            Ok(Reloaded { changes, summary }) => {
                changes.iter().for_each(|change| info!("reload: {change}"));
                info!("reloaded {}: {summary}", self.path.display());
            }
            Err(refusal) => error!("reload refused, all stays as it was: {}", refusal.message),
        }
        self.control.reload_refused = outcome.as_ref().err().map(|refusal| refusal.message.clone());
        outcome
    }

    async fn try_reload(&mut self) -> Result<Reloaded, Refusal> {
        let parsed = self.read_file().map_err(|error| refusal(FailureKind::Config, &error))?;
        let prepared = self.discovered.prepare(&parsed.config, &self.config).await;
        let config = effective(&parsed.config, &prepared.found);
        let changes = changes(&self.config, &config);
        match self.adopt(config).await {
            Ok(summary) => {
                warn_all(&parsed);
                self.discovered.adopt(parsed.config, prepared);
                self.save_answers();
                Ok(Reloaded { changes, summary })
            }
            Err(error) => {
                self.discovered.go_back();
                Err(refusal(FailureKind::Refused, &error))
            }
        }
    }

    fn read_file(&self) -> Result<Parsed> {
        let parsed = Config::load(&self.path)?;
        unchangeable(&self.config, &parsed.config)?;
        Ok(parsed)
    }

    /// Applies another config.
    pub(super) async fn adopt(&mut self, config: Config) -> Result<Summary> {
        let by_vip = [&self.config, &config].map(|config| !config.probe_marks().is_empty());
        if by_vip == [false, true] {
            self.attach_egress(true)?;
        }
        // Verdicts on their way belong to the checks of now. New real servers are found before they get any bucket, old
        // ones are watched until they have none.
        self.drain();
        let mut both = addresses(&self.config);
        let new: Vec<IpAddr> =
            addresses(&config).into_iter().filter(|address| both.binary_search(address).is_err()).collect();
        both.extend(&new);
        self.resolve(both, new).await;
        let mut world = self.world.clone();
        world.forget_all_but(&config);
        world.view.hash_seed = config.director.hash_seed.unwrap_or(world.view.hash_seed);
        let outcome = self.reconciler.reconcile(&config, &world.view, &mut self.kernel, now()?);
        if outcome.is_ok() {
            (self.config, self.world) = (config, world);
            self.drain_old_verdicts();
            self.start_checks();
            if by_vip == [true, false]
                && let Err(error) = self.attach_egress(false)
            {
                warn!("what probes by a vip needed is still there: {error:#}");
            }
            self.apply_peering();
            if let Err(error) = self.vrrp.configure(&self.config, &mut self.reconciler, &mut self.kernel) {
                error!("the virtual routers stay as they were: {error:#}");
            }
            self.vrrp.tell_pools(&self.config, &self.world.view);
            self.control.forget_all_but(&self.config);
            self.world.view.orders = self.control.view_orders();
        }
        self.commands.targets(addresses(&self.config));
        self.watch_doubted();
        Ok(outcome?)
    }

    /// Ends all checks that are about to change before their last words can be taken for those of their successors.
    fn drain_old_verdicts(&mut self) {
        self.engine.stop_changed(&self.config);
        while let Ok(event) = self.verdicts.try_recv() {
            self.handle_verdict(event);
        }
    }
}

fn refusal(kind: FailureKind, error: &anyhow::Error) -> Refusal {
    Refusal { kind, message: format!("{error:#}") }
}

/// What a reload cannot change, because packets and maps depend on it from the start.
fn unchangeable(now: &Config, new: &Config) -> Result<()> {
    let (a, b) = (&now.director, &new.director);
    ensure!(a.interfaces == b.interfaces, "director.interfaces cannot change while it runs; restart the daemon");
    ensure!(a.xdp_mode == b.xdp_mode, "director.xdp_mode cannot change while it runs; restart the daemon");
    ensure!(a.pin_dir == b.pin_dir, "director.pin_dir cannot change while it runs; restart the daemon");
    ensure!(a.state_dir == b.state_dir, "director.state_dir cannot change while it runs; restart the daemon");
    let (socket, other) = (&a.control_socket, &b.control_socket);
    ensure!(socket == other, "director.control_socket cannot change while it runs; restart the daemon");
    ensure!(now.limits == new.limits, "limits cannot change while it runs; restart the daemon");
    Ok(())
}
