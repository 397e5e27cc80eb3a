//! Frames in which somebody says that a vip is his: what the kernel is told to let through, and how they are read. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::abi::Mac;

/// One instruction of the kernel's classic packet filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What.
    pub code: u16,
    /// How many to skip if a comparison holds.
    pub yes: u8,
    /// The same if it does not.
    pub no: u8,
    /// An offset, a number to compare with, or the result.
    pub value: u32,
}

const LOAD_WORD: u16 = 0x20;
const LOAD_BYTE: u16 = 0x30;
const IS: u16 = 0x15;
const RETURN: u16 = 0x06;

/// More than any frame has.
const WHOLE: u32 = 0xffff;
/// The kernel's limit of a program, less what is around the list of vips.
const MOST_VIPS: usize = 2000;

const SENDER_MAC: usize = 14 + 8;
const SENDER_V4: usize = 14 + 14;
const SOURCE_MAC: usize = 6;
const NEXT_HEADER: usize = 14 + 6;
const ICMP: usize = 14 + 40;
const TARGET: usize = ICMP + 8;
const ICMPV6: u32 = 58;
const NEIGHBOUR_ADVERTISEMENT: u32 = 136;

const fn load(code: u16, offset: usize) -> Instruction {
    Instruction { code, yes: 0, no: 0, value: offset as u32 }
}

const fn result(value: u32) -> Instruction {
    Instruction { code: RETURN, yes: 0, no: 0, value }
}

/// Lets nothing through: for sockets that only send.
pub const NOTHING: [Instruction; 1] = [result(0)];

/// Lets ARP frames through whose sender says that it has one of these.
pub fn arp_claims(vips: impl Iterator<Item = Ipv4Addr>) -> Vec<Instruction> {
    one_of(vec![load(LOAD_WORD, SENDER_V4)], vips.map(u32::from).collect())
}

/// Lets neighbour advertisements through that are perhaps for one of these: only the last four bytes are compared.
pub fn advertised(vips: impl Iterator<Item = Ipv6Addr>) -> Vec<Instruction> {
    let must_be = |value| [Instruction { code: IS, yes: 1, no: 0, value }, result(0)];
    let mut program = vec![load(LOAD_BYTE, NEXT_HEADER)];
    program.extend(must_be(ICMPV6));
    program.push(load(LOAD_BYTE, ICMP));
    program.extend(must_be(NEIGHBOUR_ADVERTISEMENT));
    program.push(load(LOAD_WORD, TARGET + 12));
    one_of(program, vips.map(|vip| vip.to_bits() as u32).collect())
}

/// So many that they do not fit are not told apart here.
fn one_of(mut program: Vec<Instruction>, vips: Vec<u32>) -> Vec<Instruction> {
    if vips.len() > MOST_VIPS {
        program.push(result(WHOLE));
        return program;
    }
    for value in vips {
        program.extend([Instruction { code: IS, yes: 0, no: 1, value }, result(WHOLE)]);
    }
    program.push(result(0));
    program
}

/// Who says that an address is his, in an ARP frame that was let through.
pub fn arp_claim(frame: &[u8]) -> Option<(Mac, IpAddr)> {
    let address: &[u8; 4] = frame.get(SENDER_V4..)?.first_chunk()?;
    let mac: &[u8; 6] = frame.get(SENDER_MAC..)?.first_chunk()?;
    Some((Mac(*mac), IpAddr::from(*address)))
}

/// The same in a neighbour advertisement.
pub fn advertisement(frame: &[u8]) -> Option<(Mac, IpAddr)> {
    let address: &[u8; 16] = frame.get(TARGET..)?.first_chunk()?;
    let mac: &[u8; 6] = frame.get(SOURCE_MAC..)?.first_chunk()?;
    Some((Mac(*mac), IpAddr::from(*address)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrrp::announce::{Sender, gratuitous_arp, unsolicited_na};

    /// What the kernel does.
    fn run(program: &[Instruction], frame: &[u8]) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let Instruction { code, yes, no, value } = program[at];
            at += 1;
            let offset = value as usize;
            match code {
                LOAD_BYTE => loaded = u32::from(frame[offset]),
                LOAD_WORD => loaded = u32::from_be_bytes(frame[offset..offset + 4].try_into().unwrap()),
                IS => at += usize::from(if loaded == value { yes } else { no }),
                RETURN => return value,
                _ => panic!("{code:#x}"),
            }
        }
    }

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    #[test]
    fn a_gratuitous_arp_for_one_of_our_vips_is_seen_and_read() {
        let vips = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
        let program = arp_claims(vips.into_iter());
        for (address, seen) in [(vips[0], true), (vips[1], true), (Ipv4Addr::new(10, 0, 0, 3), false)] {
            let mut frame = Vec::new();
            gratuitous_arp(MAC, address, &mut frame);
            assert_eq!(run(&program, &frame) != 0, seen, "{address}");
            assert_eq!(arp_claim(&frame), Some((MAC, IpAddr::V4(address))));
        }
    }

    #[test]
    fn a_neighbour_advertisement_for_one_of_our_vips_is_seen_and_read() {
        let vip: Ipv6Addr = "fd00::1:2".parse().unwrap();
        let program = advertised([vip].into_iter());
        let mut frame = Vec::new();
        unsolicited_na(MAC, vip, Sender::Router, &mut frame);
        assert_ne!(run(&program, &frame), 0);
        assert_eq!(advertisement(&frame), Some((MAC, IpAddr::V6(vip))));
        for (at, value) in [(NEXT_HEADER, 6), (ICMP, 135), (TARGET + 15, 3)] {
            let mut other = frame.clone();
            other[at] = value;
            assert_eq!(run(&program, &other), 0, "{at}");
        }
    }

    #[test]
    fn more_vips_than_fit_are_all_let_through() {
        let vips = (0..5000).map(|number: u32| Ipv4Addr::from(number));
        let program = arp_claims(vips);
        assert!(program.len() <= 4096);
        assert_ne!(run(&program, &[0xff; 60]), 0);
    }

    #[test]
    fn short_frames_are_no_claims() {
        assert_eq!((arp_claim(&[0; 31]), advertisement(&[0; 77])), (None, None));
    }
}
