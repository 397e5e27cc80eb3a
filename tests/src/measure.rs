//! `cargo xtask measure`: how long changes take, from what the daemon knows to maps in the kernel.

pub mod checks;
pub mod ring;
