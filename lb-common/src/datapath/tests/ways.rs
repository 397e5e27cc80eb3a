//! Where frames go in and out: tags, exits, other directors, access, ports, the fence.

use super::*;
use crate::abi::Exit;

/// An ARP request of 10.0.0.1 for VIP.
fn arp_request() -> Vec<u8> {
    let mut frame = [&[0xff; 6][..], &CLIENT.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &CLIENT.0, &[10, 0, 0, 1]].concat();
    frame.extend([0; 6]);
    frame.extend(VIP);
    frame
}

/// A neighbour solicitation for VIP_6.
fn solicitation() -> Vec<u8> {
    let mut frame =
        [&[0x33, 0x33, 0xff, 0, 1, 0][..], &CLIENT.0, &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 255]].concat();
    frame.extend([0xfd; 16]);
    frame.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 1, 0]);
    frame.extend([135, 0, 0, 0, 0, 0, 0, 0]);
    frame.extend(VIP_6);
    frame
}

#[test]
fn nobody_is_told_of_a_vip_whose_lease_has_run_out() {
    for question in [arp_request, solicitation] {
        let mut world = world();
        assert_eq!(run(&mut question(), &mut world), Reason::NotBalanced);
        world.fenced = true;
        assert_eq!(run(&mut question(), &mut world), Reason::Fenced);
        let mut tagged = question();
        tagged.splice(12..12, [0x81, 0, 0, 7]);
        assert_eq!(run(&mut tagged, &mut world), Reason::Fenced);
        for length in 14..question().len() {
            assert_eq!(run(&mut question()[..length], &mut world), Reason::NotBalanced, "{length} bytes");
        }
        let mut other = question();
        *other.last_mut().expect("it is long") ^= 1;
        assert_eq!(run(&mut other, &mut world), Reason::NotBalanced, "another address");
    }
    let mut world = world();
    world.fenced = true;
    let rows: &[(&str, usize, u8)] = &[("an answer", 21, 2), ("hardware addresses of eight bytes", 18, 8)];
    for (what, at, value) in rows {
        let mut frame = arp_request();
        frame[*at] = *value;
        assert_eq!(run(&mut frame, &mut world), Reason::NotBalanced, "{what}");
    }
    let mut announcement = arp_request();
    announcement[28..32].copy_from_slice(&VIP);
    assert_eq!(run(&mut announcement, &mut world), Reason::NotBalanced, "an announcement");
    let mut echo = solicitation();
    echo[54] = 128;
    assert_eq!(run(&mut echo, &mut world), Reason::NotBalanced, "a ping");
}

#[test]
fn a_closed_vip_leads_to_services_only() {
    // A neighbour that asks whether the vip is still here asks the vip itself.
    let discovery = |kind: u8| {
        let mut frame = solicitation();
        frame[38..54].copy_from_slice(&VIP_6);
        frame[54] = kind;
        frame
    };
    let changed = |packet: fn() -> Vec<u8>, at: usize| {
        let mut frame = packet();
        frame[at] ^= 1;
        frame
    };
    let mut ping = segment();
    ping[23] = 1;
    let mut tagged = changed(segment, 37);
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    let [_, later] = fragments();
    let stay = Reason::NotAccepted;
    let rows = [
        ("a service", segment(), Reason::Forwarded, Reason::Forwarded),
        ("a service over IPv6", segment_v6(), Reason::Forwarded, Reason::Forwarded),
        ("another port", changed(segment, 37), stay, Reason::NoService),
        ("another port over IPv6", changed(segment_v6, 73), stay, Reason::NoService),
        ("another port behind a tag", tagged, stay, Reason::NoService),
        ("a ping", ping, stay, Reason::NotBalanced),
        ("a ping over IPv6", discovery(128), stay, Reason::NotBalanced),
        ("a later fragment", later, Reason::Fragment, Reason::Fragment),
        ("another address", changed(segment, 33), Reason::NoService, Reason::NoService),
        ("ARP", arp_request(), Reason::NotBalanced, Reason::NotBalanced),
        ("a solicitation", discovery(135), Reason::NotBalanced, Reason::NotBalanced),
        ("an advertisement", discovery(136), Reason::NotBalanced, Reason::NotBalanced),
    ];
    for (what, frame, closed, open) in rows {
        for (is_closed, reason) in [(true, closed), (false, open)] {
            let mut world = world();
            world.closed = is_closed;
            assert_eq!(run(&mut frame.clone(), &mut world), reason, "{what}, closed: {is_closed}");
            assert_eq!(world.reasons, [reason], "{what}");
        }
        let mut world = world();
        (world.closed, world.settings.closed) = (true, 0);
        assert_eq!(run(&mut frame.clone(), &mut world), open, "{what}, and no vip is closed");
    }
}

/// A frame with these tags, (type, control information).
fn tagged(tags: &[(u16, u16)]) -> Vec<u8> {
    let mut frame = segment();
    let bytes = tags.iter().flat_map(|(kind, control)| [kind.to_be_bytes(), control.to_be_bytes()]).flatten();
    frame.splice(12..12, bytes);
    frame
}

#[test]
fn tags_are_kept_where_the_real_server_has_no_exit() {
    for tags in [&[(0x8100, 0x2007)][..], &[(0x88a8, 5), (0x8100, 0xe006)], &[(0x8100, 5), (0x8100, 6)]] {
        let (mut world, before) = (world(), tagged(tags));
        let mut frame = before.clone();
        assert_eq!(run(&mut frame, &mut world), Reason::Forwarded, "{tags:x?}");
        assert_eq!((&frame[..6], &frame[6..12]), (&REAL.0[..], &OWN.0[..]));
        assert_eq!(frame[12..12 + 4 * tags.len() + 2], before[12..12 + 4 * tags.len() + 2]);
    }
    let mut three = tagged(&[(0x8100, 1), (0x8100, 2), (0x8100, 3)]);
    assert_eq!(run(&mut three, &mut world()), Reason::NotBalanced);
}

/// A world whose real server is reached by the interface in this place, in this VLAN, by packets of up to 40 bytes.
fn world_with_exit(place: u8, vlan: u16) -> World {
    let mut world = world();
    world.settings.own_macs[2] = 0xbb02;
    world.buckets[2] = world.buckets[2].with_exit();
    world.reals[9].exit = Exit::new(place, vlan, 40).0;
    world
}

#[test]
fn a_frame_leaves_by_the_exit_with_its_tag_and_no_other() {
    const OTHER: [u8; 6] = [2, 0xbb, 0, 0, 0, 0];
    // (tags before, place of the exit, its VLAN, tags after, place that it is redirected to); interface 4 is in place 1.
    type Row<'a> = (&'a [(u16, u16)], u8, u16, &'a [(u16, u16)], Option<u32>);
    let rows: &[Row<'_>] = &[
        (&[], 1, 0, &[], None),
        (&[], 2, 0, &[], Some(2)),
        (&[], 2, 20, &[(0x8100, 20)], Some(2)),
        (&[(0x8100, 0xa007)], 1, 20, &[(0x8100, 0xa014)], None),
        (&[(0x8100, 0xa007)], 1, 0, &[], None),
        (&[(0x88a8, 0xa007), (0x8100, 9)], 2, 20, &[(0x8100, 0xa014)], Some(2)),
        (&[(0x88a8, 0xa007), (0x8100, 9)], 1, 0, &[], None),
    ];
    for (before, place, vlan, after, interface) in rows {
        let mut world = world_with_exit(*place, *vlan);
        let mut bytes = [vec![0; 8], tagged(before)].concat();
        let mut frame = Buffer::new(&mut bytes, 8, 4);
        let outcome = process(&mut frame, &mut world);
        assert_eq!(outcome, Outcome { reason: Reason::Forwarded, interface: *interface }, "{before:x?}");
        let own = if *place == 1 { OWN.0 } else { OTHER };
        let mut expected = tagged(after);
        expected[..12].copy_from_slice(&[REAL.0, own].concat());
        let ttl = 12 + 4 * after.len() + 2 + 8;
        assert_eq!(frame.frame()[ttl], expected[ttl] - 1);
        let sum = ttl + 2..ttl + 4;
        expected[ttl] -= 1;
        expected[sum.clone()].copy_from_slice(&frame.frame()[sum]);
        assert_eq!(frame.frame(), expected, "{before:x?} by {place} in {vlan}");
    }
    let mut world = world_with_exit(2, 20);
    world.reals[9].exit = Exit::new(2, 20, 39).0;
    let mut frame = segment();
    assert_eq!(run(&mut frame, &mut world), Reason::TooBig);
    assert_eq!(frame, segment());
}

#[test]
fn what_is_for_this_machine_stays_here_untouched() {
    let real = RealId::new(9).expect("9 is a valid id");
    let (mut world, mut frame) = (world(), segment());
    world.buckets[2] = Bucket::local(real);
    set_ttl(&mut frame, 1);
    let before = frame.clone();
    assert_eq!(run(&mut frame, &mut world), Reason::Local);
    assert_eq!((frame, world.counter.packets), (before, 1));
}

/// Gives every service these flags.
fn with_flags(mut world: World, flags: ServiceFlags) -> World {
    for slot in world.slots.iter_mut().filter(|slot| slot.tail != 0) {
        slot.tail |= flags.0;
    }
    world
}

#[test]
fn what_another_director_has_chosen_is_not_chosen_again() {
    let mut world = with_flags(world(), ServiceFlags::LOCAL);
    world.settings.peer_macs[3] = CLIENT.to_word();
    assert_eq!(run(&mut segment(), &mut world), Reason::Local);
    world.settings.peer_macs[3] = 0;
    assert_eq!(run(&mut segment(), &mut world), Reason::Forwarded);
}

#[test]
fn only_who_is_denied_is_kept_out() {
    for (access, reason) in [(None, Reason::Forwarded), (Some(1), Reason::Forwarded), (Some(2), Reason::AccessDenied)] {
        let mut world = with_flags(world(), ServiceFlags::ACCESS);
        world.access = access;
        assert_eq!(run(&mut segment(), &mut world), reason);
    }
    let mut without_list = world();
    without_list.access = Some(2);
    assert_eq!(run(&mut segment(), &mut without_list), Reason::Forwarded);
}

#[test]
fn a_block_of_ports_is_found_by_each_of_them_and_the_smallest_is_meant() {
    let mut world = world();
    let (seed, service) = (world.settings.slot_seeds[1], ServiceId::new(7).expect("7 is a valid id"));
    for (port, bits, base) in [(8064, 6, 0), (8000, 16, 1)] {
        let key = ServiceKey::v4(VIP, u16::to_be_bytes(port), Protocol::Tcp).block(bits);
        let slot = ServiceSlot::new(key, service, ServiceFlags::default(), RingRange { base, size: 1 });
        world.slots[(SERVICE_SLOTS + key.slot(seed)) as usize] = slot;
        world.settings.port_blocks |= 1 << bits;
    }
    let mac = |last| Bucket::new(RealId::new(9).expect("9 is a valid id"), Mac([2, 0, 0, 0, 0, last]));
    (world.buckets[0], world.buckets[1]) = (mac(1), mac(2));
    for (port, last) in [(8064_u16, 1), (8100, 1), (8127, 1), (8063, 2), (8128, 2), (1, 2), (65_535, 2), (3306, 0xaa)] {
        let mut frame = segment();
        frame[36..38].copy_from_slice(&port.to_be_bytes());
        assert_eq!(run(&mut frame, &mut world), Reason::Forwarded, "{port}");
        assert_eq!(frame[5], last, "{port}");
    }
}

#[test]
fn affinity_by_source_looks_at_the_masked_address_alone() {
    let mut world = with_flags(world(), ServiceFlags::BY_SOURCE);
    let real = RealId::new(9).expect("9 is a valid id");
    world.buckets = (0..=200).map(|last| Bucket::new(real, Mac([2, 0, 0, 0, 0, last]))).collect();
    for slot in world.slots.iter_mut().filter(|slot| slot.tail != 0) {
        slot.ring = RingRange { base: 0, size: 200 }.to_word();
        slot.source_mask = [u64::from_le_bytes([255, 255, 255, 0, 0, 0, 0, 0]), 0];
    }
    let mut went = |client: [u8; 4], port: u8| {
        let mut frame = segment();
        frame[26..30].copy_from_slice(&client);
        frame[35] = port;
        fix_checksum(&mut frame);
        assert_eq!(run(&mut frame, &mut world), Reason::Forwarded);
        frame[5]
    };
    let first = went([10, 0, 0, 1], 1);
    assert!((0..50).all(|n| went([10, 0, 0, n], n) == first));
    let others: Vec<u8> = (0..50).map(|n| went([10, 0, n, 1], 1)).collect();
    assert!(others.iter().filter(|other| **other == first).count() < 10, "{others:?}");
}

#[test]
fn a_frame_for_a_virtual_mac_leaves_from_the_mac_of_its_interface() {
    const VIRTUAL: [u8; 6] = [0, 0, 0x5e, 0, 1, 7];
    let mut world = world();
    let mut to_virtual = tagged(&[]);
    to_virtual[..6].copy_from_slice(&VIRTUAL);
    let mut unknown = to_virtual.clone();
    assert_eq!(run(&mut unknown, &mut world), Reason::Overheard);
    world.settings.own_macs[5] = Mac(VIRTUAL).to_word();
    // Interface 4 is in place 1.
    let mut bytes = [vec![0; 8], to_virtual].concat();
    let mut frame = Buffer::new(&mut bytes, 8, 4);
    assert_eq!(process(&mut frame, &mut world).reason, Reason::Forwarded);
    assert_eq!(bytes[8..20], [REAL.0, OWN.0].concat());
}
