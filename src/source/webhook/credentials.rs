//! What the webhook shows and asks for: TLS and tokens from files, taken up again when they change.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use subtle::{Choice, ConstantTimeEq as _};

use super::{
    settings::{TlsSettings, WebhookSettings},
    tls,
};
use crate::{source::SourceError, units::Secret};

/// The bearer tokens of a file, one a line. Several let a token be changed without a gap.
#[derive(Clone, Debug)]
pub struct TokenFile(Vec<Secret>);

impl TokenFile {
    /// Reads the tokens of a file.
    ///
    /// # Errors
    /// When the file cannot be read or holds no token.
    pub fn load(path: &std::path::Path) -> Result<Self, SourceError> {
        let what = "the token file";
        let bytes = tls::read(what, path)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| tls::wrong(what, path, "it is not text; write one token a line"))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let tokens: Vec<Secret> = lines.map(Secret::new).collect();
        if tokens.is_empty() {
            return Err(tls::wrong(
                what,
                path,
                "it holds no token; write one token a line",
            ));
        }
        if tokens
            .iter()
            .any(|token| !token.expose().bytes().all(|byte| byte.is_ascii_graphic()))
        {
            let problem = "a token holds white space or characters that no HTTP header can carry";
            return Err(tls::wrong(what, path, problem));
        }
        Ok(Self(tokens))
    }

    /// Whether `offered` is one of the tokens. Takes the same time whichever it resembles.
    pub(super) fn accepts(&self, offered: &[u8]) -> bool {
        let equal = |token: &Secret| token.expose().as_bytes().ct_eq(offered);
        self.0
            .iter()
            .fold(Choice::from(0), |found, token| found | equal(token))
            .into()
    }
}

/// What is in force now.
#[derive(Clone)]
pub(super) struct InForce {
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) tokens: Option<TokenFile>,
}

/// The credentials of one webhook.
pub(super) struct Credentials {
    tls: Option<TlsSettings>,
    token_file: Option<PathBuf>,
    in_force: ArcSwap<InForce>,
}

/// What a file looked like when it was read; it is read again when this changes.
type Looks = Vec<Option<(SystemTime, u64)>>;

impl Credentials {
    pub(super) fn load(settings: &WebhookSettings) -> Result<Self, SourceError> {
        let (tls, token_file) = (settings.tls.clone(), settings.token_file.clone());
        let in_force = ArcSwap::from_pointee(read(tls.as_ref(), token_file.as_ref())?);
        Ok(Self {
            tls,
            token_file,
            in_force,
        })
    }

    pub(super) fn in_force(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    /// What the files look like now.
    pub(super) fn looks(&self) -> Looks {
        let tls = self.tls.iter().flat_map(|tls| {
            [
                Some(&tls.certificate),
                Some(&tls.key),
                tls.client_ca.as_ref(),
            ]
            .into_iter()
            .flatten()
        });
        tls.chain(&self.token_file)
            .map(|path| {
                let metadata = std::fs::metadata(path).ok()?;
                Some((metadata.modified().ok()?, metadata.len()))
            })
            .collect()
    }

    /// Reads the files again. When one is wrong, everything stays as it is.
    pub(super) fn reload(&self) -> Result<(), SourceError> {
        self.in_force
            .store(Arc::new(read(self.tls.as_ref(), self.token_file.as_ref())?));
        Ok(())
    }
}

/// Says whether the certificates and tokens that the settings name can be used.
///
/// # Errors
/// The first that cannot.
pub fn check_credentials(settings: &WebhookSettings) -> Result<(), SourceError> {
    Credentials::load(settings).map(drop)
}

fn read(tls: Option<&TlsSettings>, token_file: Option<&PathBuf>) -> Result<InForce, SourceError> {
    Ok(InForce {
        tls: tls.map(tls::load).transpose()?,
        tokens: token_file.map(|path| TokenFile::load(path)).transpose()?,
    })
}
