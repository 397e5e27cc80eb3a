//! `[peering]`: what directors tell one another, and the key that they know one another by.

use std::fs;
use std::io::Read as _;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use toml::Spanned;

use super::problem::Report;
use super::raw;
use super::values::{address, number};
use super::{Director, Secret};

/// Where directors listen for one another unless the file says otherwise.
pub const PEERING_PORT: u16 = 9640;

/// In characters. Whoever can listen in on a handshake can try keys against it at home.
const SHORTEST_KEY: usize = 16;
/// In bytes, of the file that holds it.
const LONGEST_KEY: u64 = 1024;
/// The permissions of everybody else.
const OTHERS: u32 = 0o007;

/// `[peering]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peering {
    /// What all directors know and nobody else; at least 16 characters.
    pub key: Secret,
    /// TCP; the same on all directors.
    pub port: u16,
    /// The address of this director that others reach it at and that it calls them from; `None`: any.
    pub listen: Option<IpAddr>,
}

/// `None` if the file has no `[peering]`, or one that is no good.
pub fn peering(report: &mut Report<'_>, raw: Option<&Spanned<raw::Peering>>, director: &Director) -> Option<Peering> {
    let section = raw?;
    let raw::Peering { key, key_file, port, listen } = section.get_ref();
    let secret = match (key, key_file) {
        (Some(key), None) => Some((key.get_ref().clone(), key.span())),
        (None, Some(file)) => match read_key(Path::new(file.get_ref())) {
            Ok(key) => Some((key, file.span())),
            Err(problem) => {
                report.error(file.span(), format!("peering.key_file {}: {problem}", file.get_ref()));
                None
            }
        },
        _ => {
            report.error(section.span(), "[peering] needs a key: write either `key` or `key_file`, and not both");
            None
        }
    };
    if let Some((key, span)) = &secret
        && key.chars().count() < SHORTEST_KEY
    {
        let message = format!(
            "the key of [peering] has {} characters; it must have at least {SHORTEST_KEY} (`openssl rand -base64 32` makes a good one)",
            key.chars().count()
        );
        report.error(span.clone(), message);
    }
    if director.peers.is_empty() {
        let message = "[peering] has nobody to talk to: write the addresses of the other directors to director.peers";
        report.error(section.span(), message);
    }
    if director.hash_seed.is_none() {
        let message = "director.hash_seed is not set, so each director makes its own, and nothing that one remembers of flows \
                       means anything to the others; write the same to the files of all";
        report.warning(section.span(), message);
    }
    let default = u32::from(PEERING_PORT);
    let port = number(report, "peering.port", port.as_ref(), 1..=u32::from(u16::MAX), default);
    let listen = listen.as_ref().and_then(|listen| address(report, "peering.listen", listen));
    // The range has made sure that it fits.
    secret.map(|(key, _)| Peering { key: Secret::new(key), port: port as u16, listen })
}

/// The first line of the file; says what is wrong with it.
fn read_key(path: &Path) -> Result<String, String> {
    if !path.is_absolute() {
        return Err("it must be an absolute path".into());
    }
    let file = fs::File::open(path).map_err(|error| format!("cannot read: {error}"))?;
    let about = file.metadata().map_err(|error| format!("cannot read: {error}"))?;
    if !about.is_file() {
        return Err("it is no file".into());
    }
    if about.mode() & OTHERS != 0 {
        return Err(format!("everybody on this machine can use it; type: chmod o= {}", path.display()));
    }
    let mut text = String::new();
    file.take(LONGEST_KEY + 1).read_to_string(&mut text).map_err(|error| format!("cannot read: {error}"))?;
    if text.len() as u64 > LONGEST_KEY {
        return Err(format!("it has more than {LONGEST_KEY} bytes; it must hold the key and nothing else"));
    }
    let key = text.trim_end_matches(['\n', '\r']);
    if key.contains(['\n', '\r']) {
        return Err("it has several lines; it must hold the key and nothing else".into());
    }
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Config, ConfigErrors};

    const KEY: &str = "correct horse battery";

    /// A file that holds a key; it goes with the value.
    struct KeyFile(PathBuf);

    impl KeyFile {
        fn new(name: &str, text: &str, mode: u32) -> Self {
            let path = std::env::temp_dir().join(format!("xdirector-{}-{name}", std::process::id()));
            let mut file = fs::File::create(&path).expect("the temporary directory takes files");
            file.write_all(text.as_bytes()).expect("it has room");
            file.set_permissions(fs::Permissions::from_mode(mode)).expect("it is ours");
            Self(path)
        }

        fn section(&self) -> String {
            format!("key_file = {:?}", self.0)
        }
    }

    impl Drop for KeyFile {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn parse(peers: &str, section: &str) -> Result<Option<Peering>, ConfigErrors> {
        let text = format!(
            "[director]\ninterfaces = [\"eth0\"]\npeers = [{peers}]\n[peering]\n{section}\n[pool.p]\n[[pool.p.real]]\naddress = \"10.0.0.2\"\n"
        );
        Config::parse("f", &text).map(|parsed| parsed.config.peering)
    }

    #[test]
    fn a_key_is_enough() {
        let peering = parse("\"10.0.0.9\"", &format!("key = \"{KEY}\"")).expect("it is good").expect("it is there");
        assert_eq!((peering.key.reveal(), peering.port, peering.listen), (KEY, PEERING_PORT, None));
        let file = KeyFile::new("good", &format!("{KEY}\n"), 0o640);
        let keys = file.section() + "\nport = 1\nlisten = \"10.0.0.1\"";
        let peering = parse("\"10.0.0.9\"", &keys).expect("it is good").expect("it is there");
        assert_eq!((peering.key.reveal(), peering.port), (KEY, 1));
        assert_eq!(peering.listen, Some([10, 0, 0, 1].into()));
    }

    #[test]
    fn a_seed_that_others_cannot_have_is_warned_of() {
        for (seed, warnings) in [("", 1), ("hash_seed = \"7\"\n", 0)] {
            let text = format!(
                "[director]\ninterfaces = [\"eth0\"]\npeers = [\"10.0.0.9\"]\n{seed}[peering]\nkey = \"{KEY}\"\n"
            );
            let parsed = Config::parse("f", &text).expect("it is good");
            assert_eq!(parsed.warnings.len(), warnings, "{:?}", parsed.warnings);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let open = KeyFile::new("open", KEY, 0o644);
        let lines = KeyFile::new("lines", &format!("{KEY}\n{KEY}\n"), 0o600);
        let long = KeyFile::new("long", &"x".repeat(2000), 0o600);
        let peer = "\"10.0.0.9\"";
        let rows = [
            (peer, String::new(), "needs a key"),
            (peer, format!("key = \"{KEY}\"\nkey_file = \"/k\""), "not both"),
            (peer, "key = \"fifteen letters\"".into(), "has 15 characters"),
            ("", format!("key = \"{KEY}\""), "director.peers"),
            (peer, format!("key = \"{KEY}\"\nport = 0"), "peering.port is 0"),
            (peer, format!("key = \"{KEY}\"\nlisten = \"here\""), "peering.listen"),
            (peer, "key_file = \"k\"".into(), "absolute"),
            (peer, "key_file = \"/nowhere/k\"".into(), "cannot read"),
            (peer, "key_file = \"/\"".into(), "no file"),
            (peer, open.section(), "chmod o="),
            (peer, lines.section(), "several lines"),
            (peer, long.section(), "more than 1024 bytes"),
        ];
        for (peers, section, expected) in rows {
            let errors = parse(peers, &section).expect_err(&section).to_string();
            assert!(errors.contains(expected), "{section}: {errors}");
            assert!(!errors.contains(KEY), "the key is in a message: {errors}");
        }
    }
}
