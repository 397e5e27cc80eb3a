//! The keys of one check: handed out one by one, so that what nobody asked for can be refused.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use toml::{Spanned, Value};

use super::super::problem::Report;
use super::super::{raw, syntax, values};
use super::Pattern;

/// What is left of `check = { … }`, and what has been asked for.
pub struct Keys<'k, 'r> {
    pub report: &'k mut Report<'r>,
    pool: &'k str,
    at: Range<usize>,
    left: BTreeMap<&'k str, (Range<usize>, &'k Spanned<Value>)>,
    asked: Vec<&'static str>,
}

impl<'k, 'r> Keys<'k, 'r> {
    pub fn new(report: &'k mut Report<'r>, pool: &'k str, raw: &'k Spanned<raw::Check>) -> Self {
        let entry = |(key, value): (&'k Spanned<String>, _)| (key.get_ref().as_str(), (key.span(), value));
        Self { report, pool, at: raw.span(), left: raw.get_ref().iter().map(entry).collect(), asked: Vec::new() }
    }

    /// How a key is called in messages.
    pub fn name(&self, key: &str) -> String {
        format!("pool.{}.check.{key}", self.pool)
    }

    /// Something is wrong with the check as a whole.
    pub fn error(&mut self, message: impl Into<String>) {
        self.report.error(self.at.clone(), message);
    }

    /// The same, but not so wrong that the file is refused.
    pub fn warning(&mut self, message: impl Into<String>) {
        self.report.warning(self.at.clone(), message);
    }

    /// Something is wrong with the value of a key.
    pub fn bad(&mut self, key: &str, span: Range<usize>, problem: impl std::fmt::Display) {
        let message = format!("{} {problem}", self.name(key));
        self.report.error(span, message);
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.left.contains_key(key)
    }

    /// Takes a key's value, whatever it is.
    pub fn take(&mut self, key: &'static str) -> Option<&'k Spanned<Value>> {
        self.asked.push(key);
        self.left.remove(key).map(|(_, value)| value)
    }

    fn take_as<T>(&mut self, key: &'static str, what: &str, of: impl Fn(&Value) -> Option<T>) -> Option<Spanned<T>> {
        let value = self.take(key)?;
        let found = of(value.get_ref());
        if found.is_none() {
            // The value itself is not quoted: it may be a password.
            self.bad(key, value.span(), format!("must be {what}, not of type {}", value.get_ref().type_str()));
        }
        Some(Spanned::new(value.span(), found?))
    }

    pub fn text(&mut self, key: &'static str) -> Option<Spanned<String>> {
        self.take_as(key, "a text in quotes", |value| value.as_str().map(String::from))
    }

    /// A text of visible characters, in ASCII without spaces.
    pub fn word(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let text = self.text(key)?;
        let visible = !text.get_ref().is_empty() && text.get_ref().bytes().all(|byte| byte.is_ascii_graphic());
        if !visible {
            self.bad(key, text.span(), "must be visible ASCII characters, without spaces");
        }
        visible.then_some(text)
    }

    /// A text that stands for bytes.
    pub fn ascii(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let text = self.text(key)?;
        if !text.get_ref().is_ascii() {
            let cure = "in double quotes \\xff is a character to TOML, and not a byte; write it in single quotes";
            self.bad(key, text.span(), format!("has a character outside ASCII: {cure}"));
            return None;
        }
        Some(text)
    }

    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.take_as(key, "true or false", Value::as_bool).map_or(default, Spanned::into_inner)
    }

    pub fn texts(&mut self, key: &'static str) -> Option<Spanned<Vec<String>>> {
        let texts = |value: &Value| value.as_array()?.iter().map(|item| item.as_str().map(String::from)).collect();
        self.take_as(key, "a list of texts, as in [\"a\", \"b\"]", texts)
    }

    pub fn number(&mut self, key: &'static str, range: RangeInclusive<u32>, default: u32) -> u32 {
        let value = self.take_as(key, "a number", Value::as_integer);
        values::number(self.report, &self.name(key), value.as_ref(), range, default)
    }

    pub fn duration(&mut self, key: &'static str, default: Duration) -> Duration {
        let value = self.take_as(key, "a duration in quotes, as in \"500ms\"", |v| v.as_str().map(String::from));
        values::duration(self.report, &self.name(key), value.as_ref(), default)
    }

    /// One of some words.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = choices.iter().find(|(word, _)| *word == text.get_ref()).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.bad(key, text.span(), format!("is \"{}\"; it must be {}", text.get_ref(), words.join(" or ")));
        }
        found
    }

    /// A regular expression.
    pub fn pattern_of(
        &mut self,
        key: &'static str,
        text: &Spanned<String>,
        of: impl Fn(&str) -> Result<Pattern, regex::Error>,
    ) -> Option<Pattern> {
        match of(text.get_ref()) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                self.bad(key, text.span(), format!("is no regular expression: {reason}"));
                None
            }
        }
    }

    /// An absolute path.
    pub fn path(&mut self, key: &'static str) -> Option<Spanned<PathBuf>> {
        let text = self.text(key)?;
        let path = PathBuf::from(text.get_ref());
        if !path.is_absolute() {
            self.bad(key, text.span(), format!("is \"{}\"; it must be an absolute path", path.display()));
            return None;
        }
        Some(Spanned::new(text.span(), path))
    }

    /// Refuses what is left: nobody asked for it.
    pub fn finish(self, kind: &str) {
        let Self { report, pool: _, at: _, left, mut asked } = self;
        asked.sort_unstable();
        for (key, (span, _)) in left {
            let message = match syntax::nearest(key, &asked) {
                Some(near) => format!("a check of type \"{kind}\" has no key `{key}`; did you mean `{near}`?"),
                None => format!(
                    "a check of type \"{kind}\" has no key `{key}`; remove it, or use one of: {}",
                    asked.join(", ")
                ),
            };
            report.error(span, message);
        }
    }
}
