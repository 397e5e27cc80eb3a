//! A file as the rules see it: each line's code and each line's comment apart, so that no rule trips over a quotation.

/// A file of ours.
pub struct Source {
    path: String,
    lines: Vec<Line>,
    newline_at_end: bool,
}

/// One line.
#[derive(Debug, Default)]
pub struct Line {
    /// As it is.
    pub raw: String,
    /// Without comments and without the content of string and character literals; in other files than Rust, as it is.
    pub code: String,
    /// Only what is commented out or explained; nothing in other files than Rust.
    pub comment: String,
}

impl Source {
    /// Takes a file apart. `path` is from the root of the checkout, with slashes.
    pub fn new(path: &str, text: &str) -> Self {
        let lines = if path.ends_with(".rs") { rust_lines(text) } else { plain_lines(text) };
        Self { path: path.to_owned(), lines, newline_at_end: text.is_empty() || text.ends_with('\n') }
    }

    /// From the root of the checkout.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it ends as a text file should.
    pub fn newline_at_end(&self) -> bool {
        self.newline_at_end
    }

    /// Whether it is the module of that path or a part of it: `a/b` names `a/b.rs`, and all below `a/b/`.
    pub fn is_in(&self, module: &str) -> bool {
        let rest = self.path.strip_prefix(module);
        rest.is_some_and(|rest| rest.is_empty() || rest == ".rs" || rest.starts_with('/'))
    }

    /// All lines.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Lines with their numbers, from 1.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.lines.iter().enumerate().map(|(index, line)| (index + 1, line))
    }
}

impl Line {
    /// Whether the code has this name, not as part of a longer one.
    pub fn names(&self, name: &str) -> bool {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        self.code.match_indices(name).any(|(at, _)| {
            let before = self.code[..at].chars().next_back();
            let after = self.code[at + name.len()..].chars().next();
            !before.is_some_and(is_part) && !after.is_some_and(is_part)
        })
    }
}

fn plain_lines(text: &str) -> Vec<Line> {
    text.lines().map(|raw| Line { raw: raw.to_owned(), code: raw.to_owned(), comment: String::new() }).collect()
}

fn rust_lines(text: &str) -> Vec<Line> {
    let mut state = State::Code;
    text.lines().map(|raw| rust_line(raw, &mut state)).collect()
}

/// What the next character is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    /// Until the end of the line.
    LineComment,
    /// So many deep.
    BlockComment(usize),
    Text,
    /// Until a quote and so many `#`.
    RawText(usize),
}

fn rust_line(raw: &str, state: &mut State) -> Line {
    let mut line = Line { raw: raw.to_owned(), ..Line::default() };
    let mut rest = raw;
    while !rest.is_empty() {
        let taken = match *state {
            State::Code => take_code(rest, &mut line, state),
            State::LineComment | State::BlockComment(_) => take_comment(rest, &mut line, state),
            State::Text | State::RawText(_) => take_text(rest, &mut line, state),
        };
        rest = &rest[taken..];
    }
    if *state == State::LineComment {
        *state = State::Code;
    }
    line
}

/// Takes one piece of code, and returns its length in bytes.
fn take_code(rest: &str, line: &mut Line, state: &mut State) -> usize {
    if rest.starts_with("//") || rest.starts_with("/*") {
        *state = if rest.starts_with("//") { State::LineComment } else { State::BlockComment(1) };
        return 2;
    }
    if let Some(hashes) = raw_text_hashes(rest, &line.code) {
        *state = State::RawText(hashes);
        line.code.push('"');
        return "r\"".len() + hashes;
    }
    if rest.starts_with('"') {
        *state = State::Text;
    } else if let Some(length) = character_length(rest) {
        line.code.push_str("''");
        return length;
    }
    let first = rest.chars().next().unwrap_or(' ');
    line.code.push(first);
    first.len_utf8()
}

fn take_comment(rest: &str, line: &mut Line, state: &mut State) -> usize {
    if let State::BlockComment(depth) = *state {
        if rest.starts_with("*/") {
            *state = if depth == 1 { State::Code } else { State::BlockComment(depth - 1) };
            return 2;
        }
        if rest.starts_with("/*") {
            *state = State::BlockComment(depth + 1);
            return 2;
        }
    }
    let first = rest.chars().next().unwrap_or(' ');
    line.comment.push(first);
    first.len_utf8()
}

fn take_text(rest: &str, line: &mut Line, state: &mut State) -> usize {
    let closing = if let State::RawText(hashes) = *state { format!("\"{}", "#".repeat(hashes)) } else { "\"".into() };
    if rest.starts_with(&closing) {
        *state = State::Code;
        line.code.push('"');
        return closing.len();
    }
    let mut characters = rest.chars();
    let escaped = *state == State::Text && characters.next() == Some('\\');
    let taken = if escaped { 2 } else { 1 };
    rest.chars().take(taken).map(char::len_utf8).sum()
}

/// The number of `#` of a raw string that begins here, if one does.
fn raw_text_hashes(rest: &str, before: &str) -> Option<usize> {
    let inner = rest.strip_prefix('r')?;
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    // `r` at the end of a name is no prefix; `b` and `c` before it are part of it.
    let name = before.trim_end_matches(['b', 'c']).chars().next_back();
    let alone = !name.is_some_and(|c| c.is_alphanumeric() || c == '_');
    (alone && inner[hashes..].starts_with('"')).then_some(hashes)
}

/// The length of a character literal that begins here; a lifetime is none.
fn character_length(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    if let Some(escaped) = inner.strip_prefix('\\') {
        let skipped = escaped.chars().next()?.len_utf8();
        let end = escaped[skipped..].find('\'')?;
        return Some(2 + skipped + end + 1);
    }
    let first = inner.chars().next()?.len_utf8();
    inner[first..].starts_with('\'').then_some(first + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Vec<String> {
        Source::new("a.rs", text).lines.into_iter().map(|line| line.code).collect()
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        assert_eq!(code("a(\"x // y\"); // b"), ["a(\"\"); "]);
        assert_eq!(code("a /* b /* c */ d\n e */ f"), ["a ", " f"]);
        assert_eq!(code(r##"a(r#"x " y"#, 'q', '"', '\'', '\u{1}')"##), ["a(\"\", '', '', '', '')"]);
        assert_eq!(code("fn a<'b>(c: &'b str) {}"), ["fn a<'b>(c: &'b str) {}"]);
        assert_eq!(code(r#"a("\"b\\"); c"#), [r#"a(""); c"#]);
        assert_eq!(code("a(\"b\nc\", d)"), ["a(\"", "\", d)"]);
        assert_eq!(code(r#"a(b"x", br"y\", for"z")"#), [r#"a(b"", b"", for"")"#]);
    }

    #[test]
    fn comments_are_kept_apart() {
        let source = Source::new("a.rs", "let a = 1; // why\n/* b\n c */ d");
        let comments = source.lines.iter().map(|line| line.comment.as_str()).collect::<Vec<_>>();
        assert_eq!(comments, [" why", " b", " c "]);
    }

    #[test]
    fn a_name_is_a_whole_word() {
        let line = |text: &str| Source::new("a.rs", text).lines.remove(0);
        assert!(line("use aya::Ebpf;").names("aya"));
        assert!(!line("use himalaya::Peak; let aya_ = 1;").names("aya"));
        assert!(!line("// aya").names("aya"));
    }

    #[test]
    fn a_module_is_its_file_and_its_directory() {
        assert!(Source::new("x/src/state.rs", "").is_in("x/src/state"));
        assert!(Source::new("x/src/state/diff.rs", "").is_in("x/src/state"));
        assert!(!Source::new("x/src/statement.rs", "").is_in("x/src/state"));
    }
}
