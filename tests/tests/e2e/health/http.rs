//! `http` and `https` against nginx.

use std::fs;
use std::path::Path;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
};
use tests::lab::{Process, real_address};

use super::{Ward, stub};

/// An authority, a server's certificate for www.example.org, and a client's; in PEM files of these names.
fn certificates(dir: &Path) -> Result<()> {
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::new())?;
    // All have the same name else, and OpenSSL takes the others for authorities of their own.
    authority.distinguished_name.push(DnType::CommonName, "authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(dir.join("ca.pem"), authority.self_signed(&authority_key)?.pem())?;
    let issuer = Issuer::new(authority, authority_key);
    let (server, client) = (ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth);
    for (name, host, usage, last_year) in [
        ("server", "www.example.org", server.clone(), 2999),
        ("old", "www.example.org", server, 2001),
        ("client", "director", client, 2999),
    ] {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![host.into()])?;
        params.extended_key_usages = vec![usage];
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(last_year, 1, 1));
        fs::write(dir.join(format!("{name}.pem")), params.signed_by(&key, &issuer)?.pem())?;
        fs::write(dir.join(format!("{name}.key")), key.serialize_pem())?;
    }
    Ok(())
}

/// Port 80 in clear text, 443 with TLS, 444 with a certificate that has expired.
fn start(ward: &Ward) -> Result<Process> {
    let dir = ward.lab.directory();
    certificates(dir)?;
    let tls = format!("ssl_certificate {0}/server.pem; ssl_certificate_key {0}/server.key;", dir.display());
    let text = format!(
        "daemon off; worker_processes 1; user root; pid {0}/nginx.pid; error_log stderr;\n\
         events {{ }}\nhttp {{\n  access_log off; client_body_temp_path {0}/a; proxy_temp_path {0}/b;\n  \
         fastcgi_temp_path {0}/c; uwsgi_temp_path {0}/d; scgi_temp_path {0}/e;\n  server {{\n    \
         listen 80; listen [::]:80; listen 443 ssl; {tls}\n    \
         ssl_client_certificate {0}/ca.pem; ssl_verify_client optional;\n    \
         location / {{ return 200 'I am $host, $request_method'; }}\n    \
         location /moved {{ return 301 http://elsewhere/; }}\n    location /down {{ return 503; }}\n    \
         location /known {{ return 200 'you are $ssl_client_verify'; }}\n    \
         location /long {{ root {0}; }}\n    location /length {{ root {0}; }}\n  }}\n  \
         server {{ listen 444 ssl; ssl_certificate {0}/old.pem; ssl_certificate_key {0}/old.key; }}\n}}\n",
        dir.display()
    );
    let config = dir.join("nginx.conf");
    fs::write(&config, text)?;
    fs::write(dir.join("long"), format!("{}needle", "x".repeat(64 << 10)))?;
    fs::write(dir.join("length"), format!("{}needle", "x".repeat(60 << 10)))?;
    let config = config.to_string_lossy().into_owned();
    let nginx = ward.lab.spawn(&ward.lab.reals[0], "nginx", "nginx", &["-e", "stderr", "-c", &config])?;
    ward.comes_up(real_address(1), "type = \"tcp\"")?;
    Ok(nginx)
}

#[test]
fn a_web_server_is_judged_by_status_and_body() -> Result<()> {
    let ward = Ward::new(1)?;
    let _nginx = start(&ward)?;
    ward.is_up("type = \"http\"")?;
    ward.is_up("type = \"http\", method = \"HEAD\", path = \"/moved\"")?;
    ward.is_up("type = \"http\", path = \"/down\", expect_status = \"200,500-599\"")?;
    ward.is_up("type = \"http\", host = \"shop.example.org\", expect_body = \"^I am shop.example.org, GET$\"")?;
    ward.is_up("type = \"http\", path = \"/length\", expect_body = \"needle$\"")?;
    ward.is_down("type = \"http\", path = \"/down\"", "HTTP status 503, expected 200-399")?;
    ward.is_down("type = \"http\", path = \"/moved\", expect_status = 200", "HTTP status 301, expected 200")?;
    ward.is_down(
        "type = \"http\", expect_body = \"ready\"",
        "HTTP status 200, but the body (21 bytes seen) does not match \"ready\"",
    )?;
    ward.is_down(
        "type = \"http\", path = \"/long\", expect_body = \"needle\"",
        "the body (65536 bytes seen) does not match",
    )?;
    let over_ipv6 = ward.ask_at(tests::lab::in_v6(real_address(1)), "type = \"http\", expect_body = \"I am\"")?;
    anyhow::ensure!(over_ipv6.is_ok(), "{over_ipv6:?}");
    Ok(())
}

#[test]
fn a_web_server_with_tls_must_have_the_right_certificate() -> Result<()> {
    let ward = Ward::new(1)?;
    let _nginx = start(&ward)?;
    let dir = ward.lab.directory().display().to_string();
    let https = |rest: &str| format!("type = \"https\", port = 443{rest}").replace("DIR", &dir);
    ward.is_up(&https(", verify = false"))?;
    ward.is_up(&https(", ca = \"DIR/ca.pem\", sni = \"www.example.org\""))?;
    ward.is_up(&https(", ca = \"DIR/ca.pem\", host = \"www.example.org:443\", expect_body = \"www.example.org\""))?;
    ward.is_down(&https(", ca = \"DIR/ca.pem\", sni = \"other.example.org\""), "no TLS: invalid peer certificate")?;
    ward.is_down(&https(", ca = \"DIR/ca.pem\""), "no TLS: invalid peer certificate")?;
    ward.is_down(&https(", sni = \"www.example.org\""), "no TLS: invalid peer certificate: UnknownIssuer")?;
    let old = https(", ca = \"DIR/ca.pem\", sni = \"www.example.org\"").replace("443", "444");
    ward.is_down(&old, "no TLS: invalid peer certificate: certificate expired")?;
    let known = ", verify = false, path = \"/known\", expect_body = \"you are SUCCESS\"";
    ward.is_down(&https(known), "does not match \"you are SUCCESS\"")?;
    ward.is_up(&https(&format!("{known}, client_cert = \"DIR/client.pem\", client_key = \"DIR/client.key\"")))?;
    ward.is_down("type = \"https\", verify = false, port = 80", "no TLS: ")?;
    ward.is_down("type = \"http\", port = 443", "HTTP status 400, expected 200-399")?;
    Ok(())
}

#[test]
fn a_web_server_that_hangs_or_talks_nonsense_is_down() -> Result<()> {
    let ward = Ward::new(1)?;
    ward.is_down("type = \"http\", port = 81", "connection refused")?;
    stub::with(&ward.lab.reals[0], 81, b"", || {
        let hangs = "no answer within 300ms, while";
        ward.is_down(
            "type = \"http\", port = 81, timeout = \"300ms\"",
            &format!("{hangs} waiting for the HTTP answer"),
        )?;
        ward.is_down(
            "type = \"https\", verify = false, port = 81, timeout = \"300ms\"",
            &format!("{hangs} agreeing on TLS"),
        )
    })?;
    stub::with(&ward.lab.reals[0], 81, b"220 mail ESMTP\r\n", || {
        ward.is_down("type = \"http\", port = 81", "no HTTP answer: ")
    })?;
    // The body never ends, and so is looked at only as far as the timeout goes.
    stub::answering(&ward.lab.reals[0], 81, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf", || {
        ward.is_up("type = \"http\", port = 81")?;
        ward.is_down(
            "type = \"http\", port = 81, timeout = \"300ms\", expect_body = \"half\"",
            "no answer within 300ms",
        )
    })
}
