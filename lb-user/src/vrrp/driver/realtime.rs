//! What keeps the thread from missing its moment when everybody else is busy.

use std::io;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// Above everything that is not real-time; below what a kernel runs in threads of its own (interrupts: 50).
const PRIORITY: i32 = 10;

/// Whether each of the two could be had.
#[derive(Debug)]
pub struct Privileges {
    /// Real-time priority.
    pub priority: io::Result<()>,
    /// Memory that is never swapped out.
    pub memory: io::Result<()>,
}

/// Asks for both. The thread does not need them to be right, only to be in time.
pub fn take() -> Privileges {
    Privileges { priority: real_time(), memory: lock_memory() }
}

/// For the calling thread; what it starts is back to normal.
fn real_time() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: PRIORITY };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 is the calling thread, and the parameters live until the call returns.
    succeeded(unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) })
}

/// For the whole process, pages as they are first used: stacks that are reserved and never touched cost nothing, and the
/// maps are the kernel's memory, which it does not swap.
///
/// Under a limit that holds for this process, later allocations would fail once it is reached; so nothing is locked unless
/// there is none, or it does not hold (CAP_IPC_LOCK): that is found out with a limit of nothing at all.
fn lock_memory() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    if soft == RLIM_INFINITY {
        return lock_all();
    }
    setrlimit(Resource::RLIMIT_MEMLOCK, 0, hard)?;
    let outcome = lock_all();
    setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard)?;
    outcome
}

fn lock_all() -> io::Result<()> {
    // SAFETY: it changes how pages are kept, not what is in them.
    succeeded(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) })
}

fn succeeded(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
