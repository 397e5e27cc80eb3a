//! `cargo xtask tidy`: the house rules that a scan of the text can check. Each finding has a place and a cure.

mod habits;
mod layers;
mod source;

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::process::progress;
use crate::workspace;
use source::Source;

/// Where our own text is, from the root of the checkout. Directories are walked.
const PLACES: [&str; 15] = [
    ".cargo",
    ".ci",
    "Cargo.toml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "configs",
    "deny.toml",
    "docs",
    "fuzz",
    "lb-common",
    "lb-ebpf",
    "lb-user",
    "tests",
    "xtask",
];

/// What is not ours below those, or not text.
const PASSED_OVER: [&str; 4] = ["target", "proptest-regressions", "corpus", "artifacts"];

/// A line that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// From 1.
    line: usize,
    /// What is wrong, and what to do instead.
    cure: String,
}

/// One rule of the house, for one file.
type Rule = fn(&Source) -> Vec<Finding>;

const RULES: [Rule; 17] = [
    layers::only_dataplane_knows_aya,
    layers::only_cli_prints,
    layers::only_raw_and_control_know_serde,
    layers::pure_modules_stay_pure,
    layers::common_knows_nobody,
    layers::ebpf_knows_only_common,
    habits::no_bare_sleep_in_tests,
    habits::no_allow,
    habits::nothing_left_to_do,
    habits::unsafe_has_a_reason,
    habits::no_get_prefix,
    habits::no_long_file,
    habits::no_trailing_space,
    habits::no_mod_rs,
    habits::no_empty_name,
    habits::crates_take_the_lints,
    habits::file_ends_with_newline,
];

impl Finding {
    fn new(line: usize, cure: impl Into<String>) -> Self {
        Self { line, cure: cure.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.cure)
    }
}

/// Checks all our files against all rules.
///
/// # Errors
/// A rule is broken, or a file cannot be read.
pub fn run() -> Result<()> {
    let sources = sources(&workspace::root())?;
    let mut broken = 0;
    for source in &sources {
        for finding in findings(source) {
            println!("{}:{finding}", source.path());
            broken += 1;
        }
    }
    if broken > 0 {
        bail!("house rules are broken in {broken} places");
    }
    progress(format_args!("tidy: {} files keep {} rules", sources.len(), RULES.len()));
    Ok(())
}

fn findings(source: &Source) -> Vec<Finding> {
    RULES.iter().flat_map(|rule| rule(source)).collect()
}

fn sources(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for place in PLACES {
        if root.join(place).exists() {
            collect(root, Path::new(place), &mut sources)?;
        }
    }
    Ok(sources)
}

fn collect(root: &Path, relative: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let path = root.join(relative);
    if path.is_dir() {
        return collect_directory(root, relative, sources);
    }
    let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    // What is not UTF-8 is not text, and has no house rules.
    if let (Ok(text), Some(relative)) = (String::from_utf8(content), relative.to_str()) {
        sources.push(Source::new(relative, &text));
    }
    Ok(())
}

fn collect_directory(root: &Path, relative: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let path = root.join(relative);
    let entries = fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
    names.sort();
    for name in names {
        if !PASSED_OVER.iter().any(|other| name == *other) {
            collect(root, &relative.join(name), sources)?;
        }
    }
    Ok(())
}

/// The lines on which a rule finds something in a file of that name.
#[cfg(test)]
fn lines(rule: Rule, path: &str, text: &str) -> Vec<usize> {
    rule(&Source::new(path, text)).into_iter().map(|finding| finding.line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_crate_is_tidy() {
        let mut own = Vec::new();
        collect(&workspace::root(), Path::new("xtask"), &mut own).unwrap();
        assert!(own.len() > 10);
        for source in &own {
            assert_eq!(findings(source), [], "{}", source.path());
        }
    }
}
