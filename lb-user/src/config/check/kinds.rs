//! The keys that each type of check has of its own.

use std::str::FromStr;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use hyper::http::uri::PathAndQuery;
use toml::{Spanned, Value};

use super::super::program;
use super::keys::Keys;
use super::text::{unescape, unhex};
use super::{
    Account, Agent, CheckKind, Dns, GOOD_STATUSES, Http, Login, Method, Mysql, MysqlRole, Pattern, Redis, RedisRole,
    Script, Secret, StatusCodes, Tls, Udp, tls,
};

/// What fits into one datagram over IPv4.
const LONGEST_PAYLOAD: usize = 65_507;
/// The codes that `expect_rcode` can name.
const RCODES: [(&str, ResponseCode); 6] = [
    ("NOERROR", ResponseCode::NoError),
    ("FORMERR", ResponseCode::FormErr),
    ("SERVFAIL", ResponseCode::ServFail),
    ("NXDOMAIN", ResponseCode::NXDomain),
    ("NOTIMP", ResponseCode::NotImp),
    ("REFUSED", ResponseCode::Refused),
];

pub fn http(keys: &mut Keys<'_, '_>) -> CheckKind {
    CheckKind::Http(Box::new(request(keys, None)))
}

pub fn https(keys: &mut Keys<'_, '_>) -> CheckKind {
    let tls = tls::parse(keys);
    CheckKind::Http(Box::new(request(keys, tls)))
}

fn request(keys: &mut Keys<'_, '_>, tls: Option<Tls>) -> Http {
    let http = Http {
        tls,
        method: keys.choice("method", &[("GET", Method::Get), ("HEAD", Method::Head)]).unwrap_or(Method::Get),
        path: path(keys),
        host: keys.word("host").map(Spanned::into_inner),
        status: status(keys),
        body: keys.text("expect_body").and_then(|text| keys.pattern_of("expect_body", &text, Pattern::text)),
    };
    if http.method == Method::Head && http.body.is_some() {
        keys.error("an answer to HEAD has no body for `expect_body`; use method = \"GET\"");
    }
    http
}

fn path(keys: &mut Keys<'_, '_>) -> String {
    let Some(path) = keys.word("path") else { return "/".into() };
    let is_path = path.get_ref().parse::<PathAndQuery>().is_ok_and(|parsed| parsed.as_str() == path.get_ref());
    if !is_path || !path.get_ref().starts_with('/') {
        let problem = format!("is \"{}\"; it must be a path as in a URL, beginning with \"/\"", path.get_ref());
        keys.bad("path", path.span(), problem);
    }
    path.into_inner()
}

fn status(keys: &mut Keys<'_, '_>) -> StatusCodes {
    let default = || StatusCodes::from_range(GOOD_STATUSES);
    let Some(value) = keys.take("expect_status") else { return default() };
    let part = |value: &Value| match value {
        Value::Integer(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    };
    let text = match value.get_ref() {
        Value::Array(items) => items.iter().map(part).collect::<Option<Vec<_>>>().map(|parts| parts.join(",")),
        other => part(other),
    };
    text.as_deref().and_then(StatusCodes::parse).unwrap_or_else(|| {
        let problem = "must be statuses from 100 to 599, as in 200, [200, 301] or \"200-299,301\"";
        keys.bad("expect_status", value.span(), problem);
        default()
    })
}

pub fn mysql(keys: &mut Keys<'_, '_>) -> CheckKind {
    let roles = [("primary", MysqlRole::Primary), ("replica", MysqlRole::Replica), ("any", MysqlRole::Any)];
    let user = keys.text("user").map(Spanned::into_inner);
    let password = password(keys);
    let role = keys.choice("role", &roles).unwrap_or(MysqlRole::Any);
    let lag_given = keys.has("max_lag");
    let max_lag = Some(keys.duration("max_lag", Duration::ZERO)).filter(|_| lag_given);
    let needs_user = if password.is_some() {
        Some("password")
    } else if role != MysqlRole::Any {
        Some("role")
    } else {
        lag_given.then_some("max_lag")
    };
    if let Some(key) = needs_user.filter(|_| user.is_none()) {
        let key = keys.name(key);
        keys.error(format!("{key} needs a `user` to log in as"));
    }
    if role == MysqlRole::Primary && lag_given {
        let key = keys.name("max_lag");
        keys.error(format!("{key} is about replicas, and role is \"primary\"; remove one of them"));
    }
    CheckKind::Mysql(Mysql { login: user.map(|user| Login { user, password }), role, max_lag })
}

fn password(keys: &mut Keys<'_, '_>) -> Option<Secret> {
    keys.text("password").map(|password| Secret::new(password.into_inner()))
}

pub fn redis(keys: &mut Keys<'_, '_>) -> CheckKind {
    let roles = [("master", RedisRole::Master), ("replica", RedisRole::Replica)];
    let redis = Redis {
        user: keys.text("user").map(Spanned::into_inner),
        password: password(keys),
        role: keys.choice("role", &roles),
    };
    if redis.user.is_some() && redis.password.is_none() {
        let key = keys.name("user");
        keys.error(format!("{key} needs a `password`"));
    }
    CheckKind::Redis(redis)
}

pub fn dns(keys: &mut Keys<'_, '_>) -> CheckKind {
    CheckKind::Dns(Dns { name: question(keys), record: record(keys), rcode: rcode(keys) })
}

fn question(keys: &mut Keys<'_, '_>) -> Name {
    if !keys.has("name") {
        let key = keys.name("name");
        keys.error(format!("{key} is missing; write what to ask for, as in \"example.org\""));
    }
    let Some(text) = keys.word("name") else { return Name::root() };
    match Name::from_ascii(text.get_ref()) {
        Ok(mut name) => {
            name.set_fqdn(true);
            name
        }
        Err(error) => {
            keys.bad("name", text.span(), format!("is \"{}\", which is no domain name: {error}", text.get_ref()));
            Name::root()
        }
    }
}

fn record(keys: &mut Keys<'_, '_>) -> RecordType {
    let Some(text) = keys.text("record") else { return RecordType::A };
    // Transfers are no questions of one datagram.
    match RecordType::from_str(text.get_ref()) {
        Ok(record) if !matches!(record, RecordType::AXFR | RecordType::IXFR | RecordType::OPT | RecordType::ZERO) => {
            record
        }
        _ => {
            let problem = format!("is \"{}\"; write a record type, as in \"A\", \"AAAA\" or \"SOA\"", text.get_ref());
            keys.bad("record", text.span(), problem);
            RecordType::A
        }
    }
}

fn rcode(keys: &mut Keys<'_, '_>) -> ResponseCode {
    keys.choice("expect_rcode", &RCODES).unwrap_or(ResponseCode::NoError)
}

/// The name of an answer's code, as it is written in `expect_rcode` where that can name it.
pub fn rcode_name(rcode: ResponseCode) -> String {
    let known = RCODES.iter().find(|(_, known)| *known == rcode);
    known.map_or_else(|| format!("code {}", u16::from(rcode)), |(name, _)| (*name).into())
}

pub fn udp(keys: &mut Keys<'_, '_>) -> CheckKind {
    let payload = match (bytes(keys, "payload"), hex(keys)) {
        (Some(payload), None) | (None, Some(payload)) => payload,
        (None, None) => {
            keys.error("a check of type \"udp\" needs `payload` or `payload_hex`: what to send");
            Vec::new()
        }
        (Some(_), Some(_)) => {
            keys.error("`payload` and `payload_hex` are two ways to say one thing; remove one");
            Vec::new()
        }
    };
    if payload.len() > LONGEST_PAYLOAD {
        keys.error(format!("the payload has {} bytes; a datagram takes {LONGEST_PAYLOAD}", payload.len()));
    }
    let expect = keys.ascii("expect").and_then(|text| keys.pattern_of("expect", &text, Pattern::bytes));
    CheckKind::Udp(Udp { payload, expect })
}

/// `None` if it is not there; what is there and wrong is in the report.
fn bytes(keys: &mut Keys<'_, '_>, key: &'static str) -> Option<Vec<u8>> {
    let is_there = keys.has(key);
    let Some(text) = keys.ascii(key) else { return is_there.then(Vec::new) };
    let bytes = unescape(text.get_ref());
    if bytes.is_none() {
        keys.bad(key, text.span(), r"has an escape that is none of \xNN, \n, \r, \t, \0 and \\");
    }
    Some(bytes.unwrap_or_default())
}

fn hex(keys: &mut Keys<'_, '_>) -> Option<Vec<u8>> {
    let is_there = keys.has("payload_hex");
    let Some(text) = keys.text("payload_hex") else { return is_there.then(Vec::new) };
    let bytes = unhex(text.get_ref());
    if bytes.is_none() {
        keys.bad("payload_hex", text.span(), "must be pairs of hexadecimal digits, as in \"00 ff 1a\"");
    }
    Some(bytes.unwrap_or_default())
}

pub fn script(keys: &mut Keys<'_, '_>) -> CheckKind {
    if !keys.has("command") {
        let key = keys.name("command");
        keys.error(format!(
            "{key} is missing; write a program and its arguments, as in [\"/usr/local/bin/check\", \"-q\"]"
        ));
    }
    let command = keys.texts("command");
    let user = account(keys);
    let (span, mut words) = match command {
        Some(command) => (command.span(), command.into_inner().into_iter()),
        None => (0..0, Vec::new().into_iter()),
    };
    let program = std::path::PathBuf::from(words.next().unwrap_or_default());
    if span.is_empty() {
        // Said already.
    } else if !program.is_absolute() {
        let problem = "must begin with an absolute path: no shell looks for the program";
        keys.bad("command", span, problem);
    } else if !program::is_executable(&program) {
        let message = format!("{} is no program that can be run here", program.display());
        keys.report.warning(span, message);
    }
    CheckKind::Script(Script { program, arguments: words.collect(), user })
}

fn account(keys: &mut Keys<'_, '_>) -> Option<Account> {
    let name = keys.word("user")?;
    let key = keys.name("user");
    program::account(keys.report, &key, &name)
}

pub fn agent(keys: &mut Keys<'_, '_>) -> CheckKind {
    CheckKind::Agent(Agent { send: bytes(keys, "send").unwrap_or_default() })
}
