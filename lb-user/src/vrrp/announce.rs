//! The frames that tell the neighbours, and the switches between, where a vip lives now.
//!
//! Each is a whole Ethernet frame without FCS and without padding to the least length; the interface adds both.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;

use lb_common::abi::Mac;

use super::checksum::Sum;
use super::packet::{Endpoints, TTL};

/// The length of a [`gratuitous_arp`], in bytes.
pub const ARP_BYTES: usize = 14 + 28;
/// The length of an [`unsolicited_na`], in bytes.
pub const NA_BYTES: usize = 14 + 40 + NA_MESSAGE_BYTES;

const NA_MESSAGE_BYTES: usize = 32;
const ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// The option that holds the MAC, and its length of one unit of eight bytes (RFC 4861 section 4.6.1).
const TARGET_LINK_LAYER_ADDRESS: [u8; 2] = [2, 1];
const BROADCAST: [u8; 6] = [0xff; 6];
/// The group of all nodes, and its MAC (RFC 2464 section 7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// What an IPv6 neighbour advertisement says of its sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sender {
    /// A host: the R flag is clear, as keepalived leaves it on an interface that does not forward.
    #[default]
    Host,
    /// A router: the R flag is set, as RFC 5798 section 8.2.2 wants it of a virtual router.
    Router,
}

/// The family of a virtual MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The MAC that belongs to a virtual router, whoever is its master (RFC 5798 section 7.3).
pub const fn virtual_mac(family: Family, vrid: NonZeroU8) -> Mac {
    let family = match family {
        Family::V4 => 1,
        Family::V6 => 2,
    };
    Mac([0x00, 0x00, 0x5e, 0x00, family, vrid.get()])
}

/// Appends an ARP request of `vip` for itself, to everybody (RFC 5798 section 8.1.2). The target's MAC is all ones, as
/// keepalived and FRR have it; receivers do not look at it.
pub fn gratuitous_arp(mac: Mac, vip: Ipv4Addr, into: &mut Vec<u8>) {
    into.extend(BROADCAST);
    into.extend(mac.0);
    into.extend([0x08, 0x06]);
    // Ethernet, IPv4, their lengths, request.
    into.extend([0, 1, 0x08, 0x00, 6, 4, 0, 1]);
    into.extend(mac.0);
    into.extend(vip.octets());
    into.extend(BROADCAST);
    into.extend(vip.octets());
}

/// Appends a neighbour advertisement that nobody asked for, to everybody: override set, solicited clear (RFC 4861 section
/// 7.2.6). The source is the vip itself.
pub fn unsolicited_na(mac: Mac, vip: Ipv6Addr, sender: Sender, into: &mut Vec<u8>) {
    into.extend(ALL_NODES_MAC);
    into.extend(mac.0);
    into.extend([0x86, 0xdd]);
    into.extend([0x60, 0, 0, 0, 0, NA_MESSAGE_BYTES as u8, ICMPV6, TTL]);
    into.extend(vip.octets());
    into.extend(ALL_NODES.octets());
    let start = into.len();
    let flags = match sender {
        Sender::Host => 0x20,
        Sender::Router => 0xa0,
    };
    into.extend([NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0]);
    into.extend(vip.octets());
    into.extend(TARGET_LINK_LAYER_ADDRESS);
    into.extend(mac.0);
    let endpoints = Endpoints::V6 { source: vip, destination: ALL_NODES };
    let message = &mut into[start..];
    let checksum = Sum::default().bytes(message).pseudo_header(&endpoints, ICMPV6, NA_MESSAGE_BYTES).finish();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
}
