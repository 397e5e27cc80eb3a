//! Real files, scripts and processes.

use std::fs;
use std::num::NonZeroU8;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::config::vrrp::Track;
use crate::config::{Director, Limits, VirtualRouter};
use crate::vrrp::priority::Effective;

const ENOUGH: Duration = Duration::from_secs(60);

/// One virtual router of priority 100, and what is said of it.
struct Scene {
    dir: PathBuf,
    tracking: Tracking,
    events: mpsc::UnboundedReceiver<TrackEvent>,
}

impl Scene {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("xdirector-track-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let (sender, events) = mpsc::unbounded_channel();
        let ping: Ping = Arc::new(|_, _| Box::pin(async { true }));
        // Nobody listens any more once a test has seen enough.
        let tracking = Tracking::new(ping, move |event| drop(sender.send(event)));
        Self { dir, tracking, events }
    }

    fn track(&mut self, tracked: &[(Tracked, i16)]) {
        let mut config = Config::new(Director::new(vec!["eth0".into()]), Limits::default(), Vec::new(), Vec::new());
        let vips = vec!["10.0.0.1/32".parse().expect("an address")];
        let mut router = VirtualRouter::new("VI_1", "eth0", NonZeroU8::MIN, vips).expect("a vip");
        router.tracked = tracked.iter().map(|(what, weight)| Track { what: what.clone(), weight: *weight }).collect();
        config.vrrp.push(router);
        self.tracking.apply(&config);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The priority that is said next; 0 for a fault.
    async fn next(&mut self) -> u8 {
        let event = timeout(ENOUGH, self.events.recv()).await.expect("an event in time").expect("an event");
        assert_eq!(event.router, "VI_1");
        match event.effective {
            Effective::Priority(priority) => priority.get(),
            Effective::Fault => 0,
        }
    }

    fn said(&mut self) -> Option<TrackEvent> {
        self.events.try_recv().ok()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!("{}: {error}", self.dir.display());
        }
    }
}

fn script(test: String, fall: u32) -> Tracked {
    Tracked::Script(TrackScript {
        name: "chk".into(),
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), test],
        interval: Duration::from_millis(20),
        timeout: Duration::from_secs(30),
        rise: 1,
        fall,
        user: None,
    })
}

#[tokio::test]
async fn a_router_that_tracks_nothing_is_said_at_once() {
    let mut scene = Scene::new("nothing");
    scene.track(&[]);
    assert!(scene.said().is_some());
    scene.tracking.completed().await;
}

#[tokio::test]
async fn a_script_decides_by_its_exit_status() {
    let mut scene = Scene::new("script");
    let (file, runs) = (scene.path("well"), scene.path("runs"));
    fs::write(&file, "").expect("a file");
    let test = format!("echo >>{}; test -e {}", runs.display(), file.display());
    scene.track(&[(script(test, 3), -20)]);
    assert_eq!(scene.next().await, 100);
    fs::remove_file(&file).expect("it is there");
    let before = fs::read(&runs).expect("it has run").len();
    assert_eq!(scene.next().await, 80);
    let after = fs::read(&runs).expect("it has run").len();
    assert!(after >= before + 2, "{before} runs, then {after}: three failures are needed");
    fs::write(&file, "").expect("a file");
    assert_eq!(scene.next().await, 100);
}

#[tokio::test]
async fn a_script_that_hangs_has_failed() {
    let mut scene = Scene::new("hang");
    let Tracked::Script(hanging) = script("sleep 1000".into(), 1) else { unreachable!("it is a script") };
    let hanging = TrackScript { timeout: Duration::from_millis(50), ..hanging };
    scene.track(&[(Tracked::Script(hanging), 0)]);
    assert_eq!(scene.next().await, 0);
}

#[tokio::test]
async fn a_file_holds_a_number_to_add() {
    let mut scene = Scene::new("file");
    let file = scene.path("weight");
    scene.track(&[(Tracked::File(file.clone()), 2)]);
    // It is not there.
    assert_eq!(scene.next().await, 100);
    for (text, expected) in [("-10\n", 80), ("30", 160), ("none", 100), ("-127", 0), ("-126", 1)] {
        // Renamed into place, so that it is never seen half written.
        let draft = scene.path("draft");
        fs::write(&draft, text).expect("a file");
        fs::rename(&draft, &file).expect("it can be renamed");
        assert_eq!(scene.next().await, expected, "{text}");
    }
}

/// A process that is called like nobody else's.
fn start(scene: &Scene, name: &str) -> Child {
    let program = scene.path(name);
    fs::copy("/bin/sleep", &program).expect("sleep can be copied");
    Command::new(program).arg("1000").spawn().expect("it can be started")
}

#[tokio::test]
async fn a_process_is_there_or_not() {
    let mut scene = Scene::new("process");
    // One of the names is longer than the kernel keeps it.
    for kind in ["x", "with-a-long-name"] {
        let name = format!("{kind}-{}", std::process::id());
        scene.track(&[(Tracked::Process(name.clone()), 30)]);
        assert_eq!(scene.next().await, 100);
        let mut child = start(&scene, &name);
        assert_eq!(scene.next().await, 130);
        child.kill().expect("it is ours");
        // It counts as ended even before anybody has waited for it.
        assert_eq!(scene.next().await, 100);
        child.wait().expect("it has ended");
        scene.track(&[]);
        assert_eq!(scene.next().await, 100);
    }
}

#[tokio::test]
async fn a_pool_is_said_before_the_call_returns() {
    let mut scene = Scene::new("pool");
    scene.track(&[(Tracked::Pool("web".into()), -20)]);
    scene.tracking.handle_pool("web", Health::Well);
    assert!(scene.said().is_some());
    scene.tracking.handle_pool("other", Health::Ill);
    assert_eq!(scene.said(), None);
    scene.tracking.handle_pool("web", Health::Ill);
    assert_eq!(scene.said().map(|event| event.effective), NonZeroU8::new(80).map(Effective::Priority));
}

#[tokio::test]
async fn a_gateway_is_lost_after_three_pings_without_an_answer_and_back_after_two_with_one() {
    let answers = [true, false, false, true, false, false, false, true, false, true, true];
    let asked = Arc::new(AtomicUsize::new(0));
    let (sender, mut events) = mpsc::unbounded_channel();
    let (asking, asked_then) = (Arc::clone(&asked), Arc::clone(&asked));
    let ping: Ping = Arc::new(move |_, _| {
        let answer = answers.get(asking.fetch_add(1, Ordering::Relaxed)).copied().unwrap_or(true);
        Box::pin(async move { answer })
    });
    let mut scene = Scene::new("gateway");
    scene.tracking = Tracking::new(Arc::clone(&ping), move |event| {
        sender.send((asked_then.load(Ordering::Relaxed), event.effective)).expect("the test listens");
    });
    let gateway = "10.0.0.254".parse().expect("an address");
    // Its own pings are too slow for a test; they have not begun yet.
    scene.track(&[(Tracked::Gateway(gateway), 0)]);
    scene.tracking.watchers.clear();
    let thing = Tracked::Gateway(gateway).describe();
    let reporter = Reporter { shared: Arc::clone(&scene.tracking.shared), thing };
    let _watcher = Watcher(tokio::spawn(gateway::watch(gateway, Duration::from_millis(1), ping, reporter)));
    let well = NonZeroU8::new(100).map(Effective::Priority).expect("above 0");
    for expected in [(1, well), (7, Effective::Fault), (11, well)] {
        assert_eq!(timeout(ENOUGH, events.recv()).await.expect("in time"), Some(expected));
    }
}

#[tokio::test]
async fn what_is_not_known_is_waited_for_but_not_for_ever() {
    let mut scene = Scene::new("patience");
    scene.track(&[(Tracked::Pool("web".into()), 0)]);
    assert_eq!(scene.said(), None);
    let start = std::time::Instant::now();
    scene.tracking.completed().await;
    assert!(start.elapsed() > PATIENCE / 2, "{:?}", start.elapsed());
    assert_eq!(scene.next().await, 100);
    scene.tracking.handle_pool("web", Health::Ill);
    assert_eq!(scene.next().await, 0);
}

#[tokio::test]
async fn an_interface_that_is_not_there_is_a_fault() {
    let mut scene = Scene::new("interface");
    scene.track(&[(Tracked::Interface("nowhere0".into()), 0)]);
    assert_eq!(scene.next().await, 0);
}

#[tokio::test]
async fn a_reload_leaves_alone_what_is_tracked_as_before() {
    let mut scene = Scene::new("reload");
    let runs = scene.path("runs");
    let tracked = [(script(format!("echo $$ >>{}; exec sleep 1000", runs.display()), 1), -20)];
    scene.track(&tracked);
    while !runs.exists() {
        tokio::task::yield_now().await;
    }
    scene.track(&tracked);
    scene.track(&tracked);
    assert_eq!(scene.tracking.watchers.len(), 1);
    let started = fs::read_to_string(&runs).expect("it has run");
    assert_eq!(started.lines().count(), 1, "{started}");
}
