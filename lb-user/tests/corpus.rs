//! Every frame that the fuzzer has kept, through the same checks, on stable Rust.

#[path = "../../fuzz/harness.rs"]
mod harness;

use std::collections::BTreeMap;
use std::path::Path;

use lb_common::reason::Reason;

/// What no frame can meet in a world that is whole, and in which no probe is under way.
const NEVER: [Reason; 3] = [Reason::UnwrittenBucket, Reason::NotConfigured, Reason::ProbeAnswer];

#[test]
fn every_frame_of_the_corpus_is_treated_rightly_and_they_meet_every_reason() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/datapath");
    let mut met = BTreeMap::new();
    for entry in std::fs::read_dir(&directory).expect("the corpus is there") {
        let path = entry.expect("the corpus can be listed").path();
        let frame = std::fs::read(&path).expect("a frame can be read");
        println!("{}", path.display());
        if let Some(reason) = harness::check(&frame) {
            *met.entry(reason).or_insert(0) += 1;
        }
    }
    println!("{met:?}");
    let missing: Vec<_> =
        Reason::ALL.into_iter().filter(|one| !NEVER.contains(one) && !met.contains_key(one)).collect();
    assert!(missing.is_empty(), "no frame of the corpus meets {missing:?}");
}
