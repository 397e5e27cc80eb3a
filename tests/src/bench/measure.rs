//! One process's measurements.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::maps::Array;
use aya::programs::{TestRun, TestRunOptions, Xdp};
use lb_user::dataplane::Kernel;
use nix::time::{ClockId, clock_gettime};

use super::case::{Case, aya_verdict};
use super::report::Sample;
use crate::fixture::{self, World};

/// Repeats in one timed run: some 20 ms.
const REPEATS: u32 = 1 << 20;
/// Samples of a case in one process.
const SAMPLES: usize = 3;

/// Measures all cases in this process, in an order shuffled by `seed`.
///
/// # Errors
/// The kernel's, or that a frame got another verdict than the case says.
pub fn measure(mut cases: Vec<Case>, seed: u64) -> Result<Vec<Sample>> {
    let mut kernel = fixture::load(&fixture::bench_object()?, &World::bench())?;
    shuffle(&mut cases, seed);
    let mut samples = Vec::new();
    for case in &cases {
        prepare(&mut kernel, case)?;
        for program in [case.floor, case.program] {
            run(&mut kernel, program, case, u32::try_from(case.flows)?.max(1024))?;
        }
        for _ in 0..SAMPLES {
            let floor_ns = run(&mut kernel, case.floor, case, REPEATS)?;
            let ns = run(&mut kernel, case.program, case, REPEATS)?;
            samples.push(Sample { case: case.name.into(), flows: case.flows, ns, floor_ns });
        }
    }
    Ok(samples)
}

/// Tells the program over how many flows to spread, and what to restore.
fn prepare(kernel: &mut Kernel, case: &Case) -> Result<()> {
    let word = |from: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&case.frame[from..from + 8]);
        u64::from_le_bytes(bytes)
    };
    let map = kernel.ebpf().map_mut("BENCH").context("the bench object has no map BENCH")?;
    let mut bench: Array<_, [u64; 6]> = Array::try_from(map)?;
    bench.set(0, [0, case.flows - 1, word(0), word(8), word(16), word(24)], 0)?;
    Ok(())
}

/// Nanoseconds of this thread's CPU time a repeat.
fn run(kernel: &mut Kernel, program: &'static str, case: &Case, repeat: u32) -> Result<f64> {
    let expected = if program == case.floor { aya_verdict::TX } else { case.verdict };
    let program: &Xdp = kernel.program(program)?;
    let mut frame = vec![0; case.frame.len() + 64];
    let options =
        TestRunOptions { data_in: Some(&case.frame), data_out: Some(&mut frame), repeat, ..TestRunOptions::new() };
    let start = cpu_time()?;
    let result = program.test_run(options)?;
    let took = cpu_time()? - start;
    ensure!(result.return_value == expected, "{}: verdict {} instead of {expected}", case.name, result.return_value);
    Ok(took.as_secs_f64() * 1e9 / f64::from(repeat))
}

fn cpu_time() -> Result<Duration> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?))
}

/// Fisher-Yates.
fn shuffle(cases: &mut [Case], seed: u64) {
    let mut state = seed;
    for i in (1..cases.len()).rev() {
        state = lb_common::hash::mix(state.wrapping_add(0x9e37_79b9_7f4a_7c15));
        cases.swap(i, (state % (i as u64 + 1)) as usize);
    }
}
