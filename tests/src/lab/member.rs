//! One of the two directors of a pair: ours, keepalived or FRR.

use std::time::Duration;

use anyhow::{Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::{Director, Frr, INTERFACE, Keepalived, Namespace, Pair, Router, Seat, Side, eventually, output};

/// Who runs on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brand {
    /// xdirector.
    Ours,
    /// keepalived as it comes.
    Keepalived,
    /// FRR's vrrpd.
    Frr,
    /// keepalived with what its users find out later: real-time priority, an advert from who loses an election.
    Tuned,
}

impl Brand {
    /// For tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "xdirector",
            Self::Keepalived => "keepalived",
            Self::Frr => "FRR",
            Self::Tuned => "keepalived, tuned",
        }
    }
}

/// A running director of a pair.
#[derive(Debug)]
pub struct Member {
    /// Which of the two.
    pub side: Side,
    machine: Namespace,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Ours(Box<Director>),
    Keepalived(Keepalived),
    Frr(Frr),
}

impl Member {
    /// Runs one. `services` is what follows the virtual routers in our file; keepalived has none.
    ///
    /// # Errors
    /// If it does not get ready; quotes its log.
    pub fn start(pair: &Pair, side: Side, brand: Brand, routers: &[Router], services: &str) -> Result<Self> {
        let machine = pair.machine(side).clone();
        let running = match brand {
            Brand::Frr => Running::Frr(Frr::start(&pair.lab, &machine, side.port(), routers)?),
            Brand::Ours => {
                let virtual_routers: String = routers.iter().map(Router::ours).collect();
                let seat = Seat {
                    machine: machine.clone(),
                    name: side.port().into(),
                    interfaces: vec![INTERFACE],
                    peers: vec![side.other().address().into()],
                };
                Running::Ours(Director::start_on(&pair.lab, seat, &format!("{services}{virtual_routers}"))?.into())
            }
            Brand::Keepalived | Brand::Tuned => {
                let tuned = brand == Brand::Tuned;
                Running::Keepalived(Keepalived::start(&pair.lab, &machine, side.port(), routers, tuned)?)
            }
        };
        Ok(Self { side, machine, running })
    }

    /// Ours, where it is.
    pub fn director(&self) -> Option<&Director> {
        match &self.running {
            Running::Ours(director) => Some(director),
            Running::Keepalived(_) | Running::Frr(_) => None,
        }
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        match &self.running {
            Running::Ours(director) => director.process.log(),
            Running::Keepalived(keepalived) => keepalived.log(),
            Running::Frr(frr) => frr.log(),
        }
    }

    /// Ends it politely, and waits for that.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop(&mut self) -> Result<()> {
        match &mut self.running {
            Running::Ours(director) => director.process.stop(Signal::SIGTERM).map(drop),
            Running::Keepalived(keepalived) => {
                keepalived.ask_to_stop()?;
                keepalived.wait()
            }
            Running::Frr(frr) => frr.stop(Signal::SIGTERM),
        }
    }

    /// Kills all its processes: none of them can do anything more.
    ///
    /// # Errors
    /// If they are no more.
    pub fn kill(&mut self) -> Result<()> {
        match &mut self.running {
            Running::Ours(director) => director.process.stop(Signal::SIGKILL).map(drop),
            Running::Keepalived(keepalived) => keepalived.kill(),
            Running::Frr(frr) => frr.stop(Signal::SIGKILL),
        }
    }

    /// Has what speaks VRRP crash, and its supervisor start it again: systemd for ours (100 ms later), the parent for
    /// keepalived. Waits until it runs.
    ///
    /// # Errors
    /// If it does not come back.
    pub fn crash(&mut self, pair: &Pair) -> Result<()> {
        match &mut self.running {
            Running::Ours(director) => {
                director.process.stop(Signal::SIGKILL)?;
                // tidy: allow(sleep): systemd's RestartSec
                std::thread::sleep(Duration::from_millis(100));
                director.start_again(&pair.lab)
            }
            Running::Keepalived(keepalived) => {
                let before = keepalived.child()?;
                keepalived.kill_child()?;
                let another = || Ok(keepalived.child().ok().filter(|child| *child != before));
                // Its parent waits longer each time.
                eventually(Duration::from_secs(90), "keepalived has another child", another).map(drop)
            }
            Running::Frr(_) => bail!("FRR's supervisor is not in the lab"),
        }
    }

    /// Freezes all its processes.
    ///
    /// # Errors
    /// If they are no more.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// If they are no more.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match &self.running {
            Running::Ours(director) => director.process.signal(signal),
            Running::Keepalived(keepalived) => keepalived.signal_both(signal),
            Running::Frr(frr) => frr.signal_both(signal),
        }
    }

    /// Its processes.
    ///
    /// # Errors
    /// If one is no more.
    pub fn pids(&self) -> Result<Vec<Pid>> {
        match &self.running {
            Running::Ours(director) => Ok(vec![director.process.pid()]),
            Running::Keepalived(keepalived) => keepalived.pids(),
            Running::Frr(frr) => Ok(frr.pids()),
        }
    }

    /// Whether this address is on an interface of its machine.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn holds(&self, address: &str) -> Result<bool> {
        let shown = output(self.machine.command("ip").args(["-o", "address", "show"]))?;
        let Some((address, _)) = address.split_once('/') else { bail!("{address} has no prefix length") };
        Ok(shown.lines().any(|line| line.contains(&format!(" {address}/"))))
    }
}
