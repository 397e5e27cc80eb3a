//! Two directors: what one tells the other keeps flows where they are when packets come to the other.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use lb_common::abi::Tick;
use proptest::prelude::*;

use super::*;
use crate::dataplane::{Maps, WordMap};
use crate::state::journey::{IDLE, Ways, World, address};
use crate::state::{Health, ToldPin};

/// A director with the same file as [`World::new`], but ids of its own.
fn other() -> World {
    let mut world = World::new(Ways::default());
    world.reals = vec![(9, 1)];
    world.write();
    world.reals = vec![(4, 1), (3, 1), (2, 1), (1, 1)];
    world.write();
    // Nothing of that is of any interest to packets any more.
    world.now += 2 * IDLE;
    for _ in 0..3 {
        world.write();
        world.sweep();
    }
    world.now = 1000;
    assert!(!world.reconciler.tracks());
    world
}

/// What `a` has to tell, `b` hears.
fn tell(a: &mut World, b: &mut World) -> Heard {
    let batches = a.reconciler.tell(&a.maps, a.moment());
    hear(b, &batches)
}

/// Everything anew.
fn tell_all(a: &mut World, b: &mut World) -> Heard {
    let (batches, next) = a.reconciler.tell_all(&a.maps, a.moment(), 0, usize::MAX);
    assert_eq!(next, None);
    hear(b, &batches)
}

fn hear(b: &mut World, batches: &[Batch]) -> Heard {
    let mut sum = Heard::default();
    for batch in batches {
        let (heard, write) = b.reconciler.hear(&b.maps, batch, b.moment());
        let Heard { new, renewed, known, strange, expired, crowded, rings } = heard;
        sum.new += new;
        sum.renewed += renewed;
        sum.known += known;
        sum.strange += strange;
        sum.expired += expired;
        sum.crowded += crowded;
        sum.rings.extend(rings);
        if write {
            b.write();
        }
    }
    sum
}

fn set_down(world: &mut World, last: u8) {
    world.view.set_health("p", address(last), Health::Down);
    world.write();
}

fn all_up(world: &mut World) {
    world.view.health.clear();
    world.write();
}

/// From here on packets come to `b`.
fn move_vip(a: &mut World, b: &mut World) {
    b.flows = std::mem::take(&mut a.flows);
}

/// A's real server 2 goes and comes back, which B never hears of.
fn off_the_ring() -> (World, World) {
    let (mut a, b) = (World::new(Ways::default()), other());
    set_down(&mut a, 2);
    a.open(400);
    a.speak(|_| true).expect("nothing has changed");
    all_up(&mut a);
    (a, b)
}

#[test]
fn a_flow_off_the_ring_stays_although_the_other_director_never_saw_why() {
    let (mut a, mut b) = off_the_ring();
    a.speak(|_| true).expect("pins hold them");
    let heard = tell(&mut a, &mut b);
    assert!(heard.new > 50 && heard.rings.len() == 1, "{heard:?}");
    move_vip(&mut a, &mut b);
    b.speak(|_| true).expect("the other director has been told");
}

#[test]
fn without_a_word_of_it_such_flows_move() {
    let (mut a, mut b) = off_the_ring();
    a.speak(|_| true).expect("pins hold them");
    move_vip(&mut a, &mut b);
    b.speak(|_| true).expect_err("nobody has told it");
}

#[test]
fn a_flow_that_has_been_silent_since_its_real_server_came_back_is_told_too() {
    let (mut a, mut b) = off_the_ring();
    assert!(tell(&mut a, &mut b).new > 50);
    move_vip(&mut a, &mut b);
    b.speak(|_| true).expect("the other director has been told");
}

#[test]
fn a_flow_told_while_its_real_server_was_away_stays_when_that_comes_back_to_the_other_director() {
    let (mut a, mut b) = (World::new(Ways::default()), other());
    for world in [&mut a, &mut b] {
        set_down(world, 2);
    }
    a.open(400);
    // Longer than a tick after the change: whoever is seen now is where the ring says.
    for world in [&mut a, &mut b] {
        world.now += 60;
    }
    a.speak(|_| true).expect("nothing has changed");
    let heard = tell(&mut a, &mut b);
    assert!(heard.new > 50, "{heard:?}");
    assert!(heard.rings.is_empty(), "both have the same ring, so no more of it has to be tracked");
    move_vip(&mut a, &mut b);
    all_up(&mut b);
    b.speak(|_| true).expect("the other director has been told");
}

#[test]
fn nothing_is_told_twice_nor_back() {
    let (mut a, mut b) = off_the_ring();
    a.speak(|_| true).expect("pins hold them");
    assert!(tell(&mut a, &mut b).new > 0);
    assert_eq!(tell(&mut a, &mut b), Heard::default());
    assert_eq!(tell(&mut b, &mut a), Heard::default());
    // Who has been away is told everything, and has it all.
    let again = tell_all(&mut a, &mut b);
    assert!(again.known > 0 && again.new + again.renewed == 0, "{again:?}");
    assert!(tell_all(&mut b, &mut a).known > 0);
    assert_eq!(tell(&mut a, &mut b), Heard::default());
}

#[test]
fn a_flow_that_goes_on_is_told_again_and_lives_on() {
    let (mut a, mut b) = off_the_ring();
    for _ in 0..8 {
        for world in [&mut a, &mut b] {
            world.now += IDLE / 4;
            world.sweep();
        }
        a.speak(|_| true).expect("pins hold them");
        tell(&mut a, &mut b);
    }
    assert!(b.reconciler.tracks());
    move_vip(&mut a, &mut b);
    b.speak(|_| true).expect("the other director has been told");
}

#[test]
fn what_was_told_once_and_never_again_is_forgotten_with_its_marks() {
    let (mut a, mut b) = off_the_ring();
    a.speak(|_| true).expect("pins hold them");
    tell(&mut a, &mut b);
    assert!(b.reconciler.tracks());
    b.now += IDLE / 2;
    b.sweep();
    assert!(b.reconciler.tracks(), "it is too early to forget");
    b.now += IDLE;
    b.sweep();
    b.sweep();
    assert!(!b.reconciler.tracks());
    assert_eq!(b.maps.words(WordMap::Pins).iter().filter(|word| word.load(Relaxed) != 0).count(), 0);
}

#[test]
fn a_change_of_the_file_on_one_director_breaks_nothing_when_the_vip_moves_to_the_other() {
    let (mut a, mut b) = (World::new(Ways::default()), other());
    a.open(400);
    a.speak(|_| true).expect("nothing has changed");
    a.reals.push((5, 2));
    a.write();
    a.open(200);
    a.speak(|_| true).expect("pins hold them");
    tell(&mut a, &mut b);
    // B does not know the fifth yet: its flows are lost if they come now.
    b.reals.push((5, 2));
    b.write();
    tell_all(&mut a, &mut b);
    move_vip(&mut a, &mut b);
    b.speak(|_| true).expect("the other director has been told");
}

fn batch(pins: Vec<ToldPin>) -> Batch {
    let vip = address(100);
    let services =
        vec![ToldService { vip, ports: (80, 80), protocol: 6, zone: lb_common::abi::Name::new(""), owners: 0 }];
    let reals = [1, 2].map(|last| ToldReal { pool: "p".into(), address: address(last) }).into();
    Batch { services, reals, pins }
}

fn pin(print: u32, real: u16, age: u16) -> ToldPin {
    ToldPin { set: 7, print, service: 0, real, age, confirmed: true, off_ring: true }
}

/// The real servers and ages of the live pins in set 7.
fn set_7(world: &World) -> Vec<(u16, u32)> {
    let words = &world.maps.words(WordMap::Pins)[7 * WAYS..8 * WAYS];
    let pins = words.iter().map(|word| Pin::from_word(word.load(Acquire))).filter(|pin| pin.to_word() != 0);
    let real = |pin: Pin| pin.real().map_or(0, |real| real.index() as u16);
    pins.map(|pin| (real(pin), pin.tick().age(world.moment().tick))).collect()
}

#[test]
fn whoever_has_seen_a_flow_last_is_right() {
    let told = |real, age| batch(vec![pin(5, real, age)]);
    // (real, age) told first, told then, what holds. The ids are 1 and 2.
    let rows = [
        ((0, 9), (1, 8), (2, 8)),
        ((0, 9), (1, 10), (1, 9)),
        // As old, and neither is what packets said here.
        ((0, 9), (1, 9), (2, 9)),
        ((0, 9), (0, 3), (1, 3)),
    ];
    for (first, then, holds) in rows {
        let mut world = World::new(Ways::default());
        for (real, age) in [first, then] {
            hear(&mut world, &[told(real, age)]);
        }
        assert_eq!(set_7(&world), [holds], "{first:?}, {then:?}");
    }
    // What packets said here holds, unless it is older.
    for (age, holds) in [(9, (1, 9)), (8, (2, 8))] {
        let mut world = World::new(Ways::default());
        let ours = hear(&mut world, &[told(0, 9)]);
        assert_eq!(ours.new, 1);
        world.reconciler = crate::reconcile::Reconciler::default();
        hear(&mut world, &[told(1, age)]);
        assert_eq!(set_7(&world), [holds]);
    }
}

#[test]
fn what_cannot_be_used_is_counted() {
    let mut world = World::new(Ways::default());
    let strange = ToldPin { service: 3, ..pin(1, 0, 0) };
    let nobody = ToldPin { real: 9, ..pin(2, 0, 0) };
    let beyond = ToldPin { set: u32::MAX, ..pin(3, 0, 0) };
    let heard = hear(&mut world, &[batch(vec![strange, nobody, beyond, pin(4, 0, 2047)])]);
    assert_eq!((heard.strange, heard.crowded, heard.expired, heard.new), (2, 1, 1, 0), "{heard:?}");
    // One more than there are places, and all are of live connections.
    let heard = hear(&mut world, &[batch((10..19).map(|print| pin(print, 0, 0)).collect())]);
    assert!(heard.new == 9 && set_7(&world).len() == WAYS, "{heard:?}: the last one took the place of a newcomer");
    let foreign_service = Batch {
        services: vec![ToldService {
            vip: address(101),
            ports: (80, 80),
            protocol: 6,
            zone: lb_common::abi::Name::new(""),
            owners: 0,
        }],
        ..batch(vec![pin(1, 0, 0)])
    };
    assert_eq!(hear(&mut world, &[foreign_service]).strange, 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// However the real servers of one director come and go, and whenever the vip moves, flows stay.
    #[test]
    fn flows_stay_when_the_vip_moves(acts in prop::collection::vec((0u8..6, 1u8..5, 1u64..200), 1..25)) {
        let (mut a, mut b) = (World::new(Ways::default()), other());
        a.open(60);
        let mut holder = &mut a;
        let mut backup = &mut b;
        for (number, (act, real, seconds)) in acts.into_iter().enumerate() {
            match act {
                // The flows of a real server that is declared down are lost in any case.
                0 if holder.view.health.get("p").is_none_or(|pool| pool.len() < 3) => {
                    set_down(holder, real);
                    holder.forget_flows_of(real);
                }
                1 => all_up(holder),
                2 => all_up(backup),
                3 => holder.open(40),
                4 => {
                    holder.now += seconds;
                    backup.now = holder.now;
                    holder.sweep();
                    backup.sweep();
                }
                _ => {
                    tell(holder, backup);
                    // Nobody is where the other knows of no server.
                    for down in holder.downs() {
                        set_down(backup, down);
                    }
                    for down in backup.downs() {
                        holder.forget_flows_of(down);
                    }
                    move_vip(holder, backup);
                    std::mem::swap(&mut holder, &mut backup);
                }
            }
            tell(holder, backup);
            let outcome = holder.speak(|flow| flow % 3 != 0);
            prop_assert_eq!(outcome, Ok(()), "act {}", number);
            tell(holder, backup);
        }
    }
}

#[test]
fn a_tick_from_another_clock_is_an_age() {
    let mut world = World::new(Ways::default());
    hear(&mut world, &[batch(vec![pin(5, 0, 20)])]);
    assert_eq!(set_7(&world), [(1, 20)]);
    assert_eq!(Tick::from_number(5).before(7).age(Tick::from_number(5)), 7);
}
