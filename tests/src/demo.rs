//! What the demo is made of: the load, and the account of it.

pub mod account;
pub mod load;
