//! Habits: what a line, a file and a crate look like.

use super::Finding;
use super::source::{Line, Source};

/// In lines. Most files should be far shorter.
const LONGEST_FILE: usize = 500;

/// Permits a sleep on its line or on the next; the reason follows.
const SLEEP_MARKER: &str = "tidy: allow(sleep): ";

/// Names that say nothing of what is in a module.
const EMPTY_NAMES: [&str; 5] = ["utils", "util", "helpers", "helper", "manager"];

/// Tests wait for a condition with a deadline.
pub fn no_bare_sleep_in_tests(source: &Source) -> Vec<Finding> {
    if !source.is_in("tests") || !source.is_rust() {
        return Vec::new();
    }
    let cure = format!("a test sleeps: wait for a condition with a deadline, or say why: // {SLEEP_MARKER}...");
    let mut before = "";
    let mut findings = Vec::new();
    for (number, line) in source.numbered() {
        let sleeps = line.names("thread::sleep") || line.names("time::sleep");
        if sleeps && !line.comment.contains(SLEEP_MARKER) && !before.contains(SLEEP_MARKER) {
            findings.push(Finding::new(number, cure.as_str()));
        }
        before = &line.comment;
    }
    findings
}

/// `expect` complains once it is no longer needed, `allow` never.
pub fn no_allow(source: &Source) -> Vec<Finding> {
    let cure = "write #[expect(lint, reason = \"...\")] instead of allow";
    each_line(source, cure, |line| line.code.contains("[allow("))
}

/// Nothing half done is committed.
pub fn nothing_left_to_do(source: &Source) -> Vec<Finding> {
    let cure = "finish this, or open an issue and leave no trace here";
    each_line(source, cure, |line| {
        let marked = line.comment.contains("FIXME") || line.comment.contains("TODO");
        marked || line.names("todo!") || line.names("unimplemented!")
    })
}

/// Clippy sees to this elsewhere; the kernel program is out of its sight.
pub fn unsafe_has_a_reason(source: &Source) -> Vec<Finding> {
    if !source.is_in("lb-ebpf") || !source.is_rust() {
        return Vec::new();
    }
    let numbers = source.numbered().filter(|(_, line)| opens_unsafe(line)).map(|(number, _)| number);
    let bare = numbers.filter(|number| !is_explained(&source.lines()[..*number]));
    bare.map(|number| Finding::new(number, "say above this in a comment why it is sound: // SAFETY: ...")).collect()
}

/// Names of functions say what is returned.
pub fn no_get_prefix(source: &Source) -> Vec<Finding> {
    each_line(source, "leave out `get_`", |line| line.code.contains("fn get_"))
}

/// One concern a file.
pub fn no_long_file(source: &Source) -> Vec<Finding> {
    if !source.is_rust() || source.lines().len() <= LONGEST_FILE {
        return Vec::new();
    }
    vec![Finding::new(LONGEST_FILE + 1, format!("more than {LONGEST_FILE} lines: split it by concern"))]
}

/// No space at the end of a line.
pub fn no_trailing_space(source: &Source) -> Vec<Finding> {
    let spaced = source.numbered().filter(|(_, line)| line.raw.ends_with([' ', '\t', '\r']));
    spaced.map(|(number, _)| Finding::new(number, "remove the white space at the end of the line")).collect()
}

/// The last line ends too.
pub fn file_ends_with_newline(source: &Source) -> Vec<Finding> {
    if source.newline_at_end() {
        return Vec::new();
    }
    vec![Finding::new(source.lines().len(), "end the last line with a newline")]
}

/// Module files are `foo.rs` and `foo/`.
pub fn no_mod_rs(source: &Source) -> Vec<Finding> {
    if !source.path().ends_with("/mod.rs") {
        return Vec::new();
    }
    vec![Finding::new(1, "rename it to the module's name, beside the directory")]
}

/// A module has a name of its own.
pub fn no_empty_name(source: &Source) -> Vec<Finding> {
    let name = source.path().rsplit('/').next().and_then(|file| file.strip_suffix(".rs"));
    if !name.is_some_and(|name| EMPTY_NAMES.contains(&name)) {
        return Vec::new();
    }
    vec![Finding::new(1, "name the module for what is in it")]
}

/// A crate that does not take the workspace's lints has none. The kernel program and the fuzz target are not in the workspace.
pub fn crates_take_the_lints(source: &Source) -> Vec<Finding> {
    let path = source.path();
    if !path.ends_with("/Cargo.toml") || source.is_in("lb-ebpf") || source.is_in("fuzz") {
        return Vec::new();
    }
    let mut rows = source.lines().iter().map(|line| line.raw.trim()).skip_while(|line| *line != "[lints]");
    if rows.nth(1) == Some("workspace = true") {
        return Vec::new();
    }
    vec![Finding::new(1, "add the section [lints] with workspace = true")]
}

fn each_line(source: &Source, cure: &str, is_wrong: impl Fn(&Line) -> bool) -> Vec<Finding> {
    if !source.is_rust() {
        return Vec::new();
    }
    source.numbered().filter(|(_, line)| is_wrong(line)).map(|(number, _)| Finding::new(number, cure)).collect()
}

/// `unsafe fn` promises nothing, `unsafe extern` and attributes neither: blocks and impls do.
fn opens_unsafe(line: &Line) -> bool {
    line.code.contains("unsafe {") || line.code.contains("unsafe impl") || line.code.trim_end().ends_with("unsafe")
}

/// Whether the statement on the last of these lines has its reason: in a comment on it, or right above where it begins.
fn is_explained(lines: &[Line]) -> bool {
    for (distance, line) in lines.iter().rev().enumerate() {
        if line.comment.contains("SAFETY:") {
            return true;
        }
        let code = line.code.trim();
        let is_another = distance > 0 && (code.ends_with([';', '}', '{']) || line.raw.trim().is_empty());
        if is_another {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    #[test]
    fn a_sleep_in_a_test_needs_a_reason() {
        let text = "thread::sleep(a);\n// tidy: allow(sleep): polls\nthread::sleep(a);\ntokio::time::sleep(a).await;\n";
        assert_eq!(lines(no_bare_sleep_in_tests, "tests/src/lab.rs", text), [1, 4]);
        assert_eq!(lines(no_bare_sleep_in_tests, "lb-user/src/daemon.rs", text), []);
    }

    #[test]
    fn allow_is_found() {
        assert_eq!(lines(no_allow, "a.rs", "#[expect(a, reason = \"b\")]\n#[allow(a)]\n#![allow(a)]\n"), [2, 3]);
        assert_eq!(lines(no_allow, "a.rs", "// #[allow(a)]\n"), []);
    }

    #[test]
    fn unfinished_work_is_found() {
        assert_eq!(lines(nothing_left_to_do, "a.rs", "todo!()\n// FIXME b\nlet todo = 1;\n"), [1, 2]);
    }

    #[test]
    fn unsafe_without_a_reason_is_found() {
        let bare = "let a = 1;\nlet b = unsafe { c() };\n";
        assert_eq!(lines(unsafe_has_a_reason, "lb-ebpf/src/a.rs", bare), [2]);
        assert_eq!(lines(unsafe_has_a_reason, "lb-user/src/a.rs", bare), []);
        let explained = "// SAFETY: d\nlet b =\n    unsafe { c() };\nunsafe { e() }; // SAFETY: f\n";
        assert_eq!(lines(unsafe_has_a_reason, "lb-ebpf/src/a.rs", explained), []);
        let another = "// SAFETY: d\nlet b = 1;\nunsafe { c() };\n";
        assert_eq!(lines(unsafe_has_a_reason, "lb-ebpf/src/a.rs", another), [3]);
        assert_eq!(lines(unsafe_has_a_reason, "lb-ebpf/src/a.rs", "#[unsafe(no_mangle)]\nunsafe fn a() {}\n"), []);
    }

    #[test]
    fn a_get_prefix_is_found() {
        assert_eq!(lines(no_get_prefix, "a.rs", "fn get_a() {}\nmap.get_mut(b);\n"), [1]);
    }

    #[test]
    fn long_files_are_found() {
        assert_eq!(lines(no_long_file, "a.rs", &"x\n".repeat(LONGEST_FILE)), []);
        assert_eq!(lines(no_long_file, "a.rs", &"x\n".repeat(LONGEST_FILE + 1)), [LONGEST_FILE + 1]);
    }

    #[test]
    fn ends_of_lines_and_files_are_looked_at() {
        assert_eq!(lines(no_trailing_space, "a.md", "a\nb \n\t\n"), [2, 3]);
        assert_eq!(lines(file_ends_with_newline, "a.md", "a\nb"), [2]);
        assert_eq!(lines(file_ends_with_newline, "a.md", "a\n"), []);
    }

    #[test]
    fn names_of_files_are_looked_at() {
        assert_eq!(lines(no_mod_rs, "a/mod.rs", ""), [1]);
        assert_eq!(lines(no_empty_name, "a/utils.rs", ""), [1]);
        assert_eq!(lines(no_empty_name, "a/model.rs", ""), []);
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        assert_eq!(lines(crates_take_the_lints, "a/Cargo.toml", "[package]\n"), [1]);
        assert_eq!(lines(crates_take_the_lints, "a/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n"), []);
        assert_eq!(lines(crates_take_the_lints, "lb-ebpf/Cargo.toml", "[package]\n"), []);
        assert_eq!(lines(crates_take_the_lints, "Cargo.toml", "[workspace]\n"), []);
    }
}
