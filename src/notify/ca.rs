//! A private CA: certificates that are trusted besides the system's.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Certificates of CAs; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ca {
    pem: Box<str>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Ca {
    /// Reads PEM.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(pem: &str) -> Result<Self, String> {
        let all = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
        let certificates = all.map_err(|error| format!("it is no PEM file: {error}"))?;
        if certificates.is_empty() {
            return Err(
                "there is no `-----BEGIN CERTIFICATE-----` in it; give the CA's certificate in PEM format"
                    .to_owned(),
            );
        }
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots
                .add(certificate.clone())
                .map_err(|error| format!("a certificate in it cannot be read: {error}"))?;
        }
        Ok(Self {
            pem: pem.into(),
            certificates,
        })
    }

    /// As text, for those who read it themselves.
    pub(super) fn pem(&self) -> &[u8] {
        self.pem.as_bytes()
    }

    /// One by one.
    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::pki_types::PrivateKeyDer;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::{
        alert::{Change, dispatch::Notification, samples},
        notify::{
            Email, EmailSettings, Encryption, Failure, Format, Syslog, Transport, Webhook, http,
        },
        units::Secret,
    };

    /// A CA, and what a server for `localhost` shows.
    fn authority() -> (Ca, Arc<rustls::ServerConfig>) {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let shown = params.signed_by(&key, &authority).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![shown.der().clone()],
                PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
            )
            .unwrap();
        (Ca::parse(&authority.pem()).unwrap(), Arc::new(config))
    }

    /// A server that greets with this, takes what comes and answers each time with that.
    async fn serve(
        config: Arc<rustls::ServerConfig>,
        greeting: &'static str,
        answer: &'static str,
    ) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = TlsAcceptor::from(Arc::clone(&config)).accept(stream).await
                else {
                    continue;
                };
                let _ = stream.write_all(greeting.as_bytes()).await;
                let mut taken = vec![0; 64 << 10];
                while stream.read(&mut taken).await.is_ok_and(|count| count > 0) {
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        });
        port
    }

    fn told() -> Notification {
        Notification::single(&"r".into(), &Change::Fired(samples::burst(3)), 0)
    }

    fn is_refused(tried: &Result<String, Failure>) {
        let failure = tried.as_ref().unwrap_err();
        assert!(failure.what.contains("no TLS connection"), "{failure:?}");
    }

    #[tokio::test]
    async fn a_webhook_is_trusted_by_its_own_ca_alone() {
        let (ca, config) = authority();
        let port = serve(config, "", "HTTP/1.1 204 No Content\r\n\r\n").await;
        let url = || Secret::new(&format!("https://localhost:{port}/hook"));
        let tell = async |ca: Option<&Ca>| {
            let client = http::trusting(http::builder().no_proxy(), ca).unwrap();
            let webhook = Webhook::new(&client, url()).unwrap();
            webhook.deliver(&told()).await
        };
        is_refused(&tell(None).await);
        is_refused(&tell(Some(&authority().0)).await);
        assert_eq!(tell(Some(&ca)).await, Ok("204".to_owned()));
    }

    #[tokio::test]
    async fn so_is_a_syslog_server() {
        let (ca, config) = authority();
        let port = serve(config, "", "").await;
        let tell = async |ca: Option<&Ca>| {
            let (transport, format) = (Transport::Tls, Format::Json);
            let syslog = Syslog::new("localhost", port, transport, format, ca).unwrap();
            syslog.deliver(&told()).await
        };
        assert!(tell(None).await.is_err());
        assert!(tell(Some(&ca)).await.is_ok());
    }

    #[tokio::test]
    async fn so_is_a_mail_server() {
        let (ca, config) = authority();
        // `354` would be due after DATA; a refusal of the sender says that TLS stood.
        let port = serve(config, "220 hello\r\n", "550 no\r\n").await;
        let settings = EmailSettings {
            host: "localhost".into(),
            port,
            encryption: Encryption::Tls,
            login: None,
            from: "a@example.com".parse().unwrap(),
            to: vec!["b@example.com".parse().unwrap()],
        };
        let tell = async |ca: Option<&Ca>| {
            let email = Email::new(settings.clone(), ca).unwrap();
            email.deliver(&told()).await.unwrap_err().what
        };
        assert_eq!(tell(None).await, "no TLS connection to the mail server");
        assert_eq!(tell(Some(&ca)).await, "the mail server answered 550");
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        let key = KeyPair::generate().unwrap().serialize_pem();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, told) in [
            ("", "no `-----BEGIN CERTIFICATE-----`"),
            (key.as_str(), "no `-----BEGIN CERTIFICATE-----`"),
            (broken, "cannot be read"),
        ] {
            let error = Ca::parse(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
