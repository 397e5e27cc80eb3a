//! What is worth telling, and how it is put into batches.

use std::sync::atomic::Ordering::Relaxed;

use lb_common::abi::PinName;

use super::*;
use crate::state::journey::{Ways, World, address};
use crate::state::{Health, Ledger};

/// A world in which packets have left pins: some off the ring, some on it.
fn world() -> World {
    let mut world = World::new(Ways::default());
    world.view.set_health("p", address(2), Health::Down);
    world.write();
    world.open(400);
    world.view.health.clear();
    world.write();
    world.speak(|_| true).expect("pins hold them");
    world
}

fn standing(world: &World) -> Standing {
    Standing::new(&world.maps, &Directory::read(&world.maps), &mut RingChanges::default(), world.moment())
}

#[test]
fn a_pin_is_worth_telling_if_its_flow_is_or_may_be_off_the_ring() {
    let tick = |ticks: u64| Tick::from_nanoseconds(ticks << Tick::SHIFT);
    // Service 1 tracks just enough and its ring changed 3 ticks ago; service 2 tracks all.
    let services = vec![None, Some((3, false)), Some((3, true))];
    let standing = Standing { idle: 50, now: tick(1000), services };
    let pin = |service: u16, age: u64, foreign, confirmed| {
        let name = PinName::from_fingerprint(5, ServiceId::new(service).expect("it is valid"));
        Pin::new(name, RealId::new(1).expect("it is valid"), foreign, tick(1000 - age)).confirmed(confirmed)
    };
    // Service, age, foreign, confirmed; whether it is told, and as off the ring.
    let rows = [
        ((1, 0, true, true), Some(true)),
        ((1, 0, true, false), Some(true)),
        ((1, 0, false, true), Some(false)),
        ((1, 0, false, false), None),
        ((1, 3, false, false), Some(true)),
        ((1, 50, true, true), None),
        ((2, 0, false, true), None),
        ((2, 0, true, true), Some(true)),
        ((2, 3, false, true), Some(true)),
        ((3, 0, true, true), None),
    ];
    for ((service, age, foreign, confirmed), expected) in rows {
        let told = standing.worth_telling(pin(service, age, foreign, confirmed));
        assert_eq!(told.map(Pin::is_foreign), expected, "{service} {age} {foreign} {confirmed}");
    }
}

#[test]
fn only_what_has_changed_is_told_again() {
    let world = world();
    let (words, standing, mut ledger) = (world.maps.words(WordMap::Pins), standing(&world), Ledger::default());
    let first = changes(words, &mut ledger, &standing);
    assert!(first.len() > 50, "{}", first.len());
    assert_eq!(changes(words, &mut ledger, &standing), []);
    let (place, pin) = first[7];
    words[place].store(pin.confirmed(true).to_word() ^ 1, Relaxed);
    assert_eq!(changes(words, &mut ledger, &standing).len(), 1);
    let (all, next) = from_the_start(words, &standing, 0, usize::MAX);
    assert_eq!((all.len(), next), (first.len(), None));
}

#[test]
fn everything_is_told_piece_by_piece_too() {
    let world = world();
    let (words, standing) = (world.maps.words(WordMap::Pins), standing(&world));
    let (all, _) = from_the_start(words, &standing, 0, usize::MAX);
    let (mut pieces, mut from) = (Vec::new(), Some(0));
    while let Some(place) = from {
        let (piece, next) = from_the_start(words, &standing, place, 10);
        assert!(piece.len() <= 10);
        pieces.extend(piece);
        from = next;
    }
    assert_eq!(pieces, all);
}

#[test]
fn the_ledger_takes_no_room_once_there_is_nothing_to_tell() {
    let world = world();
    let words = world.maps.words(WordMap::Pins);
    let mut ledger = Ledger::default();
    let told = changes(words, &mut ledger, &standing(&world));
    assert!(ledger.knows(told[0].0, told[0].1));
    words.iter().for_each(|word| word.store(0, Relaxed));
    assert_eq!(changes(words, &mut ledger, &standing(&world)), []);
    assert!(!ledger.knows(told[0].0, told[0].1));
}

#[test]
fn a_batch_says_once_what_its_numbers_stand_for_and_is_never_too_long() {
    let world = world();
    let (standing, directory) = (standing(&world), Directory::read(&world.maps));
    let (pins, _) = from_the_start(world.maps.words(WordMap::Pins), &standing, 0, usize::MAX);
    let many: Vec<_> = pins.iter().copied().cycle().take(10_000).collect();
    let batches = batches(&many, &directory, &standing, |_| 77);
    assert_eq!(batches.iter().map(|batch| batch.pins.len()).sum::<usize>(), many.len());
    assert!(batches.len() > 1);
    for batch in &batches {
        let Batch { services, reals, pins } = batch;
        let service = ToldService { vip: address(100), ports: (80, 80), protocol: 6, zone: Name::new(""), owners: 77 };
        assert_eq!(services, &[service]);
        assert!((1..=4).contains(&reals.len()) && reals.iter().all(|real| real.pool == "p"));
        assert!(pins.iter().all(|pin| pin.service == 0 && usize::from(pin.real) < reals.len()));
        assert!(pins.len() * PIN_BYTES < 65_000);
    }
}

#[test]
fn rings_are_compared_by_what_they_mean_and_not_by_ids() {
    let of = |world: &World| {
        let directory = Directory::read(&world.maps);
        let ring = directory.rings().next().expect("there is one");
        (ring_owners(&world.maps, &directory, ring), ring_makings(&directory))
    };
    let one = World::new(Ways::default());
    let mut other = World::new(Ways::default());
    other.reals = vec![(9, 1)];
    other.write();
    other.reals = vec![(4, 1), (3, 1), (2, 1), (1, 1)];
    other.write();
    assert_eq!(of(&one), of(&other));
    other.view.set_health("p", address(2), Health::Down);
    other.write();
    assert!(of(&one).0 != of(&other).0 && of(&one).1 == of(&other).1);
    other.reals[0].1 = 2;
    other.write();
    assert_ne!(of(&one).1, of(&other).1);
}
