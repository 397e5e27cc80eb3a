//! `via` and `vip`.

use super::super::super::{Config, Parsed};
use super::super::*;
use super::{check, file, parse};

/// The same pool for another vip too.
fn two_vips(check: &str) -> String {
    format!("{}[[service]]\nvip = \"10.0.0.200\"\nport = 3306\nprotocol = \"tcp\"\npool = \"p\"\n", file(check))
}

fn via(text: &str) -> Result<(Via, Option<String>), String> {
    let Parsed { config, .. } = Config::parse("x.toml", text).map_err(|errors| errors.to_string())?;
    let check = config.pools[0].check.clone().ok_or("it has no check")?;
    Ok((check.via, check.vip.map(|vip| vip.to_string())))
}

#[test]
fn the_vip_is_that_of_the_services_or_the_one_that_is_named() {
    let vip = |last| Via::Vip([10, 0, 0, last].into());
    assert_eq!(check("type = \"tcp\", via = \"vip\"").describe(), "tcp port 3306 via 10.0.0.100");
    assert_eq!(check("type = \"tcp\", via = \"real\"").via, Via::Real);
    let named = "type = \"tcp\", via = \"vip\", vip = \"10.0.0.200\"";
    assert_eq!(via(&two_vips(named)), Ok((vip(200), Some("10.0.0.200".into()))));
    let error = via(&two_vips("type = \"tcp\", via = \"vip\"")).expect_err("two vips");
    assert!(
        error.ends_with("pool.p.check needs a `vip` to go by: the services of the pool have 10.0.0.100, 10.0.0.200"),
        "{error}"
    );
    let script = "type = \"script\", command = [\"/bin/sh\"]";
    assert_eq!(via(&file(script)), Ok((Via::Real, Some("10.0.0.100".into()))));
    assert_eq!(via(&two_vips(script)), Ok((Via::Real, None)));
    let named = format!("{script}, vip = \"10.0.0.200\"");
    assert_eq!(via(&two_vips(&named)), Ok((Via::Real, Some("10.0.0.200".into()))));
}

#[test]
fn each_mistake_about_the_way_is_named_with_its_cure() {
    let rows = [
        ("type = \"tcp\", via = \"vp\"", "via is \"vp\"; it must be \"real\" or \"vip\""),
        ("type = \"tcp\", vip = \"10.0.0.100\"", "pool.p.check.vip means nothing without via = \"vip\""),
        ("type = \"tcp\", via = \"vip\", vip = \"here\"", "pool.p.check.vip \"here\" is no IP address"),
        (
            "type = \"tcp\", via = \"vip\", vip = \"10.0.0.9\"",
            "is 10.0.0.9, which no service of the pool has; they have: 10.0.0.100",
        ),
        (
            "type = \"script\", command = [\"/bin/sh\"], via = \"vip\"",
            "a check of type \"script\" cannot go by the vip: a script opens its own sockets; use via = \"real\"",
        ),
    ];
    for (written, expected) in rows {
        let error = parse(written).expect_err(written).to_string();
        assert!(error.contains(expected), "{written}\n  says:     {error}\n  expected: {expected}");
        assert_eq!(error.lines().count(), 1, "one mistake, and more than one error: {error}");
    }
    let other_family = file("type = \"tcp\", via = \"vip\"").replace("10.0.0.1\"", "fd00::1\"");
    let error = via(&other_family).expect_err("another family");
    assert!(error.contains("needs real servers with addresses of its family, and fd00::1 is at fd00::1"), "{error}");
}
