//! What other directors know of our pins: told by us, or heard from them.

use lb_common::abi::Pin;

/// By a pin's place: what was last told or heard of it. Takes no room while there is nothing to tell.
#[derive(Debug, Default)]
pub struct Ledger {
    /// As told: a pin that is marked as foreign if its flow may be elsewhere than its bucket says.
    words: Vec<u64>,
    /// A bit for each: whether it was heard, and so is not of this director's own knowledge.
    heard: Vec<u64>,
    /// Where the next look begins.
    pub(super) next: usize,
    /// Pins worth telling since the look at place 0.
    pub(super) found: usize,
}

impl Ledger {
    /// Whether others know just this.
    pub(super) fn knows(&self, place: usize, pin: Pin) -> bool {
        self.words.get(place) == Some(&pin.to_word())
    }

    /// Whether just this was heard from another director, and no packet has been seen here since.
    pub(super) fn was_heard(&self, place: usize, pin: Pin) -> bool {
        let bit = self.heard.get(place / 64).is_some_and(|bits| bits >> (place % 64) & 1 == 1);
        bit && self.knows(place, pin)
    }

    /// `room` is how many pins there are.
    pub(super) fn note_told(&mut self, room: usize, place: usize, pin: Pin) {
        self.note(room, place, pin, false);
    }

    /// `room` is how many pins there are.
    pub(super) fn note_heard(&mut self, room: usize, place: usize, pin: Pin) {
        self.note(room, place, pin, true);
    }

    fn note(&mut self, room: usize, place: usize, pin: Pin, heard: bool) {
        if self.words.len() != room {
            self.words = vec![0; room];
            self.heard = vec![0; room.div_ceil(64)];
        }
        if let (Some(word), Some(bits)) = (self.words.get_mut(place), self.heard.get_mut(place / 64)) {
            *word = pin.to_word();
            let bit = 1 << (place % 64);
            *bits = if heard { *bits | bit } else { *bits & !bit };
        }
    }

    /// Gives its room back.
    pub(super) fn clear(&mut self) {
        *self = Self { next: self.next, ..Self::default() };
    }
}
