//! The maps under every change, watched after every single step.

use std::net::{IpAddr, Ipv4Addr};

use lb_common::abi::limits::SERVICE_SLOTS;
use lb_common::abi::{
    Bucket, Mac, Name, Protocol, RealId, RealState, RingRange, ServiceId, ServiceInfo, ServiceKey, ServiceSlot,
    Settings, Tick,
};
use proptest::prelude::*;

use super::*;
use crate::config::{Config, Director, Limits, Pool, Ports, Real, Service};
use crate::dataplane::{CounterId, Maps, Memory, WordMap};
use crate::reconcile::Reconciler;

const LIMITS: Limits = Limits { services: 40, reals: 200, ring_buckets: 40_000, pins: 1024, access_prefixes: 100 };

const NOW: Moment = Moment { seconds: 1000, tick: Tick::from_nanoseconds(1_000_000_000_000) };

fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 66, 0, last))
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

/// A pool of (last byte of the address, weight).
fn pool(name: &str, ring_size: u32, reals: &[(u8, u32)]) -> Pool {
    let real = |&(last, weight): &(u8, u32)| Real::new(&format!("r{last}"), address(last), weight);
    Pool::new(name, ring_size, reals.iter().map(real).collect())
}

fn service(port: u16, pool: usize) -> Service {
    Service::new(&format!("s{port}"), address(200), port, Protocol::Tcp, pool)
}

fn config(pools: Vec<Pool>, services: Vec<Service>) -> Config {
    let director = Director { hash_seed: Some(7), ..Director::new(vec!["eth0".into()]) };
    Config::new(director, LIMITS, pools, services)
}

fn web() -> Config {
    config(vec![pool("web", 307, &[(1, 1), (2, 1), (3, 1)])], vec![service(80, 0), service(443, 0)])
}

/// Everybody resolved, nobody checked.
fn view() -> View {
    let macs = (1..=50).map(|last| (address(last), mac(last))).collect();
    let interfaces = vec![Interface { index: 2, mac: mac(0xd1), mtu: 1500 }];
    View { hash_seed: 7, interfaces, macs, ..View::default() }
}

fn with_health(pool: &str, last: u8, health: Health) -> View {
    let mut view = view();
    view.set_health(pool, address(last), health);
    view
}

/// What a packet would find: service and ring, by the tables as they are.
fn look_up(maps: &Memory, service: &Service) -> Option<(ServiceId, RingRange)> {
    let settings: Settings = read_value(maps.words(WordMap::Settings), 0);
    let IpAddr::V4(vip) = service.vip else { return None };
    let key = ServiceKey::v4(vip.octets(), service.ports.first.to_be_bytes(), service.protocol);
    let half = settings.active_half as usize & 1;
    let index = half as u32 * SERVICE_SLOTS + key.slot(settings.slot_seeds[half]);
    let slot: ServiceSlot = read_value(maps.words(WordMap::Services), index);
    (settings.version != 0 && slot.matches(key)).then(|| Some((slot.service()?, slot.ring())))?
}

fn ring(maps: &Memory, range: RingRange) -> Vec<Bucket> {
    let words = maps.words(WordMap::Buckets);
    (range.base..range.base + range.size)
        .map(|i| Bucket::from_word(words[i as usize].load(std::sync::atomic::Ordering::Relaxed)))
        .collect()
}

/// The last bytes of the owners' MACs, bucket by bucket; 0 for an empty bucket.
fn owners(maps: &Memory, service: &Service) -> Vec<u8> {
    let (_, range) = look_up(maps, service).expect("the service is there");
    ring(maps, range).iter().map(|bucket| Mac::from_word(bucket.mac_word()).0[5]).collect()
}

fn planned(config: &Config, view: &View, maps: &Memory) -> Result<Plan, DesiredError> {
    let (directory, access) = (Directory::read(maps), maps.access_lists().expect("the twin does not fail"));
    let (holds, directory) = (Holds::default(), &directory);
    let wish = Wish { config, view, maps, directory, access: &access, holds: &holds, now: NOW };
    let desired = Desired::new(&wish, &mut RingCache::default())?;
    let interfaces = desired.settings.interfaces;
    Ok(plan(&desired, directory, &access, &interfaces, maps))
}

/// Applies the difference one step at a time and hands the maps to `watch` after each.
fn apply_watched(config: &Config, view: &View, maps: &mut Memory, mut watch: impl FnMut(&Memory)) -> Summary {
    let plan = planned(config, view, maps).expect("it fits");
    for step in &plan.steps {
        step.apply(maps).expect("the twin does not fail");
        watch(maps);
    }
    plan.summary
}

fn settled(config: &Config, view: &View) -> Memory {
    let mut maps = Memory::new(&LIMITS);
    Reconciler::default().reconcile(config, view, &mut maps, NOW).expect("it fits");
    maps
}

#[test]
fn a_second_daemon_adopts_everything_and_writes_nothing() {
    let mut maps = settled(&web(), &view());
    let summary = Reconciler::default().reconcile(&web(), &view(), &mut maps, NOW).expect("it fits");
    assert_eq!(summary, Summary::default());
    assert_eq!(planned(&web(), &view(), &maps).expect("it fits").steps, []);
}

#[test]
fn a_real_that_goes_down_moves_only_its_buckets_and_gets_just_those_back() {
    let mut maps = settled(&web(), &view());
    let service = service(80, 0);
    let before = owners(&maps, &service);
    let mut reconciler = Reconciler::default();
    reconciler.reconcile(&web(), &with_health("web", 2, Health::Down), &mut maps, NOW).expect("it fits");
    for (&before, after) in before.iter().zip(owners(&maps, &service)) {
        assert!(if before == 2 { after == 1 || after == 3 } else { after == before });
    }
    reconciler.reconcile(&web(), &with_health("web", 2, Health::Up), &mut maps, NOW).expect("it fits");
    assert_eq!(owners(&maps, &service), before);
}

#[test]
fn an_unresolved_real_serves_nothing_and_an_empty_pool_is_marked() {
    let mut blind = view();
    blind.macs.remove(&address(2));
    let maps = settled(&web(), &blind);
    assert!(!owners(&maps, &service(80, 0)).contains(&2));
    blind.macs.clear();
    let maps = settled(&web(), &blind);
    let (_, range) = look_up(&maps, &service(80, 0)).expect("the service is there");
    assert!(ring(&maps, range).iter().all(|bucket| *bucket == Bucket::EMPTY.tracked()));
}

#[test]
fn services_of_one_pool_share_its_ring_and_pools_do_not() {
    let pools = vec![pool("a", 251, &[(1, 1)]), pool("b", 251, &[(2, 1)])];
    let maps = settled(&config(pools, vec![service(1, 0), service(2, 0), service(3, 1)]), &view());
    let ring = |port, pool| look_up(&maps, &service(port, pool)).expect("it is there").1;
    assert_eq!(ring(1, 0), ring(2, 0));
    assert_ne!(ring(1, 0), ring(3, 1));
}

#[test]
fn ports_that_are_taken_out_of_a_range_have_their_flows_where_the_range_had_them() {
    let pools = || vec![pool("a", 17, &[(1, 1), (2, 1)]), pool("b", 17, &[(3, 1), (4, 1)])];
    let range = || Service { ports: Ports { first: 8000, last: 9000 }, ..service(8000, 0) };
    let mut maps = settled(&config(pools(), vec![range()]), &view());
    let of = |maps: &Memory, port: u16| -> ServiceInfo {
        *Directory::read(maps).services.values().find(|info| info.port == port).expect("it is there")
    };
    let former = of(&maps, 8000).ring;
    apply_watched(&config(pools(), vec![range(), service(8443, 1)]), &view(), &mut maps, |_| {});
    assert_eq!(of(&maps, 8443).old_ring, former);
}

#[test]
fn a_new_mac_is_written_to_the_buckets_of_its_real() {
    let mut maps = settled(&web(), &view());
    let mut moved = view();
    moved.macs.insert(address(2), mac(99));
    Reconciler::default().reconcile(&web(), &moved, &mut maps, NOW).expect("it fits");
    let owners = owners(&maps, &service(80, 0));
    assert!(owners.contains(&99) && !owners.contains(&2));
}

#[test]
fn counters_of_a_new_id_start_at_zero_and_others_go_on() {
    let mut maps = settled(&web(), &view());
    let third = RealId::new(3).expect("a valid id");
    maps.real_counters.iter_mut().chain(&mut maps.service_counters).for_each(|counter| counter.packets = 5);
    let two = config(vec![pool("web", 307, &[(1, 1), (2, 1)])], vec![service(80, 0)]);
    let mut reconciler = Reconciler::default();
    reconciler.reconcile(&two, &view(), &mut maps, NOW).expect("it fits");
    assert_eq!(Directory::read(&maps).reals[&third].state, RealState::Draining as u8);
    let later = Moment { seconds: NOW.seconds + 901, ..NOW };
    reconciler.sweep(&two, &view(), &mut maps, later).expect("it fits");
    assert_eq!(Directory::read(&maps).reals.len(), 2);
    reconciler.reconcile(&web(), &view(), &mut maps, NOW).expect("it fits");
    assert_eq!(Directory::read(&maps).real(&Name::new("web"), address(3)), Some(third));
    let packets: Vec<u64> = maps.real_counters[1..=3].iter().map(|counter| counter.packets).collect();
    assert_eq!(packets, [5, 5, 0]);
    maps.zero_counter(CounterId::Real(third)).expect("the twin does not fail");
}

#[test]
fn what_does_not_fit_is_refused_with_the_limit_to_raise() {
    let maps = settled(&web(), &view());
    let reals: Vec<(u8, u32)> = (1..=250).map(|last| (last, 1)).collect();
    let big = config(vec![pool("big", 39_989, &[(1, 1)])], vec![service(80, 0)]);
    let many = config(vec![pool("many", 251, &reals)], vec![service(80, 0)]);
    for (config, limit) in [(big, "limits.ring_buckets"), (many, "limits.reals")] {
        let error = planned(&config, &view(), &maps).expect_err("it does not fit").to_string();
        assert!(error.contains(limit), "{error}");
    }
}

/// A config drawn at random, with the view of a random health.
fn worlds() -> impl Strategy<Value = (Config, View)> {
    let reals = prop::collection::btree_map(1u8..=20, 0u32..4, 1..8);
    let pools = prop::collection::vec((reals, prop_oneof![Just(251u32), Just(307), Just(1009)]), 1..4);
    let services = prop::collection::btree_map(1u16..60, any::<prop::sample::Index>(), 0..12);
    let down = prop::collection::vec((0usize..3, 1u8..=20), 0..10);
    let unresolved = prop::collection::vec(1u8..=20, 0..4);
    (pools, services, down, unresolved, 0u64..3).prop_map(|(pools, services, down, unresolved, hash_seed)| {
        let pool = |(index, (reals, size)): (usize, &(std::collections::BTreeMap<u8, u32>, u32))| {
            let reals: Vec<_> = reals.iter().map(|(&last, &weight)| (last, weight)).collect();
            pool(&format!("p{index}"), *size, &reals)
        };
        let count = pools.len();
        let pools = pools.iter().enumerate().map(pool).collect();
        let services = services.into_iter().map(|(port, pool)| service(port, pool.index(count))).collect();
        let mut view = View { hash_seed, ..view() };
        for (pool, last) in down {
            view.set_health(&format!("p{pool}"), address(last), Health::Down);
        }
        for last in unresolved {
            view.macs.remove(&address(last));
        }
        (config(pools, services), view)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Through any sequence of changes, and after every single word of each: a service that is wanted before and after
    /// is found all the time, and whatever ring it has holds written buckets only.
    #[test]
    fn packets_never_see_a_half_made_table(worlds in prop::collection::vec(worlds(), 2..5)) {
        let mut maps = Memory::new(&LIMITS);
        let mut before: Vec<Service> = Vec::new();
        for (config, view) in &worlds {
            let lasting: Vec<_> = before.iter().filter(|s| config.services.iter().any(|t| t.ports == s.ports)).cloned().collect();
            let mut broken = None;
            let mut count = 0;
            apply_watched(config, view, &mut maps, |maps| {
                count += 1;
                for service in &lasting {
                    let found = look_up(maps, service);
                    // A whole ring at a time is slow to look at; every 16th step and the first ones will do.
                    let whole = |range| count % 16 != 0 && count > 8 || !ring(maps, range).contains(&Bucket::UNWRITTEN);
                    if !found.is_some_and(|(_, range)| whole(range)) {
                        broken.get_or_insert((service.name.clone(), count));
                    }
                }
            });
            prop_assert_eq!(broken, None);
            for service in &config.services {
                prop_assert!(look_up(&maps, service).is_some());
            }
            for service in before.iter().filter(|s| config.services.iter().all(|t| t.ports != s.ports)) {
                prop_assert!(look_up(&maps, service).is_none());
            }
            let again = Reconciler::default().reconcile(config, view, &mut maps, NOW).expect("it fits");
            prop_assert_eq!(again, Summary::default());
            // Whatever came before, the rings are those of a director that starts anew.
            let fresh = settled(config, view);
            for service in &config.services {
                prop_assert_eq!(owners(&maps, service), owners(&fresh, service));
            }
            before = config.services.clone();
        }
    }
}
