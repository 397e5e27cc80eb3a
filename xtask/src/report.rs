//! Steps with their times, and a summary at the end. A failed step does not keep the next from running.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::progress;

/// What has been done so far.
#[derive(Default)]
pub struct Report {
    steps: Vec<Step>,
}

struct Step {
    name: String,
    time: Duration,
    passed: bool,
}

impl Report {
    /// Does one step, says how it went, and returns whether it passed.
    pub fn step(&mut self, name: impl Into<String>, work: impl FnOnce() -> Result<()>) -> bool {
        let name = name.into();
        progress(format_args!("{name} ..."));
        let begun = Instant::now();
        let result = work();
        let step = Step { name, time: begun.elapsed(), passed: result.is_ok() };
        if let Err(error) = result {
            progress(format_args!("error: {error:#}"));
        }
        progress(step.line());
        let passed = step.passed;
        self.steps.push(step);
        passed
    }

    /// Says again how each step went, and its time.
    ///
    /// # Errors
    /// A step failed.
    pub fn finish(self) -> Result<()> {
        let total = self.steps.iter().map(|step| step.time).sum::<Duration>();
        progress(format_args!("summary, {:.1} s in all", total.as_secs_f64()));
        for step in &self.steps {
            eprintln!("   {}", step.line());
        }
        let failed = self.steps.iter().filter(|step| !step.passed).map(|step| step.name.as_str()).collect::<Vec<_>>();
        if failed.is_empty() {
            return Ok(());
        }
        bail!("failed: {}", failed.join(", "))
    }
}

impl Step {
    fn line(&self) -> String {
        let outcome = if self.passed { "passed" } else { "FAILED" };
        format!("{outcome} {:>7.1} s  {}", self.time.as_secs_f64(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_fails_the_whole_and_is_named() {
        let mut report = Report::default();
        assert!(!report.step("first", || bail!("no")));
        assert!(report.step("second", || Ok(())));
        assert_eq!(report.finish().unwrap_err().to_string(), "failed: first");
    }

    #[test]
    fn passed_steps_pass() {
        let mut report = Report::default();
        assert!(report.step("only", || Ok(())));
        assert!(report.finish().is_ok());
    }
}
