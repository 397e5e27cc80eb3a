//! Tests that need more than one module, a clock or the captured frames.

mod behaviour;
mod captured;
mod groups;
mod machines;
mod network;
mod random;
mod table;
mod wire;
