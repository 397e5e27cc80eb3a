//! What happens to the directors, once each. Before and after each, A is the only master.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Round, between, port};
use crate::failover::{Stage, Watched, pass};
use crate::lab::{Process, Side};

/// For how long a client is watched after the last thing that happens.
const AFTER: Duration = Duration::from_millis(500);
/// For how long one listens for a second answer to a question.
const LISTEN: Duration = Duration::from_millis(20);

/// For how long the daemons are frozen.
pub const FROZEN: Duration = Duration::from_secs(10);
/// How long the hogs have the machine.
pub const HOGGED: Duration = Duration::from_secs(60);
/// Of those.
const HOGS: usize = 8;

impl Round {
    fn of(watched: &Watched) -> Self {
        let after = watched.after();
        Self { lost: after.lost(), outage: after.outage(), lateness: after.lateness(), ..Self::default() }
    }
}

/// The successor's first advert after the event.
fn takeover(stage: &Stage, watched: &Watched) -> Option<Duration> {
    stage.first_sign(Side::B, watched.at).and_then(|at| between(watched.at, at))
}

/// A client sees something happen to A, upon which B is master.
fn away(stage: &mut Stage, event: impl FnOnce(&mut Stage) -> Result<()>) -> Result<Round> {
    let watched = stage.watch(
        |stage| {
            let begun = Instant::now();
            event(stage)?;
            stage.wait_for_master(Side::B, begun).map(drop)
        },
        AFTER,
    )?;
    Ok(Round { takeover: takeover(stage, &watched), ..Round::of(&watched) })
}

/// A is stopped as an operator stops it.
pub fn stop(stage: &mut Stage) -> Result<Round> {
    let round = away(stage, |stage| stage.member_mut(Side::A).stop())?;
    stage.start_again(Side::A)?;
    stage.settle()?;
    Ok(round)
}

/// A comes back and takes over from B, who hands over.
pub fn come_back(stage: &mut Stage) -> Result<Round> {
    let begun = Instant::now();
    stage.member_mut(Side::A).stop()?;
    stage.wait_for_master(Side::B, begun)?;
    pass(AFTER);
    let watched = stage.watch(
        |stage| {
            stage.start_again(Side::A)?;
            stage.settle()
        },
        AFTER,
    )?;
    Ok(Round::of(&watched))
}

/// What speaks VRRP at A crashes and is started again. Wrong is each take-over.
pub fn crash(stage: &mut Stage) -> Result<Round> {
    let down = stage.cast.down_interval();
    let watched = stage.watch(|stage| stage.crash(Side::A), down + Duration::from_secs(1))?;
    let takeover = takeover(stage, &watched);
    stage.settle()?;
    Ok(Round { takeover, wrong: usize::from(takeover.is_some()), ..Round::of(&watched) })
}

/// A is killed for good. Its kernel lives. Wrong is a vip that is in two places even when B has long been master.
pub fn kill(stage: &mut Stage) -> Result<Round> {
    let down = stage.cast.down_interval();
    let mut single = None;
    let mut round = away(stage, |stage| {
        let killed = Instant::now();
        stage.member_mut(Side::A).kill()?;
        let heard = stage.observer.adverts(port(Side::A), killed - down);
        let (last, _) = heard.last().context("A was not heard before it was killed")?;
        single = since_when_single(stage, *last, down + Duration::from_secs(1))?;
        Ok(())
    })?;
    round.single = single;
    round.wrong = usize::from(single.is_none());
    stage.start_again(Side::A)?;
    stage.settle()?;
    Ok(round)
}

/// Asks for the vip again and again for so long: from when on, after `start`, exactly one MAC answered. None if that
/// is not so in the end.
fn since_when_single(stage: &Stage, start: Instant, time: Duration) -> Result<Option<Duration>> {
    let mut single = None;
    while start.elapsed() < time {
        let asked = Instant::now();
        match stage.macs_that_answer(LISTEN)? {
            1 => single = single.or(between(start, asked)),
            _ => single = None,
        }
    }
    Ok(single)
}

/// A is frozen for ten seconds and goes on. Wrong is each advert and each announcement of A's before it has listened for a
/// whole down interval.
pub fn freeze(stage: &mut Stage) -> Result<Round> {
    let (vip, down) = (stage.vip()?, stage.router(Side::A).down_interval());
    let (mut woken, mut single) = (Instant::now(), None);
    let watched = stage.watch(
        |stage| {
            let frozen = Instant::now();
            stage.member(Side::A).freeze()?;
            stage.wait_for_master(Side::B, frozen)?;
            single = since_when_single(stage, frozen, FROZEN)?;
            woken = Instant::now();
            stage.member(Side::A).thaw()
        },
        down + Duration::from_secs(1),
    )?;
    // A tenth less: the first word after a whole interval is not a stale one.
    let stale = |at: &Instant| *at < woken + down * 9 / 10;
    let adverts = stage.observer.adverts(port(Side::A), woken);
    let announced = stage.observer.announcements(port(Side::A), vip, woken);
    let wrong = adverts.iter().filter(|(at, _)| stale(at)).count() + announced.iter().filter(|at| stale(at)).count();
    let takeover = takeover(stage, &watched);
    stage.settle()?;
    Ok(Round { takeover, single, wrong, ..Round::of(&watched) })
}

/// A's machine is not heard any more. The time of the take-over counts from its last advert that was.
pub fn silence(stage: &mut Stage) -> Result<Round> {
    let (begun, mut silent) = (Instant::now(), Instant::now());
    let round = away(stage, |stage| {
        stage.pair.silence(Side::A)?;
        silent = Instant::now();
        Ok(())
    })?;
    // The port goes on seeing what the machine says; the switch does not forward it.
    let heard = stage.observer.adverts(port(Side::A), begun);
    let last = heard.iter().map(|(at, _)| *at).take_while(|at| *at <= silent).last();
    let first = stage.observer.adverts(port(Side::B), begun).first().map(|(at, _)| *at);
    let takeover = last.zip(first).and_then(|(last, first)| between(last, first));
    stage.pair.let_speak(Side::A)?;
    stage.settle()?;
    Ok(Round { takeover, ..round })
}

/// The two hear each other again after both were master. Wrong is a vip without service at the end of the watch.
pub fn heal(stage: &mut Stage) -> Result<Round> {
    let interval = stage.router(Side::A).interval;
    let parted = Instant::now();
    stage.pair.part()?;
    stage.wait_for_master(Side::B, parted)?;
    // The successor announces itself more than once; all of that is over before the two meet again.
    pass(AFTER + interval);
    let watched = stage.watch(|stage| stage.pair.heal(), 5 * interval + Duration::from_secs(1))?;
    let unserved = watched.probed.records().last().is_some_and(|record| record.answer.is_none());
    stage.settle()?;
    Ok(Round { wrong: usize::from(unserved), ..Round::of(&watched) })
}

/// Programs that take all the processor's time. Wrong is each advert of B's.
pub fn hogs(stage: &mut Stage) -> Result<Round> {
    let lab = &stage.pair.lab;
    let hog = |_| lab.spawn(&lab.client, "hog", "sh", &["-c", "while :; do :; done"]);
    let mut hogs: Vec<Process> = (0..HOGS).map(hog).collect::<Result<_>>()?;
    let watched = stage.watch(|_| Ok(()), HOGGED);
    for hog in &mut hogs {
        hog.stop(nix::sys::signal::Signal::SIGKILL)?;
    }
    let watched = watched?;
    let adverts = stage.observer.adverts(port(Side::B), watched.at);
    let claims = adverts.iter().filter(|(_, priority)| *priority > 0).count();
    stage.settle()?;
    Ok(Round { wrong: claims, takeover: takeover(stage, &watched), ..Round::of(&watched) })
}

/// With which file the script of [`script`] fails.
pub fn fails_with() -> PathBuf {
    std::env::temp_dir().join(format!("xdirector-fails-{}", std::process::id()))
}

/// A's script fails, and is well again.
pub fn script(stage: &mut Stage) -> Result<Round> {
    let file = fails_with();
    let outcome = away(stage, |_| Ok(File::create(&file).map(drop)?));
    std::fs::remove_file(&file).context("cannot mend the script")?;
    let round = outcome?;
    stage.settle()?;
    Ok(round)
}

/// The canary dies, whose pool A tracks; the real servers that serve do not.
pub fn pool(stage: &mut Stage) -> Result<Round> {
    let round = away(stage, |stage| stage.canary.as_mut().context("there is no canary")?.stop())?;
    let Stage { canary, pair, .. } = stage;
    if let Some(canary) = canary {
        canary.start_again(&pair.lab, &pair.lab.reals[0])?;
    }
    stage.settle()?;
    Ok(round)
}

/// A's cable is pulled; there is a second way between the two.
pub fn unplug(stage: &mut Stage) -> Result<Round> {
    let round = away(stage, |stage| stage.pair.unplug(Side::A))?;
    stage.pair.plug_in(Side::A)?;
    stage.settle()?;
    Ok(round)
}
