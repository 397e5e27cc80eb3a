//! HTTP and HTTPS: one request on a connection of its own.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;

use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::deadline::Deadline;
use super::{ProbeFailure, Target, tcp};
use crate::config::{Http, Method, Tls};

/// How much of a body is looked at.
const BODY: usize = 64 << 10;

pub async fn probe(http: &Http, target: Target<'_>, deadline: Deadline) -> Result<(), ProbeFailure> {
    let stream = tcp::connect(target, deadline).await?;
    let target = target.known_as();
    match &http.tls {
        None => exchange(http, target, stream, deadline).await,
        Some(tls) => {
            let connector = TlsConnector::from(tls.client());
            let connect = connector.connect(server_name(http, tls, target), stream);
            let stream = deadline.wait("agreeing on TLS", connect).await?;
            // A reset here says as little as what rustls says of it.
            let stream = stream.map_err(|error| ProbeFailure::wrong(format!("no TLS: {error}")))?;
            exchange(http, target, stream, deadline).await
        }
    }
}

/// `sni`, else the name in Host, else the address.
fn server_name(http: &Http, tls: &Tls, target: SocketAddr) -> ServerName<'static> {
    let from_host = || {
        let host = http.host.as_deref()?.parse::<hyper::http::uri::Authority>().ok()?;
        ServerName::try_from(host.host().to_owned()).ok()
    };
    tls.name.clone().or_else(from_host).unwrap_or_else(|| ServerName::from(target.ip()))
}

async fn exchange(
    http: &Http,
    target: SocketAddr,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    deadline: Deadline,
) -> Result<(), ProbeFailure> {
    let request = request(http, target)?;
    let talk = async {
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(no_answer)?;
        let ask = async {
            let response = sender.send_request(request).await.map_err(no_answer)?;
            judge(http, response).await
        };
        // The connection has to be driven along; once it has ended, the question has its answer or will have none.
        match select(pin!(ask), pin!(connection)).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right((_, ask)) => ask.await,
        }
    };
    deadline.wait("waiting for the HTTP answer", talk).await?
}

fn request(http: &Http, target: SocketAddr) -> Result<Request<Empty<Bytes>>, ProbeFailure> {
    let method = match http.method {
        Method::Get => hyper::Method::GET,
        Method::Head => hyper::Method::HEAD,
    };
    let host = http.host.clone().unwrap_or_else(|| host(http, target));
    Request::builder()
        .method(method)
        .uri(&http.path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, "xdirector")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| ProbeFailure::wrong(format!("the request cannot be made: {error}")))
}

/// RFC 9112, section 3.2: without the port if it is the scheme's own.
fn host(http: &Http, target: SocketAddr) -> String {
    let usual = if http.tls.is_some() { 443 } else { 80 };
    match target.ip() {
        _ if target.port() != usual => target.to_string(),
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn no_answer(error: hyper::Error) -> ProbeFailure {
    match std::error::Error::source(&error) {
        Some(source) => ProbeFailure::wrong(format!("no HTTP answer: {error}: {source}")),
        None => ProbeFailure::wrong(format!("no HTTP answer: {error}")),
    }
}

async fn judge(http: &Http, response: Response<Incoming>) -> Result<(), ProbeFailure> {
    let status = response.status().as_u16();
    if !http.status.contains(status) {
        return Err(ProbeFailure::wrong(format!("HTTP status {status}, expected {}", http.status)));
    }
    let Some(pattern) = &http.body else { return Ok(()) };
    let body = read(response.into_body()).await?;
    if pattern.matches(&body) {
        return Ok(());
    }
    let seen = body.len();
    Err(ProbeFailure::wrong(format!(
        "HTTP status {status}, but the body ({seen} bytes seen) does not match \"{pattern}\""
    )))
}

/// The beginning of a body.
async fn read(mut body: Incoming) -> Result<Vec<u8>, ProbeFailure> {
    let mut bytes = Vec::new();
    while bytes.len() < BODY {
        let Some(frame) = body.frame().await else { break };
        if let Ok(data) = frame.map_err(no_answer)?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    bytes.truncate(BODY);
    Ok(bytes)
}
