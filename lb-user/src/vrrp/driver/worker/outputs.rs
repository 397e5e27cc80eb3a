//! Carrying out what machines want.

use std::sync::Arc;

use ipnet::IpNet;

use super::super::super::machine::{Output, Reason, State};
use super::super::{Fate, VrrpEvent};
use super::Worker;

impl Worker {
    /// Carries out all that a router wants, and what follows from it for others of its sync group.
    pub(super) fn settle(&mut self, index: usize) {
        let mut pending = vec![];
        let mut next = Some(index);
        while let Some(index) = next {
            if let Some(state) = self.carry_out(index) {
                pending.extend(self.follow(index, state));
            }
            next = pending.pop();
        }
    }

    /// Says where the router stands now, if that has changed.
    fn carry_out(&mut self, index: usize) -> Option<State> {
        // The kernel must not answer for vips a moment longer than the machine would.
        let router = self.routers.get_mut(index)?;
        if router.machine.leads_until().is_none() && !router.may_resume && router.lease.until() != 0 {
            router.lease.end();
        }
        let mut changed = None;
        while let Some(output) = self.routers.get_mut(index).and_then(|router| router.machine.poll_output()) {
            match output {
                Output::SendAdvert { priority } => self.send(index, priority),
                Output::TakeAddresses => self.with_vips(index, |router, requests| router.take(requests)),
                Output::ReleaseAddresses => self.with_vips(index, |router, requests| router.release(requests)),
                Output::Announce { frames } => self.announce(index, frames),
                Output::StateChanged { from, to, reason } => {
                    self.note_change(index, from, to, reason);
                    changed = Some(to);
                }
                Output::Anomaly(anomaly) => {
                    if let Some(router) = self.routers.get(index).map(|router| Arc::clone(&router.name)) {
                        self.tell(VrrpEvent::Odd { router, anomaly });
                    }
                }
            }
        }
        changed
    }

    /// An advert that got out renews the lease; one that did not must not, for nobody has heard it.
    fn send(&mut self, index: usize, priority: u8) {
        let now = self.now();
        let Some(router) = self.routers.get_mut(index) else { return };
        if router.machine.has_overslept(now.instant) {
            return;
        }
        match router.send(priority) {
            Ok(()) => {
                if let Some(until) = router.machine.leads_until() {
                    router.lease.renew(now.to_monotonic(until));
                }
                router.is_heard = true;
            }
            Err(error) => {
                let (name, was_heard) = (Arc::clone(&router.name), std::mem::replace(&mut router.is_heard, false));
                if was_heard {
                    self.tell(VrrpEvent::NotSent { router: name, error });
                }
            }
        }
    }

    /// What is lost here is sent again soon.
    fn announce(&mut self, index: usize, frames: u8) {
        let now = self.now();
        let Some(router) = self.routers.get(index) else { return };
        if router.machine.has_overslept(now.instant) {
            return;
        }
        if let Err(error) = router.announce(frames) {
            self.trouble("announcing vips", error);
        }
    }

    pub(super) fn with_vips(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut super::Router, &mut super::Requests) -> Vec<(IpNet, Fate)>,
    ) {
        let Some(router) = self.routers.get_mut(index) else { return };
        let (name, fates) = (Arc::clone(&router.name), act(router, &mut self.requests));
        for (address, fate) in fates {
            if matches!(fate, Fate::Refused(_)) {
                self.retry.note_failure(self.clock.now().instant);
            }
            self.tell(VrrpEvent::Address { router: Arc::clone(&name), address, fate });
        }
    }

    fn note_change(&mut self, index: usize, from: State, to: State, reason: Reason) {
        let now = self.now().instant;
        let Some(router) = self.routers.get_mut(index) else { return };
        router.since = now;
        let (router, priority) = (Arc::clone(&router.name), router.machine.priority());
        self.tell(VrrpEvent::Changed { router, from, to, reason, priority });
    }
}
