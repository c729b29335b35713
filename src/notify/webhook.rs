//! The generic webhook: the alert's JSON by POST.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::{BuildError, Failure, Message, http::Endpoint};
use crate::{alert::to_json, units::Secret};

/// Names the message, so that the receiver can drop a repeat (Standard Webhooks' word).
const ID: HeaderName = HeaderName::from_static("webhook-id");

/// A receiver of our JSON. Any 2xx means that it has it.
#[derive(Clone, Debug)]
pub struct Webhook(Endpoint);

impl Webhook {
    /// # Errors
    /// When the URL cannot be used.
    pub fn new(client: &reqwest::Client, url: Secret) -> Result<Self, BuildError> {
        Endpoint::new(client, url).map(Self)
    }

    pub(super) async fn deliver(&self, message: &Message) -> Result<(), Failure> {
        let mut headers = HeaderMap::new();
        // Digits, letters and dots only.
        if let Ok(id) = HeaderValue::from_str(&message.id()) {
            headers.insert(ID, id);
        }
        self.0
            .post(to_json(message.alert(), message.dropped), headers)
            .await?
            .verdict()
    }
}
