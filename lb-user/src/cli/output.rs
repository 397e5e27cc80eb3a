//! Text for terminals: tables, numbers, colours.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Writes to stdout; a closed pipe is an error that the caller returns.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Says on stderr what deserves a look although all went well.
pub fn warn(text: &str) {
    eprintln!("xdirector: warning: {text}");
}

/// In columns; `None`: stdout is no terminal, and takes lines of any length.
pub fn width() -> Option<usize> {
    terminal_size::terminal_size_of(io::stdout()).map(|(terminal_size::Width(width), _)| width.into())
}

/// Whether stdout takes colours.
pub fn has_colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// A number with ms, s, m or h.
pub fn duration(text: &str) -> Result<Duration> {
    let cure = "write a number with ms, s, m or h, such as 90s";
    let (number, unit) = text.find(|c: char| !c.is_ascii_digit()).map(|at| text.split_at(at)).context(cure)?;
    let number: u64 = number.parse().context(cure)?;
    let seconds = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "s" => Some(number),
        "m" => number.checked_mul(60),
        "h" => number.checked_mul(3600),
        _ => bail!(cure),
    };
    seconds.map(Duration::from_secs).context("that is too long")
}

/// Seconds as "59s", "1m 30s", "2h 5m" or "3d 4h".
pub fn ago(seconds: u64) -> String {
    let [minutes, hours, days] = [60, 3600, 86_400].map(|unit| seconds / unit);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {}s", seconds % 60),
        3600..86_400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// 1234567 as "1.23M".
pub fn si(number: f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match units.into_iter().find(|(size, _)| number >= *size) {
        Some((size, unit)) => {
            let scaled = number / size;
            let decimals = if scaled < 10.0 { 2 } else { usize::from(scaled < 100.0) };
            format!("{scaled:.decimals$}{unit}")
        }
        None if number.fract() == 0.0 => format!("{number}"),
        None => format!("{number:.1}"),
    }
}

/// Columns as wide as they must be: the first ones to the left, the others to the right.
pub struct Table {
    left: usize,
    width: Option<usize>,
    rows: Vec<(Vec<String>, Option<&'static str>)>,
}

impl Table {
    /// `left` columns are left-aligned.
    pub fn new(left: usize, head: &[&str]) -> Self {
        Self { left, width: None, rows: vec![(head.iter().map(ToString::to_string).collect(), None)] }
    }

    /// No line is longer than this.
    pub fn cut(mut self, width: Option<usize>) -> Self {
        self.width = width;
        self
    }

    /// One row, in a colour (an SGR code) or none.
    pub fn row(&mut self, cells: Vec<String>, colour: Option<&'static str>) {
        self.rows.push((cells, colour));
    }

    /// All rows, with colours or without.
    pub fn render(&self, colours: bool) -> String {
        let columns = self.rows.iter().map(|(cells, _)| cells.len()).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|(cells, _)| cells.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        self.rows.iter().map(|(cells, colour)| self.line(cells, &widths, colour.filter(|_| colours))).collect()
    }

    fn line(&self, cells: &[String], widths: &[usize], colour: Option<&str>) -> String {
        let align = |(column, (cell, width)): (usize, (&String, &usize))| {
            if column < self.left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        };
        let line = cells.iter().zip(widths).enumerate().map(align).collect::<Vec<_>>().join("  ");
        let line: String = line.chars().take(self.width.unwrap_or(usize::MAX)).collect();
        match colour {
            Some(colour) => format!("\x1b[{colour}m{}\x1b[0m\n", line.trim_end()),
            None => format!("{}\n", line.trim_end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 7.0, 999.0, 1234.0, 12_345.0, 999_999.0, 1.5e6, 2e12].map(si);
        assert_eq!(shown, ["0", "7", "999", "1.23k", "12.3k", "1000k", "1.50M", "2.00T"]);
        assert_eq!(si(12.34), "12.3");
    }

    #[test]
    fn times_are_read_and_shown() {
        let read = ["1500ms", "90s", "5m", "2h"].map(|text| duration(text).expect("it is one").as_millis());
        assert_eq!(read, [1500, 90_000, 300_000, 7_200_000]);
        for bad in ["", "5", "s", "1d", "-1s", "99999999999999999999h", "18446744073709551615h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        let shown = [0, 59, 60, 3599, 3600, 86_399, 86_400, 1_000_000].map(ago);
        assert_eq!(shown, ["0s", "59s", "1m 0s", "59m 59s", "1h 0m", "23h 59m", "1d 0h", "11d 13h"]);
    }

    #[test]
    fn a_table_is_cut_to_the_terminal() {
        let mut table = Table::new(2, &["name", "reason"]);
        table.row(vec!["a".into(), "too long for this".into()], None);
        assert_eq!(table.cut(Some(12)).render(false), "name  reason\na     too lo\n");
    }

    #[test]
    fn columns_are_aligned_and_colours_can_be_had() {
        let mut table = Table::new(1, &["name", "n"]);
        table.row(vec!["a".into(), "100".into()], Some("31"));
        assert_eq!(table.render(false), "name    n\na     100\n");
        assert_eq!(table.render(true), "name    n\n\x1b[31ma     100\x1b[0m\n");
    }
}
