//! The judge and all who come before it: what it rules is carried out here, in its order.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant as TokioInstant;

use super::super::judge::{Judge, Outcome, Ruling, Subject};
use super::super::opinion::SecondOpinion;
use super::Event;

/// What all checks share.
pub struct Court {
    start: TokioInstant,
    events: mpsc::UnboundedSender<Event>,
    inner: Mutex<Inner>,
}

/// Locked for microseconds and never across an await, so that rulings leave in the order in which they were made.
#[derive(Default)]
struct Inner {
    judge: Judge,
    bells: HashMap<Subject, watch::Sender<Duration>>,
    second_opinion: Option<Arc<dyn SecondOpinion>>,
}

impl fmt::Debug for Court {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Court").finish_non_exhaustive()
    }
}

/// The name under which a gateway's bell hangs: no pool has an empty one.
pub fn gateway(address: IpAddr) -> Subject {
    (String::new(), address)
}

impl Court {
    pub fn new(events: mpsc::UnboundedSender<Event>) -> Self {
        Self { start: TokioInstant::now(), events, inner: Mutex::default() }
    }

    /// The time as the judge knows it.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The same for timers.
    pub fn moment(&self, time: Duration) -> TokioInstant {
        self.start + time
    }

    /// Whether anybody wants to hear of changes.
    pub fn has_listener(&self) -> bool {
        !self.events.is_closed()
    }

    /// Asks the judge something, or tells it what changes nothing at once.
    pub fn judge<T>(&self, ask: impl FnOnce(&mut Judge) -> T) -> T {
        ask(&mut self.lock().judge)
    }

    /// Has the judge rule, and carries that out.
    pub fn rule(self: &Arc<Self>, rule: impl FnOnce(&mut Judge, Duration) -> Vec<Ruling>) {
        let mut inner = self.lock();
        let rulings = rule(&mut inner.judge, self.now());
        self.carry_out(rulings, &inner);
    }

    /// A probe has ended. Says whether the next one is to follow at the fast interval.
    pub fn hear(self: &Arc<Self>, subject: &Subject, outcome: Outcome) -> bool {
        let mut inner = self.lock();
        let rulings = inner.judge.handle_outcome(subject, outcome);
        self.carry_out(rulings, &inner);
        inner.judge.is_urgent(subject, self.now())
    }

    /// From now on this makes the check ask at once.
    pub fn hang(&self, subject: Subject, bell: watch::Sender<Duration>) {
        self.lock().bells.insert(subject, bell);
    }

    /// Takes down the bells of checks that have ended.
    pub fn take_down(&self) {
        self.lock().bells.retain(|_, bell| !bell.is_closed());
    }

    pub fn set_second_opinion(&self, second_opinion: Option<Arc<dyn SecondOpinion>>) {
        self.lock().second_opinion = second_opinion;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while it was held has left a judge that is at worst one result behind.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry_out(self: &Arc<Self>, rulings: Vec<Ruling>, inner: &Inner) {
        for ruling in rulings {
            match ruling {
                Ruling::Wake(subject) => self.ring(&subject, inner),
                Ruling::Ping(address) => self.ring(&gateway(address), inner),
                Ruling::Consult(subject) => self.consult(subject, inner),
                Ruling::Verdict((pool, address), health, reason) => {
                    self.tell(Event::Verdict { pool, address, health, reason, at: Instant::now() });
                }
                Ruling::Asked((pool, address), asked) => self.tell(Event::Asked { pool, address, asked }),
                Ruling::Hold(pool, cause) => self.tell(Event::Held { pool, cause }),
                Ruling::Release(pool, reason) => self.tell(Event::Released { pool, reason }),
                Ruling::Disputed((pool, address), reason) => self.tell(Event::Disputed { pool, address, reason }),
            }
        }
    }

    fn ring(&self, subject: &Subject, inner: &Inner) {
        if let Some(bell) = inner.bells.get(subject) {
            bell.send_replace(self.now());
        }
    }

    fn tell(&self, event: Event) {
        // Nobody listens any more: the checks are about to end.
        let _ = self.events.send(event);
    }

    /// Asks the other directors, in a task of its own: it ends when their time is over.
    fn consult(self: &Arc<Self>, subject: Subject, inner: &Inner) {
        let limit = inner.judge.patience(&subject);
        let asked = inner.second_opinion.as_ref().map(|peers| peers.ask(&subject.0, subject.1, limit));
        let court = Arc::clone(self);
        tokio::spawn(async move {
            let opinions = match asked {
                Some(asked) => tokio::time::timeout(limit, asked).await.unwrap_or_default(),
                None => Vec::new(),
            };
            court.rule(|judge, now| judge.handle_opinions(&subject, &opinions, now));
        });
    }
}
