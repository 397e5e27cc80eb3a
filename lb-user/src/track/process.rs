//! Processes, by name. One that runs is watched by a handle of its own, so its end is heard of at once; only one that is
//! missing is looked for.

mod table;

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::Reporter;
use crate::vrrp::priority::Health;

/// How often a process that is missing is looked for.
const SEARCH: Duration = Duration::from_millis(100);
/// How often it is made sure that a process that runs still has its name.
const REVISIT: Duration = Duration::from_secs(1);
/// A process may end as soon as it is found, and another may be there: this long at least between two searches.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks for it, waits for its end, and looks for another one.
pub async fn watch(name: String, reporter: Reporter) {
    loop {
        let searched = name.clone();
        let Ok(found) = spawn_blocking(move || table::find(&searched)).await else { continue };
        match found {
            Some(pid) => {
                if reporter.report(Health::Well) {
                    info!("process {name} runs (pid {pid})");
                }
                while_it_runs(pid, &name).await;
                sleep(PAUSE).await;
            }
            None => {
                if reporter.report(Health::Ill) {
                    warn!("process {name} does not run");
                }
                sleep(SEARCH).await;
            }
        }
    }
}

/// Until it has ended, or has another name.
async fn while_it_runs(pid: i32, name: &str) {
    // It has ended meanwhile, or there are no handles left: the next search will tell.
    let Ok(handle) = open(pid) else { return sleep(SEARCH).await };
    loop {
        match timeout(REVISIT, handle.readable()).await {
            Err(_) if table::is_named(pid, name) => {}
            _ => return,
        }
    }
}

/// A handle that is readable once the process has ended (Linux 5.3).
fn open(pid: i32) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the call takes two numbers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, libc::PIDFD_NONBLOCK) };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor, and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the descriptor stays open until it is dropped, which `AsyncFd` does only after it has left the poller.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(io::Error::from)
}
