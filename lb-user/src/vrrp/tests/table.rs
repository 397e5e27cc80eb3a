//! Every input in every state: the state after it, and what is to be done.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use super::machines::*;
use crate::vrrp::machine::Output::{Announce, ReleaseAddresses, SendAdvert, TakeAddresses};
use crate::vrrp::machine::State::{Backup, Fault, Init, Master};
use crate::vrrp::machine::{Anomaly, Follow, Machine, Output, Parting, Reason, State};

/// Priority 100 in each of them; the master's address is lower than ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    New,
    /// Was master, and holds the vips until somebody else does.
    Parting,
    NewAndBroken,
    Listening,
    Leading,
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Start,
    Stop,
    Overlap,
    Hear(u8, IpAddr),
    Nothing,
    Deadline,
    Frozen,
    Priority(u8),
    Break,
    Repair,
    Claim,
    Group(Follow),
    Refused,
}

const GIVEN: [Given; 6] =
    [Given::New, Given::Parting, Given::NewAndBroken, Given::Listening, Given::Leading, Given::Broken];

const INPUTS: [Input; 20] = [
    Input::Start,
    Input::Stop,
    Input::Overlap,
    Input::Hear(0, LOW),
    Input::Hear(99, LOW),
    Input::Hear(100, LOW),
    Input::Hear(100, HIGH),
    Input::Hear(101, LOW),
    Input::Hear(255, HIGH),
    Input::Nothing,
    Input::Deadline,
    Input::Frozen,
    Input::Priority(100),
    Input::Priority(50),
    Input::Priority(255),
    Input::Break,
    Input::Repair,
    Input::Claim,
    Input::Group(Follow::Master),
    Input::Group(Follow::Backup),
];

impl Given {
    /// The machine, and a moment at which nothing is due.
    fn machine(self) -> (Machine, Instant) {
        let (mut machine, became) = master(settings());
        let now = became + Duration::from_millis(20);
        match self {
            Self::New => machine = Machine::new(settings()),
            Self::Parting => machine.handle_shutdown(Parting::Overlap, now),
            Self::NewAndBroken => {
                machine = Machine::new(settings());
                machine.handle_fault(now);
            }
            Self::Listening => {
                machine = backup(settings());
                hear(&mut machine, 100, LOW, now);
            }
            Self::Leading => {}
            Self::Broken => machine.handle_fault(now),
        }
        outputs(&mut machine);
        (machine, now)
    }
}

impl Input {
    fn apply(self, machine: &mut Machine, now: Instant) {
        match self {
            Self::Start => machine.handle_start(now),
            Self::Stop => machine.handle_shutdown(Parting::AtOnce, now),
            Self::Overlap => machine.handle_shutdown(Parting::Overlap, now),
            Self::Hear(priority, source) => hear(machine, priority, source, now),
            Self::Nothing => machine.handle_timeout(now),
            Self::Deadline => machine.handle_timeout(machine.deadline().unwrap_or(now)),
            Self::Frozen => machine.handle_timeout(now + 10 * SECOND),
            Self::Priority(priority) => machine.handle_priority(NonZeroU8::new(priority).unwrap(), now),
            Self::Break => machine.handle_fault(now),
            Self::Repair => machine.handle_recovery(now),
            Self::Claim => machine.handle_claim(now),
            Self::Group(follow) => machine.handle_group(follow, now),
            Self::Refused => machine.handle_refused(Anomaly::Ttl),
        }
    }
}

fn changed(from: State, to: State, reason: Reason) -> Output {
    Output::StateChanged { from, to, reason }
}

/// The state after an input, and its outputs.
fn expected(given: Given, input: Input) -> (State, Vec<Output>) {
    use Given::*;
    use Input::*;
    let odd = Output::Anomaly;
    let own = SendAdvert { priority: 100 };
    let leaving = SendAdvert { priority: 0 };
    let announce = Announce { frames: 1 };
    let stopped = |from| (Init, vec![changed(from, Init, Reason::Stopped)]);
    let takes_over = |reason| (Master, vec![own, TakeAddresses, announce, changed(Backup, Master, reason)]);
    let gives_way = |reason| (Backup, vec![ReleaseAddresses, own, changed(Master, Backup, reason)]);
    match (given, input) {
        (_, Refused) => (given.machine().0.state(), vec![odd(Anomaly::Ttl)]),

        (New, Start) => (Backup, vec![changed(Init, Backup, Reason::Started)]),
        (NewAndBroken, Start) => (Fault, vec![changed(Init, Fault, Reason::Fault)]),
        (Parting, Start) => (Backup, vec![ReleaseAddresses, changed(Init, Backup, Reason::Started)]),
        // Whoever is heard has taken over; one that leaves has not.
        (Parting, Hear(1.., _) | Stop | Deadline | Frozen | Break) => (Init, vec![ReleaseAddresses]),
        (New | NewAndBroken | Parting, _) => (Init, vec![]),

        (Listening, Stop | Overlap) => stopped(Backup),
        (Listening, Deadline) => takes_over(Reason::MasterDown),
        (Listening, Frozen) => (Backup, vec![odd(Anomaly::LateWake)]),
        (Listening, Break) => (Fault, vec![changed(Backup, Fault, Reason::Fault)]),
        (Listening, Group(Follow::Master)) => takes_over(Reason::Group),
        (Listening, _) => (Backup, vec![]),

        (Leading, Stop) => (Init, vec![leaving, ReleaseAddresses, changed(Master, Init, Reason::Stopped)]),
        (Leading, Overlap) => (Init, vec![leaving, changed(Master, Init, Reason::Stopped)]),
        (Leading, Hear(0, _)) => (Master, vec![own, announce]),
        // Somebody contradicts us right after we took over: that is not odd yet.
        (Leading, Hear(99, _) | Hear(100, LOW)) => (Master, vec![own, announce]),
        (Leading, Claim) => (Master, vec![own, announce]),
        (Leading, Hear(100, source)) => gives_way(Reason::HigherAddress(source)),
        (Leading, Hear(priority, source)) => gives_way(Reason::HigherPriority(priority, source)),
        // The first repetition of the announcement comes before the next advert.
        (Leading, Deadline) => (Master, vec![announce]),
        (Leading, Frozen) => {
            (Backup, vec![odd(Anomaly::LateWake), ReleaseAddresses, changed(Master, Backup, Reason::LateWake)])
        }
        (Leading, Priority(100)) => (Master, vec![]),
        (Leading, Priority(priority)) => (Master, vec![SendAdvert { priority }]),
        (Leading, Break) => (Fault, vec![leaving, ReleaseAddresses, changed(Master, Fault, Reason::Fault)]),
        (Leading, Group(Follow::Backup)) => {
            (Backup, vec![leaving, ReleaseAddresses, changed(Master, Backup, Reason::Group)])
        }
        (Leading, _) => (Master, vec![]),

        (Broken, Stop | Overlap) => stopped(Fault),
        (Broken, Repair) => (Backup, vec![changed(Fault, Backup, Reason::Recovered)]),
        (Broken, _) => (Fault, vec![]),
    }
}

#[test]
fn every_input_in_every_state_does_what_the_table_says() {
    for given in GIVEN {
        for input in INPUTS.into_iter().chain([Input::Refused]) {
            let (mut machine, now) = given.machine();
            input.apply(&mut machine, now);
            let (state, done) = expected(given, input);
            assert_eq!(outputs(&mut machine), done, "{given:?} {input:?}");
            assert_eq!(machine.state(), state, "{given:?} {input:?}");
        }
    }
}

#[test]
fn after_it_was_stopped_only_a_start_makes_it_speak() {
    for given in GIVEN {
        for input in INPUTS.into_iter().filter(|input| *input != Input::Start) {
            let (mut machine, now) = given.machine();
            machine.handle_shutdown(Parting::AtOnce, now);
            outputs(&mut machine);
            input.apply(&mut machine, now);
            assert_eq!((machine.state(), outputs(&mut machine)), (Init, vec![]), "{given:?} {input:?}");
            assert_eq!(machine.deadline(), None);
        }
    }
}
