//! Tests that need more than one module, a clock or the captured frames.

mod captured;
mod wire;
