//! Text for terminals: tables, numbers, colours.

use std::io::{self, IsTerminal, Write};

/// Writes to stdout; a closed pipe is an error that the caller returns.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Whether stdout takes colours.
pub fn has_colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
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
    rows: Vec<(Vec<String>, Option<&'static str>)>,
}

impl Table {
    /// `left` columns are left-aligned.
    pub fn new(left: usize, head: &[&str]) -> Self {
        Self { left, rows: vec![(head.iter().map(ToString::to_string).collect(), None)] }
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
    fn columns_are_aligned_and_colours_can_be_had() {
        let mut table = Table::new(1, &["name", "n"]);
        table.row(vec!["a".into(), "100".into()], Some("31"));
        assert_eq!(table.render(false), "name    n\na     100\n");
        assert_eq!(table.render(true), "name    n\n\x1b[31ma     100\x1b[0m\n");
    }
}
