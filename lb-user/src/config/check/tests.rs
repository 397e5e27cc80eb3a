//! Checks in a file, and what is said of them.

mod via;

use std::path::Path;

use super::super::{Config, ConfigErrors, Parsed};
use super::*;

/// A file with this check, for a pool that a TCP service on port 3306 uses.
fn file(check: &str) -> String {
    format!(
        "[director]\ninterfaces = [\"eth0\"]\n[pool.p]\ncheck = {{ {check} }}\n[[pool.p.real]]\naddress = \"10.0.0.1\"\n\
         [[service]]\nvip = \"10.0.0.100\"\nport = 3306\nprotocol = \"tcp\"\npool = \"p\"\n"
    )
}

fn parse(check: &str) -> Result<Parsed, ConfigErrors> {
    Config::parse("x.toml", &file(check))
}

fn check(written: &str) -> Check {
    let Parsed { config, warnings } = parse(written).unwrap_or_else(|errors| panic!("{written}: {errors}"));
    assert_eq!(warnings, [], "{written}");
    config.pools[0].check.clone().expect("it has one")
}

#[test]
fn each_type_says_in_one_line_what_it_asks() {
    let rows = [
        ("type = \"tcp\"", "tcp port 3306"),
        ("type = \"http\"", "http GET / port 3306"),
        ("type = \"http\", method = \"HEAD\", path = \"/a?b=c\", port = 80", "http HEAD /a?b=c port 80"),
        ("type = \"https\", verify = false", "https GET / port 3306"),
        ("type = \"mysql\"", "mysql port 3306"),
        (
            "type = \"mysql\", user = \"u\", password = \"geheim\", role = \"replica\", max_lag = \"10s\"",
            "mysql as u role replica lag at most 10s port 3306",
        ),
        ("type = \"redis\", user = \"u\", password = \"geheim\", role = \"master\"", "redis role master port 3306"),
        ("type = \"dns\", name = \"example.org\", record = \"SOA\", port = 53", "dns SOA example.org. port 53"),
        ("type = \"udp\", payload = 'a\\x00', port = 53", "udp port 53"),
        ("type = \"icmp\"", "icmp"),
        ("type = \"script\", command = [\"/bin/sh\", \"-c\", \"exit 0\"], user = \"root\"", "script /bin/sh port 3306"),
        ("type = \"agent\", port = 9777, send = \"hello\\n\"", "agent port 9777"),
    ];
    for (written, expected) in rows {
        let check = check(written);
        assert_eq!(check.describe(), expected);
        assert!(!format!("{check:?}").contains("geheim"), "a password is shown: {check:?}");
    }
}

#[test]
fn what_is_not_written_has_a_default() {
    let CheckKind::Http(http) = check("type = \"http\"").kind else { panic!("it is http") };
    assert_eq!((http.method, http.path.as_str(), http.status.to_string().as_str()), (Method::Get, "/", "200-399"));
    let CheckKind::Dns(dns) = check("type = \"dns\", name = \"a\", port = 53").kind else { panic!("it is dns") };
    assert_eq!((dns.record.to_string(), rcode_name(dns.rcode)), ("A".into(), "NOERROR".into()));
    let CheckKind::Mysql(mysql) = check("type = \"mysql\"").kind else { panic!("it is mysql") };
    assert_eq!(mysql, Mysql { login: None, role: MysqlRole::Any, max_lag: None });
}

#[test]
fn jitter_is_a_part_of_the_interval_or_a_time() {
    let second = Duration::from_secs(1);
    for (written, expected) in [("", 0), (", jitter = \"10%\"", 100), (", jitter = \"250ms\"", 250)] {
        let check = check(&format!("type = \"tcp\", interval = \"1s\"{written}"));
        assert_eq!(check.jitter.of(second).as_millis(), expected, "{written}");
        assert!(check.jitter.of(second / 10) <= second / 20);
    }
}

#[test]
fn statuses_can_be_written_as_number_list_and_ranges() {
    for (written, expected) in
        [("200", "200"), ("[200, \"300-302\"]", "200,300-302"), ("\"200-299,301\"", "200-299,301")]
    {
        let CheckKind::Http(http) = check(&format!("type = \"http\", expect_status = {written}")).kind else {
            panic!("it is http")
        };
        assert_eq!(http.status.to_string(), expected);
    }
}

#[test]
fn a_payload_can_be_written_as_text_and_as_hex() {
    for written in [r"payload = 'a\x00\xff'", r#"payload = "a\\x00\\xff""#, "payload_hex = \"61 00ff\""] {
        let CheckKind::Udp(udp) = check(&format!("type = \"udp\", port = 53, {written}")).kind else {
            panic!("it is udp")
        };
        assert_eq!(udp.payload, [b'a', 0, 255]);
    }
}

/// Each row is a check and what is said of it.
#[test]
fn each_mistake_in_a_check_is_named_with_its_cure() {
    let rows = [
        ("type = \"htp\"", "check type \"htp\" is not known; did you mean \"http\"?"),
        ("type = \"snmp-trap\"", "check type \"snmp-trap\" is not known; use one of: tcp, http"),
        ("interval = \"1s\"", "pool.p.check.type is missing; it must be one of: tcp, http"),
        (
            "type = \"tcp\", path = \"/\"",
            "a check of type \"tcp\" has no key `path`; remove it, or use one of: confirm, damping, fall, fast_interval,",
        ),
        ("type = \"http\", pth = \"/\"", "a check of type \"http\" has no key `pth`; did you mean `path`?"),
        ("type = \"http\", verify = false", "a check of type \"http\" has no key `verify`"),
        ("type = \"icmp\", port = 7", "a check of type \"icmp\" has no key `port`"),
        ("type = \"tcp\", port = \"80\"", "pool.p.check.port must be a number, not of type string"),
        ("type = \"http\", path = \"x\"", "pool.p.check.path is \"x\"; it must be a path as in a URL"),
        ("type = \"http\", path = \"/a b\"", "pool.p.check.path must be visible ASCII characters, without spaces"),
        ("type = \"http\", path = \"/a#b\"", "pool.p.check.path is \"/a#b\"; it must be a path"),
        ("type = \"http\", method = \"POST\"", "pool.p.check.method is \"POST\"; it must be \"GET\" or \"HEAD\""),
        ("type = \"http\", expect_status = 99", "pool.p.check.expect_status must be statuses from 100 to 599"),
        ("type = \"http\", expect_body = \"(\"", "pool.p.check.expect_body is no regular expression: unclosed group"),
        ("type = \"http\", method = \"HEAD\", expect_body = \"x\"", "an answer to HEAD has no body for `expect_body`"),
        ("type = \"https\", ca = \"ca.pem\"", "pool.p.check.ca is \"ca.pem\"; it must be an absolute path"),
        ("type = \"https\", ca = \"/nowhere/ca.pem\"", "pool.p.check.ca is /nowhere/ca.pem, which cannot be read"),
        ("type = \"https\", ca = \"/dev/null\"", "`ca` holds no certificate in PEM form"),
        ("type = \"https\", verify = false, ca = \"/dev/null\"", "`ca` says whom to believe, and `verify = false`"),
        ("type = \"https\", client_key = \"/dev/null\"", "`client_cert` and `client_key` need each other"),
        ("type = \"https\", sni = \"a/b\"", "pool.p.check.sni is \"a/b\"; it must be a host name or an address"),
        ("type = \"mysql\", role = \"replica\"", "pool.p.check.role needs a `user` to log in as"),
        ("type = \"mysql\", password = \"x\"", "pool.p.check.password needs a `user`"),
        ("type = \"mysql\", max_lag = \"1s\"", "pool.p.check.max_lag needs a `user`"),
        (
            "type = \"mysql\", user = \"u\", role = \"primary\", max_lag = \"1s\"",
            "pool.p.check.max_lag is about replicas, and role is \"primary\"",
        ),
        ("type = \"mysql\", user = \"u\", role = \"master\"", "it must be \"primary\" or \"replica\" or \"any\""),
        ("type = \"redis\", user = \"u\"", "pool.p.check.user needs a `password`"),
        ("type = \"redis\", password = 5", "pool.p.check.password must be a text in quotes, not of type integer"),
        ("type = \"dns\", port = 53", "pool.p.check.name is missing; write what to ask for"),
        ("type = \"dns\", name = \"a..b\", port = 53", "pool.p.check.name is \"a..b\", which is no domain name"),
        (
            "type = \"dns\", name = \"a\", record = \"AXFR\", port = 53",
            "pool.p.check.record is \"AXFR\"; write a record",
        ),
        (
            "type = \"dns\", name = \"a\", expect_rcode = \"OK\", port = 53",
            "expect_rcode is \"OK\"; it must be \"NOERROR\"",
        ),
        ("type = \"dns\", name = \"a\"", "pool.p.check needs a `port`: no UDP service uses the pool"),
        ("type = \"udp\", port = 53", "a check of type \"udp\" needs `payload` or `payload_hex`"),
        ("type = \"udp\", port = 53, payload = \"a\", payload_hex = \"00\"", "two ways to say one thing; remove one"),
        ("type = \"udp\", port = 53, payload = '\\q'", "pool.p.check.payload has an escape that is none of"),
        (
            "type = \"udp\", port = 53, payload_hex = \"0\"",
            "pool.p.check.payload_hex must be pairs of hexadecimal digits",
        ),
        (
            "type = \"udp\", port = 53, payload = \"\\xff\"",
            "pool.p.check.payload has a character outside ASCII: in double",
        ),
        (
            "type = \"udp\", port = 53, payload = 'a', expect = \"\\xff\"",
            "pool.p.check.expect has a character outside ASCII",
        ),
        (
            "type = \"udp\", port = 53, payload = 'a', expect = '('",
            "pool.p.check.expect is no regular expression: unclosed",
        ),
        ("type = \"script\"", "pool.p.check.command is missing; write a program"),
        ("type = \"script\", command = []", "pool.p.check.command must begin with an absolute path"),
        ("type = \"script\", command = \"/bin/true\"", "pool.p.check.command must be a list of texts"),
        ("type = \"script\", command = [\"true\"]", "pool.p.check.command must begin with an absolute path"),
        (
            "type = \"script\", command = [\"/bin/true\"], user = \"no-such-user\"",
            "pool.p.check.user is \"no-such-user\", and this machine has no such user",
        ),
        ("type = \"tcp\", jitter = \"60%\"", "pool.p.check.jitter is \"60%\"; it must be 0% to 50%, or a time"),
        ("type = \"tcp\", jitter = \"1100ms\"", "it must be 0% to 50%, or a time of at most half the interval"),
        ("type = \"tcp\", damping = \"no\"", "pool.p.check.damping must be true or false, not of type string"),
        ("type = \"tcp\", confirm = \"all\"", "pool.p.check.confirm is \"all\"; it must be \"nobody\" or \"peers\""),
        ("type = \"tcp\", confirm = \"peers\"", "pool.p.check.confirm is \"peers\", and there is no [peering]"),
        ("type = \"agent\"", "pool.p.check needs a `port`: the one that the agent listens on"),
    ];
    for (written, expected) in rows {
        let error = parse(written).expect_err(written).to_string();
        assert!(error.contains(expected), "{written}\n  says:     {error}\n  expected: {expected}");
        assert!(error.lines().all(|line| line.starts_with("x.toml:4: ")), "{error}");
        assert_eq!(error.lines().count(), 1, "one mistake, and more than one error: {error}");
    }
}

#[test]
fn the_port_is_that_of_the_services_that_speak_the_protocol() {
    let dns = "type = \"dns\", name = \"a\"";
    let udp = file(dns).replace("\"tcp\"", "\"udp\"");
    let port =
        |text: &str| Config::parse("x.toml", text).map(|parsed| parsed.config.pools[0].check.clone().map(|c| c.port));
    assert_eq!(port(&udp), Ok(Some(3306)));
    let both = format!("{udp}[[service]]\nvip = \"10.0.0.100\"\nport = 53\nprotocol = \"tcp\"\npool = \"p\"\n");
    assert_eq!(port(&both), Ok(Some(3306)));
    assert_eq!(port(&both.replace(dns, "type = \"tcp\"")), Ok(Some(53)));
    // A script is only told the port, if there is one.
    assert_eq!(port(&both.replace(dns, "type = \"script\", command = [\"/bin/sh\"]")), Ok(Some(0)));
    let two = both.replace("\"tcp\"", "\"udp\"");
    let error = port(&two).expect_err("two ports").to_string();
    assert!(error.contains("pool.p.check needs a `port`: the UDP services of the pool differ in port"), "{error}");
}

#[test]
fn a_check_can_be_a_section_of_its_own() {
    let line = "check = { type = \"http\", path = \"/a\" }\n";
    let section = "[pool.p.check]\ntype = \"http\"\npath = \"/a\"\n";
    let inline = file("type = \"http\", path = \"/a\"");
    let config = |text: &str| Config::parse("x.toml", text).map(|parsed| parsed.config);
    assert_eq!(config(&inline.replace(line, section)), config(&inline));
    let error = config(&inline.replace(line, &section.replace("path", "paht"))).expect_err("a slip").to_string();
    assert_eq!(error, "x.toml:6: a check of type \"http\" has no key `paht`; did you mean `path`?");
}

/// Each block of TOML in the documentation is a check.
#[test]
fn every_example_in_the_documentation_is_a_good_check() {
    let ca = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/check/tests/ca.pem");
    let text = include_str!("../../../../docs/health.md").replace("/etc/xdirector/ca.pem", &ca.display().to_string());
    let blocks: Vec<&str> = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 10, "{} blocks", blocks.len());
    for block in blocks {
        let file = file("").replace("check = {  }\n", block);
        let parsed = Config::parse("docs/health.md", &file).unwrap_or_else(|errors| panic!("{block}{errors}"));
        assert!(parsed.config.pools[0].check.is_some(), "{block}");
    }
}

#[test]
fn a_program_that_is_not_there_is_a_warning() {
    let Parsed { warnings, .. } = parse("type = \"script\", command = [\"/nowhere/check\"]").expect("only a warning");
    assert_eq!(warnings[0].to_string(), "x.toml:4: /nowhere/check is no program that can be run here");
}

#[test]
fn a_check_with_the_same_files_is_the_same() {
    let dir = std::env::temp_dir().join(format!("xdirector-check-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let write = |text: &str| std::fs::write(dir.join("ca.pem"), text).expect("it is ours");
    let written = format!("type = \"https\", ca = \"{}\"", Path::new(&dir).join("ca.pem").display());
    let pem = include_str!("tests/ca.pem");
    write(pem);
    let (first, second) = (check(&written), check(&written));
    write(&format!("another one\n{pem}"));
    let third = check(&written);
    std::fs::remove_dir_all(&dir).expect("it is ours");
    assert_eq!(first, second);
    assert_ne!(first, third);
}
