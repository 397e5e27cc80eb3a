//! What a service, and the director's peers, can be.

use ipnet::IpNet;
use lb_common::abi::Access;

use super::*;

/// The good file, with a key more or another after `port`, which is in line 18.
fn with(keys: &str) -> String {
    GOOD.replace("port = 3306", keys).replace("check = { type = \"tcp\",", "check = { type = \"tcp\", port = 3306,")
}

fn parsed(text: &str) -> Parsed {
    Config::parse("x.toml", text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The one service of a file with these keys.
fn service(keys: &str) -> Service {
    let Parsed { mut config, warnings } = parsed(&with(keys));
    assert_eq!(warnings, [], "{keys}");
    config.services.remove(0)
}

fn said(text: &str) -> String {
    Config::parse("x.toml", text).expect_err(text).to_string()
}

/// The same, with the first real server in the zone `a`.
fn with_zones(keys: &str) -> String {
    with(keys).replace("name = \"db1\"\n", "name = \"db1\"\nzone = \"a\"\n")
}

#[test]
fn zones_are_those_of_the_pool_and_count_as_services_and_rings() {
    let Parsed { config, .. } = parsed(&with_zones("port = 3306\nlocality = { \"10.1.0.0/16\" = \"a\" }"));
    let service = &config.services[0];
    assert_eq!((service.zones().into_iter().collect::<Vec<_>>(), service.prefixes().len()), (vec!["a"], 1));
    let locality = "port = 3306\nlocality = { \"10.1.0.0/16\" = \"a\", \"10.2.0.0/16\" = \"b\" }";
    let said_of_b = "sends 10.2.0.0/16 to zone \"b\", and no real server of pool mysql is in it; zones there: a";
    assert!(said(&with_zones(locality)).contains(said_of_b));
    let many: Vec<String> = (0..16).map(|zone| format!("\"10.{zone}.0.0/16\" = \"z{zone}\"")).collect();
    let many = said(&with_zones(&format!("port = 3306\nlocality = {{ {} }}", many.join(", "))));
    assert!(many.contains("service.locality has 16 zones; it may have 15"), "{many}");
    let tight = "[limits]\nservices = 1\nring_buckets = 600\naccess_prefixes = 1\n\n[pool.mysql]";
    let tight = with_zones("port = 3306\nlocality = { \"10.1.0.0/16\" = \"a\" }")
        .replace("[pool.mysql]\n", &format!("{tight}\n"));
    let tight = said(&tight);
    for key in ["limits.services", "limits.ring_buckets", "limits.access_prefixes"] {
        assert!(tight.contains(key), "{tight}");
    }
}

#[test]
fn each_mistake_in_a_service_is_named_with_its_line_and_its_cure() {
    let prefix = "x.toml:19: service.deny: \"";
    let rows = [
        ("port = 80\nports = \"80-81\"", "x.toml:19: a service has either `port` or `ports`, not both"),
        ("", "x.toml:15: a service needs `port` (a number, or \"any\") or `ports` (such as \"8000-9000\")"),
        ("port = 65536", "x.toml:18: service.port is 65536; it must be from 1 to 65535"),
        ("port = -1", "x.toml:18: service.port is -1; it must be from 1 to 65535"),
        (
            "port = \"all\"",
            "x.toml:18: service.port is \"all\"; it must be a number or \"any\" (a range is written `ports`)",
        ),
        ("port = [80, 443]", "x.toml:18: expected a number or \"any\"; a range is written `ports`"),
        ("ports = \"9000-8000\"", "x.toml:18: service.ports is \"9000-8000\"; write the first and the last port"),
        ("ports = \"0-80\"", "x.toml:18: service.ports is \"0-80\"; write the first"),
        ("ports = \"80-65536\"", "x.toml:18: service.ports is \"80-65536\"; write the first"),
        (
            "ports = \"8000\"",
            "x.toml:18: service.ports is \"8000\"; write the first and the last port, as in \"8000-9000\"",
        ),
        ("ports = \"any\"", "x.toml:18: service.ports is \"any\"; write the first"),
        ("ports = 8000", "x.toml:18: invalid type: integer `8000`, expected a string"),
        (
            "port = 80\naffinity = \"client\"",
            "x.toml:19: service.affinity is \"client\"; it must be \"flow\" or \"source\"",
        ),
        ("port = 80\nsource_mask = { v4 = 33 }", "x.toml:19: service.source_mask.v4 is 33; it must be from 1 to 32"),
        ("port = 80\nsource_mask = { v4 = 0 }", "x.toml:19: service.source_mask.v4 is 0; it must be from 1 to 32"),
        ("port = 80\nsource_mask = { v6 = 129 }", "x.toml:19: service.source_mask.v6 is 129; it must be from 1 to 128"),
        ("port = 80\nsource_mask = { v5 = 24 }", "x.toml:19: unknown key `v5`; did you mean `v4`?"),
        ("port = 80\nsource_mask = 24", "expected a table such as { v4 = 24, v6 = 64 }"),
        (
            "port = 80\ntracking = \"all\"",
            "x.toml:19: service.tracking is \"all\"; it must be \"just_enough\" or \"full\"",
        ),
        (
            "port = 80\nidle_timeout = \"9s\"",
            "x.toml:19: service.idle_timeout is \"9s\"; a duration is a number with ms, s, m or h, from 10s to 4h, as in \"15m\"",
        ),
        ("port = 80\nidle_timeout = \"241m\"", "x.toml:19: service.idle_timeout is \"241m\""),
        ("port = 80\nidle_timeout = \"600\"", "x.toml:19: service.idle_timeout is \"600\""),
        (
            "port = 80\ndeny = [\"10.0.0.0/33\"]",
            &format!("{prefix}10.0.0.0/33\" is no prefix; write one such as \"10.1.0.0/16\""),
        ),
        ("port = 80\ndeny = [\"intranet\"]", &format!("{prefix}intranet\" is no prefix")),
        (
            "port = 80\ndeny = [\"fd00::/8\"]",
            &format!("{prefix}fd00::/8\" is not of the family of the vip 192.168.81.100"),
        ),
        (
            "port = 80\ndeny = [\"10.0.0.1/8\"]",
            &format!("{prefix}10.0.0.1/8\" has bits set behind its length; write 10.0.0.0/8"),
        ),
        ("port = 80\nallow = [\"::1\"]", "x.toml:19: service.allow: \"::1\" is not of the family of the vip"),
        (
            "port = 80\nallow = [\"10.1.0.0/16\"]\ndeny = [\"10.0.0.0/8\",\n\"10.1.0.0/16\"]",
            "x.toml:21: 10.1.0.0/16 is in both `allow` and `deny`; take it out of one of them",
        ),
        ("port = 80\ndeny = \"10.0.0.0/8\"", "x.toml:19: invalid type"),
    ];
    for (keys, expected) in rows {
        let said = said(&with(keys));
        assert!(said.contains(expected), "{keys}\n  says:     {said}\n  expected: {expected}");
    }
}

#[test]
fn each_mistake_in_peers_and_limits_is_named() {
    let rows = [
        (
            "peers = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\", \"10.0.0.4\", \"10.0.0.5\"]",
            "x.toml:5: director.peers has more than 4 addresses",
        ),
        ("peers = [\"lb2\"]", "x.toml:5: director.peers \"lb2\" is no IP address"),
        ("peers = [\"10.0.0.1\",\n\"10.0.0.1\"]", "x.toml:6: 10.0.0.1 is twice in director.peers"),
        ("[limits]\npins = 1023", "x.toml:6: limits.pins is 1023; it must be from 1024 to 268435456"),
        ("[limits]\npins = 268435457", "x.toml:6: limits.pins is 268435457; it must be from 1024 to 268435456"),
        ("[limits]\naccess_prefixes = 0", "x.toml:6: limits.access_prefixes is 0; it must be from 1 to 16777216"),
        ("[limits]\naccess_prefixes = 16777217", "x.toml:6: limits.access_prefixes is 16777217"),
    ];
    for (keys, expected) in rows {
        let text = GOOD.replace("hash_seed = \"6f1d0c2b9a7e4d35\"", &format!("hash_seed = \"7\"\n{keys}"));
        let said = said(&text);
        assert!(said.contains(expected), "{keys}\n  says:     {said}\n  expected: {expected}");
    }
}

#[test]
fn what_does_not_fit_the_limits_is_counted_as_the_maps_do() {
    // 8000-9000 are seven aligned blocks; two prefixes and the rest of the world, twice.
    let keys = "ports = \"8000-9000\"\ndeny = [\"10.0.0.0/8\", \"10.1.0.1\"]";
    let limited = |limits: &str| with(keys).replace("[director]", &format!("[limits]\n{limits}\n[director]"));
    for (limits, expected) in [
        (
            "services = 6",
            "the file has 7 services (a range of ports counts once for each aligned block in it); limits.services allows 6",
        ),
        (
            "access_prefixes = 5",
            "the file has 6 access prefixes (counted twice, so that a list can replace another); limits.access_prefixes allows 5",
        ),
    ] {
        let said = said(&limited(limits));
        assert!(said.contains(expected), "{said}");
    }
    parsed(&limited("services = 7\naccess_prefixes = 6"));
}

#[test]
fn the_ports_of_a_service_mean_what_they_say() {
    let rows = [
        ("port = 1", (1, 1)),
        ("port = 65535", (65_535, 65_535)),
        ("port = \"any\"", (0, 65_535)),
        ("ports = \"8000-9000\"", (8000, 9000)),
        ("ports = \" 1 - 65535 \"", (1, 65_535)),
        ("ports = \"80-80\"", (80, 80)),
    ];
    for (keys, (first, last)) in rows {
        assert_eq!(service(keys).ports, Ports { first, last }, "{keys}");
    }
    let nameless = |keys: &str| parsed(&with(keys).replace("name = \"mysql\"", "")).config.services.remove(0).name;
    assert_eq!(nameless("port = 80"), "192.168.81.100:80/tcp");
    assert_eq!(nameless("port = \"any\""), "192.168.81.100:any/tcp");
    assert_eq!(nameless("ports = \"8000-9000\""), "192.168.81.100:8000-9000/tcp");
}

#[test]
fn a_pool_whose_services_have_many_ports_says_which_one_is_checked() {
    for (keys, why) in [
        ("port = \"any\"", "the TCP services of the pool have many ports"),
        ("ports = \"80-81\"", "the TCP services of the pool have many ports"),
    ] {
        let said = said(&GOOD.replace("port = 3306", keys));
        assert!(said.contains(&format!("x.toml:7: pool.mysql.check needs a `port`: {why}")), "{said}");
    }
}

/// A second service beside the first, on the same vip.
#[test]
fn ports_of_two_services_overlap_only_where_one_is_clearly_meant() {
    let both = |first: &str, second: &str| {
        let service = &GOOD[GOOD.find("[[service]]").expect("it is there")..];
        with(first) + &service.replace("port = 3306", second).replace("name = \"mysql\"", "name = \"other\"")
    };
    let (one, any, range) = ("port = 8080", "port = \"any\"", "ports = \"8000-9000\"");
    for (a, b) in [(one, range), (one, any), (range, any), (range, "ports = \"9001-9002\""), (one, "port = 8081")] {
        parsed(&both(a, b));
        parsed(&both(b, a));
    }
    for (a, b, expected) in [
        (range, "ports = \"9000-9001\"", "ports 9000-9001 of service other overlap ports 8000-9000 of service mysql"),
        (range, "ports = \"8100-8200\"", "ports 8100-8200 of service other overlap ports 8000-9000 of service mysql"),
        (range, range, "service other has the vip, port and protocol of service mysql"),
        (any, any, "service other has the vip, port and protocol of service mysql"),
        (one, "ports = \"8080-8080\"", "service other has the vip, port and protocol of service mysql"),
    ] {
        let said = said(&both(a, b));
        assert!(said.contains(expected), "{said}");
    }
    // Another protocol, or another vip, is another matter.
    parsed(&both(range, range).replacen("protocol = \"tcp\"", "protocol = \"udp\"", 1));
    parsed(&both(range, range).replacen("vip = \"192.168.81.100\"", "vip = \"192.168.81.99\"", 1));
}

#[test]
fn a_service_that_does_not_say_chooses_by_flow_and_tracks_just_enough_for_all() {
    let service = service("port = 80");
    assert_eq!((service.affinity, service.tracking), (Affinity::Flow, Tracking::JustEnough));
    assert_eq!((service.idle_timeout, service.access), (Duration::from_secs(900), None));
}

#[test]
fn affinity_tracking_and_idle_timeout_mean_what_they_say() {
    let affinity = |keys: &str| service(&format!("port = 80\naffinity = \"source\"\n{keys}")).affinity;
    assert_eq!(affinity(""), Affinity::Source { bits: 32 });
    assert_eq!(affinity("source_mask = { v4 = 24 }"), Affinity::Source { bits: 24 });
    assert_eq!(affinity("source_mask = { v6 = 64 }"), Affinity::Source { bits: 32 });
    let v6 =
        |keys: &str| with(&format!("port = 80\naffinity = \"source\"\n{keys}")).replace("192.168.81.100", "fd00::1");
    let affinity = |keys: &str| parsed(&v6(keys)).config.services[0].affinity;
    assert_eq!(affinity(""), Affinity::Source { bits: 128 });
    assert_eq!(affinity("source_mask = { v4 = 24, v6 = 64 }"), Affinity::Source { bits: 64 });
    assert_eq!(service("port = 80\naffinity = \"flow\"").affinity, Affinity::Flow);
    assert_eq!(service("port = 80\ntracking = \"full\"").tracking, Tracking::Full);
    assert_eq!(service("port = 80\ntracking = \"just_enough\"").tracking, Tracking::JustEnough);
    for (text, seconds) in [("10s", 10), ("30m", 1800), ("4h", 4 * 3600)] {
        assert_eq!(
            service(&format!("port = 80\nidle_timeout = \"{text}\"")).idle_timeout,
            Duration::from_secs(seconds)
        );
    }
}

#[test]
fn access_lists_say_of_every_client_whether_it_is_let_in() {
    let net = |text: &str| text.parse::<IpNet>().expect("a prefix");
    let rules = |keys: &str| service(&format!("port = 80\n{keys}")).access.map(|access| access.rules);
    let (yes, no) = (Access::Allowed, Access::Denied);
    assert_eq!(
        rules("deny = [\"10.0.0.0/8\", \"192.0.2.1\"]"),
        Some([(net("10.0.0.0/8"), no), (net("192.0.2.1/32"), no), (net("0.0.0.0/0"), yes)].into())
    );
    assert_eq!(rules("allow = [\"10.0.0.0/8\"]"), Some([(net("10.0.0.0/8"), yes), (net("0.0.0.0/0"), no)].into()));
    assert_eq!(
        rules("allow = [\"0.0.0.0/0\", \"10.1.0.0/16\"]\ndeny = [\"10.0.0.0/8\"]"),
        Some([(net("0.0.0.0/0"), yes), (net("10.1.0.0/16"), yes), (net("10.0.0.0/8"), no)].into())
    );
    assert_eq!(rules("deny = []"), None);
    assert_eq!(rules("allow = [\"0.0.0.0/0\"]"), None, "a list that lets everybody in is none");
    let v6 = with("port = 80\nallow = [\"fd00::/8\"]").replace("192.168.81.100", "fd00::1");
    let expected = [(net("fd00::/8"), yes), (net("::/0"), no)].into();
    assert_eq!(parsed(&v6).config.services[0].access, Some(AccessRules { rules: expected }));
}

#[test]
fn what_may_not_be_meant_of_a_service_is_a_warning() {
    let rows = [
        ("source_mask = { v4 = 24 }", "x.toml:19: source_mask means nothing without affinity = \"source\""),
        ("allow = []", "the lists `allow` and `deny` let nobody in"),
        ("deny = [\"0.0.0.0/0\"]", "x.toml:19: the lists `allow` and `deny` let nobody in"),
    ];
    for (keys, expected) in rows {
        let warnings = parsed(&with(&format!("port = 80\n{keys}"))).warnings;
        let said: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert!(said.len() == 1 && said[0].contains(expected), "{keys}: {said:?}");
    }
}

#[test]
fn peers_and_limits_mean_what_they_say() {
    let text = GOOD.replace(
        "[pool.mysql]",
        "peers = [\"10.0.0.2\", \"fd00::2\"]\n[limits]\npins = 1500\naccess_prefixes = 7\n[pool.mysql]",
    );
    let Parsed { config, warnings } = parsed(&text);
    assert_eq!(warnings, []);
    let peers: [IpAddr; 2] = ["10.0.0.2", "fd00::2"].map(|text| text.parse().expect("an address"));
    assert_eq!(config.director.peers, peers);
    assert_eq!((config.limits.pins, config.limits.access_prefixes), (2048, 7), "pins are a power of two");
    let config = parsed(GOOD).config;
    assert_eq!((config.director.peers.len(), config.limits), (0, Limits::default()));
}
