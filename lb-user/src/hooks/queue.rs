//! Which call is next. Pure.

use std::collections::{HashSet, VecDeque};

use super::Call;

/// Calls in the order in which they came, and whose subjects run.
#[derive(Debug)]
pub struct Queue {
    waiting: VecDeque<Call>,
    running: HashSet<String>,
    at_once: usize,
    most: usize,
}

impl Queue {
    /// At most so many run at once, and so many wait.
    pub fn new(at_once: usize, most: usize) -> Self {
        Self { waiting: VecDeque::new(), running: HashSet::new(), at_once, most }
    }

    /// Takes one more. If there is no room, the one that has waited longest is given up: the last word matters most.
    pub fn push(&mut self, call: Call) -> Option<Call> {
        self.waiting.push_back(call);
        if self.waiting.len() > self.most { self.waiting.pop_front() } else { None }
    }

    /// The next one that may run now; it counts as running from here on.
    pub fn next(&mut self) -> Option<Call> {
        if self.running.len() >= self.at_once {
            return None;
        }
        let free = self.waiting.iter().position(|call| !self.running.contains(&call.subject))?;
        let call = self.waiting.remove(free)?;
        self.running.insert(call.subject.clone());
        Some(call)
    }

    /// What ran about this subject has ended.
    pub fn handle_end(&mut self, subject: &str) {
        self.running.remove(subject);
    }

    /// Nothing runs any more.
    pub fn handle_all_ended(&mut self) {
        self.running.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(subject: &str, number: u32) -> Call {
        Call { subject: subject.into(), arguments: vec![number.to_string()] }
    }

    #[test]
    fn subjects_wait_for_themselves_and_for_room_only() {
        let mut queue = Queue::new(2, 10);
        for (subject, number) in [("a", 1), ("a", 2), ("b", 3), ("c", 4)] {
            assert_eq!(queue.push(call(subject, number)), None);
        }
        assert_eq!((queue.next(), queue.next(), queue.next()), (Some(call("a", 1)), Some(call("b", 3)), None));
        queue.handle_end("b");
        assert_eq!((queue.next(), queue.next()), (Some(call("c", 4)), None));
        queue.handle_end("a");
        assert_eq!((queue.next(), queue.next()), (Some(call("a", 2)), None));
    }

    #[test]
    fn the_oldest_is_given_up_when_too_many_wait() {
        let mut queue = Queue::new(1, 2);
        let given_up: Vec<Option<Call>> = (1..=3).map(|number| queue.push(call("a", number))).collect();
        assert_eq!(given_up, [None, None, Some(call("a", 1))]);
        assert_eq!(queue.next(), Some(call("a", 2)));
    }
}
