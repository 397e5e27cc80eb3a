//! The interface of a virtual MAC: a macvlan on the router's interface, which has the vips.
//!
//! It is up on backups too, so that a take-over has one thing less to wait for; the switch sends frames for the virtual MAC
//! to the master, from whom its adverts come.

use std::fs;
use std::io;
use std::num::NonZeroU8;

use lb_common::abi::Mac;

use super::super::announce::Family;
use super::rtnl::{Link, Prepared, Requests};

/// All our interfaces begin like this; so what a predecessor left is recognised.
const PREFIX: &str = "xdv";

/// Our interface.
#[derive(Debug)]
pub struct Macvlan {
    /// Its index.
    pub index: u32,
    /// The name of the interface that it is on.
    pub parent: String,
}

impl Macvlan {
    /// The one that a predecessor left, or a new one; up, and without addresses of its own making.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(requests: &mut Requests, parent: &Link, family: Family, vrid: NonZeroU8, mac: Mac) -> io::Result<Self> {
        let name = name(parent.index, family, vrid);
        let find = |links: Vec<Link>| links.into_iter().find(|link| link.name == name);
        let link = match find(requests.links()?) {
            Some(link) => link,
            None => {
                requests.execute(&mut Prepared::macvlan(parent.index, &name, mac))?;
                find(requests.links()?).ok_or(io::ErrorKind::NotFound)?
            }
        };
        prepare(&name, family)?;
        requests.execute(&mut Prepared::up(link.index))?;
        Ok(Self { index: link.index, parent: parent.name.clone() })
    }

    /// Takes it away, and its vips with it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(self, requests: &mut Requests) -> io::Result<()> {
        requests.execute(&mut Prepared::remove_link(self.index))
    }
}

/// Whether an interface of this name is one of ours.
pub fn is_ours(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with("4.") || rest.starts_with("6."))
}

/// At most 15 bytes as long as the parent's index has five digits.
fn name(parent: u32, family: Family, vrid: NonZeroU8) -> String {
    let family = match family {
        Family::V4 => 4,
        Family::V6 => 6,
    };
    format!("{PREFIX}{family}.{vrid}.{parent}")
}

/// It answers ARP for its own vips only; what comes to them may come by routes of the other interface; and it has no
/// address that is made of the virtual MAC (RFC 5798 section 7.4), and listens to no router.
fn prepare(name: &str, family: Family) -> io::Result<()> {
    set("ipv4", name, "arp_ignore", "1")?;
    set("ipv4", name, "rp_filter", "2")?;
    match family {
        Family::V4 => set("ipv6", name, "disable_ipv6", "1"),
        Family::V6 => {
            set("ipv6", name, "addr_gen_mode", "1")?;
            set("ipv6", name, "accept_ra", "0")
        }
    }
}

/// Keeps an interface from answering ARP for the vips of another one with its own MAC. Says whether that was needed.
///
/// # Errors
/// The kernel's.
pub fn quieten(parent: &str) -> io::Result<bool> {
    let is_needed = fs::read_to_string(path("ipv4", parent, "arp_ignore"))?.trim() == "0";
    if is_needed {
        set("ipv4", parent, "arp_ignore", "1")?;
    }
    Ok(is_needed)
}

/// The opposite, once no virtual MAC is on it any more.
///
/// # Errors
/// The kernel's.
pub fn unquieten(parent: &str) -> io::Result<()> {
    set("ipv4", parent, "arp_ignore", "0")
}

fn path(family: &str, interface: &str, key: &str) -> String {
    format!("/proc/sys/net/{family}/conf/{interface}/{key}")
}

/// A kernel without IPv6 has none of its keys, and needs none.
fn set(family: &str, interface: &str, key: &str, value: &str) -> io::Result<()> {
    match fs::write(path(family, interface, key), value) {
        Err(error) if family == "ipv6" && error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_are_recognised() {
        for (family, expected) in [(Family::V4, "xdv4.255.99999"), (Family::V6, "xdv6.255.99999")] {
            let name = name(99_999, family, NonZeroU8::MAX);
            assert_eq!(name, expected);
            assert!(name.len() < libc::IFNAMSIZ && is_ours(&name));
        }
        for other in ["xdv", "xdv5.1.2", "eth0", "4.1.2"] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
