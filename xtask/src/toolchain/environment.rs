//! Keeping the cargo that runs us out of the cargo that we run for another compiler.

use std::env;
use std::process::Command;

/// What a user sets for every cargo: where it keeps things, how it reaches its registry, how it prints.
const KEPT: [&str; 6] = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_", "CARGO_TERM_"];

/// What the outer build and rustup's proxy set.
const OUTER: [&str; 3] = ["CARGO_", "RUSTC_", "RUSTUP_TOOLCHAIN"];

/// Takes away all variables that the outer build or rustup's proxy has set.
pub fn clear(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(belongs_to_outer_build) {
            command.env_remove(name);
        }
    }
}

fn belongs_to_outer_build(name: &str) -> bool {
    match name {
        // The outer compiler's libraries: with them bpf-linker would load the wrong LLVM.
        "CARGO" | "LD_LIBRARY_PATH" | "MAKEFLAGS" | "MFLAGS" => true,
        "RUSTC" | "RUSTDOC" | "RUSTFLAGS" | "RUSTDOCFLAGS" | "RUST_RECURSION_COUNT" => true,
        _ if KEPT.iter().any(|kept| name.starts_with(kept)) => false,
        _ => OUTER.iter().any(|outer| name.starts_with(outer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_compiler_is_forgotten() {
        for name in
            ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "RUSTC_WRAPPER"]
        {
            assert!(belongs_to_outer_build(name), "{name}");
        }
    }

    #[test]
    fn the_users_own_settings_are_kept() {
        for name in ["PATH", "HOME", "RUSTUP_HOME", "CARGO_HOME", "CARGO_HTTP_PROXY", "CARGO_REGISTRIES_X_INDEX"] {
            assert!(!belongs_to_outer_build(name), "{name}");
        }
    }
}
