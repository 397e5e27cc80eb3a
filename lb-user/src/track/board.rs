//! What is known of all things that are tracked, and what that makes of each virtual router. Pure.

use std::collections::BTreeMap;
use std::num::NonZeroU8;

use crate::config::Config;
use crate::config::vrrp::{Track, Tracked};
use crate::vrrp::priority::{self, Effective, Health};

/// What the things that a virtual router depends on amount to now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackEvent {
    /// The name of the virtual router.
    pub router: String,
    /// What they amount to.
    pub effective: Effective,
}

/// All virtual routers, and what is known of what they track.
#[derive(Debug, Default)]
pub struct Board {
    routers: Vec<Router>,
    /// By what each is called. What is not known is not in it.
    known: BTreeMap<String, Health>,
    /// Whether what is not known yet is waited for no longer.
    is_overdue: bool,
}

#[derive(Clone, Debug)]
struct Router {
    name: String,
    priority: NonZeroU8,
    tracked: Vec<Track>,
    /// What was said of it last.
    said: Option<Effective>,
}

impl Board {
    /// Makes these the virtual routers. What is known of things that are still tracked stays known, even if they are asked
    /// otherwise now. Says of each what it comes to, unless something that a new one tracks is not known yet: then that is
    /// said once it is, or after [`Board::handle_overdue`].
    pub fn handle_config(&mut self, config: &Config) -> Vec<TrackEvent> {
        let former = std::mem::replace(&mut self.routers, routers(config));
        for router in &mut self.routers {
            // Whoever is new is waited for; whoever was there is judged by what is known.
            let was_there = former.iter().any(|other| other.name == router.name && other.said.is_some());
            router.said = was_there.then(|| router.effective(&self.known));
        }
        let routers = &self.routers;
        self.known.retain(|thing, _| routers.iter().any(|router| router.tracks(thing)));
        self.is_overdue = false;
        let mut events: Vec<TrackEvent> = self.routers.iter().filter_map(Router::event).collect();
        events.extend(self.news());
        events
    }

    /// Whether something is otherwise than what is known of it. That nothing is known is no news.
    pub fn is_news(&self, thing: &str, health: Health) -> bool {
        health != Health::Unknown && self.known.get(thing) != Some(&health)
    }

    /// A thing is like this now; says which routers that changes.
    pub fn handle_health(&mut self, thing: &str, health: Health) -> Vec<TrackEvent> {
        if !self.is_news(thing, health) || !self.routers.iter().any(|router| router.tracks(thing)) {
            return Vec::new();
        }
        self.known.insert(thing.to_owned(), health);
        self.news()
    }

    /// What is still not known counts as neither well nor ill from here on.
    pub fn handle_overdue(&mut self) -> Vec<TrackEvent> {
        self.is_overdue = true;
        self.news()
    }

    /// Whether it has been said of each router what it comes to.
    pub fn is_complete(&self) -> bool {
        self.routers.iter().all(|router| router.said.is_some())
    }

    fn news(&mut self) -> Vec<TrackEvent> {
        let (known, is_overdue) = (&self.known, self.is_overdue);
        let news = self.routers.iter_mut().filter_map(|router| {
            let is_waiting = router.said.is_none() && !is_overdue && !router.knows_all(known);
            let effective = router.effective(known);
            if is_waiting || router.said == Some(effective) {
                return None;
            }
            router.said = Some(effective);
            router.event()
        });
        news.collect()
    }
}

impl Router {
    fn tracks(&self, thing: &str) -> bool {
        self.tracked.iter().any(|track| track.what.describe() == thing)
    }

    fn knows_all(&self, known: &BTreeMap<String, Health>) -> bool {
        self.tracked.iter().all(|track| known.contains_key(&track.what.describe()))
    }

    fn effective(&self, known: &BTreeMap<String, Health>) -> Effective {
        let tracked = self.tracked.iter().map(|Track { what, weight }| {
            let health = known.get(&what.describe()).copied().unwrap_or(Health::Unknown);
            priority::Tracked { weight: *weight, health }
        });
        priority::effective(self.priority, tracked)
    }

    fn event(&self) -> Option<TrackEvent> {
        Some(TrackEvent { router: self.name.clone(), effective: self.said? })
    }
}

/// With all that each depends on: of a sync group's member, what any member tracks. Else two members would differ in
/// priority, and pull the group in two directions.
fn routers(config: &Config) -> Vec<Router> {
    let tracked = |index: usize| {
        let own = config.vrrp.get(index).into_iter();
        let group = config.sync_groups.iter().find(|group| group.members.contains(&index));
        let others = group.into_iter().flat_map(|group| &group.members).filter_map(|other| config.vrrp.get(*other));
        let mut tracked: Vec<Track> = Vec::new();
        for track in own.chain(others).flat_map(|router| &router.tracked) {
            if !tracked.iter().any(|other| other.what == track.what) {
                tracked.push(track.clone());
            }
        }
        tracked
    };
    let router = |(index, router): (usize, &crate::config::VirtualRouter)| Router {
        name: router.name.clone(),
        priority: router.priority,
        tracked: tracked(index),
        said: None,
    };
    config.vrrp.iter().enumerate().map(router).collect()
}

/// All things that any virtual router tracks, none twice.
pub fn things(config: &Config) -> Vec<&Tracked> {
    let mut things: Vec<&Tracked> = Vec::new();
    for track in config.vrrp.iter().flat_map(|router| &router.tracked) {
        if !things.contains(&&track.what) {
            things.push(&track.what);
        }
    }
    things
}

#[cfg(test)]
mod tests;
