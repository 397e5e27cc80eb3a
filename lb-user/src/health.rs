//! Health checks: who is up.
//!
//! [`tracker`] turns results into verdicts and [`schedule`] says when to ask; both are pure. [`Engine`] runs one task
//! for each real server of each pool that has a check, so that none delays another.

mod engine;
mod probe;
mod schedule;
mod suspicion;
mod tracker;

pub use engine::{Engine, Event};
pub use probe::{Answer, ProbeFailure, Target, Weight, probe};
pub use schedule::Schedule;
pub use suspicion::Suspicions;
pub use tracker::Tracker;
