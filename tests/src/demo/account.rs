//! Statements, each checked.

use std::process::ExitCode;

/// Prints, and remembers what did not hold.
#[derive(Debug)]
pub struct Account {
    colours: bool,
    checked: usize,
    failed: usize,
}

impl Account {
    /// With colours or without.
    pub fn new(colours: bool) -> Self {
        Self { colours, checked: 0, failed: 0 }
    }

    /// A part of the story.
    pub fn heading(&self, text: &str) {
        if self.colours { println!("\n\x1b[1m{text}\x1b[0m") } else { println!("\n{text}") }
    }

    /// What was seen, as it was.
    pub fn text(&self, text: &str) {
        print!("{text}");
    }

    /// A statement and whether it holds.
    pub fn check(&mut self, holds: bool, statement: &str) {
        self.checked += 1;
        self.failed += usize::from(!holds);
        let (word, colour) = if holds { ("ok    ", "32") } else { ("FAILED", "31") };
        if self.colours { println!("\x1b[{colour}m{word}\x1b[0m {statement}") } else { println!("{word} {statement}") }
    }

    /// The last line, and the exit code that goes with it.
    pub fn close(self) -> ExitCode {
        let Self { checked, failed, .. } = self;
        println!("\n{checked} statements checked, {failed} did not hold");
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
