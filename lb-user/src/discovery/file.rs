//! A list in a file, read again when it changes: by an editor in place, by a rename over it, or by a link that leads
//! elsewhere.

use std::ffi::OsStr;
use std::fs::{File, metadata};
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use inotify::{EventMask, EventStream, Inotify, StreamExt, WatchMask};
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::config::{Real, parse_reals};

/// It is read at least this often: a link may lead to where nobody watches.
const INTERVAL: Duration = Duration::from_secs(60);
/// Before a directory that cannot be watched is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// In bytes: thousands of real servers.
const LARGEST: u64 = 1 << 20;
/// Room for some dozens of events.
const EVENTS: usize = 4096;

type Events = EventStream<[u8; EVENTS]>;

/// Until nobody listens to `report` any more.
pub async fn look<F: Future<Output = bool>>(path: &Path, report: impl Fn(Result<Vec<Real>, String>) -> F) {
    let mut events = None;
    loop {
        // Watched before it is read, or a change between the two would be missed.
        if events.is_none() {
            events = watch(path).inspect_err(|error| debug!(%error, path = %path.display(), "not watched")).ok();
        }
        let file = path.to_path_buf();
        let outcome = match tokio::task::spawn_blocking(move || read(&file)).await {
            Ok(outcome) => outcome,
            // The runtime ends.
            Err(_) => return,
        };
        if !report(outcome).await {
            return;
        }
        match &mut events {
            Some(watched) => {
                if !changed(watched, path).await {
                    events = None;
                    sleep(PAUSE).await;
                }
            }
            None => sleep(PAUSE).await,
        }
    }
}

fn read(path: &Path) -> Result<Vec<Real>, String> {
    let text = text(path).map_err(|error| format!("cannot read it: {error}"))?;
    parse_reals(&text)
}

fn text(path: &Path) -> io::Result<String> {
    if !metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut text = String::new();
    let read = File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if read as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {LARGEST} bytes")));
    }
    Ok(text)
}

/// The file's directory: a file that is replaced is another file, and its own watch would go with it.
fn watch(path: &Path) -> io::Result<Events> {
    let inotify = Inotify::init()?;
    let changes =
        WatchMask::CLOSE_WRITE | WatchMask::MOVED_TO | WatchMask::MOVED_FROM | WatchMask::CREATE | WatchMask::DELETE;
    let end = WatchMask::DELETE_SELF | WatchMask::MOVE_SELF | WatchMask::ONLYDIR;
    inotify.watches().add(path.parent().unwrap_or(Path::new("/")), changes | end)?;
    inotify.into_event_stream([0; EVENTS])
}

/// Waits until the file may have changed; false: the directory has to be watched anew.
async fn changed(events: &mut Events, path: &Path) -> bool {
    let wait = async {
        while let Some(Ok(event)) = events.next().await {
            if event.mask.intersects(EventMask::IGNORED | EventMask::DELETE_SELF | EventMask::MOVE_SELF) {
                return false;
            }
            if event.mask.contains(EventMask::Q_OVERFLOW)
                || event.name.as_deref().is_some_and(|name| concerns(name, path))
            {
                return true;
            }
        }
        false
    };
    // Nothing for so long: it is looked at all the same.
    timeout(INTERVAL, wait).await.unwrap_or(true)
}

/// The file itself, or the link by which Kubernetes replaces all files of a directory at once.
fn concerns(name: &OsStr, path: &Path) -> bool {
    Some(name) == path.file_name() || name == "..data"
}
