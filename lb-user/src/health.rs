//! Health checks: who is up.
//!
//! [`judge`] turns the results of all checks into verdicts, with [`tracker`] (rise and fall), [`hold`] (who is cut off, they
//! or we?), [`damping`] and [`ramp`]; [`schedule`] says when to ask. All of these are pure. [`Engine`] runs one task for each
//! real server of each pool that has a check, so that none delays another.

mod damping;
mod engine;
mod hold;
mod judge;
mod network;
mod opinion;
mod probe;
mod ramp;
mod schedule;
mod suspicion;
mod tracker;

pub use engine::{Engine, Event};
pub use hold::Cause;
pub use judge::Standing;
pub use network::Surroundings;
pub use opinion::{Opinion, Opinions, SecondOpinion};
pub use probe::{Answer, ProbeFailure, Target, Weight, probe};
pub use schedule::Schedule;
pub use suspicion::Suspicions;
pub use tracker::Tracker;
