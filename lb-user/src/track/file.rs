//! Files that hold a number, as keepalived's `track_file` has them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::Reporter;
use crate::vrrp::priority::Health;

/// How often it is read.
const INTERVAL: Duration = Duration::from_millis(50);
/// More than this is no number.
const LONGEST: u64 = 64;

/// Reads it again and again. What cannot be read, or is no number, counts as 0.
pub async fn watch(path: PathBuf, reporter: Reporter) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut former = None;
    loop {
        ticks.tick().await;
        let read_from = path.clone();
        // A file system that hangs must not hold up the others.
        let Ok(found) = spawn_blocking(move || read(&read_from)).await else { continue };
        if former.as_ref() == Some(&found) {
            continue;
        }
        reporter.report(Health::Value(*found.as_ref().unwrap_or(&0)));
        match &found {
            Ok(number) => info!("file {} says {number}", path.display()),
            Err(problem) => warn!("file {} counts as 0: it {problem}", path.display()),
        }
        former = Some(found);
    }
}

fn read(path: &Path) -> Result<i64, String> {
    let cannot = |error| format!("cannot be read: {error}");
    let mut text = String::new();
    File::open(path).map_err(cannot)?.take(LONGEST).read_to_string(&mut text).map_err(cannot)?;
    number(&text).ok_or_else(|| "holds no whole number".into())
}

fn number(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_may_have_a_sign_and_white_space_around_it() {
        let rows = [("-20\n", Some(-20)), (" 7 ", Some(7)), ("+3", Some(3)), ("", None), ("up", None), ("1 2", None)];
        for (text, expected) in rows {
            assert_eq!(number(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_said() {
        assert!(
            read(Path::new("/nowhere/weight")).expect_err("it is not there").starts_with("cannot be read: No such")
        );
    }
}
