//! What the loaded program does to single frames.

use anyhow::Result;
use lb_common::abi::{Mac, Protocol};
use lb_common::reason::Reason;
use tests::bench::case::aya_verdict::TX;
use tests::fixture::{self, CLIENT, DIRECTOR, PORT, VIP, World, run};
use tests::packet::Packet;
use tests::stack::Functions;

fn segment(port: u16) -> Packet {
    Packet::new(Protocol::Tcp, ("10.0.0.1".parse().expect("an address"), port), (VIP, PORT))
}

#[test]
fn a_clients_segment_leaves_for_a_real_server_with_nothing_else_changed() -> Result<()> {
    let world = World::new(3);
    let mut kernel = fixture::load(&fixture::program_object()?, &world)?;
    let before = segment(40_000).bytes();
    let (verdict, after) = run(&mut kernel, &before)?;
    assert_eq!(verdict, TX);
    let destination: [u8; 6] = after[..6].try_into()?;
    assert!(world.view.macs.values().any(|mac| *mac == Mac(destination)), "sent to {}", Mac(destination));
    assert_eq!(after[6..12], DIRECTOR.0);
    assert_eq!(after[12..22], before[12..22]);
    assert_eq!(after[22], before[22] - 1, "the time to live");
    assert_eq!(after[26..], before[26..]);
    assert_ne!(after[..6], CLIENT.0);
    Ok(())
}

#[test]
fn a_flow_stays_with_its_real_server_and_flows_spread_over_all() -> Result<()> {
    let mut kernel = fixture::load(&fixture::program_object()?, &World::new(3))?;
    let mut seen = std::collections::BTreeMap::new();
    for port in 40_000..40_300 {
        let frame = segment(port).bytes();
        let (_, first) = run(&mut kernel, &frame)?;
        assert_eq!(run(&mut kernel, &frame)?.1, first);
        *seen.entry(first[..6].to_vec()).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 3);
    assert!(seen.values().all(|&flows| flows > 60), "{seen:?}");
    assert_eq!(kernel.reason(Reason::Forwarded)?, 600);
    Ok(())
}

/// The budget of the packet path. Raise a number only with a reason in the commit.
#[test]
fn the_program_stays_within_its_budget() -> Result<()> {
    let mut kernel = fixture::load(&fixture::program_object()?, &World::new(1))?;
    let info = kernel.program("xdirector")?.info()?;
    // Kernels before 5.16 do not say.
    let verified = info.verified_instruction_count().unwrap_or(1);
    let jited = info.size_jitted();
    println!("verified instructions: {verified}, JIT bytes: {jited}");
    assert!((1..=100_000).contains(&verified), "the verifier walked {verified} instructions, budget 100000");
    assert!((1..=25_600).contains(&jited), "{jited} bytes of machine code, budget 25600");
    Ok(())
}

/// The kernel's limit is 512 bytes, and with every frame rounded up to 32, as kernels do that have no JIT or are old, nothing
/// is left of it: who adds to a frame has to take away elsewhere.
#[test]
fn the_program_stays_within_its_stack() -> Result<()> {
    let functions = Functions::read(&fixture::program_object()?)?;
    for (name, function) in &functions.0 {
        println!("{name}: {} bytes, calls {:?}", function.bytes, function.calls);
    }
    let (bytes, chain) = functions.deepest("xdirector")?;
    println!("{bytes} bytes: {}", chain.join(" -> "));
    assert!(chain.len() > 1, "no call was found");
    assert!(bytes <= 512, "{bytes} bytes of stack, the kernel takes 512");
    Ok(())
}
