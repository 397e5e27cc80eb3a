//! `cargo xtask measure`: how long changes take, from what the daemon knows to maps in the kernel; and what a client loses when a
//! vip moves.

pub mod checks;
pub mod failover;
pub mod ring;
