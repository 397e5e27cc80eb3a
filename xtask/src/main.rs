//! `cargo xtask`: the only build and CI entry. A module a command; progress goes to stderr.

mod build;
mod build_ebpf;
mod ci;
mod demo;
mod packages;
mod process;
mod report;
mod test;
mod tidy;
mod tool;
mod toolchain;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::test::Tier;
use crate::tool::Tool;
use crate::toolchain::Choice;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, tests, shows and measures xdirector")]
struct Arguments {
    /// The compiler for the kernel program.
    #[arg(long, global = true, env = "XDIRECTOR_TOOLCHAIN", value_enum, default_value_t = Choice::Auto)]
    toolchain: Choice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the kernel program; find or install what that needs.
    BuildEbpf,
    /// Build the kernel program and the one file to copy, `xdirector`.
    Build,
    /// Run the tests. The tiers kernel and e2e need root.
    Test {
        /// Which tests.
        #[arg(long, value_enum, default_value_t = Tier::All)]
        tier: Tier,
        /// Only tests whose name contains this.
        filter: Option<String>,
    },
    /// Show the whole thing at work in a lab of network namespaces. Needs root.
    Demo {
        /// Leave the lab up, and say how to look around.
        #[arg(long)]
        keep: bool,
        /// Show two directors and a vip that moves between them instead.
        #[arg(long)]
        failover: bool,
        /// Take down labs that were kept.
        #[arg(long, conflicts_with = "keep")]
        down: bool,
    },
    /// Measure nanoseconds a packet. Needs root.
    Bench {
        /// Passed on, for example --json: then there is nothing but JSON on stdout.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Try random packets on the kernel program and on the host's pipeline. Needs root.
    Fuzz {
        /// Passed on, for example --seconds 60.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Measure how long changes take: of a ring, or until a vip has moved. Needs root.
    Measure {
        /// Passed on, for example ring --json, or failover --only stop.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Check the house rules that a scan of the text can check.
    Tidy,
    /// Check the format, clippy's advice and the house rules.
    Lint,
    /// Do all that a change must pass: lint, then every test. Needs root.
    Ci,
}

fn main() -> ExitCode {
    let Err(error) = run(Arguments::parse()) else {
        return ExitCode::SUCCESS;
    };
    process::progress(format_args!("error: {error:#}"));
    ExitCode::FAILURE
}

fn run(Arguments { toolchain, command }: Arguments) -> Result<()> {
    match command {
        Command::BuildEbpf => build_ebpf::run(toolchain),
        Command::Build => build::run(toolchain),
        Command::Test { tier, filter } => test::run(toolchain, tier, filter.as_deref()),
        Command::Demo { keep, failover, down } => {
            let given = [(keep, "--keep"), (failover, "--failover"), (down, "--down")];
            let given: Vec<&str> = given.into_iter().filter_map(|(is_given, name)| is_given.then_some(name)).collect();
            demo::run(toolchain, &given)
        }
        Command::Bench { arguments } => tool::run(toolchain, Tool::Bench, &arguments),
        Command::Fuzz { arguments } => tool::run(toolchain, Tool::Fuzz, &arguments),
        Command::Measure { arguments } => tool::run(toolchain, Tool::Measure, &arguments),
        Command::Tidy => tidy::run(),
        Command::Lint => ci::lint(),
        Command::Ci => ci::run(toolchain),
    }
}
