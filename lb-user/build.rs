//! Embeds the kernel program, if `cargo xtask build-ebpf` has built it.
//!
//! Without it everything still compiles: the binary then says what is missing when it is asked to load.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let object = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/xdirector.bpf.o");
    let embedded = Path::new(&env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?).join("xdirector.bpf.o");
    println!("cargo::rerun-if-changed={}", object.display());
    println!("cargo::rerun-if-changed=build.rs");
    if object.exists() { fs::copy(&object, &embedded).map(drop) } else { fs::write(&embedded, []) }
}
