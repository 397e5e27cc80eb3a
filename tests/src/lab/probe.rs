//! One datagram a millisecond to a vip, and what came back: how many were lost, for how long, and who answered.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::Namespace;

/// From one datagram to the next.
const PERIOD: Duration = Duration::from_millis(1);
/// An answer that takes longer is none: it waited in a queue while nobody had the vip.
const PATIENCE: Duration = Duration::from_millis(200);
/// Among real-time threads the probe is a humble one.
const PRIORITY: i32 = 5;
/// Bytes of the number in a datagram.
const NUMBER: usize = 8;

/// A client that asks once a millisecond, on a schedule that does not drift. Two threads of its own.
#[derive(Debug)]
pub struct Probe {
    ended: Arc<AtomicBool>,
    sender: JoinHandle<Vec<Instant>>,
    receiver: JoinHandle<Vec<(usize, Answer)>>,
}

/// An answer to a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When it came.
    pub at: Instant,
    /// Who says it was him.
    pub from: String,
}

/// One datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it was sent.
    pub sent: Instant,
    /// The answer, if one came in time.
    pub answer: Option<Answer>,
}

/// All that a probe saw, in the order of sending.
#[derive(Clone, Debug, Default)]
pub struct Probed {
    records: Vec<Record>,
}

/// Lets the calling thread run before all ordinary ones. Says whether that is allowed.
pub fn real_time() -> bool {
    let priority = libc::sched_param { sched_priority: PRIORITY };
    // SAFETY: the pointer is valid during the call, which only reads; 0 is the calling thread.
    let outcome = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) };
    outcome == 0
}

impl Probe {
    /// Starts it in a machine; `to` answers as [`echo`](super::echo) does.
    ///
    /// # Errors
    /// If there is no socket to be had.
    pub fn start(machine: &Namespace, to: SocketAddr) -> Result<Self> {
        let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        // Not connected: ICMP errors are not ours to hear, a datagram that nobody wants is simply lost.
        let socket = machine.enter(|| UdpSocket::bind((any, 0)).context("cannot bind the probe's socket"))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let ended = Arc::new(AtomicBool::new(false));
        let (ear, stop, stopped) = (socket.try_clone()?, Arc::clone(&ended), Arc::clone(&ended));
        let sender = std::thread::spawn(move || send(&socket, to, &stop));
        let receiver = std::thread::spawn(move || receive(&ear, &stopped));
        Ok(Self { ended, sender, receiver })
    }

    /// Ends it, after the last answers had their time.
    ///
    /// # Errors
    /// If one of its threads has panicked.
    pub fn finish(self) -> Result<Probed> {
        self.ended.store(true, Ordering::Relaxed);
        let panicked = |_| anyhow!("a thread of the probe panicked");
        let sent = self.sender.join().map_err(panicked)?;
        let mut records: Vec<Record> = sent.into_iter().map(|sent| Record { sent, answer: None }).collect();
        for (number, answer) in self.receiver.join().map_err(panicked)? {
            if let Some(record) = records.get_mut(number)
                && answer.at.duration_since(record.sent) <= PATIENCE
            {
                record.answer = Some(answer);
            }
        }
        Ok(Probed { records })
    }
}

fn send(socket: &UdpSocket, to: SocketAddr, ended: &AtomicBool) -> Vec<Instant> {
    real_time();
    let start = Instant::now();
    let mut sent = Vec::with_capacity(1 << 16);
    let mut next = start;
    while !ended.load(Ordering::Relaxed) {
        // tidy: allow(sleep): the pace of the probe
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let number = (sent.len() as u64).to_be_bytes();
        sent.push(Instant::now());
        // A send that fails is a datagram lost, and counted as one.
        socket.send_to(&number, to).ok();
        next += PERIOD;
    }
    sent
}

/// Ends when it is told to and nothing has come for as long as an answer may take.
fn receive(socket: &UdpSocket, ended: &AtomicBool) -> Vec<(usize, Answer)> {
    real_time();
    let mut answers = Vec::with_capacity(1 << 16);
    let mut buffer = [0; 256];
    loop {
        let Ok((length, _)) = socket.recv_from(&mut buffer) else {
            if ended.load(Ordering::Relaxed) {
                return answers;
            }
            continue;
        };
        let at = Instant::now();
        if let Some((number, from)) = parse(&buffer[..length]) {
            answers.push((number, Answer { at, from }));
        }
    }
}

/// "NAME " and the number that was sent.
fn parse(datagram: &[u8]) -> Option<(usize, String)> {
    let (head, number) = datagram.split_at_checked(datagram.len().checked_sub(NUMBER)?)?;
    let number = u64::from_be_bytes(number.try_into().ok()?);
    let name = String::from_utf8_lossy(head.strip_suffix(b" ")?).into_owned();
    Some((usize::try_from(number).ok()?, name))
}

impl Probed {
    /// Every datagram, in the order of sending.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Only what was sent from then on.
    pub fn since(&self, start: Instant) -> Self {
        Self { records: self.records.iter().filter(|record| record.sent >= start).cloned().collect() }
    }

    /// How many had no answer in time.
    pub fn lost(&self) -> usize {
        self.records.iter().filter(|record| record.answer.is_none()).count()
    }

    /// The longest time without service: from the first datagram of a row that was lost to the next one that was not. Zero if
    /// none was lost.
    pub fn outage(&self) -> Duration {
        let mut longest = Duration::ZERO;
        let mut since = None;
        for record in &self.records {
            let begun = match record.answer {
                None => *since.get_or_insert(record.sent),
                Some(_) => match since.take() {
                    Some(begun) => begun,
                    None => continue,
                },
            };
            longest = longest.max(record.sent - begun);
        }
        longest
    }

    /// The longest time between two answers, which a client sees even if nothing is lost.
    pub fn silence(&self) -> Duration {
        let mut times: Vec<Instant> = self.records.iter().filter_map(|r| r.answer.as_ref().map(|a| a.at)).collect();
        times.sort();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }

    /// By how much the probe itself was late, at worst: what is below that is the measuring machine's own fault.
    pub fn lateness(&self) -> Duration {
        let pairs = self.records.windows(2).map(|pair| (pair[1].sent - pair[0].sent).saturating_sub(PERIOD));
        pairs.max().unwrap_or_default()
    }

    /// How many answers came from whom.
    pub fn answerers(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for answer in self.records.iter().filter_map(|record| record.answer.as_ref()) {
            *counts.entry(answer.from.clone()).or_default() += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A datagram each millisecond: those of `lost` had no answer.
    fn probed(count: u64, lost: std::ops::Range<u64>) -> Probed {
        let start = Instant::now();
        let record = |number: u64| {
            let sent = start + PERIOD * u32::try_from(number).unwrap();
            let answer = (!lost.contains(&number)).then(|| Answer { at: sent, from: "a".into() });
            Record { sent, answer }
        };
        Probed { records: (0..count).map(record).collect() }
    }

    #[test]
    fn an_outage_is_as_long_as_the_row_of_lost_datagrams() {
        for (lost, outage) in [(0..0, 0), (3..4, 1), (3..7, 4), (0..2, 2), (8..10, 1)] {
            let probed = probed(10, lost.clone());
            assert_eq!(probed.outage(), PERIOD * outage, "{lost:?}");
            assert_eq!(probed.lost() as u64, lost.end - lost.start);
        }
    }

    #[test]
    fn an_answer_names_the_datagram_and_who_sent_it() {
        assert_eq!(parse(b"real1 \0\0\0\0\0\0\x01\x02"), Some((258, "real1".into())));
        assert_eq!(parse(b"short"), None);
    }
}
