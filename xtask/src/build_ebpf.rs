//! `cargo xtask build-ebpf`: the kernel program, by the first toolchain that can.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};

use crate::process::progress;
use crate::toolchain::{Choice, Kind, Toolchain};
use crate::workspace;

/// The binaries of the package: the director's program, and those that only measure and play the lab's parts.
const BINARIES: [&str; 3] = ["xdirector", "bench", "rival"];

/// Why a toolchain has not built the program.
enum Failure {
    /// It cannot build anything; another one may.
    Toolchain(Error),
    /// It can build, so the program is at fault.
    Program(Error),
}

/// Builds the objects and leaves them where the daemon's build finds them.
///
/// # Errors
/// No toolchain can be had, or the program does not compile.
pub fn run(choice: Choice) -> Result<()> {
    let mut complaints = Vec::new();
    for kind in choice.kinds() {
        progress(format_args!("building the kernel program with {}", kind.name()));
        match build(kind) {
            Ok(built) => return publish_all(&built),
            Err(Failure::Program(error)) => return Err(error),
            Err(Failure::Toolchain(error)) => {
                progress(format_args!("{} cannot build it: {error:#}", kind.name()));
                complaints.push((kind, error));
            }
        }
    }
    bail!(nothing_works(&complaints))
}

fn build(kind: Kind) -> Result<PathBuf, Failure> {
    let toolchain = kind.provide().map_err(Failure::Toolchain)?;
    let target = workspace::root().join("target/lb-ebpf");
    toolchain.build(&workspace::ebpf(), &target).map_err(|error| whose_fault(&toolchain, error))
}

/// Finds out by building a program that cannot be wrong.
fn whose_fault(toolchain: &Toolchain, error: Error) -> Failure {
    progress("that failed; trying the toolchain on the smallest program there is");
    match probe(toolchain) {
        Ok(_) => Failure::Program(error),
        Err(_) => Failure::Toolchain(error),
    }
}

fn probe(toolchain: &Toolchain) -> Result<PathBuf> {
    let package = workspace::root().join("target/ebpf-probe");
    fs::create_dir_all(&package).with_context(|| format!("cannot create {}", package.display()))?;
    write_if_changed(&package.join("Cargo.toml"), PROBE_MANIFEST.as_bytes())?;
    write_if_changed(&package.join("main.rs"), PROBE_SOURCE.as_bytes())?;
    toolchain.build(&package, &package.join("target"))
}

fn publish_all(built: &Path) -> Result<()> {
    let objects = workspace::objects();
    fs::create_dir_all(&objects).with_context(|| format!("cannot create {}", objects.display()))?;
    for name in BINARIES {
        let object = objects.join(format!("{name}.bpf.o"));
        let size = publish(&built.join(name), &object)?;
        progress(format_args!("{} ({size} bytes)", object.display()));
    }
    Ok(())
}

/// Copies an object, and returns its size in bytes.
fn publish(from: &Path, to: &Path) -> Result<usize> {
    let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    write_if_changed(to, &content)?;
    Ok(content.len())
}

/// Leaves a file alone that is right already, so that nothing that depends on it is built again.
fn write_if_changed(file: &Path, content: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|old| old == content) {
        return Ok(());
    }
    fs::write(file, content).with_context(|| format!("cannot write {}", file.display()))
}

fn nothing_works(complaints: &[(Kind, Error)]) -> String {
    let mut text = String::from("no toolchain here can build the kernel program.\n");
    for (kind, error) in complaints {
        text.push_str(&format!("\n{}: {error:#}\n    install it: {}\n", kind.name(), kind.instructions()));
    }
    text.push_str("\nOne of them is enough. Then run `cargo xtask build-ebpf` again; it builds bpf-linker itself.");
    text
}

const PROBE_MANIFEST: &str = r#"[package]
name = "probe"
version = "0.0.0"
edition = "2024"

[[bin]]
name = "probe"
path = "main.rs"

[profile.release]
panic = "abort"

[workspace]
"#;

const PROBE_SOURCE: &str = r#"#![no_std]
#![no_main]

#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub extern "C" fn probe(_context: *mut u8) -> u32 {
    2
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_file_keeps_its_time() {
        let file = std::env::temp_dir().join(format!("xtask-write-{}", std::process::id()));
        write_if_changed(&file, b"one").unwrap();
        let time = fs::metadata(&file).unwrap().modified().unwrap();
        write_if_changed(&file, b"one").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), time);
        write_if_changed(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn the_last_word_says_what_to_install() {
        let text = nothing_works(&[(Kind::Rustup, Error::msg("no network")), (Kind::System, Error::msg("not root"))]);
        assert!(text.contains("no network") && text.contains("rustup toolchain install nightly"), "{text}");
        assert!(text.contains("not root") && text.contains("llvm-22-dev"), "{text}");
    }
}
