//! What may be written, and what comes of what is found.

use super::*;
use crate::config::Parsed;

const FILE: &str = r#"
[director]
interfaces = ["eth0"]
[pool.db]
reals = { dns = "db.internal", port = 3306, weight = 2, resolvers = ["10.0.0.53", "[fd00::53]:5353"] }
[[pool.db.real]]
name = "db1"
address = "10.0.0.1"
weight = 5
[pool.web]
reals = { file = "/etc/xdirector/web.reals" }
[[service]]
vip = "10.0.0.100"
port = 3306
protocol = "tcp"
pool = "db"
[[service]]
vip = "10.0.0.100"
port = 80
protocol = "tcp"
pool = "web"
"#;

fn config(text: &str) -> Config {
    Config::parse("x.toml", text).unwrap_or_else(|errors| panic!("{errors}")).config
}

#[test]
fn a_pool_may_have_both_its_own_real_servers_and_found_ones_or_found_ones_alone() {
    let Parsed { config, warnings } = Config::parse("x.toml", FILE).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(warnings, []);
    let dns = DnsSource {
        name: "db.internal".into(),
        weight: 2,
        resolvers: vec!["10.0.0.53:53".parse().expect("an address"), "[fd00::53]:5353".parse().expect("an address")],
    };
    assert_eq!(config.pools[0].discovery, Some(Discovery { source: Source::Dns(dns), ring_size: None }));
    assert_eq!(config.pools[0].reals.len(), 1);
    let file = config.pools[1].discovery.as_ref().expect("it has one");
    assert_eq!(file.source.describe(), "file /etc/xdirector/web.reals");
    assert!(config.pools[1].reals.is_empty());
}

/// Each row replaces one piece of the good file.
#[test]
fn each_mistake_is_named_with_its_line_and_its_cure() {
    let rows = [
        ("dns = \"db.internal\", ", "", "x.toml:5: pool.db.reals must have one of `dns` and `file`"),
        ("dns = ", "file = \"/x\", dns = ", "x.toml:5: pool.db.reals must have one of `dns` and `file`"),
        ("db.internal", "10.0.0.1", "x.toml:5: pool.db.reals.dns is \"10.0.0.1\", which is no name"),
        ("db.internal", "a..b", "x.toml:5: pool.db.reals.dns is \"a..b\", which is no name"),
        ("port = 3306,", "port = 3307,", "x.toml:5: pool.db.reals.port is 3307, which no service of the pool has"),
        ("weight = 2", "weight = 65536", "x.toml:5: pool.db.reals.weight is 65536; it must be from 0 to 65535"),
        ("10.0.0.53", "ns.internal", "x.toml:5: pool.db.reals.resolvers: \"ns.internal\" is no address"),
        ("dns =", "srv =", "x.toml:5: unknown key `srv`"),
        (
            "/etc/xdirector/web.reals",
            "web.reals",
            "x.toml:11: pool.web.reals.file is \"web.reals\"; it must be the absolute",
        ),
        ("web.reals\"", "web.reals\", weight = 1", "x.toml:11: pool.web.reals.weight goes with `dns`"),
    ];
    for (good, bad, expected) in rows {
        assert!(FILE.contains(good), "{good} is not in the file");
        let error = Config::parse("x.toml", &FILE.replacen(good, bad, 1)).expect_err(bad).to_string();
        assert!(error.contains(expected), "{bad}\n  says:     {error}\n  expected: {expected}");
    }
}

#[test]
fn what_is_found_is_added_and_the_file_has_the_last_word() {
    let config = config(FILE);
    let real = |name: &str, last: u8, weight| Real::new(name, [10, 0, 0, last].into(), weight);
    let many: Vec<Real> = (10..40).map(|last| real(&last.to_string(), last, 1)).collect();
    let found = Found::from([
        ("db".into(), vec![real("x", 1, 9), real("db1", 2, 2)]),
        ("web".into(), many),
        ("gone".into(), vec![real("y", 3, 1)]),
    ]);
    let both = config.with_found(&found).expect("it can be had");
    let named = |pool: &Pool| pool.reals.iter().map(|real| (real.name.clone(), real.weight)).collect::<Vec<_>>();
    assert_eq!(named(&both.pools[0]), [("db1".into(), 5), ("10.0.0.2".into(), 2)]);
    assert_eq!(both.pools[1].reals.len(), 30);
    assert_eq!((config.pools[1].ring_size, both.pools[1].ring_size), (251, 4093));
    let none = both.with_found(&Found::new()).expect("it can be had");
    assert_eq!(none.pools[0], both.pools[0]);
    let fixed = self::config(&FILE.replace("[pool.web]", "[pool.web]\nring_size = 1021"));
    assert_eq!(fixed.with_found(&found).expect("it can be had").pools[1].ring_size, 1021);
}

#[test]
fn a_vip_is_not_its_own_real_server() {
    let found = Found::from([("web".into(), vec![Real::new("v", [10, 0, 0, 100].into(), 1)])]);
    let error = config(FILE).with_found(&found).expect_err("it is the vip");
    assert!(error.contains("10.0.0.100, found for pool web, is the vip of its service 10.0.0.100:80/tcp"), "{error}");
}

#[test]
fn a_list_means_what_it_says() {
    let text = "# ours\n\n10.0.0.1\n  fd00::1 weight=0 name=six zone=hz1 tier=7 # last\n10.0.0.2 tier=1 weight=65535";
    let six = Real { tier: 7, zone: Some("hz1".into()), ..Real::new("six", "fd00::1".parse().expect("an address"), 0) };
    let two = Real { tier: 1, ..Real::new("10.0.0.2", [10, 0, 0, 2].into(), 65_535) };
    assert_eq!(parse_reals(text), Ok(vec![Real::new("10.0.0.1", [10, 0, 0, 1].into(), 1), six, two]));
}

#[test]
fn a_list_that_is_no_good_says_where_and_why() {
    let rows = [
        ("", "it has no real servers"),
        ("# none\n", "it has no real servers"),
        ("10.0.0.1\ndb1.internal", "line 2: \"db1.internal\" is no address"),
        ("10.0.0.1/24", "line 1: \"10.0.0.1/24\" is no address"),
        ("127.0.0.1", "line 1: \"127.0.0.1\" is no address of a host"),
        ("fe80::1", "line 1: \"fe80::1\" is no address of a host"),
        ("10.0.0.1\n\n10.0.0.1", "line 3: 10.0.0.1 is there twice"),
        ("10.0.0.1 name=a\n10.0.0.2 name=a", "line 2: two are named a"),
        ("10.0.0.1 weight=65536", "line 1: weight is \"65536\"; it must be from 0 to 65535"),
        ("10.0.0.1 weight=-1", "line 1: weight is \"-1\""),
        ("10.0.0.1 weight", "line 1: weight is \"\""),
        ("10.0.0.1 tier=8", "line 1: tier is \"8\"; it must be from 0 to 7"),
        ("10.0.0.1 weight=1 weight=2", "line 1: weight= is there twice"),
        ("10.0.0.1 name=", "line 1: name must have 1 to 64 bytes"),
        ("10.0.0.1 port=80", "line 1: \"port=80\" is not known"),
        ("10.0.0.1 10.0.0.2", "line 1: \"10.0.0.2\" is not known"),
    ];
    for (text, expected) in rows {
        let error = parse_reals(text).expect_err(text);
        assert!(error.starts_with(expected), "{text}\n  says:     {error}\n  expected: {expected}");
    }
}

proptest::proptest! {
    #[test]
    fn no_list_makes_the_parser_panic(text in "[ -~\n\u{e9}]{0,80}") {
        let _ = parse_reals(&text);
    }
}
