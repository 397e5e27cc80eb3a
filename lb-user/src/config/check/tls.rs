//! The TLS side of a check: whom it believes, and who it says it is.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use toml::Spanned;

use super::keys::Keys;

/// Settings of a TLS client, read from the files that the config names; equal if the files hold the same.
#[derive(Clone)]
pub struct Tls {
    /// The name that is asked for and that the certificate must have; `None`: that of Host, else the address.
    pub name: Option<ServerName<'static>>,
    client: Arc<ClientConfig>,
    made_of: MadeOf,
}

/// What a client was made of.
#[derive(Clone, PartialEq, Eq)]
struct MadeOf {
    verify: bool,
    ca: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    /// For connections with these settings.
    pub fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.made_of) == (&other.name, &other.made_of)
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MadeOf { verify, ca, identity } = &self.made_of;
        f.debug_struct("Tls")
            .field("name", &self.name)
            .field("verify", verify)
            .field("ca", &ca.is_some())
            .field("identity", &identity.is_some())
            .finish()
    }
}

/// `sni`, `verify`, `ca`, `client_cert` and `client_key`. `None`: the report says why.
pub fn parse(keys: &mut Keys<'_, '_>) -> Option<Tls> {
    let name = name(keys);
    let verify = keys.flag("verify", true);
    if !verify && keys.has("ca") {
        keys.error("`ca` says whom to believe, and `verify = false` to believe anybody; remove one");
    }
    let ca = file(keys, "ca");
    let identity = match (file(keys, "client_cert"), file(keys, "client_key")) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => {
            keys.error("`client_cert` and `client_key` need each other");
            None
        }
    };
    let made_of = MadeOf { verify, ca, identity };
    match client(&made_of) {
        Ok(client) => Some(Tls { name, client: Arc::new(client), made_of }),
        Err(problem) => {
            keys.error(problem);
            None
        }
    }
}

fn name(keys: &mut Keys<'_, '_>) -> Option<ServerName<'static>> {
    let text = keys.word("sni")?;
    match ServerName::try_from(text.get_ref().clone()) {
        Ok(name) => Some(name),
        Err(_) => {
            keys.bad("sni", text.span(), format!("is \"{}\"; it must be a host name or an address", text.get_ref()));
            None
        }
    }
}

fn file(keys: &mut Keys<'_, '_>, key: &'static str) -> Option<Vec<u8>> {
    let path: Spanned<PathBuf> = keys.path(key)?;
    match std::fs::read(path.get_ref()) {
        Ok(content) => Some(content),
        Err(error) => {
            keys.bad(key, path.span(), format!("is {}, which cannot be read: {error}", path.get_ref().display()));
            None
        }
    }
}

fn client(made_of: &MadeOf) -> Result<ClientConfig, String> {
    let MadeOf { verify, ca, identity } = made_of;
    let provider = Arc::new(ring::default_provider());
    let verifier =
        if *verify { verifying(roots(ca.as_deref())?)? } else { Arc::new(Anybody(ring::default_provider())) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut client = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = certificates(cert).map_err(|problem| format!("`client_cert` {problem}"))?;
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|error| format!("`client_key` holds no private key in PEM form: {error}"))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("`client_cert` and `client_key` do not fit each other: {error}"))?
        }
    };
    // A resumed session would not look at the certificate again.
    client.resumption = Resumption::disabled();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(client)
}

fn verifying(roots: RootCertStore) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()));
    verifier.build().map(|verifier| verifier as Arc<dyn ServerCertVerifier>).map_err(|error| format!("`ca`: {error}"))
}

/// Those of the file, else the machine's own.
fn roots(ca: Option<&[u8]>) -> Result<RootCertStore, String> {
    let certificates = match ca {
        Some(pem) => certificates(pem).map_err(|problem| format!("`ca` {problem}"))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        let cure = "name a file with `ca`, install the package ca-certificates, or say verify = false";
        return Err(format!("there is no certificate authority to believe; {cure}"));
    }
    Ok(roots)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err("holds no certificate in PEM form".into()),
        Err(error) => Err(format!("is no good PEM file: {error}")),
    }
}

/// `verify = false`: takes every certificate, but the peer must have its key.
#[derive(Debug)]
struct Anybody(CryptoProvider);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
