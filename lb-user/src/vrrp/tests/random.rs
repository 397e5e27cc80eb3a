//! Random sequences of inputs, and what must hold whatever they are.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::machines::*;
use super::network::{Network, Weather};
use crate::vrrp::machine::*;
use crate::vrrp::packet::{Centiseconds, Coverage, Dialect};

fn settings_of(dialect: Dialect, preemption: Preemption, priority: u8) -> Settings {
    let announcements = Announcements { refresh: Some(5 * SECOND), ..Announcements::default() };
    let priority = NonZeroU8::new(priority).unwrap();
    Settings { dialect, preemption, priority, announcements, ..settings() }
}

fn dialects() -> impl Strategy<Value = Dialect> {
    let v3 = |number| Dialect::V3 { interval: Centiseconds::new(number).unwrap(), coverage: Coverage::default() };
    prop_oneof![Just(v2(b"secret")), Just(v3(100)), Just(v3(10))]
}

fn preemptions() -> impl Strategy<Value = Preemption> {
    let after = (0u64..3, prop_oneof![Just(Pace::MasterDown), Just(Pace::Skew)]);
    let after = after.prop_map(|(delay, pace)| Preemption::After { delay: Duration::from_secs(delay), pace });
    prop_oneof![1 => Just(Preemption::Never), 3 => after]
}

fn priorities() -> impl Strategy<Value = u8> {
    prop_oneof![8 => 1u8..=254, 1 => Just(255), 4 => Just(100)]
}

/// What may happen to one machine.
#[derive(Clone, Debug)]
enum Step {
    /// So many milliseconds pass, and it is woken as it wants to be.
    Run(u64),
    /// So many milliseconds pass, and it is woken late.
    Sleep(u64),
    Hear(u8, IpAddr),
    Priority(u8),
    Break,
    Repair,
    Claim,
    Group(Follow),
    Start,
    Stop(Parting),
}

fn sources() -> impl Strategy<Value = IpAddr> {
    prop_oneof![Just(LOW), Just(HIGH), Just(OWN)]
}

fn steps() -> impl Strategy<Value = Step> {
    let priority = prop_oneof![priorities(), Just(0)];
    prop_oneof![
        8 => (0u64..8000).prop_map(Step::Run),
        2 => (0u64..8000).prop_map(Step::Sleep),
        8 => (priority, sources()).prop_map(|(priority, source)| Step::Hear(priority, source)),
        2 => priorities().prop_map(Step::Priority),
        1 => Just(Step::Break),
        2 => Just(Step::Repair),
        1 => Just(Step::Claim),
        1 => Just(Step::Group(Follow::Master)),
        1 => Just(Step::Group(Follow::Backup)),
        3 => Just(Step::Start),
        1 => Just(Step::Stop(Parting::AtOnce)),
        1 => Just(Step::Stop(Parting::Overlap)),
    ]
}

/// A machine, and what its outputs amount to.
struct Watched {
    machine: Machine,
    now: Instant,
    holds: bool,
    state: State,
    sent: Option<Instant>,
}

impl Watched {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Run(time) => self.run(Duration::from_millis(*time)),
            Step::Sleep(time) => {
                self.now += Duration::from_millis(*time);
                self.tell(Machine::handle_timeout);
            }
            Step::Hear(priority, source) => self.tell(|machine, now| hear(machine, *priority, *source, now)),
            Step::Priority(priority) => {
                self.tell(|machine, now| machine.handle_priority(NonZeroU8::new(*priority).unwrap(), now));
            }
            Step::Break => self.tell(Machine::handle_fault),
            Step::Repair => self.tell(Machine::handle_recovery),
            Step::Claim => self.tell(Machine::handle_claim),
            Step::Group(follow) => self.tell(|machine, now| machine.handle_group(*follow, now)),
            Step::Start => self.tell(Machine::handle_start),
            Step::Stop(parting) => self.tell(|machine, now| machine.handle_shutdown(*parting, now)),
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.machine.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.tell(Machine::handle_timeout);
            assert!(self.machine.deadline().is_none_or(|next| next > self.now), "it spins");
        }
        self.now = end;
    }

    fn tell(&mut self, input: impl FnOnce(&mut Machine, Instant)) {
        let before = self.state;
        let overslept = self.machine.has_overslept(self.now);
        input(&mut self.machine, self.now);
        for output in outputs(&mut self.machine) {
            let speaks = matches!(output, Output::SendAdvert { .. } | Output::Announce { .. });
            assert!(!(speaks && overslept), "it speaks although it was frozen");
            self.take(output, before);
        }
        assert_eq!(self.state, self.machine.state());
        assert_eq!(self.holds, self.state == State::Master || self.is_parting());
        let has_timer = matches!(self.state, State::Backup | State::Master) || self.is_parting();
        assert_eq!(self.machine.deadline().is_some(), has_timer);
        self.check_pace();
    }

    fn take(&mut self, output: Output, before: State) {
        match output {
            Output::SendAdvert { priority } => {
                self.sent = Some(self.now);
                let becomes = before == State::Backup || self.machine.priority().get() == 255;
                assert!(self.holds || before == State::Master || becomes, "{before:?} says {priority}");
            }
            Output::TakeAddresses => self.holds = true,
            Output::ReleaseAddresses => assert!(std::mem::take(&mut self.holds), "released twice"),
            Output::Announce { frames } => assert!(self.holds && frames > 0),
            Output::StateChanged { from, to, .. } => {
                assert_eq!(from, std::mem::replace(&mut self.state, to));
                assert_ne!(from, to);
            }
            Output::Anomaly(_) => {}
        }
    }

    /// A master never plans to be silent for longer than its interval.
    fn check_pace(&self) {
        if self.state == State::Master {
            let next = self.sent.unwrap() + self.machine.settings().dialect.interval();
            assert!(self.machine.deadline().unwrap() <= next.max(self.now + Duration::from_nanos(1)));
        }
    }

    fn is_parting(&self) -> bool {
        self.state == State::Init && self.machine.deadline().is_some()
    }
}

/// What may happen to one of several routers, or to the network.
#[derive(Clone, Debug)]
enum Turn {
    Run(u64),
    Split(u8),
    Heal,
    Lose(u64),
    Freeze(usize),
    Thaw(usize),
    Break(usize),
    Repair(usize),
    Priority(usize, u8),
    Start(usize),
    Stop(usize, Parting),
}

fn turns() -> impl Strategy<Value = Turn> {
    let who = 0usize..3;
    prop_oneof![
        10 => (0u64..6000).prop_map(Turn::Run),
        3 => (1u8..8).prop_map(Turn::Split),
        5 => Just(Turn::Heal),
        1 => (0u64..60).prop_map(Turn::Lose),
        2 => Just(Turn::Lose(0)),
        2 => who.clone().prop_map(Turn::Freeze),
        3 => who.clone().prop_map(Turn::Thaw),
        1 => who.clone().prop_map(Turn::Break),
        2 => who.clone().prop_map(Turn::Repair),
        2 => (who.clone(), priorities()).prop_map(|(who, priority)| Turn::Priority(who, priority)),
        2 => who.clone().prop_map(Turn::Start),
        1 => who.clone().prop_map(|who| Turn::Stop(who, Parting::AtOnce)),
        1 => who.prop_map(|who| Turn::Stop(who, Parting::Overlap)),
    ]
}

fn take_turn(network: &mut Network, turn: &Turn) {
    let count = network.routers.len();
    match turn {
        Turn::Run(time) => network.run(Duration::from_millis(*time)),
        Turn::Split(mask) => (0..count).for_each(|index| network.parts[index] = mask >> index & 1),
        Turn::Heal => network.parts.fill(0),
        Turn::Lose(loss) => network.weather.loss = *loss,
        Turn::Freeze(who) => network.freeze(who % count),
        Turn::Thaw(who) => network.thaw(who % count),
        Turn::Break(who) => tell(network, who % count, Machine::handle_fault),
        Turn::Repair(who) => tell(network, who % count, Machine::handle_recovery),
        Turn::Priority(who, priority) => {
            let priority = NonZeroU8::new(*priority).unwrap();
            tell(network, who % count, |machine, now| machine.handle_priority(priority, now));
        }
        Turn::Start(who) => tell(network, who % count, Machine::handle_start),
        Turn::Stop(who, parting) => {
            tell(network, who % count, |machine, now| machine.handle_shutdown(*parting, now));
        }
    }
}

/// A frozen process is told nothing.
fn tell(network: &mut Network, index: usize, input: impl FnOnce(&mut Machine, Instant)) {
    if !network.is_frozen(index) {
        network.tell(index, input);
    }
}

fn all(network: &mut Network, input: impl Fn(&mut Machine, Instant)) {
    (0..network.routers.len()).for_each(|index| network.tell(index, &input));
}

proptest! {
    /// A release follows every taking, states follow each other as they are told, and it speaks only as it may.
    #[test]
    fn one_machine_keeps_its_promises(
        dialect in dialects(),
        preemption in preemptions(),
        priority in priorities(),
        steps in prop::collection::vec(steps(), 1..60),
    ) {
        let machine = Machine::new(settings_of(dialect, preemption, priority));
        let mut watched = Watched { machine, now: millis(0), holds: false, state: State::Init, sent: None };
        for step in &steps {
            watched.apply(step);
        }
        watched.apply(&Step::Stop(Parting::AtOnce));
        prop_assert!(!watched.holds);
        let before = watched.machine.counters().clone();
        for step in steps.iter().filter(|step| !matches!(step, Step::Start)) {
            watched.apply(step);
        }
        let after = watched.machine.counters();
        prop_assert_eq!((after.sent, after.announced), (before.sent, before.announced));
        prop_assert!(!watched.holds);
    }
}

proptest! {
    // Each of these is minutes of several routers' lives.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    /// Whatever happened: once all run and hear each other, there is one master, the best where there is preemption, and
    /// it was the last to announce. What must hold meanwhile, the network checks.
    #[test]
    fn routers_agree_in_the_end(
        dialect in dialects(),
        preemption in preemptions(),
        own in prop::collection::vec(priorities(), 2..=3),
        delay in 0u64..4,
        seed in any::<u64>(),
        turns in prop::collection::vec(turns(), 1..40),
    ) {
        let settings = own.iter().map(|priority| settings_of(dialect, preemption, *priority)).collect();
        let weather = Weather { delay: Duration::from_millis(delay), loss: 0 };
        let mut network = Network::new(settings, weather, seed);
        all(&mut network, Machine::handle_start);
        for turn in &turns {
            take_turn(&mut network, turn);
        }
        network.parts.fill(0);
        network.weather.loss = 0;
        (0..own.len()).for_each(|index| network.thaw(index));
        all(&mut network, Machine::handle_recovery);
        all(&mut network, Machine::handle_start);
        network.run(30 * SECOND);

        let masters = network.in_state(State::Master);
        prop_assert_eq!(masters.len(), 1);
        prop_assert_eq!(network.in_state(State::Backup).len(), own.len() - 1);
        let master = &network.routers[masters[0]];
        for (index, router) in network.routers.iter().enumerate() {
            prop_assert_eq!(router.holds, index == masters[0]);
            if index != masters[0] {
                prop_assert!(router.announced.last() < master.announced.last());
                // Among equals the one that is master stays, whatever its address.
                let is_better = router.machine.priority() > master.machine.priority();
                prop_assert!(preemption == Preemption::Never || !is_better);
            }
        }
    }
}
