//! The thread: it waits for whatever comes first, lets all that has arrived be heard, then does what is due.
//!
//! Adverts first: a backup that runs late must hear what was said meanwhile before it claims anything. Every input is
//! followed by [`Worker::settle`], which carries out what the machine wants.

mod attach;
mod outputs;
mod plan;
mod retry;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::EventFd;
use nix::sys::time::TimeSpec;
use tokio::sync::mpsc;

use super::super::machine::{Anomaly, Parting};
use super::super::packet::{Envelope, decode};
use super::clock::{Clock, Now};
use super::port::Port;
use super::router::Router;
use super::rtnl::{Requests, Watch};
use super::wire::{Cast, Heard};
use super::{Command, Message, Plan, VrrpEvent, realtime};
use plan::Groups;
use retry::Retry;

/// Datagrams taken from one socket in a turn: a flood must not keep our own adverts from being sent.
const BATCH: usize = 256;
/// No frame of interest is longer.
const BUFFER: usize = 1 << 14;

/// All that the thread has.
pub struct Worker {
    clock: Clock,
    queue: std_mpsc::Receiver<Message>,
    wake: Arc<EventFd>,
    events: mpsc::Sender<VrrpEvent>,
    /// Events that found no room.
    lost: u64,
    epoll: Epoll,
    requests: Requests,
    watch: Watch,
    ports: Vec<Rc<Port>>,
    routers: Vec<Router>,
    groups: Groups,
    /// When what the kernel refused is tried again.
    retry: Retry,
    /// Interfaces that were kept from answering ARP for the vips of virtual MACs on them.
    quietened: BTreeSet<String>,
    /// Whether routers that come are to begin.
    has_begun: bool,
    /// How many were masters when all were asked to leave, until that is done.
    leaving: Option<usize>,
    buffer: Vec<u8>,
}

impl Worker {
    /// Opens what is needed, and takes over from a predecessor.
    pub fn new(
        plan: Plan,
        queue: std_mpsc::Receiver<Message>,
        wake: Arc<EventFd>,
        events: mpsc::Sender<VrrpEvent>,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        // First of all, or what changes before the first look would be missed.
        let watch = Watch::open()?;
        epoll.add(&watch, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        epoll.add(&*wake, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        let mut worker = Self {
            clock: Clock::new()?,
            queue,
            wake,
            events,
            lost: 0,
            epoll,
            requests: Requests::open()?,
            watch,
            ports: Vec::new(),
            routers: Vec::new(),
            groups: Groups::default(),
            retry: Retry::default(),
            quietened: BTreeSet::new(),
            has_begun: false,
            leaving: None,
            buffer: vec![0; BUFFER],
        };
        worker.tell(VrrpEvent::Privileges(realtime::take()));
        worker.adopt(plan)?;
        Ok(worker)
    }

    /// Works until it is told to end.
    pub fn run(&mut self) {
        loop {
            self.wait();
            self.hear_adverts();
            self.hear_claims();
            self.hear_kernel();
            if !self.hear_commands() {
                return;
            }
            self.work();
            self.retire();
        }
    }

    fn wait(&mut self) {
        let due = self.routers.iter().filter_map(|router| router.machine.deadline()).chain(self.retry.due()).min();
        let now = self.clock.now().instant;
        let timeout = due.map(|due| TimeSpec::from(due.saturating_duration_since(now)));
        let mut all = [PollFd::new(self.epoll.0.as_fd(), PollFlags::POLLIN)];
        // Interrupted is as good as nothing to do.
        if let Err(error) = ppoll(&mut all, timeout, None)
            && error != nix::Error::EINTR
        {
            self.trouble("waiting for adverts", error.into());
        }
    }

    fn hear_adverts(&mut self) {
        for place in 0..self.ports.len() {
            let Some(port) = self.ports.get(place).map(Rc::clone) else { return };
            self.hear_adverts_at(&port);
        }
    }

    fn hear_adverts_at(&mut self, port: &Rc<Port>) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..BATCH {
            match port.listener.receive(&mut buffer) {
                Ok(Heard::Message(envelope, message)) => {
                    if let Some(index) = self.take_message(port, &envelope, message) {
                        self.settle(index);
                    }
                }
                Ok(Heard::Noise) => {}
                // An interface that is down or gone is heard of by netlink.
                Ok(Heard::Nothing) | Err(_) => break,
            }
        }
        self.buffer = buffer;
    }

    /// Gives an advert to the router that it is for.
    fn take_message(&mut self, port: &Rc<Port>, envelope: &Envelope, message: &[u8]) -> Option<usize> {
        let vrid = *message.get(1)?;
        let now = self.clock.now().instant;
        let index = self.routers.iter().position(|router| router.spec.vrid.get() == vrid && is_at(router, port))?;
        let router = self.routers.get_mut(index)?;
        if port.cast == Cast::Peers && envelope.endpoints.destination() != router.machine.settings().source {
            // For another virtual router of this machine.
            return None;
        }
        match decode(message, envelope).map_err(|error| Anomaly::from(&error)) {
            Ok(advert) => match objection(router, envelope) {
                Some(anomaly) => router.machine.handle_refused(anomaly),
                None => router.machine.handle_advert(&advert, envelope.endpoints.source(), now),
            },
            Err(anomaly) => router.machine.handle_refused(anomaly),
        }
        Some(index)
    }

    fn hear_claims(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for place in 0..self.ports.len() {
            let Some(port) = self.ports.get(place).map(Rc::clone) else { break };
            for _ in 0..BATCH {
                let Some((mac, address)) = port.claim(&mut buffer) else { break };
                let claimed = |router: &Router| {
                    router.holds(address)
                        && router.attachment.as_ref().is_some_and(|at| Rc::ptr_eq(&at.port, &port) && at.mac != mac)
                };
                if let Some(index) = self.routers.iter().position(claimed) {
                    let now = self.clock.now().instant;
                    self.routers[index].machine.handle_claim(now);
                    self.settle(index);
                }
            }
        }
        self.buffer = buffer;
    }

    fn hear_kernel(&mut self) {
        let routers = &self.routers;
        let concerns =
            |index: u32, name: Option<&str>| routers.iter().any(|router| router.is_concerned_by(index, name));
        if self.watch.changed(concerns) {
            self.look_around();
        }
    }

    /// Says whether to go on.
    fn hear_commands(&mut self) -> bool {
        // Only to be woken again by what comes later.
        _ = self.wake.read();
        loop {
            match self.queue.try_recv() {
                Ok(Message::Command(command)) => self.handle_command(command),
                Err(std_mpsc::TryRecvError::Empty) => return true,
                Ok(Message::End) | Err(std_mpsc::TryRecvError::Disconnected) => {
                    self.shut_down(Parting::AtOnce);
                    self.routers.iter_mut().for_each(|router| router.is_retiring = true);
                    self.forget_retired();
                    return false;
                }
            }
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Begin => self.begin(),
            Command::Effective { router, effective } => self.handle_effective(&router, effective),
            Command::Configure(plan) => self.configure(*plan),
            Command::Leave => self.leave(Parting::Overlap),
            Command::LeaveAtOnce => self.leave(Parting::AtOnce),
            Command::Status(reply) => {
                let now = self.clock.now();
                // Whoever asked may have gone.
                _ = reply.send(self.routers.iter().map(|router| router.status(now)).collect());
            }
        }
    }

    fn begin(&mut self) {
        (self.has_begun, self.leaving) = (true, None);
        for index in 0..self.routers.len() {
            let now = self.clock.now().instant;
            if let Some(router) = self.routers.get_mut(index).filter(|router| !router.is_retiring) {
                router.machine.handle_start(now);
            }
            self.settle(index);
        }
    }

    fn leave(&mut self, parting: Parting) {
        use super::super::machine::State;
        let masters = self.routers.iter().filter(|router| router.machine.state() == State::Master).count();
        self.leaving = Some(self.leaving.unwrap_or(0).max(masters));
        self.has_begun = false;
        self.shut_down(parting);
    }

    fn shut_down(&mut self, parting: Parting) {
        for index in 0..self.routers.len() {
            let now = self.clock.now().instant;
            self.routers[index].machine.handle_shutdown(parting, now);
            self.settle(index);
        }
    }

    /// Does what is due.
    fn work(&mut self) {
        if self.retry.begin(self.clock.now().instant) {
            self.look_around();
        }
        for index in 0..self.routers.len() {
            let now = self.clock.now().instant;
            let Some(router) = self.routers.get_mut(index) else { break };
            if router.machine.deadline().is_some_and(|due| due <= now) {
                router.machine.handle_timeout(now);
                self.settle(index);
            }
        }
    }

    /// Lets those go that have handed over.
    fn retire(&mut self) {
        if self.routers.iter().any(|router| router.is_retiring && router.machine.deadline().is_none()) {
            self.forget_retired();
        }
        if let Some(masters) = self.leaving
            && self.routers.iter().all(|router| router.machine.deadline().is_none())
        {
            self.leaving = None;
            self.tell(VrrpEvent::Left { masters });
        }
    }

    /// Never waits.
    fn tell(&mut self, event: VrrpEvent) {
        if self.lost > 0 && self.events.try_send(VrrpEvent::Lost(self.lost)).is_ok() {
            self.lost = 0;
        }
        self.lost += u64::from(self.events.try_send(event).is_err());
    }

    fn trouble(&mut self, doing: &'static str, error: io::Error) {
        self.tell(VrrpEvent::Trouble { doing, error });
    }

    fn now(&mut self) -> Now {
        self.clock.now()
    }
}

fn is_at(router: &Router, port: &Rc<Port>) -> bool {
    router.attachment.as_ref().is_some_and(|attachment| Rc::ptr_eq(&attachment.port, port))
}

/// What is wrong with where an advert came from, or where it went to.
fn objection(router: &Router, envelope: &Envelope) -> Option<Anomaly> {
    let (peers, to_group) = (&router.spec.unicast_peers, envelope.endpoints.destination().is_multicast());
    if peers.is_empty() != to_group {
        return Some(Anomaly::WrongCast);
    }
    (!to_group && !peers.contains(&envelope.endpoints.source())).then_some(Anomaly::UnknownPeer)
}

/// How long a predecessor's last advert is ago, by what is left of its lease.
fn last_advert(left: Duration, interval: Duration, now: Instant) -> Option<Instant> {
    use super::super::machine::timing::ADVERTS_MISSED;
    (interval * ADVERTS_MISSED).checked_sub(left).and_then(|ago| now.checked_sub(ago))
}
