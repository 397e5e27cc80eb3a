//! The kernel's table of processes, as /proc shows it.

use std::fs;
use std::path::Path;

/// The kernel keeps so many bytes of a name.
const KEPT: usize = 15;

/// A process of this name that has not ended: the one with the lowest number.
pub fn find(name: &str) -> Option<i32> {
    let entries = fs::read_dir("/proc").ok()?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| is_named(*pid, name)).min()
}

/// Whether this process has this name, and has not ended.
pub fn is_named(pid: i32, name: &str) -> bool {
    // It may end while it is looked at.
    let Ok(stat) = fs::read(format!("/proc/{pid}/stat")) else { return false };
    let Some((short, state)) = taken_apart(&stat) else { return false };
    if matches!(state, b'Z' | b'X' | b'x') {
        return false;
    }
    match name.as_bytes().get(..KEPT) {
        Some(kept) if name.len() > KEPT => short == kept && program(pid).as_deref() == Some(name),
        _ => short == name.as_bytes(),
    }
}

/// The whole of a name of which the kernel keeps the beginning only.
fn program(pid: i32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let first = line.split(|byte| *byte == 0).next()?;
    let first = Path::new(std::str::from_utf8(first).ok()?);
    Some(first.file_name()?.to_str()?.to_owned())
}

/// Name and state of "7 (na me) S …"; the name may have brackets of its own.
fn taken_apart(stat: &[u8]) -> Option<(&[u8], u8)> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    Some((stat.get(open + 1..close)?, *stat.get(close + 2)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_brackets_and_spaces() {
        type Row<'a> = (&'a [u8], Option<(&'a [u8], u8)>);
        let rows: [Row<'_>; 4] = [
            (b"7 (nginx) S 1 7 7", Some((b"nginx", b'S'))),
            (b"7 (a) b) c) Z 1", Some((b"a) b) c", b'Z'))),
            (b"7 (nginx", None),
            (b"7 (nginx)", None),
        ];
        for (stat, expected) in rows {
            assert_eq!(taken_apart(stat), expected, "{stat:?}");
        }
    }
}
