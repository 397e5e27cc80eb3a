//! From what was written to a [`Discovery`].

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use hickory_proto::rr::Name;
use toml::Spanned;

use super::super::problem::Report;
use super::super::raw;
use super::super::service::Service;
use super::super::values::number;
use super::{Discovery, DnsSource, Source};

const MAX_WEIGHT: u32 = 65_535;
const MAX_RESOLVERS: usize = 8;
const DNS_PORT: u16 = 53;

/// `None` if it makes no sense, which is reported. `users` are the services of the pool.
pub fn discovery(
    report: &mut Report<'_>,
    pool: &str,
    raw: &Spanned<raw::Reals>,
    ring_size: Option<u32>,
    users: &[&Service],
) -> Option<Discovery> {
    let raw::Reals { dns, file, port, weight, resolvers } = raw.get_ref();
    let key = |last: &str| format!("pool.{pool}.reals.{last}");
    let source = match (dns, file) {
        (Some(name), None) => {
            if let Some(port) = port {
                has_port(report, &key("port"), port, users);
            }
            let weight = number(report, &key("weight"), weight.as_ref(), 0..=MAX_WEIGHT, 1);
            let resolvers = resolvers_of(report, &key("resolvers"), resolvers);
            Source::Dns(DnsSource { name: name_of(report, &key("dns"), name), weight, resolvers })
        }
        (None, Some(path)) => {
            let given = [("port", port.is_some()), ("weight", weight.is_some()), ("resolvers", !resolvers.is_empty())];
            for (name, _) in given.into_iter().filter(|(_, given)| *given) {
                report.error(raw.span(), format!("{} goes with `dns`; the file says all itself", key(name)));
            }
            Source::File(path_of(report, &key("file"), path))
        }
        _ => {
            let message =
                format!("pool.{pool}.reals must have one of `dns` and `file`, as in {{ dns = \"db.internal\" }}");
            report.error(raw.span(), message);
            return None;
        }
    };
    Some(Discovery { source, ring_size })
}

fn name_of(report: &mut Report<'_>, key: &str, name: &Spanned<String>) -> String {
    let text = name.get_ref();
    if text.is_empty() || text.parse::<IpAddr>().is_ok() || Name::from_utf8(text).is_err() {
        report.error(name.span(), format!("{key} is \"{text}\", which is no name that DNS could have"));
    }
    text.clone()
}

fn path_of(report: &mut Report<'_>, key: &str, path: &Spanned<String>) -> PathBuf {
    let file = PathBuf::from(path.get_ref());
    if !file.is_absolute() || file.file_name().is_none() || path.get_ref().contains('\0') {
        report.error(path.span(), format!("{key} is \"{}\"; it must be the absolute path of a file", path.get_ref()));
    }
    file
}

/// Direct server return leaves the port as it is.
fn has_port(report: &mut Report<'_>, key: &str, port: &Spanned<i64>, users: &[&Service]) {
    let serves = |port: u16| users.iter().any(|service| (service.ports.first..=service.ports.last).contains(&port));
    if !u16::try_from(*port.get_ref()).is_ok_and(serves) {
        let cure = "the real servers listen on the port that clients know, so leave it out or write that one";
        report.error(port.span(), format!("{key} is {}, which no service of the pool has; {cure}", port.get_ref()));
    }
}

fn resolvers_of(report: &mut Report<'_>, key: &str, written: &[Spanned<String>]) -> Vec<SocketAddr> {
    let mut resolvers = Vec::new();
    for one in written {
        let text = one.get_ref();
        let alone = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS_PORT));
        match text.parse::<SocketAddr>().or_else(|_| alone()) {
            Ok(_) if resolvers.len() == MAX_RESOLVERS => {
                report.error(one.span(), format!("{key} has more than {MAX_RESOLVERS} addresses"));
                break;
            }
            Ok(resolver) => resolvers.push(resolver),
            Err(_) => {
                let message = format!(
                    "{key}: \"{text}\" is no address, as in \"10.0.0.53\", \"10.0.0.53:5353\" or \"[fd00::53]:53\""
                );
                report.error(one.span(), message);
            }
        }
    }
    resolvers
}
