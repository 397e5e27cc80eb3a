//! What the loaded program does to single frames that leave this machine, and to what answers them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use aya::programs::TcAttachType;
use aya::programs::tc::{self, NlOptions, TcAttachOptions};
use lb_common::reason::Reason;
use lb_user::dataplane::{EgressWay, Kernel};
use tests::bench::case::aya_verdict::PASS;
use tests::fixture::{self, VIP, VIP_6, World, run, run_egress};
use tests::fuzz::other_interface;
use tests::fuzz::probes::{KINDS, Kind, REAL, answer, departure, notes, request};
use tests::lab::output;

/// On to the next filter, and nowhere.
const NEXT: i32 = -1;
const SHOT: i32 = 2;

/// The program, and the world it is in.
fn load() -> Result<(Kernel, World)> {
    let world = World::of_everything(other_interface()?);
    Ok((fixture::load(&fixture::program_object()?, &world)?, world))
}

fn mark(world: &World, vip: IpAddr) -> Result<u32> {
    Ok(world.config.probe_marks().get(&vip).context("the vip has no mark")?.to_mark())
}

/// The bytes of an address, and where in a frame the destination and the source of its family are.
fn bytes_and_places(address: IpAddr) -> (Vec<u8>, [usize; 2]) {
    match address {
        IpAddr::V4(address) => (address.octets().to_vec(), [30, 26]),
        IpAddr::V6(address) => (address.octets().to_vec(), [38, 22]),
    }
}

/// Over the bytes as words in network order; ones' complement, so its two zeros are one.
fn sum(bytes: &[u8]) -> u64 {
    let sum: u64 = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))).sum();
    sum % 0xffff
}

/// All that the checksums of a frame are over, beside what does not change: as they were right before, they are after if this
/// is the same.
fn sums(frame: &[u8], kind: Kind) -> Vec<u64> {
    match (frame[12], kind) {
        (8, Kind::Echo) => vec![sum(&frame[14..34]), sum(&frame[34..])],
        (8, _) => vec![sum(&frame[14..34]), sum(&frame[26..])],
        _ => vec![sum(&frame[22..])],
    }
}

/// A frame whose transport checksum is not zero, which over UDP would say that there is none.
fn with_checksum(mut frame: Vec<u8>, kind: Kind) -> Vec<u8> {
    let upper = if frame[12] == 8 { 34 } else { 54 };
    let at = upper
        + match kind {
            Kind::Tcp => 16,
            Kind::Udp => 6,
            Kind::Echo => 2,
        };
    frame[at..at + 2].copy_from_slice(&[0xab, 0xcd]);
    frame
}

#[test]
fn a_probe_leaves_for_the_vip_and_its_answer_comes_from_the_real_server() -> Result<()> {
    let (mut kernel, world) = load()?;
    for (vip, real) in [(VIP, REAL[0]), (VIP_6, REAL[1])] {
        let mark = mark(&world, vip)?;
        for (kind, number) in KINDS.into_iter().zip(0..) {
            let before = with_checksum(request(kind, real, number), kind);
            let (verdict, after) = run_egress(&mut kernel, &before, mark)?;
            assert_eq!(verdict, NEXT);
            let (vip_bytes, [destination, source]) = bytes_and_places(vip);
            let end = destination + vip_bytes.len();
            assert_eq!(after[destination..end], vip_bytes);
            assert_eq!(after[..24], before[..24], "all before it stays but for a checksum");
            assert_eq!(sums(&after, kind), sums(&before, kind), "{kind:?} to {vip}");
            let departure = departure(&before, vip, &kernel).context("the host would not send it")?;
            assert_eq!(notes(&mut kernel)?.get(&departure.answer, 0)?, departure.real);

            let before = with_checksum(answer(kind, vip, number), kind);
            let (verdict, after) = run(&mut kernel, &before)?;
            assert_eq!(verdict, PASS);
            let (real_bytes, _) = bytes_and_places(real);
            assert_eq!(after[source..source + real_bytes.len()], real_bytes, "{kind:?} from {vip}");
            assert_eq!(sums(&after, kind), sums(&before, kind), "{kind:?} from {vip}");
        }
    }
    assert_eq!(kernel.reason(Reason::ProbeAnswer)?, 6);
    Ok(())
}

#[test]
fn what_has_no_mark_of_ours_leaves_as_it_was() -> Result<()> {
    let (mut kernel, _) = load()?;
    let frame = request(Kind::Tcp, REAL[0], 0);
    for mark in [0, 1, 0x7864_0000, 0x7865_0001] {
        assert_eq!(run_egress(&mut kernel, &frame, mark)?, (NEXT, frame.clone()), "mark {mark:#x}");
    }
    Ok(())
}

/// Or a real server would be up that nobody has asked at the vip.
#[test]
fn what_has_the_mark_and_cannot_go_by_the_vip_goes_nowhere() -> Result<()> {
    let (mut kernel, world) = load()?;
    let by_vip = mark(&world, VIP)?;
    let unused = (1..1024).map(|index| 0x7864_0000 | index).find(|mark| ![by_vip].contains(mark));
    let mut fragment = request(Kind::Tcp, REAL[0], 0);
    fragment[20] = 0x20;
    let rows = [
        (request(Kind::Tcp, REAL[1], 0), by_vip),
        (fragment, by_vip),
        (request(Kind::Tcp, REAL[0], 0), unused.context("every mark is in use")?),
    ];
    for (frame, mark) in rows {
        assert_eq!(run_egress(&mut kernel, &frame, mark)?.0, SHOT, "{frame:02x?}");
    }
    Ok(())
}

/// What `tc` says of the filters on the way out.
fn filters() -> Result<String> {
    output(Command::new("tc").args(["filter", "show", "dev", "other", "egress"]))
}

#[test]
fn a_filter_is_replaced_by_the_next_daemon_and_goes_without_those_of_others() -> Result<()> {
    let interface = [("other".to_owned(), other_interface()?)];
    let limits = World::new(1).config.limits;
    let pin_dir = PathBuf::from(format!("/sys/fs/bpf/xdtest-egress-{}", std::process::id()));
    let mut other = Kernel::load_unpinned(Kernel::object(), &limits)?;
    tc::qdisc_add_clsact("other")?;
    let theirs = TcAttachOptions::Netlink(NlOptions { priority: 7, ..NlOptions::default() });
    other.egress()?.attach_with_options("other", TcAttachType::Egress, theirs)?;
    let ours = || Ok::<_, anyhow::Error>(filters()?.matches("pref 30820").count() > 0);
    for _ in 0..2 {
        let mut kernel = Kernel::load(&pin_dir, &limits)?;
        kernel.attach_egress(&interface, &[EgressWay::Filter])?;
        // As after a crash: nobody has taken anything back.
        drop(kernel);
        assert!(ours()?, "{}", filters()?);
        assert_eq!(filters()?.matches("xdirector_egress").count(), 2, "{}", filters()?);
    }
    let mut kernel = Kernel::load(&pin_dir, &limits)?;
    kernel.attach_egress(&[], &[])?;
    assert!(!ours()?, "{}", filters()?);
    kernel.attach_egress(&interface, &[EgressWay::Filter])?;
    assert!(ours()?, "{}", filters()?);
    kernel.detach()?;
    assert!(!ours()?, "{}", filters()?);
    assert_eq!(filters()?.matches("pref 7 ").count().min(1), 1, "{}", filters()?);
    assert!(!pin_dir.exists());
    Ok(())
}
