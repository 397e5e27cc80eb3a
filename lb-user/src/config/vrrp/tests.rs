//! Virtual routers in a file, and what is said of them.

use std::net::IpAddr;

use super::super::{Config, ConfigErrors, Parsed, Problem};
use super::*;
use crate::vrrp::packet::{Auth, Centiseconds, Coverage, Password};

/// Line 12 is the first one of the virtual router.
const GOOD: &str = r#"[director]
interfaces = ["eth0"]
[pool.p]
check = { type = "tcp" }
real = [{ address = "10.0.0.1" }]
[[service]]
vip = "10.0.0.100"
port = 80
protocol = "tcp"
pool = "p"

[[vrrp]]
name = "VI_1"
interface = "eth0"
virtual_router_id = 66
vips = ["10.0.0.100/24"]
priority = 100
"#;

/// The good file with these keys more, from line 18 on.
fn with(keys: &str) -> String {
    format!("{GOOD}{keys}\n")
}

fn parse(text: &str) -> Result<Parsed, ConfigErrors> {
    Config::parse("x.toml", text)
}

fn good(text: &str) -> Parsed {
    parse(text).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

/// The one virtual router of a file that nothing is to be said of.
fn router(text: &str) -> VirtualRouter {
    let Parsed { mut config, warnings } = good(text);
    assert_eq!(warnings, [], "{text}");
    config.vrrp.remove(0)
}

fn second(name: &str, vrid: u8, vip: &str) -> String {
    format!(
        "[[vrrp]]\nname = \"{name}\"\ninterface = \"eth0\"\nvirtual_router_id = {vrid}\nvips = [\"{vip}\"]\npriority = 100\n"
    )
}

#[test]
fn what_is_not_written_is_as_keepalived_has_it() {
    let router = router(GOOD);
    let vrid = NonZeroU8::new(66).unwrap();
    let vips = vec!["10.0.0.100/24".parse().unwrap()];
    assert_eq!(Some(router.clone()), VirtualRouter::new("VI_1", "eth0", vrid, vips));
    assert_eq!(router.dialect, Dialect::V2 { seconds: NonZeroU8::MIN, auth: Auth::None });
    assert_eq!(router.preemption, Preemption::After { delay: Duration::ZERO, pace: Default::default() });
    assert!(router.accept && !router.virtual_mac);
}

#[test]
fn every_key_means_what_it_says() {
    let text = with(
        r#"advert_interval = "3s"
auth = { type = "pass", password = "1111" }
preempt_delay = "5m"
preempt_pace = "skew"
vips_excluded = ["10.0.1.100", "fd00::100/64"]
source = "10.0.0.2"
unicast_peers = ["10.0.0.3"]
virtual_mac = true
accept = false
garp = { repeat = 5, delays = ["1s", "5s"], refresh = "0s", refresh_repeat = 2 }
routes = [{ to = "default", via = "10.0.0.254", dev = "eth1", src = "10.0.0.100", table = 100, metric = 7 }]
rules = [{ from = "10.0.0.100", table = 100, priority = 1000 }]
track_interface = ["eth1", { interface = "eth2", weight = -20 }]
track = [
  { script = "chk", weight = -20 },
  { process = "nginx", weight = 30 },
  { file = "/run/weight" },
  { pool = "p" },
  { gateway = "10.0.0.254", weight = -40 },
]
notify = "/bin/sh"
notify_user = "root"
[script.chk]
command = ["/bin/sh", "-c", "exit 0"]
interval = "3s"
timeout = "2s"
rise = 2
fall = 3
user = "root""#,
    );
    let router = router(&text);
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let seconds = NonZeroU8::new(3).unwrap();
    assert_eq!(router.dialect, Dialect::V2 { seconds, auth: Auth::Pass(Password::new(b"1111")) });
    let (delay, pace) = (Duration::from_secs(300), crate::vrrp::machine::Pace::Skew);
    assert_eq!(router.preemption, Preemption::After { delay, pace });
    let more: Vec<String> = router.more_vips.iter().map(ToString::to_string).collect();
    assert_eq!(more, ["10.0.1.100/32", "fd00::100/64"]);
    assert_eq!((router.source, &router.unicast_peers[..]), (Some(address("10.0.0.2")), &[address("10.0.0.3")][..]));
    assert!(router.virtual_mac && !router.accept);
    let again = vec![Duration::from_secs(1), Duration::from_secs(5)];
    assert_eq!(router.announcements, Announcements { burst: 5, again, refresh: None, refresh_burst: 2 });
    let route = Route {
        destination: "0.0.0.0/0".parse().unwrap(),
        gateway: Some(address("10.0.0.254")),
        interface: Some("eth1".into()),
        source: Some(address("10.0.0.100")),
        table: 100,
        metric: 7,
    };
    assert_eq!(router.routes, [route]);
    let from = Some("10.0.0.100/32".parse().unwrap());
    assert_eq!(router.rules, [Rule { from, to: None, table: 100, priority: 1000 }]);
    let root = Account { name: "root".into(), uid: 0, gid: 0 };
    let script = TrackScript {
        name: "chk".into(),
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), "exit 0".into()],
        interval: Duration::from_secs(3),
        timeout: Duration::from_secs(2),
        rise: 2,
        fall: 3,
        user: Some(root.clone()),
    };
    let tracked = [
        (Tracked::Interface("eth1".into()), 0),
        (Tracked::Interface("eth2".into()), -20),
        (Tracked::Script(script), -20),
        (Tracked::Process("nginx".into()), 30),
        (Tracked::File("/run/weight".into()), 1),
        (Tracked::Pool("p".into()), 0),
        (Tracked::Gateway(address("10.0.0.254")), -40),
    ];
    assert_eq!(router.tracked, tracked.map(|(what, weight)| Track { what, weight }));
    assert_eq!((router.notify, router.notify_user), (Some("/bin/sh".into()), Some(root)));
}

#[test]
fn version_three_carries_hundredths_of_a_second_and_a_form_of_checksum() {
    let rows = [
        ("version = 3", 100, Coverage::WithPseudoHeader, ChecksumForm::AsHeard),
        ("version = 3\nadvert_interval = \"10ms\"", 1, Coverage::WithPseudoHeader, ChecksumForm::AsHeard),
        ("version = 3\nadvert_interval = \"40950ms\"", 4095, Coverage::WithPseudoHeader, ChecksumForm::AsHeard),
        ("version = 3\nchecksum = \"auto\"", 100, Coverage::WithPseudoHeader, ChecksumForm::AsHeard),
        ("version = 3\nchecksum = \"rfc5798\"", 100, Coverage::WithPseudoHeader, ChecksumForm::AsConfigured),
        ("version = 3\nchecksum = \"rfc9568\"", 100, Coverage::MessageOnly, ChecksumForm::AsConfigured),
    ];
    for (keys, centiseconds, coverage, checksum) in rows {
        let router = router(&with(keys));
        let interval = Centiseconds::new(centiseconds).unwrap();
        assert_eq!((router.dialect, router.checksum), (Dialect::V3 { interval, coverage }, checksum), "{keys}");
    }
}

#[test]
fn an_ipv6_router_begins_with_a_link_local_vip() {
    let v6 = |vips: &str, keys: &str| {
        let text = GOOD.replace("\"10.0.0.100/24\"", vips).replace("10.0.0.100", "fd00::100");
        router(&format!("{text}{keys}\n")).vips.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(v6("\"fd00::100/64\"", ""), ["fe80::5e00:242/128", "fd00::100/64"]);
    assert_eq!(v6("\"fd00::100/64\", \"fe80::7/64\"", ""), ["fe80::7/64", "fd00::100/64"]);
    assert_eq!(v6("\"fe80::7\", \"fd00::100\"", ""), ["fe80::7/128", "fd00::100/128"]);
    assert_eq!(v6("\"fd00::100\"", "unicast_peers = [\"fe80::2\"]"), ["fd00::100/128"]);
}

#[test]
fn an_unnamed_router_is_called_by_interface_number_and_family() {
    assert_eq!(router(&GOOD.replace("name = \"VI_1\"\n", "")).name, "eth0/66");
    let v6 = GOOD.replace("name = \"VI_1\"\n", "").replace("10.0.0.100/24", "fd00::1").replace("10.0.0.100", "fd00::1");
    assert_eq!(router(&v6).name, "eth0/66/v6");
}

/// Each row replaces one piece of the good file.
#[test]
fn each_mistake_in_a_piece_is_named_with_its_line_and_its_cure() {
    let rows = [
        ("virtual_router_id = 66\n", "", "x.toml:12: missing field `virtual_router_id`"),
        ("= 66", "= 0", "x.toml:15: vrrp.virtual_router_id is 0; it must be from 1 to 255"),
        ("= 66", "= 256", "x.toml:15: vrrp.virtual_router_id is 256; it must be from 1 to 255"),
        ("= 100", "= 256", "x.toml:17: vrrp.priority is 256; it must be from 1 to 255"),
        ("= 100", "= 0", "x.toml:17: vrrp.priority is 0; it must be from 1 to 255"),
        ("interface = \"eth0\"", "interface = \"eth 0\"", "x.toml:14: vrrp.interface \"eth 0\" is no interface name"),
        ("[\"10.0.0.100/24\"]", "[]", "x.toml:16: vrrp.vips is empty; write what the master answers for"),
        ("10.0.0.100/24", "10.0.0.100/33", "x.toml:16: vrrp.vips \"10.0.0.100/33\" is no address; write one such as"),
        (
            "10.0.0.100/24",
            "10.0.0.100 dev eth0",
            "x.toml:16: vrrp.vips \"10.0.0.100 dev eth0\" is more than an address",
        ),
        ("10.0.0.100/24", "224.0.0.18", "x.toml:16: vrrp.vips \"224.0.0.18\" is no address that a router can have"),
        ("\"10.0.0.100/24\"", "\"10.0.0.100/24\", \"10.0.0.100\"", "x.toml:16: 10.0.0.100 is twice in vrrp.vips"),
        (
            "\"10.0.0.100/24\"",
            "\"10.0.0.100/24\", \"fd00::100/64\"",
            "x.toml:16: vrrp.vips has addresses of both families, and an advert carries one; for IPv6, write another [[vrrp]] \
             and a [[sync_group]] of the two, or `vips_excluded`",
        ),
    ];
    for (good, bad, expected) in rows {
        assert!(GOOD.contains(good), "{good} is not in the file");
        let error = parse(&GOOD.replacen(good, bad, 1)).expect_err(bad).to_string();
        assert!(error.contains(expected), "{bad}\n  says:     {error}\n  expected: {expected}");
    }
}

/// Each row adds a line, which is line 18.
#[test]
fn each_mistake_in_a_key_is_named_with_its_line_and_its_cure() {
    let rows = [
        ("version = 1", "vrrp.version is 1; it must be from 2 to 3"),
        (
            "advert_interval = \"500ms\"",
            "vrrp.advert_interval is \"500ms\"; version 2 carries whole seconds, from 1s to 255s; for less, use version = 3",
        ),
        ("advert_interval = \"256s\"", "vrrp.advert_interval is \"256s\"; version 2 carries whole seconds"),
        ("advert_interval = \"1\"", "vrrp.advert_interval is \"1\"; a duration is a number with ms, s, m or h"),
        ("advert_interval = \"5ms\"\nversion = 3", "vrrp.advert_interval is \"5ms\"; version 3 carries steps of 10ms"),
        (
            "advert_interval = \"15ms\"\nversion = 3",
            "vrrp.advert_interval is \"15ms\"; version 3 carries steps of 10ms",
        ),
        (
            "advert_interval = \"41s\"\nversion = 3",
            "vrrp.advert_interval is \"41s\"; version 3 carries steps of 10ms, from 10ms to 40950ms",
        ),
        (
            "auth = { type = \"pass\", password = \"123456789\" }",
            "vrrp.auth.password has 9 bytes, and an advert carries 8; keepalived goes by the first 8 of a longer one: write \
             those",
        ),
        ("auth = { type = \"pass\", password = \"\" }", "vrrp.auth.password is empty"),
        ("auth = { type = \"pass\" }", "vrrp.auth has no `password`; write 1 to 8 characters"),
        ("auth = { type = \"ah\", password = \"1\" }", "vrrp.auth.type is \"ah\"; it must be \"pass\""),
        ("auth = \"1111\"", "expected a table such as { type = \"pass\", password = \"1111\" }"),
        ("auth = { password = \"1\" }\nversion = 3", "version 3 has no authentication (RFC 5798 section 9); remove it"),
        ("checksum = \"rfc9568\"", "vrrp.checksum is about version 3, and this is version 2; remove it"),
        ("checksum = \"v2\"\nversion = 3", "vrrp.checksum is \"v2\"; it must be \"auto\", \"rfc5798\" or \"rfc9568\""),
        ("preempt = false\npreempt_delay = \"5s\"", "19: with preempt = false nothing is taken over"),
        ("preempt_pace = \"fast\"", "vrrp.preempt_pace is \"fast\"; it must be \"master_down\" or \"skew\""),
        ("preempt_delay = \"1001s\"", "vrrp.preempt_delay is \"1001s\"; a duration"),
        ("vips_excluded = [\"10.0.0.100\"]", "10.0.0.100 is twice in this virtual router"),
        ("source = \"fd00::2\"", "vrrp.source fd00::2 is not of the family of the vips, which is IPv4"),
        ("source = \"lb1\"", "vrrp.source \"lb1\" is no IP address"),
        ("unicast_peers = [\"10.0.0.3\", \"10.0.0.3\"]", "10.0.0.3 is twice in vrrp.unicast_peers"),
        ("source = \"10.0.0.2\"\nunicast_peers = [\"10.0.0.2\"]", "19: 10.0.0.2 is `source`, so it is this machine"),
        ("garp = { repeat = 0 }", "vrrp.garp.repeat is 0; it must be from 1 to 100"),
        ("garp = { delays = [\"5s\", \"1s\"] }", "vrrp.garp.delays must ascend"),
        ("garp = { delay = \"5s\" }", "unknown key `delay`; did you mean `delays`?"),
        (
            "routes = [{ to = \"10.0.0.1/8\" }]",
            "vrrp.routes.to \"10.0.0.1/8\" has bits set behind its length; write 10.0.0.0/8",
        ),
        ("routes = [{ to = \"fd00::/8\" }]", "vrrp.routes.to \"fd00::/8\" is not of the family of the vips"),
        ("routes = [{ to = \"default\", table = 255 }]", "vrrp.routes.table is 255, the kernel's own table"),
        ("rules = [{ table = 100, priority = 1 }]", "a rule of vrrp.rules has neither `from` nor `to`"),
        ("track_interface = [\"a/b\"]", "vrrp.track_interface \"a/b\" is no interface name"),
        ("track_interface = [7]", "expected a name, as in \"eth1\", or { interface = \"eth1\", weight = -20 }"),
        ("track_interface = [\"eth1\", \"eth1\"]", "interface eth1 is tracked twice by this virtual router"),
        (
            "track = [{ weight = -20 }]",
            "write exactly one of `script`, `process`, `file`, `pool` and `gateway` in each",
        ),
        ("track = [{ pool = \"p\", process = \"nginx\" }]", "write exactly one of"),
        ("track = [{ pool = \"q\" }]", "vrrp.track.pool is \"q\", and no such pool is there; did you mean \"p\"?"),
        ("track = [{ script = \"chk\" }]", "vrrp.track.script is \"chk\", and no such script is there; write a table"),
        (
            "track = [{ process = \"/usr/sbin/nginx\" }]",
            "vrrp.track.process is \"/usr/sbin/nginx\"; write the name alone",
        ),
        ("track = [{ file = \"weight\" }]", "vrrp.track.file is \"weight\"; it must be an absolute path"),
        ("track = [{ gateway = \"gw\" }]", "vrrp.track.gateway \"gw\" is no IP address"),
        ("track = [{ pool = \"p\", weight = -254 }]", "vrrp.track.weight is -254; it must be from -253 to 253"),
        ("track = [{ file = \"/x\", weight = 255 }]", "vrrp.track.weight is 255; it must be from -254 to 254"),
        ("notify = \"notify.sh\"", "vrrp.notify is \"notify.sh\"; it must be an absolute path"),
        ("notify_user = \"no one\"", "vrrp.notify_user is \"no one\", and this machine has no such user"),
        ("[script.a]\ncommand = []", "19: script.a.command is empty; write a program and its arguments"),
        ("[script.a]\ncommand = [\"check\"]", "19: script.a.command must begin with an absolute path"),
        ("[script.a]\ncommand = [\"/bin/sh\"]\ninterval = \"1ms\"", "20: script.a.interval is \"1ms\"; a duration"),
        ("[script.a]\ncommand = [\"/bin/sh\"]\nfall = 0", "20: script.a.fall is 0; it must be from 1 to 1000"),
    ];
    for (key, expected) in rows {
        let error = parse(&with(key)).expect_err(key).to_string();
        assert!(error.contains(expected), "{key}\n  says:     {error}\n  expected: {expected}");
        assert!(error.starts_with("x.toml:18: ") || error.contains(&format!("x.toml:{expected}")), "{key}\n  {error}");
    }
}

#[test]
fn a_pool_that_is_tracked_is_one_that_is_checked() {
    let pool = "[pool.q]\ncheck = { type = \"tcp\", port = 80 }\nreal = [{ address = \"10.0.0.2\" }]\n";
    let error = parse(&with(&format!("track = [{{ pool = \"q\" }}]\n{pool}"))).expect_err("nobody uses it").to_string();
    assert!(error.contains("x.toml:12: VI_1 tracks pool q, which no service uses, so it is not checked"), "{error}");
}

#[test]
fn an_owner_cannot_leave_a_master_alone() {
    let text = with("preempt = false").replace("priority = 100", "priority = 255");
    let error = parse(&text).expect_err("the owner takes over").to_string();
    assert!(error.contains("x.toml:18: vrrp.priority 255 is the owner's, who always takes over"), "{error}");
}

#[test]
fn version_two_knows_no_ipv6() {
    let error = parse(&with("version = 2").replace("10.0.0.100/24", "fd00::1")).expect_err("no IPv6").to_string();
    assert!(error.contains("x.toml:18: version 2 knows no IPv6"), "{error}");
}

#[test]
fn two_virtual_routers_must_differ() {
    let vips: String = (1..=91).map(|n| format!("\"fd00::{n:x}\", ")).collect();
    let many = GOOD.replace("\"10.0.0.100/24\"", &vips);
    let rows = [
        (
            with(&second("VI_2", 66, "10.0.0.101")),
            "x.toml:21: virtual_router_id 66 is that of VI_1 on eth0 for IPv4 already; give one of the two another number",
        ),
        (with(&second("VI_1", 67, "10.0.0.101")), "x.toml:19: two virtual routers are named VI_1"),
        (
            with(&second("VI_2", 67, "10.0.0.100")),
            "x.toml:22: 10.0.0.100 is a vip of VI_1 already; take it out of one of the two",
        ),
        (
            with(&format!("{}vips_excluded = [\"10.0.0.100\"]\n", second("VI_2", 67, "10.0.0.101"))),
            "x.toml:24: 10.0.0.100 is a vip of VI_1 already",
        ),
        (many, "x.toml:16: vrrp.vips has 92 addresses; an advert carries 90: write the others to `vips_excluded`"),
    ];
    for (text, expected) in rows {
        let error = parse(&text).expect_err(expected).to_string();
        assert!(error.contains(expected), "says:     {error}\nexpected: {expected}");
    }
    // The families number theirs independently, and so do interfaces.
    good(&with(&second("VI_2", 66, "fd00::100")));
    good(&with(&second("VI_2", 66, "10.0.0.101").replace("eth0", "eth1")));
}

#[test]
fn there_is_room_for_so_many_virtual_macs() {
    let router = |n| second(&format!("M_{n}"), 66 + n, &format!("10.0.{n}.1")) + "virtual_mac = true\n";
    let more = |count: u8| with(&(1..=count).map(router).collect::<String>());
    good(&more(7));
    let error = parse(&more(8)).expect_err("eight, and the interface's own").to_string();
    assert!(error.contains("x.toml:12: 8 virtual MACs and those of the interfaces are 9; 8 are possible"), "{error}");
}

#[test]
fn a_sync_group_holds_virtual_routers_together() {
    let two = with(&second("VI_2", 67, "fd00::100"));
    let group = |keys: &str| format!("{two}[[sync_group]]\nname = \"G1\"\n{keys}\n");
    let Parsed { config, .. } = good(&group("members = [\"VI_2\", \"VI_1\"]\nnotify = \"/bin/sh\""));
    let expected =
        SyncGroup { name: "G1".into(), members: vec![1, 0], notify: Some("/bin/sh".into()), notify_user: None };
    assert_eq!(config.sync_groups, [expected]);
    let rows = [
        ("members = [\"VI_1\"]", "x.toml:27: sync group G1 has fewer than two members"),
        ("members = [\"VI_1\", \"VI_1\"]", "x.toml:27: VI_1 is twice in sync group G1"),
        ("members = [\"VI_1\", \"VI_3\"]", "x.toml:27: sync group G1: no [[vrrp]] is named \"VI_3\"; did you mean"),
        (
            "members = [\"VI_1\", \"VI_2\"]\n[[sync_group]]\nname = \"G2\"\nmembers = [\"VI_2\", \"VI_1\"]",
            "x.toml:30: VI_2 is in sync group G1 already; make one group of the two",
        ),
        (
            "members = [\"VI_1\", \"VI_2\"]\n[[sync_group]]\nname = \"G1\"\nmembers = []",
            "x.toml:29: two sync groups are named G1",
        ),
    ];
    for (keys, expected) in rows {
        let error = parse(&group(keys)).expect_err(keys).to_string();
        assert!(error.contains(expected), "{keys}\n  says:     {error}\n  expected: {expected}");
    }
}

#[test]
fn what_may_not_be_meant_is_a_warning() {
    let group = format!(
        "{}[[sync_group]]\nname = \"G1\"\nmembers = [\"VI_1\", \"VI_2\"]\n",
        second("VI_2", 67, "fd00::100").replace("100\n", "90\n")
    );
    let rows = [
        (GOOD.replace("10.0.0.100/24", "10.0.0.101/24"), "x.toml:16: no service has the vip 10.0.0.101"),
        (
            GOOD.replace("10.0.0.100/24", "10.0.0.101/24"),
            "x.toml:6: the vip of service 10.0.0.100:80/tcp, 10.0.0.100, is in no",
        ),
        (GOOD.replace("interface = \"eth0\"", "interface = \"eth1\""), "x.toml:14: eth1 is not in director.interfaces"),
        (with("notify = \"/no/such/program\""), "x.toml:18: /no/such/program is no program that can be run here"),
        (with("[script.a]\ncommand = [\"/bin/sh\"]"), "x.toml:18: script a is tracked by no virtual router"),
        (
            with("track = [{ script = \"a\" }]\n[script.a]\ncommand = [\"/bin/sh\"]\ntimeout = \"5s\""),
            "x.toml:21: script.a.timeout is longer than the interval",
        ),
        (
            with("track = [{ pool = \"p\" }]").replace("check = { type = \"tcp\" }", ""),
            "x.toml:18: pool p has no check, so it is always well",
        ),
        (
            with("track_interface = [{ interface = \"eth1\", weight = 5 }]").replace("= 100", "= 255"),
            "x.toml:18: priority 255 is the owner's, and no weight changes it",
        ),
        (with(&group), "x.toml:26: the members of sync group G1 differ in priority"),
    ];
    for (text, expected) in rows {
        let warnings: Vec<String> = good(&text).warnings.iter().map(ToString::to_string).collect();
        assert!(warnings.iter().any(|line| line.contains(expected)), "says:     {warnings:?}\nexpected: {expected}");
    }
}

#[test]
fn without_virtual_routers_nobody_asks_who_moves_a_vip() {
    assert_eq!(good(&GOOD[..GOOD.find("[[vrrp]]").unwrap()]).warnings, [] as [Problem; 0]);
}

#[test]
fn a_vlan_on_an_interface_of_ours_is_one_of_ours() {
    assert_eq!(router(&GOOD.replace("interface = \"eth0\"", "interface = \"eth0.81\"")).interface, "eth0.81");
}

#[test]
fn each_word_of_keepalived_is_told_what_it_is_called_here() {
    let rows = [
        ("state = \"MASTER\"", "`state` is keepalived's word; it says nothing that `priority` does not"),
        ("advert_int = 1", "`advert_int` is keepalived's word; write `advert_interval = \"1s\"`"),
        ("authentication = { auth_type = \"PASS\" }", "write `auth = { type = \"pass\", password = \"1111\" }`"),
        ("auth = { auth_pass = \"1111\" }", "`auth_pass` is keepalived's word; write `password`"),
        ("virtual_ipaddress = [\"10.0.0.100\"]", "write `vips = [\"192.168.81.100/24\"]`"),
        ("virtual_ipaddress_excluded = []", "write `vips_excluded = "),
        ("nopreempt = true", "write `preempt = false`"),
        ("track_script = [\"chk_nginx\"]", "write `track = [{ script = \"NAME\", weight = -20 }]`"),
        ("unicast_peer = []", "write `unicast_peers = "),
        ("unicast_src_ip = \"10.0.0.2\"", "write `source = "),
        ("use_vmac = true", "write `virtual_mac = true`"),
        ("garp_master_delay = 5", "write `garp = { delays = [\"5s\"] }`"),
        ("notify_master = \"/x\"", "write `notify`: the third argument of what it runs is MASTER"),
        ("[[sync_group]]\nname = \"G\"\ngroup = []", "write `members = [\"VI_1\", \"VI_2\"]`"),
        ("[script.a]\nscript = \"/x\"", "write `command = [\"/PROGRAM\", \"ARGUMENT\"]`"),
        ("[script.a]\nweight = -20", "it belongs to who tracks: write `track = "),
        ("[vrrp_instance.VI_1]\nstate = \"MASTER\"", "write a table [[vrrp]] with a `name` for each"),
        ("[vrrp_script.a]\nweight = 2", "write a table [script.NAME]"),
        // What is no word of his is looked for among ours.
        ("virtual_mack = true", "unknown key `virtual_mack`; did you mean `virtual_mac`?"),
        ("prio = 100", "unknown key `prio`"),
    ];
    for (keys, expected) in rows {
        let error = parse(&with(keys)).expect_err(keys).to_string();
        assert!(error.contains(expected), "{keys}\n  says:     {error}\n  expected: {expected}");
    }
}

#[test]
fn a_password_is_never_shown() {
    for password in ["geheim", "geheim-und-lang"] {
        let text = with(&format!("auth = {{ type = \"pass\", password = \"{password}\" }}"));
        let said = match parse(&text) {
            Ok(parsed) => format!("{parsed:?}"),
            Err(errors) => errors.to_string(),
        };
        assert!(!said.contains("geheim"), "{said}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(at in 0..GOOD.len(), cut in 0usize..40, insert in "[0-9a-z.:/\" =\\[\\]-]{0,20}") {
        let mut text = with("garp = { delays = [\"1s\"] }\ntrack = [{ file = \"/x\" }]\nroutes = [{ to = \"::/0\" }]");
        let end = (at + cut).min(text.len());
        text.replace_range(at..end, &insert);
        let _ = parse(&text);
    }
}

#[test]
fn every_example_in_the_documentation_is_a_good_file() {
    let text = include_str!("../../../../docs/vrrp.md");
    let blocks: Vec<&str> = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 4, "{} blocks", blocks.len());
    let before = &GOOD[..GOOD.find("[[vrrp]]").unwrap()].replace("pool.p", "pool.mysql").replace("\"p\"", "\"mysql\"");
    for block in blocks {
        let Parsed { config, .. } = good(&format!("{before}{block}"));
        assert!(!config.vrrp.is_empty(), "{block}");
    }
}

#[test]
fn each_default_in_the_documentation_is_the_default() {
    let text = include_str!("../../../../docs/vrrp.md");
    let written = text.lines().find_map(|line| line.strip_prefix('`')?.strip_suffix("is the default. A new master"));
    let garp = written.expect("garp is there").trim_end().trim_end_matches('`');
    assert_eq!(router(&with(garp)), router(GOOD));
}
