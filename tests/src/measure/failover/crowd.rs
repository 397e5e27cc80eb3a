//! A thousand connections, of web and database clients, through every event there is.

use anyhow::{Context, Result};

use super::{Line, Round, plays};
use crate::failover::{Cast, Clients, Stage};
use crate::lab::{Brand, Crowd, Router, Side};

/// For `--only`.
pub const NAME: &str = "1000 TCP connections";

const CONNECTIONS: usize = 1000;
const INTERVAL: std::time::Duration = std::time::Duration::from_millis(100);

/// What a connection has to live through.
type Play = fn(&mut Stage) -> Result<Round>;

/// All that does not need a cast of its own.
const PLAYS: [(&str, Play); 8] = [
    ("polite stop", plays::stop),
    ("hand-over", plays::come_back),
    ("crash and restart", plays::crash),
    ("kill -9", plays::kill),
    ("frozen", plays::freeze),
    ("silent machine", plays::silence),
    ("partition", plays::heal),
    ("link lost", plays::unplug),
];

/// Holds them open through every event, so many times, and has each ask once more after each. Wrong are those that broke.
///
/// # Errors
/// If the lab cannot be built, or an event does not end as it must.
pub fn line(times: u32) -> Result<Line> {
    Crowd::make_room(CONNECTIONS as u64)?;
    let router = |side: Side| Router { links: vec!["eth0"], ..Router::v3(side, INTERVAL) };
    let cast = Cast { reals: 3, ..Cast::new([Brand::Ours; 2], router) };
    let mut stage = Stage::up(cast.with_web_and_databases())?;
    let mut clients = Clients::new()?;
    let (mut rounds, mut broken) = (Vec::new(), Vec::new());
    for (name, play) in PLAYS.iter().cycle().take(PLAYS.len() * times as usize) {
        clients.fill(&stage, CONNECTIONS)?;
        rounds.push(play(&mut stage).with_context(|| format!("{NAME}, {name}"))?);
        stage.forget_neighbours()?;
        broken.push((name, clients.ask_all()));
    }
    let bad: Vec<String> =
        broken.iter().filter(|(_, dead)| *dead > 0).map(|(name, dead)| format!("{name}: {dead}")).collect();
    let target = if bad.is_empty() { "0 broken".into() } else { format!("0 broken ({})", bad.join(", ")) };
    Ok(Line {
        event: NAME,
        who: Brand::Ours.name().into(),
        rounds: rounds.len() as u32,
        lost: super::spread(rounds.iter().map(|round| round.lost)).unwrap_or_default(),
        outage_ms: super::times(rounds.iter().map(|round| round.outage)).unwrap_or_default(),
        takeover_ms: super::times(rounds.iter().filter_map(|round| round.takeover)),
        single_ms: None,
        wrong: broken.iter().map(|(_, dead)| dead).sum(),
        lateness_ms: super::ms(rounds.iter().map(|round| round.lateness).max().unwrap_or_default()),
        target,
        met: Some((broken.len() - bad.len()) as u32),
    })
}
