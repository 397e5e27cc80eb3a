//! How long changes may take. `cargo xtask measure` has the figures; here is room for a machine that is busy.

use anyhow::Result;
use tests::measure::ring;

/// Times what it should take on an idle machine.
const ROOM: f64 = 5.0;

#[test]
fn a_large_ring_is_there_soon_and_a_lost_real_server_is_out_of_it_sooner() -> Result<()> {
    for timing in ring::measure(5)? {
        let budget = if timing.change == ring::REBUILT { 10.0 } else { 2.0 };
        println!("{timing:?}");
        assert!(timing.ms_min < budget * ROOM, "{timing:?}, budget {budget} ms x {ROOM}");
    }
    Ok(())
}
