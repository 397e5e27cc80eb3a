//! Groups of machines.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::machines::*;
use crate::vrrp::group::{Group, Wish};
use crate::vrrp::machine::{Follow, Machine, Output, Parting, State};

/// Machines that are in one group, and their caller.
struct Together {
    machines: Vec<Machine>,
    group: Group,
    now: Instant,
}

impl Together {
    fn started(count: usize) -> Self {
        let machines = (0..count).map(|_| Machine::new(settings())).collect();
        let mut together = Self { machines, group: Group::new(count), now: millis(0) };
        (0..count).for_each(|index| together.tell(index, Machine::handle_start));
        together
    }

    fn tell(&mut self, index: usize, input: impl FnOnce(&mut Machine, Instant)) {
        input(&mut self.machines[index], self.now);
        let wishes = self.news_of(index);
        self.grant(wishes);
    }

    fn grant(&mut self, wishes: Vec<(usize, Wish)>) {
        let mut wishes = VecDeque::from(wishes);
        let mut granted = 0;
        while let Some((index, wish)) = wishes.pop_front() {
            wish.tell(&mut self.machines[index], self.now);
            wishes.extend(self.news_of(index));
            granted += 1;
            assert!(granted < 50, "it goes round in circles");
        }
    }

    fn news_of(&mut self, index: usize) -> Vec<(usize, Wish)> {
        let mut wishes = vec![];
        for output in outputs(&mut self.machines[index]) {
            if let Output::StateChanged { to, .. } = output {
                wishes.extend(self.group.handle_state(index, to));
            }
        }
        wishes
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((due, index)) =
            self.machines.iter().enumerate().filter_map(|(index, machine)| Some((machine.deadline()?, index))).min()
            && due <= end
        {
            self.now = self.now.max(due);
            self.tell(index, Machine::handle_timeout);
        }
        self.now = end;
    }

    fn states(&self) -> Vec<State> {
        self.machines.iter().map(Machine::state).collect()
    }
}

#[test]
fn all_become_master_with_the_first_and_give_way_with_the_first() {
    let mut together = Together::started(3);
    together.tell(1, |machine, now| machine.handle_priority(std::num::NonZeroU8::new(200).unwrap(), now));
    together.run(Duration::from_millis(3400));
    assert_eq!(together.states(), [State::Master; 3], "the first deadline is that of the highest priority");
    together.tell(2, |machine, now| hear(machine, 150, LOW, now));
    assert_eq!(together.states(), [State::Backup; 3]);
}

#[test]
fn one_that_starts_later_joins_the_masters() {
    let mut together = Together::started(2);
    together.tell(1, |machine, now| machine.handle_shutdown(Parting::AtOnce, now));
    together.run(5 * SECOND);
    assert_eq!(together.states(), [State::Master, State::Init]);
    together.tell(1, Machine::handle_start);
    assert_eq!(together.states(), [State::Master; 2]);
}

#[test]
fn the_fault_of_one_is_the_fault_of_all_until_none_is_left() {
    let mut together = Together::started(2);
    together.run(5 * SECOND);
    let wishes = together.group.handle_fault(0);
    together.grant(wishes);
    assert_eq!(together.states(), [State::Fault; 2]);
    assert_eq!(together.group.handle_fault(1), []);
    assert_eq!(together.group.handle_recovery(0), []);
    let wishes = together.group.handle_recovery(1);
    together.grant(wishes);
    assert_eq!(together.states(), [State::Backup; 2]);
}

#[test]
fn a_stranger_changes_nothing() {
    let mut group = Group::new(1);
    assert_eq!(group.handle_state(7, State::Master), []);
    assert_eq!(group.handle_fault(7), []);
    assert!(!group.is_faulty());
}

proptest! {
    /// After whatever any of them is told, the group is of one mind.
    #[test]
    fn members_never_differ(
        steps in prop::collection::vec((0usize..3, 0u8..8, 0u64..5000), 1..60),
    ) {
        let mut together = Together::started(3);
        for (index, step, time) in steps {
            match step {
                0 => together.tell(index, |machine, now| hear(machine, 200, HIGH, now)),
                1 => together.tell(index, |machine, now| hear(machine, 0, HIGH, now)),
                2 => together.tell(index, |machine, now| hear(machine, 50, LOW, now)),
                3 => { let wishes = together.group.handle_fault(index); together.grant(wishes); }
                4 => { let wishes = together.group.handle_recovery(index); together.grant(wishes); }
                5 => together.tell(index, |machine, now| machine.handle_group(Follow::Backup, now)),
                _ => together.run(Duration::from_millis(time)),
            }
            let states = together.states();
            prop_assert!(states.iter().all(|state| *state == states[0]), "{:?}", states);
        }
    }
}
