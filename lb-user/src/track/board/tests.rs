//! What becomes of virtual routers as more and more is known.

use super::*;
use crate::config::vrrp::SyncGroup;
use crate::config::{Director, Limits, VirtualRouter};

use Health::{Ill, Value, Well};

/// Virtual routers R0, R1, … with this priority each, and what they track.
fn config(routers: &[(u8, &[(&str, i16)])]) -> Config {
    let mut config = Config::new(Director::new(vec!["eth0".into()]), Limits::default(), Vec::new(), Vec::new());
    for (index, (priority, tracked)) in routers.iter().enumerate() {
        let number = u8::try_from(index + 1).unwrap();
        let vips = vec![format!("10.0.0.{number}/32").parse().unwrap()];
        let vrid = NonZeroU8::new(number).unwrap();
        let mut router = VirtualRouter::new(&format!("R{index}"), "eth0", vrid, vips).unwrap();
        router.priority = NonZeroU8::new(*priority).unwrap();
        let track = |(pool, weight): &(&str, i16)| Track { what: Tracked::Pool((*pool).into()), weight: *weight };
        router.tracked = tracked.iter().map(track).collect();
        config.vrrp.push(router);
    }
    config
}

fn group(mut config: Config, members: &[usize]) -> Config {
    let members = members.to_vec();
    config.sync_groups.push(SyncGroup { name: "G".into(), members, notify: None, notify_user: None });
    config
}

/// As "R0 80, R1 fault".
fn said(events: Vec<TrackEvent>) -> String {
    let one = |event: &TrackEvent| match event.effective {
        Effective::Priority(priority) => format!("{} {priority}", event.router),
        Effective::Fault => format!("{} fault", event.router),
    };
    events.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The author's table of the set-up with two SQL proxies: priorities 100 and 90, a script with weight +20 on each.
#[test]
fn the_vip_goes_where_the_table_of_the_two_proxies_says() {
    let mut on_212 = Board::default();
    let mut on_110 = Board::default();
    assert_eq!(said(on_212.handle_config(&config(&[(100, &[("proxy", 20)])]))), "");
    assert_eq!(said(on_110.handle_config(&config(&[(90, &[("proxy", 20)])]))), "");
    let rows = [
        // No proxy runs.
        (None, Some(Ill), "R0 100", ""),
        (Some(Ill), None, "", "R0 90"),
        // One starts on 110, then on 212; the one on 212 stops, then the one on 110.
        (Some(Well), None, "", "R0 110"),
        (None, Some(Well), "R0 120", ""),
        (None, Some(Ill), "R0 100", ""),
        (Some(Ill), None, "", "R0 90"),
    ];
    for (at_110, at_212, expected_212, expected_110) in rows {
        let news = |board: &mut Board, health: Option<Health>| {
            health.map(|health| said(board.handle_health("pool proxy", health))).unwrap_or_default()
        };
        assert_eq!(news(&mut on_212, at_212), expected_212);
        assert_eq!(news(&mut on_110, at_110), expected_110);
    }
}

#[test]
fn a_router_is_waited_for_until_all_that_it_tracks_is_known() {
    let mut board = Board::default();
    let events = board.handle_config(&config(&[(100, &[("a", -20), ("b", 0)]), (90, &[])]));
    assert_eq!(said(events), "R1 90");
    assert!(!board.is_complete());
    assert_eq!(said(board.handle_health("pool a", Ill)), "");
    // That nothing is known is no news, neither now nor later.
    assert_eq!(said(board.handle_health("pool b", Health::Unknown)), "");
    assert!(!board.is_complete());
    assert_eq!(said(board.handle_health("pool b", Well)), "R0 80");
    assert!(board.is_complete());
    assert_eq!(said(board.handle_health("pool a", Health::Unknown)), "");
}

#[test]
fn what_is_overdue_is_neither_well_nor_ill() {
    let mut board = Board::default();
    board.handle_config(&config(&[(100, &[("a", -20), ("b", 0), ("c", 30)])]));
    assert_eq!(said(board.handle_overdue()), "R0 100");
    assert!(board.is_complete());
    assert_eq!(said(board.handle_health("pool c", Well)), "R0 130");
    assert_eq!(said(board.handle_health("pool b", Ill)), "R0 fault");
    assert_eq!(said(board.handle_health("pool b", Well)), "R0 130");
}

#[test]
fn only_a_change_is_news() {
    let mut board = Board::default();
    board.handle_config(&config(&[(100, &[("a", -20)]), (90, &[("a", -253), ("b", 5)]), (80, &[("b", 0)])]));
    assert_eq!(said(board.handle_health("pool a", Well)), "R0 100");
    assert_eq!(said(board.handle_health("pool b", Well)), "R1 95, R2 80");
    assert_eq!(said(board.handle_health("pool b", Well)), "");
    assert_eq!(said(board.handle_health("pool a", Ill)), "R0 80, R1 1");
    // Of what nobody tracks.
    assert_eq!(said(board.handle_health("pool c", Ill)), "");
    assert_eq!(said(board.handle_health("pool b", Value(-300))), "R1 fault, R2 fault");
}

#[test]
fn a_reload_keeps_what_is_known_and_says_of_each_router_what_it_comes_to() {
    let mut board = Board::default();
    board.handle_config(&config(&[(100, &[("a", -20)])]));
    board.handle_health("pool a", Ill);
    // The same again, with other weights, with another thing that is not known yet, and with a new router.
    assert_eq!(said(board.handle_config(&config(&[(100, &[("a", -20)])]))), "R0 80");
    assert_eq!(said(board.handle_config(&config(&[(100, &[("a", -30)])]))), "R0 70");
    assert_eq!(said(board.handle_config(&config(&[(120, &[("a", -30), ("b", 0)])]))), "R0 90");
    assert_eq!(said(board.handle_config(&config(&[(100, &[("a", -20)]), (90, &[("a", 1), ("b", 0)])]))), "R0 80");
    assert_eq!(said(board.handle_health("pool b", Well)), "R1 90");
    // What nobody tracks any more is forgotten.
    assert_eq!(said(board.handle_config(&config(&[(100, &[])]))), "R0 100");
    assert_eq!(said(board.handle_config(&config(&[(100, &[("a", -20)])]))), "R0 100");
    assert_eq!(said(board.handle_health("pool a", Ill)), "R0 80");
}

#[test]
fn what_a_member_of_a_group_tracks_counts_for_all_of_it() {
    let routers: &[(u8, &[(&str, i16)])] = &[(100, &[("a", -20)]), (100, &[("a", -20), ("b", 5)]), (100, &[])];
    let mut board = Board::default();
    assert_eq!(said(board.handle_config(&group(config(routers), &[0, 1]))), "R2 100");
    assert_eq!(said(board.handle_health("pool a", Ill)), "");
    assert_eq!(said(board.handle_health("pool b", Well)), "R0 85, R1 85");
}

#[test]
fn every_thing_is_watched_once() {
    let config = config(&[(100, &[("a", -20), ("b", 0)]), (100, &[("a", 5)])]);
    assert_eq!(things(&config).len(), 2);
}
