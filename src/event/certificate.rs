//! The subject of a certificate signing request: PKCS#10 in PEM in base64 in
//! `requestObject.spec.request`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use x509_parser::{
    certification_request::X509CertificationRequest, pem::parse_x509_pem, prelude::FromDer,
    x509::AttributeTypeAndValue,
};

use super::{Event, Slot, value::Value};

/// A part of the request's subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum CertificatePart {
    /// CN: the user name that the certificate will stand for.
    CommonName,
    /// O: its groups.
    Organization,
}

impl Event<'_> {
    /// Visits the common names or organizations that a signing request asks for. Nothing when the
    /// event has no body or the request cannot be read.
    pub(super) fn certificate(
        &self,
        part: CertificatePart,
        visit: &mut dyn FnMut(Value<'_>) -> bool,
    ) -> bool {
        let resource = self.slots().raw(Slot::Resource);
        if resource != "\"certificatesigningrequests\"" {
            return false;
        }
        self.request_body().any("spec.request", &mut |value| {
            let Value::Text(text) = value else {
                return false;
            };
            subject(&text, part)
                .into_iter()
                .any(|name| visit(Value::text(name)))
        })
    }
}

fn subject(encoded: &str, part: CertificatePart) -> Vec<String> {
    let text_of =
        |attribute: &AttributeTypeAndValue<'_>| attribute.as_str().ok().map(str::to_owned);
    let parsed = || {
        let pem = STANDARD.decode(encoded).ok()?;
        let (_, pem) = parse_x509_pem(&pem).ok()?;
        let (_, request) = X509CertificationRequest::from_der(&pem.contents).ok()?;
        let name = &request.certification_request_info.subject;
        Some(match part {
            CertificatePart::CommonName => name.iter_common_name().filter_map(text_of).collect(),
            CertificatePart::Organization => name.iter_organization().filter_map(text_of).collect(),
        })
    };
    parsed().unwrap_or_default()
}
