//! What most tests start from: a director and real servers that run nginx.

use std::net::IpAddr;

use anyhow::Result;
use tests::lab::{Director, Lab, Nginx, Topology, VIP, fetch, real_address};

/// `[pool.web]` and a service, with the weights of the real servers.
pub fn config(weights: &[u32]) -> String {
    let real = |(index, weight): (usize, &u32)| {
        let address = real_address(index as u8 + 1);
        format!("[[pool.web.real]]\nname = \"real{}\"\naddress = \"{address}\"\nweight = {weight}\n", index + 1)
    };
    let reals: String = weights.iter().enumerate().map(real).collect();
    format!(
        "[limits]\nring_buckets = 65536\n\
         [pool.web]\ncheck = {{ type = \"tcp\", interval = \"100ms\", timeout = \"100ms\", rise = 2, fall = 2 }}\n{reals}\
         [[service]]\nname = \"http\"\nvip = \"{VIP}\"\nport = 80\nprotocol = \"tcp\"\npool = \"web\"\n"
    )
}

/// A pool of real servers with these names and addresses that are asked for at this port every 100 milliseconds.
pub fn pool(name: &str, port: u16, reals: &[(String, IpAddr)]) -> String {
    let real = |(real, address): &(String, IpAddr)| {
        format!("[[pool.{name}.real]]\nname = \"{real}\"\naddress = \"{address}\"\n")
    };
    let reals: String = reals.iter().map(real).collect();
    format!(
        "[pool.{name}]\ncheck = {{ type = \"tcp\", port = {port}, interval = \"100ms\", timeout = \"100ms\" }}\n{reals}"
    )
}

/// A service with these keys beside its vip, its protocol and its pool.
pub fn service(vip: impl Into<IpAddr>, protocol: &str, pool: &str, keys: &str) -> String {
    let vip = vip.into();
    format!("[[service]]\nvip = \"{vip}\"\nprotocol = \"{protocol}\"\npool = \"{pool}\"\n{keys}\n")
}

/// A lab with everything running and every check green.
pub struct Scene {
    pub director: Director,
    pub nginx: Vec<Nginx>,
    // Last, so that it is dropped last.
    pub lab: Lab,
}

impl Scene {
    pub fn new(weights: &[u32]) -> Result<Self> {
        let lab = Lab::up(Topology::flat(u8::try_from(weights.len())?))?;
        let start = |(index, machine)| Nginx::start(&lab, machine, &format!("real{}", index + 1));
        let nginx = lab.reals.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
        let director = Director::start(&lab, &config(weights))?;
        for index in 1..=weights.len() {
            director.wait_for_state(&format!("real{index}"), "up")?;
        }
        Ok(Self { director, nginx, lab })
    }

    /// So many requests, each over a connection of its own: the names of those who answered.
    pub fn fetch_names(&self, requests: usize) -> Result<Vec<String>> {
        self.lab.client.enter(|| (0..requests).map(|_| Ok(fetch(VIP, 80, "/")?.text())).collect())
    }
}
