//! Addresses that only virtual routers have: vips with the length of their network, and link-local ones.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU8;

use ipnet::IpNet;
use toml::Spanned;

use super::super::problem::Report;
use super::super::values::is_unicast;
use crate::vrrp::announce::Family;

/// The family of an address.
pub const fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

/// As people call it.
pub const fn family_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

/// Whether it means something on one link only.
pub const fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// The link-local vip of a router whose file has none (RFC 5798 section 5.2.9 wants one): the last four bytes of the virtual
/// MAC, 00:00:5e:00:02:XX, behind fe80::. It is not the one that an interface with that MAC would give itself.
pub const fn virtual_link_local(vrid: NonZeroU8) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x5e00, 0x0200 | vrid.get() as u16)
}

/// One that a router on the interface's link can have, link-local ones included.
fn is_usable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_unicast(address),
        IpAddr::V6(address) => {
            !(address.is_unspecified() || address.is_multicast() || address.is_loopback())
                && address.to_ipv4_mapped().is_none()
        }
    }
}

/// An address without a length, link-local or not, of the family of the vips.
pub fn address(report: &mut Report<'_>, key: &str, written: &Spanned<String>, family: Family) -> Option<IpAddr> {
    let text = written.get_ref();
    let problem = match text.parse::<IpAddr>() {
        Ok(address) if !is_usable(address) => format!("{key} {text} is no address that a router can have"),
        Ok(address) if family != family_of(address) => {
            format!("{key} {text} is not of the family of the vips, which is {}", family_name(family))
        }
        Ok(address) => return Some(address),
        Err(_) => {
            format!("{key} \"{text}\" is no IP address; write one such as \"192.168.81.2\", without a prefix length")
        }
    };
    report.error(written.span(), problem);
    None
}

/// A vip with the length of its network; without one, it is alone in it, as keepalived has it.
pub fn vip(report: &mut Report<'_>, key: &str, written: &Spanned<String>) -> Option<IpNet> {
    let text = written.get_ref();
    let problem = match parse(text) {
        Some(net) if !is_usable(net.addr()) => "is no address that a router can have",
        Some(net) if net.prefix_len() == 0 => "has a network of length 0; write that of the network it is in",
        Some(net) => return Some(net),
        None if text.trim().contains(char::is_whitespace) => {
            "is more than an address; `dev`, `label` and the like have no place here: write the address alone"
        }
        None => "is no address; write one such as \"192.168.81.100/24\"",
    };
    report.error(written.span(), format!("{key} \"{text}\" {problem}"));
    None
}

/// A network of the family of the vips; "default" is all of it.
pub fn network(report: &mut Report<'_>, key: &str, written: &Spanned<String>, family: Family) -> Option<IpNet> {
    let text = written.get_ref();
    let problem = match parse(text) {
        None if text == "default" => return Some(all(family)),
        None => "is no network; write one such as \"10.0.0.0/8\"".into(),
        Some(net) if net.trunc() != net => format!("has bits set behind its length; write {}", net.trunc()),
        Some(net) if family_of(net.addr()) != family => {
            format!("is not of the family of the vips, which is {}", family_name(family))
        }
        Some(net) => return Some(net),
    };
    report.error(written.span(), format!("{key} \"{text}\" {problem}"));
    None
}

fn all(family: Family) -> IpNet {
    match family {
        Family::V4 => IpNet::V4(ipnet::Ipv4Net::default()),
        Family::V6 => IpNet::V6(ipnet::Ipv6Net::default()),
    }
}

fn parse(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
