//! `xdirector init`

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::output::print;

/// The file, but for the seed.
const TEMPLATE: &str = include_str!("init/template.toml");
const SEED: &str = "HASH_SEED";

/// Write a config file to begin with, with a hash_seed of its own
///
/// All directors of the same services have the same hash_seed: make the file on one, and copy it to the others.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  xdirector init\n  xdirector init /etc/xdirector.toml\n  xdirector init /etc/xdirector.toml --force"
)]
pub struct Init {
    /// Where to [default: stdout]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long, requires = "file")]
    force: bool,
}

impl Init {
    pub fn run(self) -> Result<()> {
        let text = text(seed()?);
        let Some(file) = &self.file else { return Ok(print(&text)?) };
        let mut options = OpenOptions::new();
        // Passwords will be in it.
        options.write(true).mode(0o640);
        if self.force {
            options.create(true).truncate(true);
        } else {
            options.create_new(true);
        }
        let mut opened = match options.open(file) {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!("{} is there already; --force replaces it", file.display())
            }
            Err(error) => return Err(error).with_context(|| format!("cannot write {}", file.display())),
        };
        opened.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", file.display()))?;
        print(&format!("wrote {}; change it, then: xdirector check {}\n", file.display(), file.display()))?;
        Ok(())
    }
}

fn text(seed: u64) -> String {
    TEMPLATE.replace(SEED, &format!("{seed:016x}"))
}

/// By the system's own source, which attackers cannot guess.
fn seed() -> Result<u64> {
    let mut bytes = [0; 8];
    let file = "/dev/urandom";
    let mut source = std::fs::File::open(file).with_context(|| format!("cannot open {file}"))?;
    std::io::Read::read_exact(&mut source, &mut bytes).with_context(|| format!("cannot read {file}"))?;
    Ok(u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_file_to_begin_with_is_good_and_has_the_seed() {
        let parsed = Config::parse("init.toml", &text(0x1234)).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(parsed.config.director.hash_seed, Some(0x1234));
        assert_eq!(parsed.warnings, []);
    }

    #[test]
    fn what_is_commented_out_is_good_too() {
        let all: String =
            text(1).lines().map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n").collect();
        let parsed = Config::parse("init.toml", &all).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(parsed.config.pools.iter().any(|pool| pool.discovery.is_some()));
    }

    #[test]
    fn two_seeds_differ() {
        assert_ne!(seed().expect("it can be read"), seed().expect("it can be read"));
    }
}
