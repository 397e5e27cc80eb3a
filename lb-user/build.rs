//! Embeds the kernel program, if `cargo xtask build-ebpf` has built it.
//!
//! Without it everything still compiles: the binary then says what is missing when it is asked to load.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    // Asked for when it runs: of two checkouts that share a target directory, the second runs what the first compiled.
    let variable = |name| env::var_os(name).ok_or(io::ErrorKind::NotFound);
    let object = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("../target/bpf/xdirector.bpf.o");
    let embedded = Path::new(&variable("OUT_DIR")?).join("xdirector.bpf.o");
    println!("cargo::rerun-if-changed={}", object.display());
    println!("cargo::rerun-if-changed=build.rs");
    if object.exists() { fs::copy(&object, &embedded).map(drop) } else { fs::write(&embedded, []) }
}
