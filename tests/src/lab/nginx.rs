//! A real web server.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{Lab, Namespace, Process, eventually, write_file};

/// nginx in one machine, on port 80 (or others) of all addresses: `/` says its name, `/big` sends [`Nginx::BIG`] bytes.
#[derive(Debug)]
pub struct Nginx {
    name: String,
    config: PathBuf,
    access_log: PathBuf,
    port: u16,
    process: Option<Process>,
}

impl Nginx {
    /// Bytes of the body of `/big`.
    pub const BIG: usize = 65_536;

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// If it does not; quotes its log.
    pub fn start(lab: &Lab, machine: &Namespace, name: &str) -> Result<Self> {
        Self::start_on(lab, machine, name, &[80])
    }

    /// The same on these ports.
    ///
    /// # Errors
    /// If it does not listen; quotes its log.
    pub fn start_on(lab: &Lab, machine: &Namespace, name: &str, ports: &[u16]) -> Result<Self> {
        let root = lab.directory().join(format!("{name}-www"));
        std::fs::create_dir_all(&root)?;
        // nginx's workers are another user.
        std::fs::set_permissions(lab.directory(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        write_file(&root, "big", &"x".repeat(Self::BIG))?;
        let access_log = lab.directory().join(format!("{name}-access.log"));
        let listens: String = ports.iter().map(|port| format!("listen {port}; listen [::]:{port}; ")).collect();
        let text = format!(
            "daemon off; worker_processes 1; worker_rlimit_nofile 40000; pid {dir}/{name}.pid; error_log stderr;\n\
             events {{ worker_connections 20000; }}\n\
             http {{\n  log_format who '$remote_addr $server_addr $request_uri';\n  access_log {log} who;\n  \
             keepalive_requests 1000000; keepalive_timeout 600s;\n  client_body_temp_path {dir}/{name}-body;\n  \
             proxy_temp_path {dir}/{name}-proxy;\n  fastcgi_temp_path {dir}/{name}-fastcgi;\n  \
             uwsgi_temp_path {dir}/{name}-uwsgi;\n  scgi_temp_path {dir}/{name}-scgi;\n  server {{\n    {listens}\n    \
             location / {{ return 200 '{name}'; }}\n    location /big {{ root {root}; }}\n  }}\n}}\n",
            dir = lab.directory().display(),
            log = access_log.display(),
            root = root.display(),
        );
        let config = write_file(lab.directory(), &format!("{name}.conf"), &text)?;
        let mut nginx = Self { name: name.into(), config, access_log, port: ports[0], process: None };
        nginx.start_again(lab, machine)?;
        Ok(nginx)
    }

    /// Starts it after it was stopped.
    ///
    /// # Errors
    /// If it does not listen soon; quotes its log.
    pub fn start_again(&mut self, lab: &Lab, machine: &Namespace) -> Result<()> {
        let config = self.config.to_string_lossy().into_owned();
        let process = lab.spawn(machine, &self.name, "nginx", &["-e", "stderr", "-c", &config])?;
        let listens = || {
            machine.enter(|| {
                Ok(std::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, self.port)).is_ok().then_some(()))
            })
        };
        eventually(Duration::from_secs(10), "nginx listens", listens).with_context(|| process.log())?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it, and with it all its connections.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.stop(Signal::SIGTERM).map(drop),
            None => Ok(()),
        }
    }

    /// The lines of its access log: client address, server address, path.
    pub fn access_log(&self) -> Vec<String> {
        std::fs::read_to_string(&self.access_log).unwrap_or_default().lines().map(String::from).collect()
    }
}
