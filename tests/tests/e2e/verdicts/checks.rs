//! A thousand checks a second, in short; `cargo xtask measure checks` takes its time.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::measure::checks;

#[test]
fn a_thousand_checks_a_second_cost_little() -> Result<()> {
    let cost = checks::measure(Duration::from_secs(5))?;
    println!("{}", cost.table());
    ensure!(cost.probes_per_second > 700.0, "the checks do not run: {cost:?}");
    ensure!(cost.resident_mib < 100.0, "{cost:?}");
    // A debug build, beside other tests.
    ensure!(cost.cpu_percent < 60.0, "{cost:?}");
    Ok(())
}
