//! The addresses of a name, asked for again when they have lived their time.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::schedule::{after_answer, after_failure};
use crate::config::{DnsSource, Real, is_host};

/// How long one question to one resolver may take; it is asked twice, and over TCP if the answer is cut.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Addresses, and how long they may be kept.
type Addresses = (Vec<IpAddr>, Duration);

/// Until nobody listens to `report` any more.
pub async fn look<F: Future<Output = bool>>(source: &DnsSource, report: impl Fn(Result<Vec<Real>, String>) -> F) {
    let mut failures = 0;
    loop {
        let (outcome, pause) = match resolve(source).await {
            Ok((addresses, lives)) => {
                failures = 0;
                (Ok(reals(addresses, source.weight)), after_answer(lives))
            }
            Err(why) => {
                failures += 1;
                (Err(why), after_failure(failures))
            }
        };
        if !report(outcome).await {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

/// In an order that does not change from answer to answer, as that of DNS does.
fn reals(mut addresses: Vec<IpAddr>, weight: u32) -> Vec<Real> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses.into_iter().map(|address| Real::new(&address.to_string(), address, weight)).collect()
}

/// Both families. One that fails makes all fail: its real servers are not gone.
async fn resolve(source: &DnsSource) -> Result<Addresses, String> {
    let resolver = resolver(source)?;
    let (v4, v6) = futures_util::future::join(
        ask(&resolver, &source.name, RecordType::A),
        ask(&resolver, &source.name, RecordType::AAAA),
    )
    .await;
    let ((mut addresses, lives), (others, live)) = (v4?, v6?);
    addresses.extend(others);
    if let Some(odd) = addresses.iter().find(|address| !is_host(**address)) {
        return Err(format!("the answer has {odd}, which no host can have to itself"));
    }
    if addresses.is_empty() {
        return Err("the name has no addresses".into());
    }
    Ok((addresses, lives.min(live)))
}

/// Made anew each time, so that a change of /etc/resolv.conf or /etc/hosts is seen.
fn resolver(source: &DnsSource) -> Result<TokioResolver, String> {
    let cannot = |error: NetError| format!("cannot ask: {error}");
    let mut builder = if source.resolvers.is_empty() {
        TokioResolver::builder_tokio().map_err(cannot)?
    } else {
        let config = ResolverConfig::from_parts(None, Vec::new(), servers(source));
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        builder
    };
    let options = builder.options_mut();
    options.cache_size = 0;
    options.timeout = TIMEOUT;
    options.attempts = 2;
    builder.build().map_err(cannot)
}

fn servers(source: &DnsSource) -> Vec<NameServerConfig> {
    let server = |address: &std::net::SocketAddr| {
        let at = |mut connection: ConnectionConfig| {
            connection.port = address.port();
            connection
        };
        NameServerConfig::new(address.ip(), true, vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())])
    };
    source.resolvers.iter().map(server).collect()
}

async fn ask(resolver: &TokioResolver, name: &str, kind: RecordType) -> Result<Addresses, String> {
    match resolver.lookup(name, kind).await {
        Ok(lookup) => {
            let address = |data: &RData| match data {
                RData::A(address) => Some(IpAddr::from(address.0)),
                RData::AAAA(address) => Some(IpAddr::from(address.0)),
                _ => None,
            };
            let answers = lookup.answers();
            let lives = answers.iter().map(|record| record.ttl).min().unwrap_or(0);
            let addresses = answers.iter().filter_map(|record| address(&record.data)).collect();
            Ok((addresses, Duration::from_secs(lives.into())))
        }
        // The name is there, but has none of this family.
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) if none.response_code == ResponseCode::NoError => {
            Ok((Vec::new(), Duration::MAX))
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => Err(format!("{kind}: {}", none.response_code)),
        Err(error) => Err(format!("{kind}: {error}")),
    }
}
