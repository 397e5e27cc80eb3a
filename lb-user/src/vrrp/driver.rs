//! What makes the machines run: one thread of its own, with its own sockets, that waits for nobody.
//!
//! Architecture invariant: the thread takes commands and sends events, and neither makes it wait; it logs nothing, and on the
//! way of an advert it allocates nothing. It is told of time by nobody but its own clock.

mod clock;
mod companions;
mod ether;
mod filter;
mod held;
mod macvlan;
mod port;
mod realtime;
mod router;
mod rtnl;
mod wire;
mod worker;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use ipnet::IpNet;
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{mpsc, oneshot};

use super::announce::Family;
use super::machine::{Anomaly, Counters, Reason, State};
use super::priority::Effective;
use crate::config::VirtualRouter;
use crate::config::vrrp::SyncGroup;
use crate::dataplane::LeaseHandle;

pub use realtime::Privileges;
use worker::Worker;

/// Events that the daemon has not yet looked at; more are lost, and counted.
const EVENTS: usize = 1024;

/// A virtual router, and the lease of its vips.
#[derive(Clone, Debug)]
pub struct Leased {
    /// As the file has it.
    pub router: VirtualRouter,
    /// Nobody else may renew it.
    pub lease: LeaseHandle,
}

/// All virtual routers of this machine.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// No two have the same name, nor the same interface, VRID and family.
    pub routers: Vec<Leased>,
    /// Members are indexes of the routers.
    pub groups: Vec<SyncGroup>,
}

/// What the thread is told.
#[derive(Debug)]
pub enum Command {
    /// Those that do not work yet begin to.
    Begin,
    /// What the things that a router depends on amount to, by its name. Told again after each change.
    Effective {
        /// Its name.
        router: String,
        /// What they amount to.
        effective: Effective,
    },
    /// Another plan. What has not changed in it is not touched.
    Configure(Box<Plan>),
    /// All hand over to others and then listen to nobody. [`VrrpEvent::Left`] follows.
    Leave,
    /// As [`Command::Leave`], without waiting for others.
    LeaveAtOnce,
    /// How all of them are.
    Status(oneshot::Sender<Vec<VrrpStatus>>),
}

/// What the thread says.
#[derive(Debug)]
pub enum VrrpEvent {
    /// What it could have of the system.
    Privileges(Privileges),
    /// A router's state is another one.
    Changed {
        /// Its name.
        router: Arc<str>,
        /// Before.
        from: State,
        /// Now.
        to: State,
        /// Why.
        reason: Reason,
        /// The priority in effect.
        priority: NonZeroU8,
    },
    /// All members of a sync group have come to the same state.
    GroupChanged {
        /// Its name.
        group: Arc<str>,
        /// Theirs.
        state: State,
    },
    /// Something odd was seen, for the first time.
    Odd {
        /// By this router.
        router: Arc<str>,
        /// What.
        anomaly: Anomaly,
    },
    /// It cannot work.
    Blocked {
        /// Which.
        router: Arc<str>,
        /// Why.
        obstacle: Obstacle,
    },
    /// It can.
    Unblocked {
        /// Which.
        router: Arc<str>,
    },
    /// Something happened to one of its addresses.
    Address {
        /// Whose.
        router: Arc<str>,
        /// Which.
        address: IpNet,
        /// What.
        fate: Fate,
    },
    /// An address of a dead predecessor was taken away.
    Cleared(IpNet),
    /// Adverts do not get out: the first one that failed.
    NotSent {
        /// Whose.
        router: Arc<str>,
        /// Why.
        error: io::Error,
    },
    /// So many events before this one found no room.
    Lost(u64),
    /// All have handed over; so many of them held their vips when that was asked of them.
    Left {
        /// So many.
        masters: usize,
    },
    /// The thread cannot see what it must see.
    Trouble {
        /// What it was doing.
        doing: &'static str,
        /// Why it could not.
        error: io::Error,
    },
}

/// What becomes of an address.
#[derive(Debug)]
pub enum Fate {
    /// It was there already, put there by somebody else: it stays, whoever is master.
    Foreign,
    /// Somebody took it away; it is there again.
    Restored,
    /// The kernel refuses to add it or to take it away.
    Refused(io::Error),
}

/// Why a router cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// There is no such interface.
    NoInterface,
    /// It is down, or has no carrier.
    Down,
    /// It has no address of the router's family that adverts could come from.
    NoSource,
    /// The configured source is not an address of this machine.
    NoSuchSource,
    /// Sockets, or the interface of the virtual MAC, could not be had.
    Sockets(i32),
    /// Something that it depends on, by its configuration, is broken.
    Tracked,
}

/// How a virtual router is.
#[derive(Clone, Debug)]
pub struct VrrpStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is.
    pub interface: String,
    /// `virtual_router_id`
    pub vrid: NonZeroU8,
    /// Of its vips.
    pub family: Family,
    /// Where it stands.
    pub state: State,
    /// For how long it has.
    pub since: Duration,
    /// As it is configured.
    pub configured_priority: NonZeroU8,
    /// As it is in effect.
    pub priority: NonZeroU8,
    /// Where its adverts come from; unspecified if it cannot work.
    pub source: IpAddr,
    /// The master: this machine's source if it is one itself, or who is heard.
    pub master: Option<IpAddr>,
    /// All of them.
    pub vips: Vec<IpNet>,
    /// For how long they may be answered for without another advert; `None`: they may not.
    pub lease: Option<Duration>,
    /// Why it cannot work, if so.
    pub obstacle: Option<Obstacle>,
    /// What happened so far.
    pub counters: Counters,
}

/// The running thread. When this is dropped, it releases all vips and ends.
#[derive(Debug)]
pub struct Driver {
    commander: Commander,
    thread: Option<JoinHandle<()>>,
}

/// Tells the thread something, from wherever.
#[derive(Clone, Debug)]
pub struct Commander {
    commands: std_mpsc::Sender<Message>,
    wake: Arc<EventFd>,
}

/// What is in the queue.
#[derive(Debug)]
enum Message {
    Command(Command),
    End,
}

impl Driver {
    /// Starts it, in the network namespace of the calling thread. Routers whose lease a predecessor left running go on as
    /// masters; the others wait for [`Command::Begin`], and vips that a predecessor left on the interfaces are gone when this
    /// returns.
    ///
    /// # Errors
    /// If there are no threads, clocks or netlink sockets to be had.
    pub fn start(plan: Plan) -> io::Result<(Self, mpsc::Receiver<VrrpEvent>)> {
        let (commands, queue) = std_mpsc::channel();
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let (events, receiver) = mpsc::channel(EVENTS);
        let (started, outcome) = std_mpsc::channel();
        let waking = Arc::clone(&wake);
        let thread = std::thread::Builder::new().name("vrrp".into()).spawn(move || {
            match Worker::new(plan, queue, waking, events) {
                Ok(mut worker) => {
                    // Nobody is there to be told if this fails, and then the queue is closed too.
                    _ = started.send(Ok(()));
                    worker.run();
                }
                Err(error) => _ = started.send(Err(error)),
            }
        })?;
        let gone = |_| io::Error::other("the thread has ended at once");
        outcome.recv().map_err(gone)??;
        Ok((Self { commander: Commander { commands, wake }, thread: Some(thread) }, receiver))
    }

    /// By which it is told something.
    pub const fn commander(&self) -> &Commander {
        &self.commander
    }

    /// How all routers are; empty if the thread has ended.
    pub async fn status(&self) -> Vec<VrrpStatus> {
        let (reply, answer) = oneshot::channel();
        self.commander.command(Command::Status(reply));
        answer.await.unwrap_or_default()
    }
}

impl Commander {
    /// Tells it, and never waits. Says whether the thread still runs.
    pub fn command(&self, command: Command) -> bool {
        self.tell(Message::Command(command))
    }

    fn tell(&self, message: Message) -> bool {
        let told = self.commands.send(message).is_ok();
        // It is full only when the thread has been woken already.
        _ = self.wake.write(1);
        told
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.commander.tell(Message::End);
        if let Some(thread) = self.thread.take() {
            // It has been told to end; a panic of its own has been printed.
            _ = thread.join();
        }
    }
}

/// An address of this family that is none.
const fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    }
}
