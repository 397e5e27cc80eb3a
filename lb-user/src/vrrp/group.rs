//! Virtual routers of one machine that stand or fall together: a sync group.
//!
//! All are master, or none is; the fault of one is the fault of all. The group is told what happens to its members and says
//! what to tell which of them. Priorities of the members should be the same on each machine, or two of them pull the group
//! in two directions.

use super::machine::{Follow, Machine, State};
use std::time::Instant;

/// What the members of a group have come to.
#[derive(Clone, Debug)]
pub struct Group {
    members: Vec<Member>,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    state: State,
    is_faulty: bool,
}

/// Something to tell a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// For [`Machine::handle_group`].
    Follow(Follow),
    /// For [`Machine::handle_fault`].
    Fault,
    /// For [`Machine::handle_recovery`].
    Recovery,
}

impl Wish {
    /// Tells it.
    pub fn tell(self, machine: &mut Machine, now: Instant) {
        match self {
            Self::Follow(follow) => machine.handle_group(follow, now),
            Self::Fault => machine.handle_fault(now),
            Self::Recovery => machine.handle_recovery(now),
        }
    }
}

impl Group {
    /// So many members, none started. They are called by their index.
    pub fn new(members: usize) -> Self {
        Self { members: vec![Member { state: State::Init, is_faulty: false }; members] }
    }

    /// A member's state is another one now.
    pub fn handle_state(&mut self, member: usize, state: State) -> Vec<(usize, Wish)> {
        let Some(known) = self.members.get_mut(member) else { return Vec::new() };
        let former = std::mem::replace(&mut known.state, state);
        match (former, state) {
            (_, State::Master) => self.wish(member, State::Backup, Wish::Follow(Follow::Master)),
            (State::Master, State::Backup) => self.wish(member, State::Master, Wish::Follow(Follow::Backup)),
            // It comes later than the others, who are masters already.
            (_, State::Backup) if self.members.iter().any(|other| other.state == State::Master) => {
                vec![(member, Wish::Follow(Follow::Master))]
            }
            _ => Vec::new(),
        }
    }

    /// Something that a member depends on is broken. Unless another member's is too, all are told.
    pub fn handle_fault(&mut self, member: usize) -> Vec<(usize, Wish)> {
        let was_faulty = self.is_faulty();
        self.members.iter_mut().skip(member).take(1).for_each(|known| known.is_faulty = true);
        if !was_faulty && self.is_faulty() { self.wish_all(Wish::Fault) } else { Vec::new() }
    }

    /// Nothing that a member depends on is broken any more. If that goes for all of them, all are told.
    pub fn handle_recovery(&mut self, member: usize) -> Vec<(usize, Wish)> {
        let was_faulty = self.is_faulty();
        self.members.iter_mut().skip(member).take(1).for_each(|known| known.is_faulty = false);
        if was_faulty && !self.is_faulty() { self.wish_all(Wish::Recovery) } else { Vec::new() }
    }

    /// Whether anything that any of them depends on is broken.
    pub fn is_faulty(&self) -> bool {
        self.members.iter().any(|member| member.is_faulty)
    }

    /// The same for all others in this state.
    fn wish(&self, except: usize, state: State, wish: Wish) -> Vec<(usize, Wish)> {
        let others = self.members.iter().enumerate().filter(|(index, _)| *index != except);
        others.filter(|(_, member)| member.state == state).map(|(index, _)| (index, wish)).collect()
    }

    fn wish_all(&self, wish: Wish) -> Vec<(usize, Wish)> {
        (0..self.members.len()).map(|index| (index, wish)).collect()
    }
}
