//! What an operator does.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tests::lab::{Connection, VIP, binary, output};

use crate::scene::{Scene, config};

#[test]
fn a_reload_applies_weights_and_breaks_no_connection() -> Result<()> {
    let mut scene = Scene::new(&[1, 1, 1])?;
    let mut connection = scene.lab.client.enter(|| Connection::open(VIP, 80))?;
    let name = connection.ask("/")?.text();
    let weights = match name.as_str() {
        "real1" => [1, 0, 0],
        "real2" => [0, 1, 0],
        _ => [0, 0, 1],
    };
    scene.director.reload(&scene.lab, &config(&weights))?;
    ensure!(scene.fetch_names(30)?.iter().all(|other| *other == name));
    ensure!(connection.ask("/")?.text() == name);
    scene.director.reload(&scene.lab, &config(&[1, 1, 1]))?;
    ensure!(scene.fetch_names(60)?.iter().any(|other| *other != name));
    Ok(())
}

#[test]
fn a_real_server_that_is_added_serves_and_one_that_is_removed_does_not() -> Result<()> {
    let mut scene = Scene::new(&[1, 1])?;
    scene.director.reload(&scene.lab, &config(&[1]))?;
    ensure!(scene.fetch_names(30)?.iter().all(|name| name == "real1"));
    scene.director.reload(&scene.lab, &config(&[1, 1]))?;
    scene.director.wait_for_state("real2", "up")?;
    ensure!(scene.fetch_names(60)?.contains(&"real2".into()));
    Ok(())
}

#[test]
fn a_bad_file_is_refused_whole_and_changes_nothing() -> Result<()> {
    let mut scene = Scene::new(&[1, 1])?;
    let before = scene.director.reals()?;
    for (bad, word) in [
        (config(&[1, 1]).replace("weight = 1", "weight = -1"), "weight is -1"),
        (config(&[1, 1]).replace("ring_buckets = 65536", "ring_buckets = 70000"), "restart the daemon"),
        ("nonsense".into(), "xdirector.toml:"),
    ] {
        let before = scene.director.process.log().len();
        scene.director.reload(&scene.lab, &bad)?;
        let log = scene.director.process.log().split_off(before);
        ensure!(log.contains("reload refused") && log.contains(word), "{log}");
    }
    scene.director.reload(&scene.lab, &config(&[1, 1]))?;
    let shares = |reals: &[serde_json::Value]| reals.iter().map(|real| real["share"].clone()).collect::<Vec<_>>();
    ensure!(shares(&scene.director.reals()?) == shares(&before));
    scene.fetch_names(10)?;
    Ok(())
}

#[test]
fn a_stop_detaches_and_leaves_no_pins() -> Result<()> {
    let mut scene = Scene::new(&[1])?;
    let attached = |scene: &Scene| output(scene.lab.director.command("ip").args(["link", "show", "dev", "eth0"]));
    ensure!(attached(&scene)?.contains("prog/xdp"), "no program is attached: {}", attached(&scene)?);
    let status = scene.director.process.stop(Signal::SIGTERM)?;
    ensure!(status.success(), "{status}");
    ensure!(!attached(&scene)?.contains("prog/xdp"), "a program is still attached: {}", attached(&scene)?);
    ensure!(!scene.lab.pin_dir().exists(), "pins were left");
    Ok(())
}

#[test]
fn a_second_daemon_is_refused_and_so_is_a_detach_under_a_running_one() -> Result<()> {
    let scene = Scene::new(&[1])?;
    let binary = binary().display().to_string();
    for verb in ["run", "detach"] {
        let refused =
            scene.lab.director.command(&binary).arg(verb).arg("--config").arg(&scene.director.config).output()?;
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(refused.status.code() == Some(1) && stderr.contains("a running xdirector has"), "{verb}: {stderr}");
    }
    scene.fetch_names(10)?;
    Ok(())
}

#[test]
fn other_limits_are_taken_over_by_a_new_daemon_without_moving_a_connection() -> Result<()> {
    let mut scene = Scene::new(&[1, 1, 1])?;
    scene.nginx[0].stop()?;
    scene.director.wait_for_state("real1", "down")?;
    let mut connection = scene.lab.client.enter(|| Connection::open(VIP, 80))?;
    let name = connection.ask("/")?.text();
    scene.director.process.stop(Signal::SIGKILL)?;
    // Without a seed in the file the one in use has to be found in the old maps.
    let file = std::fs::read_to_string(&scene.director.config)?;
    let file = file.replace("ring_buckets = 65536", "ring_buckets = 131072").replace("hash_seed", "#hash_seed");
    std::fs::write(&scene.director.config, file)?;
    scene.director.start_again(&scene.lab)?;
    ensure!(scene.director.reals()?[0]["state"] == "down");
    ensure!(connection.ask("/")?.text() == name);
    ensure!(!scene.fetch_names(60)?.contains(&"real1".into()));
    Ok(())
}

#[test]
fn another_mode_is_taken_over_by_a_new_daemon() -> Result<()> {
    let mut scene = Scene::new(&[1, 1])?;
    let mut connection = scene.lab.client.enter(|| Connection::open(VIP, 80))?;
    let name = connection.ask("/")?.text();
    for mode in ["generic", "native"] {
        scene.director.process.stop(Signal::SIGKILL)?;
        let file = std::fs::read_to_string(&scene.director.config)?;
        let file: String =
            file.lines().filter(|line| !line.starts_with("xdp_mode")).map(|line| format!("{line}\n")).collect();
        std::fs::write(
            &scene.director.config,
            file.replace("[director]", &format!("[director]\nxdp_mode = \"{mode}\"")),
        )?;
        scene.director.start_again(&scene.lab)?;
        let attached = format!("attached to eth0 mode=\"{mode}\"");
        ensure!(scene.director.process.log().contains(&attached), "{}", scene.director.process.log());
        ensure!(connection.ask("/")?.text() == name);
    }
    Ok(())
}

#[test]
fn a_start_that_cannot_work_says_why() -> Result<()> {
    let scene = Scene::new(&[1])?;
    let binary = binary().display().to_string();
    let file = scene.lab.directory().join("bad.toml");
    let text = std::fs::read_to_string(&scene.director.config)?.replace("eth0", "eth9").replace("/director", "/other");
    std::fs::write(&file, text)?;
    let failed = scene.lab.director.command(&binary).arg("run").arg("--config").arg(&file).output()?;
    let stderr = String::from_utf8_lossy(&failed.stderr).into_owned();
    ensure!(
        failed.status.code() == Some(1) && stderr.contains("interface eth9 of director.interfaces is not there"),
        "{stderr}"
    );
    Ok(())
}
