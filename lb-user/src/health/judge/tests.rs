//! Pools whose real servers answer or not, and what is ruled.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::super::probe::Weight;
use super::*;
use crate::state::Share;

const SECOND: Duration = Duration::from_secs(1);
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 254));

const TERMS: Terms =
    Terms { rise: 2, fall: 3, damping: true, confirm: false, patience: SECOND, slow_start: Duration::ZERO, weight: 10 };

fn address(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number).into()
}

fn subject(pool: &str, number: u8) -> Subject {
    (pool.into(), address(number))
}

/// A judge, and a clock that each result moves by a tenth of a second.
struct Bench {
    judge: Judge,
    now: Duration,
}

impl Bench {
    /// Pools with these numbers of real servers, all up, behind one interface.
    fn new(pools: &[(&str, &[u8])]) -> Self {
        Self::with(TERMS, Health::Up, pools)
    }

    fn with(terms: Terms, health: Health, pools: &[(&str, &[u8])]) -> Self {
        let mut bench = Self { judge: Judge::default(), now: SECOND };
        let all = pools.iter().flat_map(|(_, numbers)| numbers.iter());
        let behind = all.map(|number| (address(*number), 1)).collect();
        bench.judge.set_surroundings(surroundings(behind, true));
        for (pool, numbers) in pools {
            numbers.iter().for_each(|number| bench.judge.enter(&subject(pool, *number), terms, health));
        }
        bench
    }

    fn find(&mut self, pool: &str, number: u8, finding: Finding) -> Vec<String> {
        self.now += SECOND / 10;
        let outcome =
            Outcome { started: self.now - SECOND / 20, ended: self.now, words: format!("{finding:?}").into(), finding };
        in_words(self.judge.handle_outcome(&subject(pool, number), outcome))
    }

    fn answers(&mut self, pool: &str, number: u8) -> Vec<String> {
        self.find(pool, number, Finding::Answered(Answer::default()))
    }

    fn is_silent(&mut self, pool: &str, number: u8) -> Vec<String> {
        self.find(pool, number, Finding::Silent)
    }

    fn refuses(&mut self, pool: &str, number: u8) -> Vec<String> {
        self.find(pool, number, Finding::Refused)
    }

    /// So many rounds in which all of these are silent: all that is ruled.
    fn all_silent(&mut self, rounds: u32, who: &[(&str, u8)]) -> Vec<String> {
        let each = |_| who.iter().flat_map(|(pool, number)| self.is_silent(pool, *number)).collect::<Vec<_>>();
        (0..rounds).flat_map(each).collect()
    }

    fn ping(&mut self, answers: bool) -> Vec<String> {
        self.now += SECOND / 10;
        in_words(self.judge.handle_gateway(GATEWAY, answers, self.now))
    }

    fn link(&mut self, is_up: bool) -> Vec<String> {
        let behind = self.judge.wards.values().flat_map(|ward| ward.members.keys()).map(|address| (*address, 1));
        in_words(self.judge.set_surroundings(surroundings(behind.collect(), is_up)))
    }
}

fn surroundings(behind: HashMap<IpAddr, u32>, is_up: bool) -> Surroundings {
    Surroundings { links: HashMap::from([(1, ("eth0".into(), is_up))]), behind }
}

/// One line each, short.
fn in_words(rulings: Vec<Ruling>) -> Vec<String> {
    let last = |address: IpAddr| address.to_string().trim_start_matches("10.0.0.").to_owned();
    let line = |ruling| match ruling {
        Ruling::Verdict((pool, real), health, _) => format!("{pool}/{} {}", last(real), health.name()),
        Ruling::Asked((pool, real), Asked { weight, share, drain }) => {
            format!("{pool}/{} wants {weight:?} {} {drain}", last(real), share.number())
        }
        Ruling::Hold(pool, cause) => match cause {
            Cause::Link(link) => format!("hold {pool}: {link}"),
            Cause::Gateways(_) => format!("hold {pool}: gateways"),
            Cause::Silence(_) => format!("hold {pool}: silence"),
        },
        Ruling::Release(pool, _) => format!("release {pool}"),
        Ruling::Wake((pool, real)) => format!("wake {pool}/{}", last(real)),
        Ruling::Ping(address) => format!("ping {}", last(address)),
        Ruling::Consult((pool, real)) => format!("consult {pool}/{}", last(real)),
        Ruling::Disputed((pool, real), _) => format!("disputed {pool}/{}", last(real)),
    };
    rulings.into_iter().map(line).collect()
}

const NOTHING: [&str; 0] = [];

#[test]
fn one_that_is_silent_waits_for_a_witness_and_no_longer() {
    let mut bench = Bench::new(&[("web", &[1, 2])]);
    bench.answers("web", 2);
    assert_eq!(bench.all_silent(2, &[("web", 1)]), NOTHING);
    assert_eq!(bench.is_silent("web", 1), ["wake web/2"]);
    assert_eq!(bench.answers("web", 2), ["web/1 down"]);
    // Who answers while the deciding probe runs is witness enough.
    bench.answers("web", 1);
    assert_eq!(bench.answers("web", 1), ["web/1 up"]);
    bench.all_silent(2, &[("web", 1)]);
    let started = bench.now;
    bench.answers("web", 2);
    let outcome = Outcome { started, ended: bench.now + SECOND, finding: Finding::Silent, words: "".into() };
    assert_eq!(in_words(bench.judge.handle_outcome(&subject("web", 1), outcome)), ["web/1 down"]);
}

#[test]
fn a_refusal_is_believed_at_once() {
    let mut bench = Bench::new(&[("web", &[1, 2])]);
    bench.refuses("web", 1);
    bench.refuses("web", 1);
    assert_eq!(bench.refuses("web", 1), ["web/1 down"]);
    // The last that is left, too.
    bench.refuses("web", 2);
    bench.refuses("web", 2);
    assert_eq!(bench.refuses("web", 2), ["web/2 down"]);
}

#[test]
fn a_pool_that_falls_silent_as_a_whole_is_held_and_counts_anew_afterwards() {
    for size in 1..=4u8 {
        let numbers: Vec<u8> = (1..=size).collect();
        let mut bench = Bench::new(&[("web", &numbers)]);
        numbers.iter().for_each(|number| assert_eq!(bench.answers("web", *number), NOTHING));
        let who: Vec<(&str, u8)> = numbers.iter().map(|number| ("web", *number)).collect();
        assert_eq!(bench.all_silent(2, &who), NOTHING);
        assert_eq!(bench.all_silent(10, &who), ["hold web: silence"], "{size} real servers");
        assert_eq!(bench.answers("web", 1), ["release web"]);
        // The others have as many failures as ever from here on.
        assert_eq!(bench.all_silent(2, &who[1..]), NOTHING);
        bench.answers("web", 1);
        let ruled = bench.all_silent(1, &who[1..]);
        assert!(ruled.iter().all(|word| word == "wake web/1"), "{ruled:?}");
        let down: Vec<String> = numbers[1..].iter().map(|number| format!("web/{number} down")).collect();
        assert_eq!(bench.answers("web", 1), down);
    }
}

#[test]
fn what_another_pool_behind_the_same_interface_answers_counts() {
    let mut bench = Bench::new(&[("db", &[7]), ("web", &[1, 2])]);
    bench.answers("db", 7);
    assert_eq!(bench.all_silent(2, &[("web", 1), ("web", 2)]), NOTHING);
    assert_eq!(bench.all_silent(1, &[("web", 1), ("web", 2)]), ["wake web/2", "wake db/7"][1..].repeat(2));
    assert_eq!(bench.answers("db", 7), ["web/1 down", "web/2 down"]);
    // Behind another interface it would not.
    let mut bench = Bench::new(&[("db", &[7]), ("web", &[1, 2])]);
    bench.judge.set_surroundings(surroundings([(1, 1), (2, 1), (7, 2)].map(|(n, i)| (address(n), i)).into(), true));
    bench.answers("db", 7);
    assert_eq!(bench.all_silent(3, &[("web", 1), ("web", 2)]), ["hold web: silence"]);
    assert_eq!(bench.answers("db", 7), NOTHING);
}

#[test]
fn the_other_interface_of_a_pool_is_witness_enough() {
    let mut bench = Bench::new(&[("web", &[1, 2])]);
    bench.judge.set_surroundings(surroundings([(1, 1), (2, 2)].map(|(n, i)| (address(n), i)).into(), false));
    bench.answers("web", 2);
    bench.all_silent(3, &[("web", 1)]);
    assert_eq!(bench.answers("web", 2), ["web/1 down"], "its link is down, and the pool's other half is well");
}

#[test]
fn this_machine_needs_no_witness() {
    let mut bench = Bench::new(&[("web", &[1])]);
    bench.judge.set_surroundings(surroundings(HashMap::new(), true));
    assert_eq!(bench.all_silent(3, &[("web", 1)]), ["web/1 down"]);
}

#[test]
fn a_link_that_is_lost_holds_at_once_until_somebody_answers_again() {
    let mut bench = Bench::new(&[("web", &[1, 2])]);
    bench.answers("web", 1);
    assert_eq!(bench.link(false), ["hold web: eth0"]);
    assert_eq!(bench.answers("web", 2), NOTHING, "it was said before the link was lost");
    assert_eq!(bench.all_silent(5, &[("web", 1), ("web", 2)]), NOTHING);
    assert_eq!(bench.link(true), NOTHING);
    assert_eq!(bench.all_silent(5, &[("web", 1), ("web", 2)]), NOTHING);
    assert_eq!(bench.answers("web", 2), ["release web"]);
    assert_eq!(bench.all_silent(2, &[("web", 1)]), NOTHING);
}

#[test]
fn no_gateway_holds_every_pool_until_one_answers_or_a_real_server_does_again() {
    let mut bench = Bench::new(&[("db", &[7]), ("web", &[1, 2])]);
    assert_eq!(in_words(bench.judge.set_gateways(&[GATEWAY])), NOTHING);
    bench.answers("web", 1);
    assert_eq!([bench.ping(false), bench.ping(false)].concat(), NOTHING);
    assert_eq!(bench.ping(false), ["hold db: gateways", "hold web: gateways"]);
    assert_eq!(bench.answers("web", 1), NOTHING, "it has answered all the time");
    assert_eq!(bench.all_silent(9, &[("web", 2), ("db", 7)]), NOTHING);
    assert_eq!(bench.answers("web", 2), ["release web"]);
    assert_eq!(bench.ping(false), NOTHING, "nothing new");
    assert_eq!(bench.ping(true), ["release db"]);
    assert_eq!(bench.all_silent(2, &[("db", 7)]), NOTHING);
    // A refusal is believed even so.
    (0..3).for_each(|_| drop(bench.ping(false)));
    bench.refuses("web", 1);
    bench.refuses("web", 1);
    assert_eq!(bench.refuses("web", 1), ["release web", "web/1 down"]);
}

#[test]
fn gateways_that_are_no_longer_asked_hold_nothing() {
    let mut bench = Bench::new(&[("web", &[1, 2])]);
    bench.judge.set_gateways(&[GATEWAY]);
    bench.answers("web", 1);
    assert_eq!([bench.ping(false), bench.ping(false), bench.ping(false)].concat(), ["hold web: gateways"]);
    assert_eq!(in_words(bench.judge.set_gateways(&[])), ["release web"]);
    bench.answers("web", 1);
    assert_eq!(bench.all_silent(2, &[("web", 2)]), NOTHING);
    bench.answers("web", 1);
    assert_eq!(bench.is_silent("web", 2), ["wake web/1"]);
    assert_eq!(bench.answers("web", 1), ["web/2 down"]);
}

#[test]
fn who_could_not_be_asked_stays_as_he_is() {
    let mut bench = Bench::new(&[("web", &[1, 2])]);
    bench.answers("web", 2);
    (0..9).for_each(|_| assert_eq!(bench.find("web", 1, Finding::NotAsked), NOTHING));
    bench.is_silent("web", 1);
    bench.is_silent("web", 1);
    bench.find("web", 1, Finding::NotAsked);
    assert_eq!(bench.is_silent("web", 1), ["wake web/2"], "the third in a row");
    assert_eq!(bench.answers("web", 2), ["web/1 down"]);
}

#[test]
fn a_gateway_that_answers_says_that_it_is_not_us() {
    let mut bench = Bench::new(&[("web", &[1])]);
    bench.judge.set_gateways(&[GATEWAY]);
    bench.ping(true);
    assert_eq!(bench.all_silent(2, &[("web", 1)]), NOTHING);
    assert_eq!(bench.is_silent("web", 1), ["ping 254"]);
    assert_eq!(bench.ping(true), ["web/1 down"]);
    // Neither answers: it is us.
    let mut bench = Bench::new(&[("web", &[1])]);
    bench.judge.set_gateways(&[GATEWAY]);
    assert_eq!(bench.all_silent(3, &[("web", 1)]), ["ping 254"]);
    assert_eq!([bench.ping(false), bench.ping(false), bench.ping(false)].concat(), ["hold web: gateways"]);
    assert_eq!(bench.ping(true), ["release web"]);
    assert_eq!(bench.all_silent(2, &[("web", 1)]), NOTHING);
}

#[test]
fn a_start_amid_silence_takes_nobody_out() {
    let mut bench = Bench::with(TERMS, Health::Unchecked, &[("web", &[1, 2])]);
    assert_eq!(bench.is_silent("web", 1), ["wake web/2"], "the other has not been asked yet");
    assert_eq!(bench.is_silent("web", 2), ["hold web: silence"]);
    assert_eq!(bench.answers("web", 2), ["release web", "web/2 up"]);
    assert_eq!(bench.is_silent("web", 1), ["wake web/2"]);
    assert_eq!(bench.answers("web", 2), ["web/1 down"], "one result decides about who is not known");
}

#[test]
fn other_directors_are_asked_before_a_real_server_is_taken_out() {
    let mut bench = Bench::with(Terms { confirm: true, ..TERMS }, Health::Up, &[("web", &[1, 2])]);
    bench.refuses("web", 1);
    bench.refuses("web", 1);
    assert_eq!(bench.refuses("web", 1), ["consult web/1"]);
    assert_eq!(bench.refuses("web", 1), NOTHING, "they have not answered yet");
    let opinion = |bench: &mut Bench, opinions: &[Opinion]| {
        in_words(bench.judge.handle_opinions(&subject("web", 1), opinions, bench.now))
    };
    assert_eq!(opinion(&mut bench, &[Opinion::Down, Opinion::Up]), ["disputed web/1"]);
    assert_eq!(bench.refuses("web", 1), ["consult web/1"], "each further failure asks again");
    assert_eq!(opinion(&mut bench, &[Opinion::Up]), NOTHING, "it is said once");
    bench.refuses("web", 1);
    assert_eq!(opinion(&mut bench, &[Opinion::Unknown]), ["web/1 down"]);
    // Nobody has answered in time: our own verdict counts. Unless it has come back meanwhile.
    (0..3).for_each(|_| drop(bench.refuses("web", 2)));
    bench.answers("web", 2);
    assert_eq!(in_words(bench.judge.handle_opinions(&subject("web", 2), &[], bench.now)), NOTHING);
    (0..3).for_each(|_| drop(bench.refuses("web", 2)));
    assert_eq!(in_words(bench.judge.handle_opinions(&subject("web", 2), &[], bench.now)), ["web/2 down"]);
}

#[test]
fn what_others_are_told_is_what_was_found_and_not_what_they_have_made_of_it() {
    let mut bench = Bench::with(Terms { confirm: true, ..TERMS }, Health::Up, &[("web", &[1])]);
    let one = subject("web", 1);
    let says = |bench: &Bench| bench.judge.opinion(&one);
    assert_eq!(says(&bench), Opinion::Unknown, "it has not been asked");
    bench.answers("web", 1);
    assert_eq!(says(&bench), Opinion::Up);
    bench.refuses("web", 1);
    assert_eq!(says(&bench), Opinion::Unknown);
    bench.refuses("web", 1);
    assert_eq!(bench.refuses("web", 1), ["consult web/1"]);
    assert_eq!(says(&bench), Opinion::Down, "it is up only because nobody has been heard yet");
    bench.judge.handle_opinions(&one, &[Opinion::Up], bench.now);
    assert_eq!(says(&bench), Opinion::Down, "or because another has said so");
    bench.answers("web", 1);
    assert_eq!(bench.link(false), ["hold web: eth0"]);
    assert_eq!(says(&bench), Opinion::Unknown, "we are cut off");
    assert_eq!(bench.judge.opinion(&subject("db", 1)), Opinion::Unknown);
}

#[test]
fn one_that_flaps_has_to_prove_itself_longer() {
    let mut bench = Bench::new(&[("web", &[1])]);
    let mut needed = Vec::new();
    for _ in 0..5 {
        (0..3).for_each(|_| drop(bench.refuses("web", 1)));
        needed.push((1..100).find(|_| bench.answers("web", 1) == ["web/1 up"]).expect("it comes back"));
    }
    assert_eq!(needed, [2, 2, 4, 4, 8]);
    let mut calm = Bench::with(Terms { damping: false, ..TERMS }, Health::Up, &[("web", &[1])]);
    for _ in 0..9 {
        (0..3).for_each(|_| drop(calm.refuses("web", 1)));
        assert_eq!([calm.answers("web", 1), calm.answers("web", 1)].concat(), ["web/1 up"]);
    }
    assert_eq!(calm.judge.standing(&subject("web", 1), calm.now).map(|standing| standing.rise), Some(2));
}

#[test]
fn the_log_says_that_more_successes_are_needed() {
    let mut bench = Bench::new(&[("web", &[1])]);
    let mut reasons = Vec::new();
    for _ in 0..5 {
        for finding in [Finding::Refused; 3].into_iter().chain([Finding::Answered(Answer::default()); 9]) {
            bench.now += SECOND / 10;
            let outcome = Outcome { started: bench.now, ended: bench.now, finding, words: "it is said".into() };
            for ruling in bench.judge.handle_outcome(&subject("web", 1), outcome) {
                if let Ruling::Verdict(_, Health::Down, reason) = ruling {
                    reasons.push(reason);
                }
            }
        }
    }
    assert_eq!(reasons[0], "it is said");
    assert_eq!(reasons[4], "it is said; flaps: needs 8 successes");
}

#[test]
fn wishes_are_told_when_they_change() {
    let mut bench = Bench::new(&[("web", &[1])]);
    let says = |bench: &mut Bench, weight, drain| bench.find("web", 1, Finding::Answered(Answer { weight, drain }));
    assert_eq!(bench.answers("web", 1), NOTHING);
    assert_eq!(says(&mut bench, Some(Weight::Units(5)), false), ["web/1 wants Some(5) 1000 false"]);
    assert_eq!(says(&mut bench, Some(Weight::Units(5)), false), NOTHING);
    assert_eq!(says(&mut bench, Some(Weight::Percent(75)), false), ["web/1 wants None 750 false"]);
    assert_eq!(says(&mut bench, Some(Weight::Percent(150)), false), ["web/1 wants Some(15) 1000 false"]);
    assert_eq!(says(&mut bench, None, true), ["web/1 wants None 1000 true"]);
    assert_eq!(bench.refuses("web", 1), NOTHING, "one failure is not yet a change");
    bench.refuses("web", 1);
    assert_eq!(bench.refuses("web", 1), ["web/1 down", "web/1 wants None 1000 false"]);
}

#[test]
fn one_that_comes_back_starts_slowly_and_a_reload_changes_nothing_of_that() {
    let terms = Terms { slow_start: SECOND, ..TERMS };
    let mut bench = Bench::with(terms, Health::Unchecked, &[("web", &[1])]);
    assert_eq!(bench.answers("web", 1), ["web/1 up"], "the first verdict is no return");
    (0..3).for_each(|_| drop(bench.refuses("web", 1)));
    bench.answers("web", 1);
    assert_eq!(bench.answers("web", 1), ["web/1 up", "web/1 wants None 100 false"]);
    assert_eq!(bench.answers("web", 1), ["web/1 wants None 190 false"]);
    bench.judge.enter(&subject("web", 1), Terms { fall: 2, ..terms }, Health::Up);
    assert_eq!(bench.answers("web", 1), ["web/1 wants None 280 false"]);
    // An agent's part of it.
    let half = Answer { weight: Some(Weight::Percent(50)), drain: false };
    assert_eq!(bench.find("web", 1, Finding::Answered(half)), ["web/1 wants None 185 false"]);
    bench.judge.revise(&subject("web", 1), Terms { slow_start: Duration::ZERO, ..terms });
    assert_eq!(bench.find("web", 1, Finding::Answered(half)), ["web/1 wants None 500 false"]);
    // It goes down on its way up: the whole way again.
    bench.judge.revise(&subject("web", 1), terms);
    (0..3).for_each(|_| drop(bench.refuses("web", 1)));
    bench.answers("web", 1);
    assert_eq!(bench.answers("web", 1), ["web/1 up", "web/1 wants None 100 false"]);
    let shares: Vec<String> = (0..10).flat_map(|_| bench.answers("web", 1)).collect();
    assert_eq!(shares.last().map(String::as_str), Some("web/1 wants None 1000 false"));
}

#[test]
fn a_suspect_is_asked_faster_for_a_while_and_nothing_else() {
    let mut bench = Bench::new(&[("web", &[1])]);
    let one = subject("web", 1);
    assert!(!bench.judge.is_urgent(&one, bench.now));
    assert!(bench.judge.suspect(&one, bench.now));
    assert!(!bench.judge.suspect(&one, bench.now + SECOND), "it is asked already");
    assert!(bench.judge.is_urgent(&one, bench.now + SECOND * 3));
    assert!(!bench.judge.is_urgent(&one, bench.now + SECOND * 4));
    assert_eq!(bench.refuses("web", 1), NOTHING);
    assert!(!bench.judge.suspect(&subject("web", 9), bench.now), "nobody checks it");
}

#[test]
fn a_pool_that_is_checked_no_more_is_held_no_more() {
    let mut bench = Bench::new(&[("web", &[1])]);
    bench.all_silent(3, &[("web", 1)]);
    assert_eq!(bench.judge.held().count(), 1);
    assert_eq!(in_words(bench.judge.retain(&HashSet::new())), ["release web"]);
    assert_eq!(bench.answers("web", 1), NOTHING, "a last word");
}

#[test]
fn a_thousand_that_fall_silent_together_are_judged_in_no_time() {
    let pool: Vec<IpAddr> = (0..1000u32).map(|n| Ipv4Addr::from(0x0a01_0000 + n).into()).collect();
    let mut judge = Judge::default();
    judge.set_surroundings(surroundings(pool.iter().map(|address| (*address, 1)).collect(), true));
    for address in &pool {
        judge.enter(&("web".into(), *address), TERMS, Health::Up);
    }
    let mut round = |second: u64, answer: &dyn Fn(usize) -> Finding| {
        let mut all = Vec::new();
        for (index, address) in pool.iter().enumerate() {
            let now = SECOND * second as u32 + Duration::from_micros(index as u64);
            let outcome = Outcome { started: now, ended: now, finding: answer(index), words: "".into() };
            all.extend(judge.handle_outcome(&("web".into(), *address), outcome));
        }
        in_words(all)
    };
    round(1, &|_| Finding::Answered(Answer::default()));
    assert_eq!(round(2, &|_| Finding::Silent).len() + round(3, &|_| Finding::Silent).len(), 0);
    assert_eq!(round(4, &|_| Finding::Silent).last().map(String::as_str), Some("hold web: silence"));
    assert_eq!(round(5, &|_| Finding::Answered(Answer::default())), ["release web"]);
}

fn finding() -> impl Strategy<Value = Finding> {
    prop_oneof![
        Just(Finding::Answered(Answer::default())),
        Just(Finding::Refused),
        Just(Finding::Silent),
        Just(Finding::NotAsked)
    ]
}

proptest! {
    /// Whatever comes in whatever order: a pool is held and released in turn; nobody goes down in silence while it is held; a
    /// wish is never told twice; nobody is waited for who is down.
    #[test]
    fn rulings_make_sense_in_any_order(events in prop::collection::vec((0u8..8, finding()), 1..200)) {
        let mut bench = Bench::new(&[("db", &[7]), ("web", &[1, 2, 3])]);
        bench.judge.set_gateways(&[GATEWAY]);
        let (mut held, mut asked): (HashSet<String>, HashMap<Subject, Asked>) = Default::default();
        for (what, finding) in events {
            bench.now += SECOND / 10;
            let silent = finding == Finding::Silent;
            let rulings = match what {
                0 => bench.judge.handle_gateway(GATEWAY, !silent, bench.now),
                4 => {
                    let behind = [1, 2, 3, 7].map(|number| (address(number), 1));
                    bench.judge.set_surroundings(surroundings(behind.into(), !silent))
                }
                5 | 6 => continue,
                number => {
                    let pool = if number == 7 { "db" } else { "web" };
                    let words = "".into();
                    let outcome = Outcome { started: bench.now, ended: bench.now + SECOND / 20, finding, words };
                    bench.judge.handle_outcome(&subject(pool, number), outcome)
                }
            };
            for ruling in rulings {
                match ruling {
                    Ruling::Hold(pool, _) => prop_assert!(held.insert(pool)),
                    Ruling::Release(pool, _) => prop_assert!(held.remove(&pool)),
                    Ruling::Verdict((pool, _), Health::Down, _) => prop_assert!(!held.contains(&pool)),
                    Ruling::Asked(subject, wish) => prop_assert!(asked.insert(subject, wish) != Some(wish)),
                    _ => {}
                }
            }
            let is_down = |(pool, address): &Subject| {
                bench.judge.wards[pool].members[address].tracker.state() == Health::Down
            };
            prop_assert!(!bench.judge.waiting.iter().any(is_down));
            prop_assert_eq!(bench.judge.held().count(), held.len());
        }
        prop_assert!(asked.values().all(|asked| asked.share == Share::ALL));
    }
}
