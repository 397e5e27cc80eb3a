//! One process's measurements.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, PerCpuArray};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use lb_common::abi::Pin;
use lb_common::reason::Reason;
use lb_user::dataplane::{Kernel, Maps, WordMap};
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::case::{Case, Scene, Subject, aya_verdict};
use super::report::Sample;
use crate::fixture;

/// Repeats in one timed run: some 20 ms.
const REPEATS: u32 = 1 << 20;
/// Samples of a case in one process.
const SAMPLES: usize = 3;
/// Of those that should be there: pins confirmed, flows that the rival finds. The rest had no room.
const NEARLY_ALL: f64 = 0.99;

/// Measures all cases in this process, in an order shuffled by `seed`, scene by scene.
///
/// # Errors
/// The kernel's, or that a frame got another verdict than the case says.
pub fn measure(mut cases: Vec<Case>, seed: u64) -> Result<Vec<Sample>> {
    stay_on_this_cpu()?;
    shuffle(&mut cases, seed);
    let mut samples = Vec::new();
    while let Some(first) = cases.first() {
        let scene = first.scene;
        let (here, later) = cases.into_iter().partition(|case| case.scene == scene);
        samples.extend(measure_scene(scene, here)?);
        cases = later;
    }
    Ok(samples)
}

/// Caches and counters are a CPU's own. So are the free entries of the rival's table: one that is as large as there are flows
/// is too small by those that another CPU has kept, and then, every flow in its turn, forgets each just before it comes.
fn stay_on_this_cpu() -> Result<()> {
    let mut this = CpuSet::new();
    this.set(sched_getcpu()?)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &this)?)
}

fn measure_scene(scene: Scene, cases: Vec<Case>) -> Result<Vec<Sample>> {
    let mut kernel = fixture::load(&fixture::bench_object()?, &scene.world())?;
    let mut samples = Vec::new();
    for case in &cases {
        let mut rival = match case.subject {
            Subject::Rival | Subject::BareRival => Some(fixture::load(&fixture::rival_object()?, &scene.world())?),
            _ => None,
        };
        let mut bed = Bed { case, kernel: &mut kernel, rival: rival.as_mut() };
        bed.prepare()?;
        for _ in 0..SAMPLES {
            let (floor_ns, ns) = (bed.run_floor(REPEATS)?, bed.run_subject(REPEATS)?);
            samples.push(Sample { case: case.name.into(), flows: case.flows, ns, floor_ns });
        }
    }
    Ok(samples)
}

/// What a case runs in.
struct Bed<'a> {
    case: &'a Case,
    /// The director's maps, with all programs but the rival's.
    kernel: &'a mut Kernel,
    /// The rival, if it is measured.
    rival: Option<&'a mut Kernel>,
}

impl Bed<'_> {
    /// Touches each flow once with the floor and twice with what is measured.
    fn prepare(&mut self) -> Result<()> {
        tell_frames(self.kernel, self.case)?;
        if let Some(rival) = &mut self.rival {
            tell_frames(rival, self.case)?;
        }
        let once = u32::try_from(self.case.flows)?.max(1024);
        self.run_floor(once)?;
        // The first time the rival finds no flow.
        let case = self.case;
        run(self.subject()?, case, case.subject.verdict(), 2 * once)?;
        if matches!(case.scene, Scene::Tracking { .. }) && self.rival.is_none() {
            self.all_are_pinned()?;
        }
        Ok(())
    }

    fn all_are_pinned(&self) -> Result<()> {
        let pins = self.kernel.words(WordMap::Pins).iter().map(|word| Pin::from_word(word.load(Ordering::Acquire)));
        let confirmed = pins.filter(|pin| pin.is_confirmed()).count();
        let flows = self.case.flows;
        ensure!(confirmed as f64 >= flows as f64 * NEARLY_ALL, "only {confirmed} of {flows} flows have confirmed pins");
        Ok(())
    }

    fn run_floor(&mut self, repeat: u32) -> Result<f64> {
        run(self.kernel.program(self.case.floor)?, self.case, aya_verdict::TX, repeat)
    }

    /// Every frame must go its way, not only the last, whose verdict the kernel says: a frame that is not restored before
    /// the next repeat is found by that.
    fn run_subject(&mut self, repeat: u32) -> Result<f64> {
        let case = self.case;
        let before = self.went_their_way()?;
        let ns = run(self.subject()?, case, case.subject.verdict(), repeat)?;
        let least = match case.subject {
            Subject::Pipeline(..) | Subject::Rival => repeat.into(),
            Subject::Bare(..) => 0,
            Subject::BareRival => (f64::from(repeat) * NEARLY_ALL) as u64,
        };
        let count = self.went_their_way()? - before;
        ensure!(count >= least, "{}: only {count} of {repeat} frames went their way", case.name);
        Ok(ns)
    }

    fn subject(&mut self) -> Result<&Xdp> {
        match (self.case.subject, &mut self.rival) {
            (Subject::Pipeline(name, _) | Subject::Bare(name, _), _) => Ok(self.kernel.program(name)?),
            (subject, rival) => {
                let rival = rival.as_mut().context("the rival is not loaded")?;
                Ok(rival.program(if matches!(subject, Subject::Rival) { "lru_rival" } else { "lru_bare" })?)
            }
        }
    }

    fn went_their_way(&mut self) -> Result<u64> {
        match (self.case.subject, &mut self.rival) {
            (Subject::Pipeline(_, reason), _) => Ok(self.kernel.reason(reason)?),
            (Subject::Rival, Some(rival)) => Ok(rival.reason(Reason::Forwarded)?),
            (Subject::BareRival, Some(rival)) => {
                let map = rival.ebpf().map("FOUND").context("the rival has no map FOUND")?;
                Ok(PerCpuArray::<_, u64>::try_from(map)?.get(&0, 0)?.iter().sum())
            }
            _ => Ok(0),
        }
    }
}

/// Tells the programs of an object over how many flows to spread, and what to restore.
fn tell_frames(kernel: &mut Kernel, case: &Case) -> Result<()> {
    let word = |from: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&case.frame[from..from + 8]);
        u64::from_le_bytes(bytes)
    };
    let map = kernel.ebpf().map_mut("BENCH").context("the object has no map BENCH")?;
    let mut bench: Array<_, [u64; 6]> = Array::try_from(map)?;
    bench.set(0, [0, case.flows - 1, word(0), word(8), word(16), word(24)], 0)?;
    Ok(())
}

/// Nanoseconds of this thread's CPU time a repeat.
fn run(program: &Xdp, case: &Case, verdict: u32, repeat: u32) -> Result<f64> {
    let mut frame = vec![0; case.frame.len() + 64];
    let options =
        TestRunOptions { data_in: Some(&case.frame), data_out: Some(&mut frame), repeat, ..TestRunOptions::new() };
    let start = cpu_time()?;
    let result = program.test_run(options)?;
    let took = cpu_time()? - start;
    ensure!(result.return_value == verdict, "{}: verdict {} instead of {verdict}", case.name, result.return_value);
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
