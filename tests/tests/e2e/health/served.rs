//! The daemon with checks that look closer than at an open port.

use anyhow::{Result, ensure};
use tests::lab::{Director, Lab, Nginx, Topology, VIP, fetch};

use crate::scene::config;

#[test]
fn a_web_server_without_its_page_is_taken_out_and_comes_back_with_it() -> Result<()> {
    let lab = Lab::up(Topology::flat(2))?;
    let _nginx = [Nginx::start(&lab, &lab.reals[0], "real1")?, Nginx::start(&lab, &lab.reals[1], "real2")?];
    let check = "type = \"http\", path = \"/big\", expect_status = 200";
    let director = Director::start(&lab, &config(&[1, 1]).replace("type = \"tcp\"", check))?;
    for real in ["real1", "real2"] {
        director.wait_for_state(real, "up")?;
    }
    let page = lab.directory().join("real1-www/big");
    let content = std::fs::read(&page)?;
    std::fs::remove_file(&page)?;
    director.wait_for_state("real1", "down")?;
    let log = director.process.log();
    ensure!(log.contains("port 80: HTTP status 404, expected 200"), "{log}");
    let names = lab.client.enter(|| (0..20).map(|_| Ok(fetch(VIP, 80, "/")?.text())).collect::<Result<Vec<_>>>())?;
    ensure!(names.iter().all(|name| name == "real2"), "{names:?}");
    std::fs::write(&page, content)?;
    director.wait_for_state("real1", "up")
}
