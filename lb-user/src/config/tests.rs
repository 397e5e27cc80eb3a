//! Files and what is said of them.

use std::time::Duration;
mod services;

use super::*;

const GOOD: &str = r#"
[director]
interfaces = ["eth0"]
hash_seed = "6f1d0c2b9a7e4d35"

[pool.mysql]
check = { type = "tcp", interval = "200ms", timeout = "100ms", rise = 2, fall = 3, fast_interval = "50ms" }
[[pool.mysql.real]]
name = "db1"
address = "192.168.81.134"
weight = 3
[[pool.mysql.real]]
address = "192.168.81.135"

[[service]]
name = "mysql"
vip = "192.168.81.100"
port = 3306
protocol = "tcp"
pool = "mysql"
"#;

#[test]
fn a_good_file_means_what_it_says() {
    let Parsed { config, warnings } = Config::parse("x.toml", GOOD).expect("the file is good");
    assert_eq!(warnings, []);
    assert_eq!(config.director.hash_seed, Some(0x6f1d_0c2b_9a7e_4d35));
    assert_eq!(config.director.pin_dir, PathBuf::from("/sys/fs/bpf/xdirector"));
    let pool = &config.pools[0];
    assert_eq!((pool.reals[0].weight, pool.reals[1].weight, pool.ring_size), (3, 1, 509));
    assert_eq!(pool.reals[1].name, "192.168.81.135");
    let check = pool.check.as_ref().expect("it has one");
    assert_eq!((check.port, check.interval, check.fall), (3306, Duration::from_millis(200), 3));
    assert_eq!(config.services[0].name, "mysql");
}

/// Each row replaces one piece of the good file.
#[test]
fn each_mistake_is_named_with_its_line_and_its_cure() {
    let rows = [
        (
            "interfaces = [\"eth0\"]",
            "interfaces = []",
            "x.toml:3: director.interfaces has 0 names; it must have 1 to 8",
        ),
        ("[\"eth0\"]", "[\"eth0\", \"eth0\"]", "x.toml:3: eth0 is twice in director.interfaces"),
        ("[\"eth0\"]", "[\"a/b\"]", "x.toml:3: \"a/b\" in director.interfaces is no interface name"),
        ("6f1d0c2b9a7e4d35", "xyz", "x.toml:4: director.hash_seed is \"xyz\"; it must be 1 to 16 hexadecimal digits"),
        ("interfaces =", "interface =", "x.toml:3: unknown key `interface`; did you mean `interfaces`?"),
        ("name = \"db1\"", "tier = 8", "x.toml:9: pool.mysql.real.tier is 8; it must be from 0 to 7"),
        ("name = \"db1\"", "zone = \"\"", "x.toml:9: pool.mysql.real.zone must have 1 to 64 bytes"),
        (
            "[pool.mysql]",
            "[pool.mysql]\nmin_healthy = 3",
            "x.toml:7: pool.mysql.min_healthy is 3; it must be from 1 to 2",
        ),
        (
            "[pool.mysql]",
            "[pool.mysql]\non_empty = \"reject\"",
            "x.toml:7: pool.mysql.on_empty is \"reject\"; it must be \"drop\", \"pass\" or \"keep\"",
        ),
        ("[pool.mysql]", "[pool.mysql]\nslow_start = \"2h\"", "x.toml:7: pool.mysql.slow_start is \"2h\"; a duration"),
        (
            "port = 3306",
            "port = 3306\nlocality = { \"10.1.0.0\" = \"\" }",
            "x.toml:19: service.locality must have 1 to 64",
        ),
        (
            "port = 3306",
            "port = 3306\nlocality = { \"fd00::/8\" = \"a\" }",
            "x.toml:19: service.locality: \"fd00::/8\" is not of",
        ),
        (
            "[director]",
            "[director]\ncontrol_socket = \"x.sock\"",
            "x.toml:3: director.control_socket is \"x.sock\"; it must be an absolute path",
        ),
        (
            "[director]",
            "[director]\ngateways = [\"10.0.0.1\", \"10.0.0.1\"]",
            "x.toml:3: 10.0.0.1 is twice in director.gateways",
        ),
        ("weight = 3", "weight = 70000", "x.toml:11: pool.mysql.real.weight is 70000; it must be from 0 to 65535"),
        ("weight = 3", "weight = \"3\"", "x.toml:11: invalid type"),
        (".134", ".135", "x.toml:13: 192.168.81.135 is twice in pool mysql"),
        (".134", ".100", "x.toml:10: 192.168.81.100 is the vip of a service"),
        ("192.168.81.134", "db1.internal", "x.toml:10: pool.mysql.real.address \"db1.internal\" is no IP address"),
        ("192.168.81.134", "fe80::1", "x.toml:10: pool.mysql.real.address fe80::1 is no address"),
        ("192.168.81.134", "224.0.0.18", "x.toml:10: pool.mysql.real.address 224.0.0.18 is no address"),
        (
            "\"200ms\"",
            "\"200\"",
            "x.toml:7: pool.mysql.check.interval is \"200\"; a duration is a number with ms, s, m or h",
        ),
        ("\"200ms\"", "\"0s\"", "x.toml:7: pool.mysql.check.interval is \"0s\""),
        ("type = \"tcp\"", "type = \"tcp\", via = \"vp\"", "x.toml:7: via is \"vp\"; it must be \"real\" or \"vip\""),
        ("fall = 3", "fall = 0", "x.toml:7: pool.mysql.check.fall is 0; it must be from 1 to 1000"),
        (
            "[pool.mysql]",
            "[pool.mysql]\nring_size = 1000",
            "x.toml:7: pool.mysql.ring_size is 1000, which is no prime; the next one is 1009",
        ),
        (
            "[pool.mysql]",
            "[pool.mysql]\nring_size = 7",
            "x.toml:7: pool.mysql.ring_size is 7; it must be from 251 to 655373",
        ),
        ("port = 3306", "port = 0", "x.toml:18: service.port is 0; it must be from 1 to 65535"),
        ("protocol = \"tcp\"", "protocol = \"sctp\"", "x.toml:19: protocol is \"sctp\"; it must be \"tcp\" or \"udp\""),
        (
            "pool = \"mysql\"",
            "pool = \"mysq\"",
            "x.toml:20: service.pool is \"mysq\", and no such pool is there; pools: mysql",
        ),
        (
            "protocol = \"tcp\"",
            "protocol = \"udp\"",
            "x.toml:7: pool.mysql.check needs a `port`: no TCP service uses the pool",
        ),
        ("[director]", "[director]\npin_dir = \"bpf\"", "x.toml:3: director.pin_dir must be an absolute path"),
        ("[director]", "[limits]\nreals = 1\n[director]", "the file has 2 real servers; limits.reals allows 1"),
        ("port = 3306", "port = ", "x.toml:18:"),
    ];
    for (good, bad, expected) in rows {
        assert!(GOOD.contains(good), "{good} is not in the file");
        let error = Config::parse("x.toml", &GOOD.replacen(good, bad, 1)).expect_err(bad).to_string();
        assert!(error.contains(expected), "{bad}\n  says:     {error}\n  expected: {expected}");
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let bad = GOOD.replace("eth0", "").replace("weight = 3", "weight = -1").replace("3306", "99999");
    let ConfigErrors(problems) = Config::parse("x.toml", &bad).expect_err("three mistakes");
    assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [3, 11, 18]);
}

#[test]
fn what_may_not_be_meant_is_a_warning() {
    let more =
        format!("{GOOD}\n[pool.idle]\ncheck = {{ type = \"tcp\" }}\n[[pool.idle.real]]\naddress = \"10.0.0.1\"\n");
    let slow = more.replace("timeout = \"100ms\"", "timeout = \"300ms\"");
    let slow = slow.replace("[director]", "[director]\nmetrics = \"127.0.0.1:9639\"");
    let warnings = Config::parse("x.toml", &slow).expect("only warnings").warnings;
    let text: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert!(text.iter().any(|line| line.contains("x.toml:3: director.metrics is not in this version yet")), "{text:?}");
    assert!(text.iter().any(|line| line.contains("pool idle is used by no service")), "{text:?}");
    assert!(text.iter().any(|line| line.contains("check.timeout is longer than the interval")), "{text:?}");
}

#[test]
fn two_services_must_differ() {
    let service = &GOOD[GOOD.find("[[service]]").expect("it is there")..];
    let twice = format!("{GOOD}{service}");
    let error = Config::parse("x.toml", &twice).expect_err("the same twice").to_string();
    assert!(error.contains("has the vip, port and protocol of service mysql"), "{error}");
    let named = format!("{GOOD}{}", service.replace("3306", "3307"));
    let error = Config::parse("x.toml", &named).expect_err("one name").to_string();
    assert!(error.contains("two services are named mysql"), "{error}");
}

#[test]
fn every_example_is_a_good_file() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let paths: Vec<_> =
        std::fs::read_dir(dir).expect("configs/ is there").map(|entry| entry.expect("readable").path()).collect();
    assert!(!paths.is_empty());
    for path in paths {
        let parsed = Config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
        // Programs that an example names are not on this machine.
        let is_meant = |warning: &Problem| warning.message.ends_with("is no program that can be run here");
        let odd: Vec<&Problem> = parsed.warnings.iter().filter(|warning| !is_meant(warning)).collect();
        assert!(odd.is_empty(), "{}: {odd:?}", path.display());
    }
}

/// All that a file can say, and a key of a later version.
#[test]
fn the_file_that_we_want_people_to_write_is_accepted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/vision.toml");
    let text = std::fs::read_to_string(path).expect("the fixture is there");
    let parsed = Config::parse("vision.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let warnings: Vec<String> = parsed.warnings.iter().map(ToString::to_string).collect();
    assert!(
        warnings.iter().any(|warning| warning.contains("director.metrics is not in this version yet")),
        "{warnings:?}"
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(at in 0..GOOD.len(), cut in 0usize..40, insert in ".{0,20}") {
        let mut text = GOOD.to_owned();
        let end = (at + cut).min(text.len());
        text.replace_range(at..end, &insert);
        let _ = Config::parse("x.toml", &text);
    }
}
