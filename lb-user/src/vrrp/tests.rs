//! Tests that need more than one module, a clock or the captured frames.

mod behaviour;
mod captured;
mod machines;
mod table;
mod wire;
