//! What is wrong with a file, and where.

use std::fmt;
use std::ops::Range;

/// One thing wrong, or one thing to think about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 if the file as a whole is meant.
    pub line: usize,
    /// What is wrong, what was expected, and the cure.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, message } = self;
        if *line == 0 { write!(f, "{file}: {message}") } else { write!(f, "{file}:{line}: {message}") }
    }
}

/// All that is wrong with a file, in the order of its lines; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Problem>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects problems while a file is gone through.
pub struct Report<'a> {
    file: &'a str,
    text: &'a str,
    /// What makes the file unusable.
    pub errors: Vec<Problem>,
    /// What does not.
    pub warnings: Vec<Problem>,
}

impl<'a> Report<'a> {
    pub fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, errors: Vec::new(), warnings: Vec::new() }
    }

    pub fn error(&mut self, span: Range<usize>, message: impl Into<String>) {
        let problem = self.problem(span, message.into());
        self.errors.push(problem);
    }

    pub fn warning(&mut self, span: Range<usize>, message: impl Into<String>) {
        let problem = self.problem(span, message.into());
        self.warnings.push(problem);
    }

    /// In the order of lines.
    pub fn into_errors(mut self) -> ConfigErrors {
        self.errors.sort_by_key(|problem| problem.line);
        ConfigErrors(self.errors)
    }

    fn problem(&self, span: Range<usize>, message: String) -> Problem {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        Problem { file: self.file.to_owned(), line, message }
    }
}
