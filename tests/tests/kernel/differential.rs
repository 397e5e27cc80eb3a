//! Host pipeline against kernel program, on random packets: verdict, bytes, pins and every counter.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use lb_common::reason::Reason;
use tests::fixture::World;
use tests::fuzz::{Differential, other_interface};

const PACKETS: u64 = 1_000_000;

fn agree(start: World, packets: u64, never: &[Reason]) -> Result<()> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    println!("seed {seed}");
    let mut both = Differential::new(start, seed)?;
    while both.packets() < packets {
        both.step()?;
    }
    println!("{:?}", Reason::ALL.map(|reason| (reason.name(), both.count(reason))));
    for reason in Reason::ALL.into_iter().filter(|reason| !never.contains(reason)) {
        let count = both.count(reason);
        ensure!(count > packets / 2000, "only {count} packets were {}", reason.name());
    }
    let (pins, confirmed) = both.pins();
    println!("{pins} pins, {confirmed} of them confirmed");
    both.compare().with_context(|| format!("seed {seed}"))
}

#[test]
fn kernel_and_host_agree_on_random_packets() -> Result<()> {
    let never = [Reason::NotConfigured, Reason::UnwrittenBucket, Reason::NoUsableReal];
    let absent = [Reason::Local, Reason::AccessDenied, Reason::TooBig, Reason::EmptyPassed];
    let either = [Reason::ProbeAnswer, Reason::NotAccepted];
    agree(World::with_few_pins(), PACKETS / 2, &[never.as_slice(), &absent, &either].concat())
}

#[test]
fn kernel_and_host_agree_where_there_is_everything() -> Result<()> {
    let world = World::of_everything(other_interface()?);
    agree(world, PACKETS, &[Reason::NotConfigured, Reason::UnwrittenBucket, Reason::NoUsableReal])
}
