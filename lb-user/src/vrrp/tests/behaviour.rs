//! What a machine does over time.

use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use super::machines::*;
use crate::vrrp::machine::*;
use crate::vrrp::packet::*;

fn micros(number: u64) -> Duration {
    Duration::from_micros(number)
}

fn priority(number: u8) -> NonZeroU8 {
    NonZeroU8::new(number).unwrap()
}

fn preempting(delay: Duration, pace: Pace) -> Settings {
    Settings { preemption: Preemption::After { delay, pace }, ..settings() }
}

fn of_version_2() -> Settings {
    Settings { dialect: v2(b"1111"), ..settings() }
}

/// When what was done.
fn times(done: &[(Instant, Output)], what: impl Fn(&Output) -> bool) -> Vec<Duration> {
    done.iter().filter(|(_, output)| what(output)).map(|(when, _)| *when - millis(0)).collect()
}

fn is_advert(output: &Output) -> bool {
    matches!(output, Output::SendAdvert { .. })
}

fn is_announcement(output: &Output) -> bool {
    matches!(output, Output::Announce { .. })
}

/// An advert with another interval, in hundredths of a second.
fn hear_interval(machine: &mut Machine, interval: u16, number: u8, now: Instant) {
    let dialect = Dialect::V3 { interval: Centiseconds::new(interval).unwrap(), coverage: Coverage::WithPseudoHeader };
    let theirs = Settings { dialect, ..settings() };
    machine.handle_advert(&advert(&theirs, number), HIGH, now);
}

#[test]
fn an_owner_is_master_from_the_start() {
    let mut machine = Machine::new(Settings { priority: priority(255), ..settings() });
    machine.handle_start(millis(0));
    let changed = Output::StateChanged { from: State::Init, to: State::Master, reason: Reason::Started };
    let expected =
        [Output::SendAdvert { priority: 255 }, Output::TakeAddresses, Output::Announce { frames: 1 }, changed];
    assert_eq!(outputs(&mut machine), expected);
}

#[test]
fn one_that_is_broken_before_it_starts_waits_until_it_is_not() {
    let mut machine = Machine::new(settings());
    machine.handle_fault(millis(0));
    machine.handle_start(millis(1));
    assert_eq!((machine.state(), machine.deadline()), (State::Fault, None));
    machine.handle_recovery(millis(2));
    assert_eq!(machine.state(), State::Backup);
}

#[test]
fn a_backup_waits_a_master_down_interval_after_each_advert() {
    for dialect in [v2(b""), V3] {
        let mut machine = backup(Settings { dialect, ..settings() });
        assert_eq!(machine.deadline(), Some(at(micros(3_609_375))));
        hear(&mut machine, 100, LOW, millis(1000));
        assert_eq!(machine.deadline(), Some(at(micros(4_609_375))));
        assert_eq!(machine.master(), Some(LOW));
    }
}

#[test]
fn version_3_learns_the_interval_and_version_2_refuses_another() {
    let mut machine = backup(settings());
    hear_interval(&mut machine, 10, 100, millis(0));
    assert_eq!(machine.deadline(), Some(at(micros(360_937) + Duration::from_nanos(500))));
    hear_interval(&mut machine, 1, 0, millis(0));
    assert_eq!(machine.deadline(), Some(at(micros(60_937) + Duration::from_nanos(500))), "a farewell teaches nothing");
    assert_eq!(machine.counters().anomaly(Anomaly::OtherInterval), 2);

    let mut machine = backup(of_version_2());
    let dialect = Dialect::V2 { seconds: priority(2), auth: Auth::Pass(Password::new(b"1111")) };
    let theirs = Settings { dialect, ..settings() };
    machine.handle_advert(&advert(&theirs, 100), HIGH, millis(1000));
    assert_eq!(machine.deadline(), Some(at(micros(3_609_375))));
    assert_eq!(outputs(&mut machine), [Output::Anomaly(Anomaly::OtherInterval)]);
    assert_eq!(machine.counters().received, 0);
}

#[test]
fn a_master_goes_by_its_own_interval() {
    let mut machine = backup(settings());
    hear_interval(&mut machine, 10, 100, millis(0));
    let done = run(&mut machine, millis(2500));
    let expected = [360_937, 1_360_937, 2_360_937].map(|number| micros(number) + Duration::from_nanos(500));
    assert_eq!(times(&done, is_advert), expected);
}

#[test]
fn what_is_odd_is_counted_each_time_and_told_once() {
    let own = of_version_2();
    let good = advert(&own, 100);
    let six = Advert { addresses: Addresses::V6(&[]), ..good };
    let wrong = Advert { dialect: v2(b"2222"), ..good };
    let others = Advert { addresses: Addresses::V4(&[[10, 0, 0, 1]]), ..good };
    // The advert, its sender, what is odd about it, whether it counts all the same.
    let rows = [
        (Advert { vrid: priority(67), ..good }, HIGH, Anomaly::OtherVrid, false),
        (six, HIGH, Anomaly::OtherFamily, false),
        (good, OWN, Anomaly::OwnAddress, false),
        (Advert { dialect: V3, ..good }, HIGH, Anomaly::OtherVersion, false),
        (Advert { dialect: v2(b""), ..good }, HIGH, Anomaly::OtherAuth, false),
        (wrong, HIGH, Anomaly::WrongPassword, false),
        (others, HIGH, Anomaly::OtherAddresses, true),
    ];
    for (advert, source, anomaly, counts) in rows {
        let mut machine = backup(own.clone());
        machine.handle_advert(&advert, source, millis(10));
        machine.handle_advert(&advert, source, millis(20));
        assert_eq!(outputs(&mut machine), [Output::Anomaly(anomaly)]);
        assert_eq!(machine.counters().anomaly(anomaly), 2, "{anomaly:?}");
        assert_eq!(machine.counters().received, if counts { 2 } else { 0 }, "{anomaly:?}");
        assert_eq!(machine.master().is_some(), counts, "{anomaly:?}");
    }
}

#[test]
fn a_password_where_none_is_configured_is_refused() {
    let mut machine = backup(Settings { dialect: v2(b""), ..settings() });
    machine.handle_advert(&advert(&of_version_2(), 100), HIGH, millis(1));
    assert_eq!(outputs(&mut machine), [Output::Anomaly(Anomaly::OtherAuth)]);
}

#[test]
fn two_owners_are_told_of_and_the_higher_address_wins() {
    let owner = Settings { priority: priority(255), ..settings() };
    for (source, state) in [(LOW, State::Master), (HIGH, State::Backup)] {
        let mut machine = Machine::new(owner.clone());
        machine.handle_start(millis(0));
        hear(&mut machine, 255, source, millis(500));
        assert_eq!(machine.state(), state);
        assert_eq!(machine.counters().anomaly(Anomaly::SecondOwner), 1);
    }
}

#[test]
fn after_a_farewell_a_backup_waits_a_skew_however_often_it_is_said() {
    let mut machine = backup(settings());
    hear(&mut machine, 100, LOW, millis(1000));
    for now in [1500, 1600, 1700] {
        hear(&mut machine, 0, LOW, millis(now));
    }
    let done = run(&mut machine, millis(2200));
    assert_eq!(times(&done, is_advert), [micros(2_109_375)]);
    let reason = Reason::MasterLeft;
    let changed = Output::StateChanged { from: State::Backup, to: State::Master, reason };
    assert_eq!(done.last().unwrap().1, changed);
}

#[test]
fn a_lower_master_is_replaced_as_if_it_were_silent() {
    let mut machine = backup(settings());
    hear(&mut machine, 100, HIGH, millis(500));
    for now in [1000, 2000, 3000, 4000] {
        hear(&mut machine, 50, LOW, millis(now));
    }
    let done = run(&mut machine, millis(4150));
    assert_eq!(times(&done, is_advert), [micros(4_109_375)]);
    let changed = Output::StateChanged { from: State::Backup, to: State::Master, reason: Reason::Preempted };
    assert_eq!(done.last().unwrap().1, changed);
}

#[test]
fn a_lower_master_is_left_alone_where_nobody_preempts_except_by_an_owner() {
    for (own, state) in [(200, State::Backup), (255, State::Master)] {
        let mut machine = backup(Settings { preemption: Preemption::Never, ..settings() });
        machine.handle_priority(priority(own), millis(0));
        for now in (500..10_000).step_by(1000) {
            run(&mut machine, millis(now));
            hear(&mut machine, 50, LOW, millis(now));
        }
        assert_eq!(machine.state(), state, "{own}");
    }
}

#[test]
fn a_lower_master_is_left_alone_for_the_delay() {
    let mut machine = backup(preempting(10 * SECOND, Pace::MasterDown));
    let hear_until = |machine: &mut Machine, from: u64, until: u64, number: u8| {
        for now in (from..until).step_by(1000) {
            let done = run(machine, millis(now));
            if !done.is_empty() {
                return times(&done, is_advert);
            }
            hear(machine, number, LOW, millis(now));
        }
        vec![]
    };
    assert_eq!(hear_until(&mut machine, 1000, 8000, 50), []);
    assert_eq!(hear_until(&mut machine, 8000, 9000, 150), [], "a better one was there: the delay starts anew");
    // From 9 to 18 s each advert counts; then they do not any more.
    assert_eq!(hear_until(&mut machine, 9000, 30_000, 50), [micros(21_609_375)]);
}

#[test]
fn a_fast_backup_replaces_a_lower_master_after_a_skew() {
    let mut machine = backup(preempting(Duration::ZERO, Pace::Skew));
    hear(&mut machine, 100, LOW, millis(0));
    hear(&mut machine, 50, LOW, millis(1000));
    assert_eq!(machine.deadline(), Some(at(micros(1_609_375))), "the master became lower");

    let mut machine = backup(preempting(Duration::ZERO, Pace::Skew));
    hear(&mut machine, 200, HIGH, millis(0));
    let before = machine.deadline();
    hear(&mut machine, 50, LOW, millis(500));
    assert_eq!((machine.deadline(), machine.master()), (before, Some(HIGH)), "that was a last word");
    hear(&mut machine, 50, LOW, millis(1500));
    assert_eq!(machine.deadline(), Some(at(micros(2_109_375))), "or it was not");
}

#[test]
fn another_priority_moves_the_deadline_by_the_difference_of_the_skews() {
    let mut machine = backup(settings());
    machine.handle_priority(priority(164), millis(100));
    assert_eq!(machine.deadline(), Some(at(micros(3_359_375))));
    hear(&mut machine, 0, LOW, millis(200));
    machine.handle_priority(priority(100), millis(300));
    assert_eq!(machine.deadline(), Some(at(micros(809_375))));
    assert_eq!(outputs(&mut machine), []);
}

#[test]
fn adverts_keep_their_pace() {
    let (mut machine, since) = master(settings());
    machine.handle_timeout(since + Duration::from_millis(1300));
    assert_eq!(machine.deadline(), Some(since + Duration::from_millis(2000)), "a delay does not add up");
    machine.handle_timeout(since + Duration::from_millis(4300));
    outputs(&mut machine);
    assert_eq!(machine.deadline(), Some(since + Duration::from_millis(5000)), "the second repetition");
    let done = run(&mut machine, since + Duration::from_millis(6000));
    let base = since - millis(0);
    assert_eq!(times(&done, is_advert), [base + Duration::from_millis(5300)], "what was missed is not made up for");
}

#[test]
fn a_master_announces_itself_again_and_again() {
    let (mut machine, since) = master(settings());
    let done = run(&mut machine, since + 130 * SECOND);
    let base = since - millis(0);
    let after = [100, 1000, 5000, 65_000, 125_000].map(|number| base + Duration::from_millis(number));
    assert_eq!(times(&done, is_announcement), after);
    assert_eq!(machine.counters().announced, 6);
}

#[test]
fn announcements_are_as_configured() {
    let again = vec![5 * SECOND];
    let announcements = Announcements { burst: 5, again, refresh: None, refresh_burst: 1 };
    let (mut machine, since) = master(Settings { announcements, ..settings() });
    let done = run(&mut machine, since + 300 * SECOND);
    let announced: Vec<_> = done.iter().filter(|(_, output)| is_announcement(output)).collect();
    assert_eq!(announced, [&(since + 5 * SECOND, Output::Announce { frames: 5 })]);

    let refresh = Some(10 * SECOND);
    let announcements = Announcements { burst: 3, again: vec![], refresh, refresh_burst: 2 };
    let (mut machine, since) = master(Settings { announcements, ..settings() });
    let done = run(&mut machine, since + 15 * SECOND);
    let announced: Vec<_> = done.iter().filter(|(_, output)| is_announcement(output)).collect();
    assert_eq!(announced, [&(since + 10 * SECOND, Output::Announce { frames: 2 })]);
}

#[test]
fn a_flood_of_adverts_is_answered_at_a_bounded_rate_and_the_last_one_is_answered() {
    let (mut machine, since) = master(settings());
    let mut done = Vec::new();
    for step in 0..1000 {
        let now = since + Duration::from_millis(500) + micros(100) * step;
        done.extend(run(&mut machine, now));
        hear(&mut machine, 50, LOW, now);
        done.extend(outputs(&mut machine).into_iter().map(|output| (now, output)));
    }
    let end = since + Duration::from_millis(600);
    done.extend(run(&mut machine, end + ANSWER_GAP));
    for what in [is_advert, is_announcement] {
        let times = times(&done, what);
        // The first 100 ms after becoming master have one repetition of their own.
        assert!(times.len() <= 13, "{}", times.len());
        assert!(*times.last().unwrap() >= end - millis(0));
    }
}

#[test]
fn claims_of_others_are_contradicted_at_once_but_not_for_ever() {
    let (mut machine, since) = master(settings());
    let quiet = since + 20 * SECOND;
    run(&mut machine, quiet);
    machine.handle_claim(quiet + micros(1));
    assert!(outputs(&mut machine).iter().any(is_announcement));
    // A second burst of claims, while the first one's contradiction is on its way to everybody.
    let again = quiet + Duration::from_millis(300);
    run(&mut machine, again);
    for number in 0..5 {
        machine.handle_claim(again + micros(number));
    }
    let done = run(&mut machine, again + ANSWER_GAP + micros(1));
    assert!(done.iter().any(|(_, output)| is_announcement(output)), "{done:?}");
    let mut times: Vec<Instant> = Vec::new();
    for step in 1..=200 {
        let now = again + Duration::from_millis(50) * step;
        times.extend(run(&mut machine, now).iter().filter(|(_, output)| is_announcement(output)).map(|(at, _)| *at));
        machine.handle_claim(now);
        times.extend(outputs(&mut machine).iter().filter(|output| is_announcement(output)).map(|_| now));
    }
    let late = times.iter().filter(|at| **at > again + 5 * SECOND).count();
    // In the other five seconds: one a second, and 100 ms after each first burst a repetition.
    assert!((5..=12).contains(&late) && times.len() <= 30, "{late} of {}", times.len());
}

#[test]
fn a_second_master_is_odd_once_it_must_have_heard_of_us() {
    let (mut machine, since) = master(settings());
    hear(&mut machine, 50, LOW, since + Duration::from_millis(1));
    assert_eq!(machine.counters().anomaly(Anomaly::SecondMaster), 0);
    hear(&mut machine, 50, LOW, since + SECOND);
    machine.handle_claim(since + SECOND);
    assert_eq!(machine.counters().anomaly(Anomaly::SecondMaster), 2);
    let told = outputs(&mut machine).iter().filter(|output| **output == Output::Anomaly(Anomaly::SecondMaster)).count();
    assert_eq!(told, 1);
}

#[test]
fn a_lease_ends_before_anybody_else_can_be_master() {
    let (mut machine, since) = master(settings());
    assert_eq!(machine.leads_until(), Some(since + 3 * SECOND));
    run(&mut machine, since + SECOND);
    assert_eq!(machine.leads_until(), Some(since + 4 * SECOND));
    machine.handle_shutdown(Parting::Overlap, since + SECOND);
    assert_eq!(machine.leads_until(), machine.deadline());
    for machine in [Machine::new(settings()), backup(settings())] {
        assert_eq!(machine.leads_until(), None);
    }
}

#[test]
fn a_master_that_is_started_again_in_time_goes_on_without_an_announcement() {
    let start = millis(0) + 10 * SECOND;
    for (silence, resumes) in [(0, true), (2_999, true), (3_000, false), (9_000, false)] {
        let mut machine = Machine::new(settings());
        assert_eq!(machine.handle_resume(start - Duration::from_millis(silence), start), resumes, "{silence}");
        let changed = Output::StateChanged { from: State::Init, to: State::Master, reason: Reason::Resumed };
        let own = Output::SendAdvert { priority: machine.priority().get() };
        let expected = if resumes { vec![own, Output::TakeAddresses, changed] } else { vec![] };
        assert_eq!(outputs(&mut machine), expected, "{silence}");
        if resumes {
            assert_eq!(machine.leads_until(), Some(start + 3 * SECOND));
            assert!(times(&run(&mut machine, start + 50 * SECOND), is_announcement).is_empty());
        }
    }
}

#[test]
fn nobody_resumes_from_the_future_nor_while_something_is_broken_nor_twice() {
    let start = millis(0) + 10 * SECOND;
    assert!(!Machine::new(settings()).handle_resume(start + SECOND, start));
    let mut broken = Machine::new(settings());
    broken.handle_fault(start);
    assert!(!broken.handle_resume(start, start));
    let mut machine = Machine::new(settings());
    assert!(machine.handle_resume(start, start));
    assert!(!machine.handle_resume(start, start));
    machine.handle_start(start);
    assert_eq!(machine.state(), State::Master);
}

#[test]
fn the_vips_are_held_until_the_next_master_is_heard() {
    let (mut machine, since) = master(settings());
    machine.handle_shutdown(Parting::Overlap, since + SECOND);
    outputs(&mut machine);
    let deadline = machine.deadline().unwrap();
    assert!(deadline > since + SECOND + Duration::from_millis(997), "anybody would have taken over by then");
    let mut other = machine.clone();
    hear(&mut machine, 50, LOW, since + SECOND + Duration::from_millis(600));
    assert_eq!(outputs(&mut machine), [Output::ReleaseAddresses]);
    assert_eq!(run(&mut machine, since + 100 * SECOND), []);
    assert_eq!(run(&mut other, since + 100 * SECOND), [(deadline, Output::ReleaseAddresses)]);
}

#[test]
fn a_master_that_was_frozen_sends_nothing_and_listens() {
    let (mut machine, since) = master(settings());
    let asleep = since + SECOND;
    // Frozen between being told what to send and sending it.
    machine.handle_timeout(asleep);
    assert!(!machine.has_overslept(asleep + micros(3_609_375)));
    let awake = asleep + micros(3_609_376);
    assert!(machine.has_overslept(awake));
    machine.handle_timeout(awake);
    let changed = Output::StateChanged { from: State::Master, to: State::Backup, reason: Reason::LateWake };
    assert_eq!(outputs(&mut machine), [Output::Anomaly(Anomaly::LateWake), Output::ReleaseAddresses, changed]);
    assert_eq!(machine.deadline(), Some(awake + micros(3_609_375)));
}

#[test]
fn a_frozen_master_is_silent_whatever_wakes_it() {
    type Wake = fn(&mut Machine, Instant);
    let wakes: [Wake; 8] = [
        |machine, now| hear(machine, 50, LOW, now),
        |machine, now| hear(machine, 0, LOW, now),
        |machine, now| hear(machine, 200, LOW, now),
        |machine, now| machine.handle_priority(priority(7), now),
        |machine, now| machine.handle_claim(now),
        |machine, now| machine.handle_fault(now),
        |machine, now| machine.handle_shutdown(Parting::Overlap, now),
        |machine, now| machine.handle_settings(Settings { source: LOW, ..settings() }, now),
    ];
    for (row, wake) in wakes.into_iter().enumerate() {
        let (mut machine, since) = master(settings());
        wake(&mut machine, since + 4 * SECOND);
        let done = outputs(&mut machine);
        assert!(!done.iter().any(|output| is_advert(output) || is_announcement(output)), "row {row}: {done:?}");
        assert!(done.contains(&Output::ReleaseAddresses), "row {row}");
    }
}

#[test]
fn a_backup_that_is_a_little_late_takes_over_and_one_that_was_frozen_listens() {
    let mut machine = backup(settings());
    let deadline = machine.deadline().unwrap();
    let mut frozen = machine.clone();
    machine.handle_timeout(deadline + SECOND);
    assert_eq!(machine.state(), State::Master);
    frozen.handle_timeout(deadline + 4 * SECOND);
    assert_eq!(frozen.state(), State::Backup);
    assert_eq!(frozen.deadline(), Some(deadline + 4 * SECOND + micros(3_609_375)));
}

#[test]
fn the_checksum_is_that_of_the_peer_where_that_is_wanted() {
    let bare = Dialect::V3 { interval: Centiseconds::new(100).unwrap(), coverage: Coverage::MessageOnly };
    for (checksum, expected) in [(ChecksumForm::AsConfigured, V3), (ChecksumForm::AsHeard, bare)] {
        let mut machine = backup(Settings { checksum, ..settings() });
        assert_eq!(machine.advert(100).dialect, V3);
        let theirs = Settings { dialect: bare, ..settings() };
        machine.handle_advert(&advert(&theirs, 200), HIGH, millis(1));
        assert_eq!(machine.advert(100).dialect, expected);
        assert_eq!(machine.advert(0).priority, 0);
    }
}

#[test]
fn other_settings_change_no_state_and_a_master_tells_of_them() {
    let mut machine = backup(settings());
    machine.handle_settings(Settings { priority: priority(200), ..settings() }, millis(10));
    assert_eq!((machine.state(), outputs(&mut machine)), (State::Backup, vec![]));
    assert_eq!(machine.deadline(), Some(at(micros(3_218_750))));

    let (mut machine, since) = master(settings());
    let now = since + Duration::from_millis(500);
    machine.handle_settings(settings(), now);
    assert_eq!(outputs(&mut machine), [], "they are the same");
    let more = Vips::V4(vec![[10, 0, 0, 1], [10, 0, 0, 2]]);
    machine.handle_settings(Settings { vips: more, ..settings() }, now);
    let own = Output::SendAdvert { priority: 100 };
    let expected = [Output::TakeAddresses, own, Output::Announce { frames: 1 }];
    assert_eq!((machine.state(), outputs(&mut machine)), (State::Master, expected.to_vec()));
}

#[test]
fn a_shorter_interval_is_no_reason_to_think_that_one_has_overslept() {
    let (mut machine, since) = master(settings());
    let dialect = Dialect::V3 { interval: Centiseconds::new(10).unwrap(), coverage: Coverage::WithPseudoHeader };
    machine.handle_settings(Settings { dialect, ..settings() }, since + Duration::from_millis(900));
    let own = Output::SendAdvert { priority: 100 };
    let expected = [Output::TakeAddresses, own, Output::Announce { frames: 1 }];
    assert_eq!((machine.state(), outputs(&mut machine)), (State::Master, expected.to_vec()));
    machine.handle_timeout(since + Duration::from_millis(1000));
    assert_eq!(machine.state(), State::Master);
}

#[test]
fn all_that_happens_is_counted() {
    let (mut machine, since) = master(settings());
    hear(&mut machine, 0, LOW, since + SECOND);
    hear(&mut machine, 200, LOW, since + 2 * SECOND);
    let counters = machine.counters();
    assert_eq!((counters.received, counters.received_leaving), (2, 1));
    assert_eq!((counters.sent, counters.sent_leaving), (3, 0));
    assert_eq!((counters.became_master, counters.ceased_master, counters.announced), (1, 1, 2));
}
