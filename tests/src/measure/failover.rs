//! A vip that moves: what a client loses, how long the move takes, and what keepalived needs for the same.
//!
//! Each event is played so many times by each of its contestants, in a lab of its own; after each the first director is made
//! master again. A client asks once a millisecond meanwhile. Told are the median and the worst.

mod crowd;
mod many;
mod plays;
mod rows;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::failover::{Cast, Stage};
use crate::lab::{Brand, Side};

pub use rows::names;

/// What came of an event once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Round {
    /// Datagrams that nobody answered.
    pub lost: usize,
    /// For how long in a row nobody answered.
    pub outage: Duration,
    /// From the event to the first advert of the successor; none if nobody took over.
    pub takeover: Option<Duration>,
    /// From the event, or the master's last advert, until exactly one MAC answered for good. None if that was not asked, or
    /// never came.
    pub single: Option<Duration>,
    /// What should not have been: take-overs without need, adverts of a stale master, connections that broke, a vip that
    /// is still in two places.
    pub wrong: usize,
    /// By how much the measuring client itself was late.
    pub lateness: Duration,
}

/// An event, and who shows how he copes with it.
pub(crate) struct Row {
    /// For `--only`, too.
    pub name: &'static str,
    /// What we want of ours.
    pub target: &'static str,
    /// Whether a round meets it.
    pub met: fn(&Round, &Cast) -> bool,
    /// Who plays; the second one is B.
    pub contestants: &'static [[Brand; 2]],
    /// On what.
    pub cast: fn([Brand; 2]) -> Cast,
    /// What happens. The stage is settled before and after.
    pub play: fn(&mut Stage) -> Result<Round>,
    /// How many rounds are played if so many are asked for.
    pub rounds: fn(u32) -> u32,
}

/// What one contestant made of one event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Which event.
    pub event: &'static str,
    /// Who is A, and who is B.
    pub who: String,
    /// Rounds played.
    pub rounds: u32,
    /// Datagrams lost: median and worst.
    pub lost: (usize, usize),
    /// Milliseconds without an answer: median and worst.
    pub outage_ms: (f64, f64),
    /// Milliseconds to the successor's first advert: median and worst, of those rounds in which there was one.
    pub takeover_ms: Option<(f64, f64)>,
    /// Milliseconds until exactly one MAC answered: median and worst.
    pub single_ms: Option<(f64, f64)>,
    /// Things that should not have been, over all rounds.
    pub wrong: usize,
    /// Milliseconds by which the measuring client was late, at worst.
    pub lateness_ms: f64,
    /// What we want of ours.
    pub target: String,
    /// In how many rounds that was met; none where it is not ours to meet.
    pub met: Option<u32>,
}

/// Which events are played, by whom.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// Only events whose name contains this.
    pub event: Option<&'a str>,
    /// Only contestants whose names begin with this.
    pub who: Option<&'a str>,
}

impl Choice<'_> {
    fn has_event(&self, name: &str) -> bool {
        self.event.is_none_or(|part| name.contains(part))
    }

    fn has(&self, who: &str) -> bool {
        self.who.is_none_or(|start| who.starts_with(start))
    }
}

/// Plays the events of this choice, each so many times, and tells each line as it comes.
///
/// # Errors
/// If a lab cannot be built, or an event does not end as it must.
pub fn measure(rounds: u32, choice: Choice<'_>, mut tell: impl FnMut(&Line) -> Result<()>) -> Result<()> {
    for row in rows::ROWS.iter().filter(|row| choice.has_event(row.name)) {
        for brands in row.contestants.iter().filter(|brands| choice.has(&name_of(**brands))) {
            tell(&contest(row, *brands, rounds)?)?;
        }
    }
    if choice.has_event(crowd::NAME) && choice.has(Brand::Ours.name()) {
        tell(&crowd::line(rounds)?)?;
    }
    for brand in [Brand::Ours, Brand::Keepalived] {
        if choice.has_event(many::NAME) && choice.has(brand.name()) {
            many::lines(brand)?.iter().try_for_each(&mut tell)?;
        }
    }
    Ok(())
}

fn contest(row: &Row, brands: [Brand; 2], rounds: u32) -> Result<Line> {
    let who = || name_of(brands);
    let mut stage = Stage::up((row.cast)(brands)).with_context(|| format!("{}, {}", row.name, who()))?;
    let mut played = Vec::new();
    for round in 1..=(row.rounds)(rounds) {
        let what = || format!("{}, {}, round {round}", row.name, who());
        played.push((row.play)(&mut stage).with_context(what)?);
        // What the client still believes of this round is not the next one's fault.
        stage.forget_neighbours()?;
    }
    Ok(summary(row, brands, &stage.cast, &played))
}

fn summary(row: &Row, brands: [Brand; 2], cast: &Cast, played: &[Round]) -> Line {
    let met = |round: &&Round| (row.met)(round, cast);
    let lateness = played.iter().map(|round| round.lateness).max().unwrap_or_default();
    Line {
        event: row.name,
        who: name_of(brands),
        rounds: played.len() as u32,
        lost: spread(played.iter().map(|round| round.lost)).unwrap_or_default(),
        outage_ms: times(played.iter().map(|round| round.outage)).unwrap_or_default(),
        takeover_ms: times(played.iter().filter_map(|round| round.takeover)),
        single_ms: times(played.iter().filter_map(|round| round.single)),
        wrong: played.iter().map(|round| round.wrong).sum(),
        lateness_ms: ms(lateness),
        target: row.target.into(),
        met: (brands[0] == Brand::Ours).then(|| played.iter().filter(met).count() as u32),
    }
}

/// Median and worst.
fn spread<T: Ord + Copy>(values: impl Iterator<Item = T>) -> Option<(T, T)> {
    let mut values: Vec<T> = values.collect();
    values.sort();
    Some((*values.get(values.len() / 2)?, *values.last()?))
}

fn times(values: impl Iterator<Item = Duration>) -> Option<(f64, f64)> {
    spread(values).map(|(median, worst)| (ms(median), ms(worst)))
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

fn name_of([a, b]: [Brand; 2]) -> String {
    if a == b { a.name().into() } else { format!("{} > {}", a.name(), b.name()) }
}

/// The port that adverts of a side come in by.
fn port(side: Side) -> &'static str {
    side.port()
}

/// Time from one instant to another; none if it is the other way round.
fn between(start: Instant, end: Instant) -> Option<Duration> {
    end.checked_duration_since(start)
}

/// The first line of the table.
pub fn head() -> String {
    format!(
        "{:<34} {:<24} {:>4} {:>13} {:>17} {:>17} {:>17} {:>5} {:>6}  {}\n",
        "event", "who", "n", "lost", "outage ms", "take-over ms", "one MAC ms", "wrong", "met", "target of ours"
    )
}

/// A line of the table; figures are "median / worst".
pub fn row(line: &Line) -> String {
    let pair = |pair: Option<(f64, f64)>| pair.map_or("-".into(), |(median, worst)| format!("{median} / {worst}"));
    let met = line.met.map_or("-".into(), |met| format!("{met}/{}", line.rounds));
    let late =
        if line.lateness_ms > 5.0 { format!("  (the client was {} ms late)", line.lateness_ms) } else { String::new() };
    format!(
        "{:<34} {:<24} {:>4} {:>13} {:>17} {:>17} {:>17} {:>5} {:>6}  {}{late}\n",
        line.event,
        line.who,
        line.rounds,
        format!("{} / {}", line.lost.0, line.lost.1),
        pair(Some(line.outage_ms)),
        pair(line.takeover_ms),
        pair(line.single_ms),
        line.wrong,
        met,
        line.target,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_and_the_worst() {
        assert_eq!(spread([3, 1, 2].into_iter()), Some((2, 3)));
        assert_eq!(spread([1, 2, 3, 4].into_iter()), Some((3, 4)));
        assert_eq!(spread(std::iter::empty::<u8>()), None);
    }

    #[test]
    fn names_of_rows_are_unique_and_not_part_of_each_other() {
        let names: Vec<_> = names().collect();
        for (index, name) in names.iter().enumerate() {
            assert!(names.iter().skip(index + 1).all(|other| other != name), "{name}");
        }
    }
}
