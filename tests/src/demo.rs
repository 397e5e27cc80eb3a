//! What the demo is made of: the load, the account of it, and the second play, of a vip that moves.

pub mod account;
pub mod failover;
pub mod load;
