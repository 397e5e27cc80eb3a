//! Single values: strings and numbers to what they mean.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use lb_common::abi::Protocol;
use lb_common::abi::limits::NAME_BYTES;
use toml::Spanned;

use super::problem::Report;

/// IFNAMSIZ less the zero at the end.
const INTERFACE_NAME: usize = 15;
/// The longest duration that a key takes.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A number within a range, else the default, with an error.
pub fn number(
    report: &mut Report<'_>,
    key: &str,
    value: Option<&Spanned<i64>>,
    range: RangeInclusive<u32>,
    default: u32,
) -> u32 {
    let Some(value) = value else { return default };
    match u32::try_from(*value.get_ref()).ok().filter(|number| range.contains(number)) {
        Some(number) => number,
        None => {
            let (start, end) = (range.start(), range.end());
            report.error(value.span(), format!("{key} is {}; it must be from {start} to {end}", value.get_ref()));
            default
        }
    }
}

/// A duration such as "500ms", "2s" or "1m", above zero and at most a day.
pub fn duration(report: &mut Report<'_>, key: &str, value: Option<&Spanned<String>>, default: Duration) -> Duration {
    duration_within(report, key, value, default, Duration::from_millis(1)..=LONGEST)
}

/// A duration within a range, else the default, with an error.
pub fn duration_within(
    report: &mut Report<'_>,
    key: &str,
    value: Option<&Spanned<String>>,
    default: Duration,
    range: RangeInclusive<Duration>,
) -> Duration {
    let Some(value) = value else { return default };
    match parse_duration(value.get_ref()).filter(|duration| range.contains(duration)) {
        Some(duration) => duration,
        None => {
            let (text, least, most) = (value.get_ref(), written(*range.start()), written(*range.end()));
            report.error(
                value.span(),
                format!(
                    "{key} is \"{text}\"; a duration is a number with ms, s, m or h, from {least} to {most}, as in \"{}\"",
                    written(default)
                ),
            );
            default
        }
    }
}

/// As a file would have it.
pub fn written(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    for (unit, each) in [("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if milliseconds.is_multiple_of(each) {
            return format!("{}{unit}", milliseconds / each);
        }
    }
    format!("{milliseconds}ms")
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

/// An address that a host can have.
pub fn address(report: &mut Report<'_>, key: &str, value: &Spanned<String>) -> Option<IpAddr> {
    let text = value.get_ref();
    let problem = match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if is_unicast(address) => return Some(address.into()),
        Ok(IpAddr::V6(address)) if is_global_unicast(address) => return Some(address.into()),
        Ok(_) => {
            format!("{key} {text} is no address that a host can have all to itself (link-local ones need a scope)")
        }
        Err(_) => format!(
            "{key} \"{text}\" is no IP address; write one such as \"192.168.81.100\" or \"fd00::100\", without a prefix length"
        ),
    };
    report.error(value.span(), problem);
    None
}

/// Of a host of its own, not of many.
pub fn is_unicast(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_multicast() || address.is_broadcast() || address.is_loopback())
        && address.octets()[0] < 240
}

fn is_global_unicast(address: Ipv6Addr) -> bool {
    let special = address.is_unspecified() || address.is_multicast() || address.is_loopback();
    !special && !address.is_unicast_link_local() && address.to_ipv4_mapped().is_none()
}

/// What the kernel takes for the name of an interface.
pub fn is_interface_name(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '/' || c == ':';
    !text.is_empty() && text.len() <= INTERFACE_NAME && !text.contains(odd)
}

/// A name for people: short enough for the maps, and on one line.
pub fn name(report: &mut Report<'_>, key: &str, value: &Spanned<String>) -> String {
    let text = value.get_ref();
    if text.is_empty() || text.len() > NAME_BYTES || text.chars().any(char::is_control) {
        report.error(value.span(), format!("{key} must have 1 to {NAME_BYTES} bytes and no control characters"));
    }
    text.clone()
}

/// tcp or udp.
pub fn protocol(report: &mut Report<'_>, value: &Spanned<String>) -> Option<Protocol> {
    match value.get_ref().as_str() {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        other => {
            report.error(value.span(), format!("protocol is \"{other}\"; it must be \"tcp\" or \"udp\""));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Some(Duration::from_secs(120)));
        for bad in ["", "5", "s", "-1s", "1.5s", "1 s", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
