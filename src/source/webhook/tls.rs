//! Reads certificates and keys into what the TLS library takes, saying which file is wrong and how.

use std::{fs, io, path::Path, sync::Arc};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::settings::TlsSettings;
use crate::source::SourceError;

/// A server's TLS side, made from files.
pub(super) fn load(settings: &TlsSettings) -> Result<Arc<ServerConfig>, SourceError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates("the certificate", &settings.certificate)?;
    let key = private_key(&settings.key)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("the certificate", &settings.certificate, error))?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(client_verifier(path, provider)?),
    };
    for warning in warnings(&chain) {
        tracing::warn!(certificate = %settings.certificate.display(), "{warning}");
    }
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => wrong(
                "the private key",
                &settings.key,
                format!(
                    "it does not belong to the certificate `{}`",
                    settings.certificate.display()
                ),
            ),
            error => wrong("the certificate", &settings.certificate, error),
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn client_verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, SourceError> {
    let what = "the client CA";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(what, path)? {
        roots
            .add(certificate)
            .map_err(|error| wrong(what, path, error))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| wrong(what, path, error))
}

fn certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    let text = read(what, path)?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(what, path, pem_problem(&error)))?;
    if chain.is_empty() {
        let problem = "there is no `-----BEGIN CERTIFICATE-----` in it; it must be in PEM format";
        return Err(wrong(what, path, problem));
    }
    for certificate in &chain {
        X509Certificate::from_der(certificate)
            .map_err(|error| wrong(what, path, format!("it is damaged: {error}")))?;
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, SourceError> {
    let what = "the private key";
    PrivateKeyDer::from_pem_slice(&read(what, path)?)
        .map_err(|error| wrong(what, path, pem_problem(&error)))
}

fn pem_problem(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => {
            "there is no unencrypted `-----BEGIN … PRIVATE KEY-----` in it; it must be in PEM format"
                .to_owned()
        }
        error => format!("it is no good PEM: {error}"),
    }
}

pub(super) fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, SourceError> {
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => wrong(what, path, "the file does not exist"),
        io::ErrorKind::PermissionDenied => wrong(
            what,
            path,
            "permission denied; let the user that runs auditwatch read it",
        ),
        _ => wrong(what, path, error),
    })
}

pub(super) fn wrong(
    what: &'static str,
    path: &Path,
    problem: impl std::fmt::Display,
) -> SourceError {
    SourceError::Credential {
        what,
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}

/// What makes kube-apiserver refuse a certificate that the TLS library takes.
fn warnings(chain: &[CertificateDer<'_>]) -> Vec<String> {
    let Some(Ok((_, certificate))) = chain.first().map(|der| X509Certificate::from_der(der)) else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    if !certificate.validity().is_valid() {
        warnings.push(format!(
            "the certificate is valid only from {} to {}; the API server will refuse it",
            certificate.validity().not_before,
            certificate.validity().not_after
        ));
    }
    let names = certificate.subject_alternative_name().ok().flatten();
    let is_named = names.is_some_and(|names| {
        let mut all = names.value.general_names.iter();
        all.any(|name| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_)))
    });
    if !is_named {
        warnings.push(
            "the certificate names no host (subjectAltName); the API server will refuse it"
                .to_owned(),
        );
    }
    warnings
}
