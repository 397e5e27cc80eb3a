//! Requests, one after the other, each over a connection of its own. All of this runs in the client's namespace.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::lab::{VIP, fetch};

/// One request and what came of it.
#[derive(Clone, Debug)]
pub struct Request {
    /// When it began.
    pub began: Instant,
    /// The name of who answered.
    pub answer: Option<String>,
}

fn request() -> Request {
    let began = Instant::now();
    let answer = fetch(VIP, 80, "/").ok().filter(|response| response.status == 200).map(|response| response.text());
    Request { began, answer }
}

/// So many.
pub fn requests(count: usize) -> Vec<Request> {
    (0..count).map(|_| request()).collect()
}

/// Until told to end; some 300 a second, so that no one runs out of ports.
pub fn requests_until(ended: &AtomicBool) -> Vec<Request> {
    let mut requests = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        requests.push(request());
        wait_until(Instant::now() + Duration::from_millis(3));
    }
    requests
}

/// Lets time pass: the load runs, nothing else is to happen.
pub fn wait_until(end: Instant) {
    // tidy: allow(sleep): paces the load; nothing is waited for
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
}
