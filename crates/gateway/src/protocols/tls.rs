//! TLS towards targets that are no web sites: FTP and VNC. A certificate is good when it is the pinned one: names and authorities say nothing
//! about the devices that speak these.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs::default_provider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use sojourn_domain::access::EndReason;

use super::{ConnectError, HostKeyRule, Target, ssh::SeenKey};

/// What a control connection and its data connections share: a target may want them to be of one TLS session, so
/// that nobody else's data connection is taken for theirs.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
    verifier: Arc<Verifier>,
}

impl Tls {
    pub(crate) fn new(
        rule: &HostKeyRule,
        host: &str,
        address: std::net::IpAddr,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(default_provider());
        let verifier = Arc::new(Verifier {
            rule: Mutex::new(rule.clone()),
            seen: Mutex::new(None),
            provider: provider.clone(),
        });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_no_client_auth();
        // Of this control connection alone.
        config.resumption = Resumption::in_memory_sessions(4);
        let name = ServerName::try_from(host.to_owned()).unwrap_or_else(|_| ServerName::from(address));
        Ok(Self { config: Arc::new(config), name, verifier })
    }

    /// The certificate that was shown.
    pub(crate) fn seen(&self) -> Option<SeenKey> {
        self.verifier.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the certificate that was shown is not good, if it is not.
    pub(crate) fn refused(&self, target: &Target) -> Option<ConnectError> {
        let seen = self.seen()?;
        refuses(&target.host_key, &seen).then(|| wrong_certificate(target, &seen))
    }

    /// From now on only the certificate that was shown is good.
    pub(crate) fn keep_to_it(&self) {
        if let Some(seen) = self.seen() {
            *self.verifier.rule.lock().unwrap_or_else(PoisonError::into_inner) =
                HostKeyRule::Pinned(seen.fingerprint);
        }
    }
}

fn refuses(rule: &HostKeyRule, seen: &SeenKey) -> bool {
    match rule {
        HostKeyRule::Pinned(pinned) => pinned.trim_end_matches('=') != seen.fingerprint,
        HostKeyRule::FirstUse => false,
        HostKeyRule::Unknown => true,
    }
}

fn wrong_certificate(target: &Target, seen: &SeenKey) -> ConnectError {
    let shown = &seen.fingerprint;
    let message = match &target.host_key {
        HostKeyRule::Pinned(_) => format!(
            "THE TARGET'S CERTIFICATE HAS CHANGED: it shows {shown}, which is not the one that was pinned. Either it was \
             renewed, or somebody stands in between. Whoever may edit the connection can look and pin the new one."
        ),
        HostKeyRule::FirstUse | HostKeyRule::Unknown => format!(
            "nobody has pinned this target's certificate yet (it shows {shown}). Somebody who may edit the connection \
             has to connect first, or to pin it."
        ),
    };
    ConnectError::new(EndReason::HostKey, message)
}

#[derive(Debug)]
struct Verifier {
    rule: Mutex<HostKeyRule>,
    seen: Mutex<Option<SeenKey>>,
    provider: Arc<CryptoProvider>,
}

/// `SHA256:` and the hash of the whole certificate.
fn shown(certificate: &CertificateDer<'_>) -> SeenKey {
    let hash = digest(&SHA256, certificate);
    let fingerprint = format!("SHA256:{}", data_encoding::BASE64_NOPAD.encode(hash.as_ref()));
    SeenKey { text: fingerprint.clone(), fingerprint, algorithm: "x509".to_owned() }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = shown(end_entity);
        let good = !refuses(&self.rule.lock().unwrap_or_else(PoisonError::into_inner), &shown);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        if good {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
