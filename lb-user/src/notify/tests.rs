//! Real programs as hooks.

use std::fs;
use std::num::NonZeroU8;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use super::*;
use crate::config::vrrp::SyncGroup;
use crate::config::{Director, Limits, VirtualRouter};

const ENOUGH: Duration = Duration::from_secs(60);

/// A directory with a hook in it that does this.
struct Scene {
    dir: PathBuf,
    config: Config,
}

impl Scene {
    fn new(name: &str, script: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("xdirector-notify-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let hook = dir.join("hook");
        fs::write(&hook, format!("#!/bin/sh\ncd {}\n{script}\n", dir.display())).expect("a hook");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("it can be run");
        let mut config = Config::new(Director::new(vec!["eth0".into()]), Limits::default(), Vec::new(), Vec::new());
        for number in 1..=2 {
            let vips = vec![format!("10.0.0.{number}/32").parse().expect("an address")];
            let vrid = NonZeroU8::new(number).expect("above 0");
            let router = VirtualRouter::new(&format!("VI_{number}"), "eth0", vrid, vips).expect("a vip");
            config.vrrp.push(VirtualRouter { notify: Some(hook.clone()), ..router });
        }
        let members = vec![0, 1];
        config.sync_groups.push(SyncGroup { name: "G1".into(), members, notify: Some(hook), notify_user: None });
        Self { dir, config }
    }

    fn said(&self, file: &str) -> String {
        fs::read_to_string(self.dir.join(file)).unwrap_or_default()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!("{}: {error}", self.dir.display());
        }
    }
}

#[tokio::test]
async fn a_hook_is_told_what_keepalived_tells_it_in_the_order_of_the_changes() {
    let scene = Scene::new("order", "echo \"$# $@\" >>$2");
    let mut notifier = Notifier::default();
    for (state, priority) in [(State::Backup, 100), (State::Master, 100), (State::Fault, 80), (State::Init, 80)] {
        notifier.handle_router(&scene.config, "VI_1", state, priority);
    }
    notifier.handle_group(&scene.config, "G1", State::Master);
    notifier.handle_router(&scene.config, "VI_9", State::Master, 100);
    notifier.finish(ENOUGH).await;
    let expected =
        "4 INSTANCE VI_1 BACKUP 100\n4 INSTANCE VI_1 MASTER 100\n4 INSTANCE VI_1 FAULT 80\n4 INSTANCE VI_1 STOP 80\n";
    assert_eq!(scene.said("VI_1"), expected);
    assert_eq!(scene.said("G1"), "4 GROUP G1 MASTER 0\n");
}

#[tokio::test]
async fn a_hook_that_hangs_holds_up_neither_another_router_nor_the_end() {
    let scene = Scene::new("hang", "[ $2 = VI_1 ] && exec sleep 1000\ntouch $2");
    let mut notifier = Notifier::default();
    notifier.handle_router(&scene.config, "VI_1", State::Master, 100);
    notifier.handle_router(&scene.config, "VI_2", State::Master, 100);
    let start = Instant::now();
    while !scene.dir.join("VI_2").exists() {
        assert!(start.elapsed() < ENOUGH, "the other router's hook has not run");
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    notifier.finish(Duration::from_millis(50)).await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_hook_sees_nothing_of_the_daemon() {
    let scene = Scene::new("clean", "env >env; id -u >uid");
    let mut notifier = Notifier::default();
    notifier.handle_router(&scene.config, "VI_1", State::Master, 100);
    notifier.finish(ENOUGH).await;
    let names: Vec<String> =
        scene.said("env").lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect();
    let ours = |name: &String| !["PATH", "PWD", "OLDPWD", "SHLVL", "_"].contains(&name.as_str());
    assert_eq!(names.into_iter().filter(ours).collect::<Vec<_>>(), [] as [String; 0]);
    assert!(!scene.said("uid").is_empty());
}
