//! What is configured: start, reload, sync groups, tracked things.

use std::io;
use std::sync::Arc;

use super::super::super::group::{Group, Wish};
use super::super::super::machine::{Parting, State};
use super::super::super::priority::Effective;
use super::super::router::Router;
use super::super::rtnl::Prepared;
use super::super::{Leased, Plan, VrrpEvent};
use super::{Worker, last_advert};
use crate::config::vrrp::SyncGroup;
use crate::dataplane::LeaseHandle;

/// All sync groups.
#[derive(Debug, Default)]
pub struct Groups(Vec<Synced>);

/// A sync group, with the names of its members in the group's order.
#[derive(Debug)]
struct Synced {
    name: Arc<str>,
    members: Vec<Arc<str>>,
    group: Group,
    /// Where all of them were at last.
    state: Option<State>,
}

impl Groups {
    fn new(groups: &[SyncGroup], routers: &[Leased]) -> Self {
        let synced = |group: &SyncGroup| {
            let members = group.members.iter().filter_map(|index| routers.get(*index));
            let members: Vec<Arc<str>> = members.map(|leased| leased.router.name.as_str().into()).collect();
            let mut of_all = Group::new(members.len());
            // As the machines are until they are attached; so there is nobody to be told.
            (0..members.len()).for_each(|member| _ = of_all.handle_fault(member));
            Synced { name: group.name.as_str().into(), members, group: of_all, state: None }
        };
        Self(groups.iter().map(synced).collect())
    }

    fn is_same(&self, other: &Self) -> bool {
        let same = |(a, b): (&Synced, &Synced)| a.name == b.name && a.members == b.members;
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
    }

    /// The group that a router is in, and its place there.
    fn of(&mut self, router: &str) -> Option<(&mut Synced, usize)> {
        self.0.iter_mut().find_map(|synced| {
            let member = synced.members.iter().position(|name| **name == *router)?;
            Some((synced, member))
        })
    }
}

impl Worker {
    /// The first plan: masters whose lease still runs go on; what else a predecessor left on the interfaces is taken away.
    pub(super) fn adopt(&mut self, plan: Plan) -> io::Result<()> {
        let now = self.now();
        self.groups = Groups::new(&plan.groups, &plan.routers);
        self.routers = plan.routers.into_iter().map(|leased| Router::new(leased, now.instant)).collect();
        self.routers.iter_mut().for_each(|router| router.may_resume = true);
        self.requests.clear_companions()?;
        self.look_around();
        for index in 0..self.routers.len() {
            self.resume(index);
        }
        self.clear_left_behind()?;
        self.clear_macvlans()
    }

    fn resume(&mut self, index: usize) {
        let now = self.now();
        let Some(router) = self.routers.get_mut(index) else { return };
        router.may_resume = false;
        let interval = router.spec.dialect.interval();
        let left = now.until(router.lease.until());
        let sent = left.and_then(|left| last_advert(left, interval, now.instant));
        if !sent.is_some_and(|sent| router.machine.handle_resume(sent, now.instant)) {
            router.lease.end();
        }
        self.settle(index);
    }

    fn clear_left_behind(&mut self) -> io::Result<()> {
        let addresses = self.requests.addresses()?;
        for address in addresses.into_iter().filter(|address| address.ours) {
            let is_held = self.routers.iter().any(|router| router.holds(address.net.addr()));
            if is_held {
                continue;
            }
            // If that fails, it went by itself, or with its interface.
            if self.requests.execute(&mut Prepared::remove(address.interface, address.net)).is_ok() {
                self.tell(VrrpEvent::Cleared(address.net));
            }
        }
        Ok(())
    }

    /// Another plan. Routers that are the same in both keep their state and their timers.
    pub(super) fn configure(&mut self, plan: Plan) {
        let groups = Groups::new(&plan.groups, &plan.routers);
        for index in 0..self.routers.len() {
            self.let_go_unless_planned(index, &plan);
        }
        self.hand_on_leases(&plan);
        let known = self.routers.len();
        for leased in plan.routers {
            self.configure_one(leased);
        }
        // New ones are attached before anybody judges whether they can work.
        self.look_around();
        if self.routers.len() > known || !self.groups.is_same(&groups) {
            self.regroup(groups);
        }
        if self.has_begun {
            self.begin();
        }
    }

    fn let_go_unless_planned(&mut self, index: usize, plan: &Plan) {
        let now = self.now().instant;
        let Some(router) = self.routers.get_mut(index) else { return };
        if !plan.routers.iter().any(|leased| router.is(&leased.router)) {
            router.is_retiring = true;
            // Who takes its vips on under another number has their lease too: there is nothing to overlap with.
            let is_replaced = |leased: &Leased| {
                leased.router.all_vips().any(|vip| router.all_vips().any(|own| own.addr() == vip.addr()))
            };
            let parting = if plan.routers.iter().any(is_replaced) { Parting::AtOnce } else { Parting::Overlap };
            router.machine.handle_shutdown(parting, now);
        }
        self.settle(index);
    }

    /// Leases that go from one router to another: all are read before one is written.
    fn hand_on_leases(&mut self, plan: &Plan) {
        let changed: Vec<(usize, LeaseHandle, u64)> = plan
            .routers
            .iter()
            .filter_map(|leased| {
                let index = self.routers.iter().position(|router| router.is(&leased.router))?;
                let former = &self.routers[index].lease;
                (!former.is(&leased.lease)).then(|| (index, leased.lease.clone(), former.until()))
            })
            .collect();
        changed.iter().for_each(|(index, ..)| self.routers[*index].lease.end());
        for (index, lease, until) in changed {
            lease.renew(until);
            self.routers[index].lease = lease;
        }
    }

    fn configure_one(&mut self, leased: Leased) {
        let now = self.now().instant;
        let Some(index) = self.routers.iter().position(|router| router.is(&leased.router)) else {
            return self.routers.push(Router::new(leased, now));
        };
        let router = &mut self.routers[index];
        // It may have been about to go.
        router.is_retiring = false;
        if router.spec != leased.router {
            let spec = leased.router;
            self.with_vips(index, |router, requests| router.configure(spec, requests, now));
        }
        self.settle(index);
    }

    /// Other sync groups: what is broken is told anew, then who is master.
    fn regroup(&mut self, groups: Groups) {
        self.groups = groups;
        for index in 0..self.routers.len() {
            if self.routers.get(index).is_some_and(|router| router.obstacle.is_none() && !router.is_retiring) {
                self.tell_fault(index, false);
            }
        }
        for index in 0..self.routers.len() {
            let now = self.now().instant;
            let Some(router) = self.routers.get_mut(index) else { return };
            if self.groups.of(&router.name).is_some_and(|(synced, _)| synced.group.is_faulty()) {
                router.machine.handle_fault(now);
                self.settle(index);
            }
        }
        for index in 0..self.routers.len() {
            let Some(state) = self.routers.get(index).map(|router| router.machine.state()) else { return };
            for other in self.follow(index, state) {
                self.settle(other);
            }
        }
    }

    /// Tells the others of a router's sync group what has become of it, and says who has been told something.
    pub(super) fn follow(&mut self, index: usize, state: State) -> Vec<usize> {
        // One that goes may have the name of the one that comes.
        let Some(router) = self.routers.get(index).filter(|router| !router.is_retiring) else { return Vec::new() };
        let Some((synced, member)) = self.groups.of(&router.name) else { return Vec::new() };
        let wishes = synced.group.handle_state(member, state);
        let members = synced.members.clone();
        self.note_group(&members);
        self.grant(&members, &wishes)
    }

    fn grant(&mut self, members: &[Arc<str>], wishes: &[(usize, Wish)]) -> Vec<usize> {
        let mut told = Vec::new();
        for (member, wish) in wishes {
            let now = self.now().instant;
            let Some(name) = members.get(*member) else { continue };
            if let Some(index) = self.routers.iter().position(|router| router.name == *name && !router.is_retiring) {
                wish.tell(&mut self.routers[index].machine, now);
                told.push(index);
            }
        }
        told
    }

    /// Once all members are in the same state.
    fn note_group(&mut self, members: &[Arc<str>]) {
        let states: Vec<State> = self
            .routers
            .iter()
            .filter(|router| members.contains(&router.name))
            .map(|router| router.machine.state())
            .collect();
        let Some(first) = states.first().copied() else { return };
        let all = states.iter().all(|state| *state == first);
        let Some((synced, _)) = members.first().and_then(|name| self.groups.of(name)) else { return };
        if all && synced.state != Some(first) {
            synced.state = Some(first);
            let group = Arc::clone(&synced.name);
            self.tell(VrrpEvent::GroupChanged { group, state: first });
        }
    }

    /// What a router depends on has changed.
    pub(super) fn handle_effective(&mut self, name: &str, effective: Effective) {
        let now = self.now().instant;
        let Some(index) = self.routers.iter().position(|router| *router.name == *name && !router.is_retiring) else {
            return;
        };
        let router = &mut self.routers[index];
        router.effective = effective;
        router.apply_effective(now);
        self.settle(index);
        self.judge(index);
    }

    /// Tells a router, and its sync group, that something that it depends on is broken, or nothing any more.
    pub(super) fn tell_fault(&mut self, index: usize, is_faulty: bool) {
        let Some(router) = self.routers.get(index) else { return };
        let told = match self.groups.of(&router.name).filter(|_| !router.is_retiring) {
            Some((synced, member)) => {
                let wishes =
                    if is_faulty { synced.group.handle_fault(member) } else { synced.group.handle_recovery(member) };
                let members = synced.members.clone();
                self.grant(&members, &wishes)
            }
            None => {
                let now = self.now().instant;
                let wish = if is_faulty { Wish::Fault } else { Wish::Recovery };
                wish.tell(&mut self.routers[index].machine, now);
                vec![index]
            }
        };
        for index in told {
            self.settle(index);
        }
    }

    pub(super) fn forget_retired(&mut self) {
        let now = self.now().instant;
        for router in self.routers.extract_if(.., |router| router.is_retiring && router.machine.deadline().is_none()) {
            let mut router = router;
            // Its vips are gone already; what is left is an interface for a virtual MAC.
            router.attach(None, &mut self.requests, now);
        }
        self.drop_unused();
    }
}
