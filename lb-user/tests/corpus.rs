//! Every frame that the fuzzer has kept, through the same checks, on stable Rust.

#[path = "../../fuzz/harness.rs"]
mod harness;
#[path = "../../fuzz/vrrp.rs"]
mod vrrp;

use std::collections::BTreeMap;
use std::path::Path;

use lb_common::reason::Reason;

/// What no frame can meet in a world that is whole, and in which no probe is under way.
const NEVER: [Reason; 3] = [Reason::UnwrittenBucket, Reason::NotConfigured, Reason::ProbeAnswer];

#[test]
fn every_frame_of_the_corpus_is_treated_rightly_and_they_meet_every_reason() {
    let mut met = BTreeMap::new();
    for frame in corpus("datapath") {
        if let Some(reason) = harness::check(&frame) {
            *met.entry(reason).or_insert(0) += 1;
        }
    }
    println!("{met:?}");
    let missing: Vec<_> =
        Reason::ALL.into_iter().filter(|one| !NEVER.contains(one) && !met.contains_key(one)).collect();
    assert!(missing.is_empty(), "no frame of the corpus meets {missing:?}");
}

#[test]
fn every_packet_of_the_corpus_of_vrrp_is_read_rightly_or_not_at_all() {
    let packets = corpus("vrrp");
    let adverts = packets.iter().filter(|packet| vrrp::check(packet)).count();
    assert!(adverts > 0 && adverts < packets.len(), "{adverts} of {} are adverts", packets.len());
}

fn corpus(of: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(of);
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("the corpus can be listed").path();
        println!("{}", path.display());
        std::fs::read(&path).expect("it can be read")
    };
    std::fs::read_dir(&directory).expect("the corpus is there").map(read).collect()
}
