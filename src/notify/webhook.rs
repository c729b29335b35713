//! The generic webhook: the alert's JSON by POST, signed as Standard Webhooks has it when there is
//! a key.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::{BuildError, Failure, Preview, Templates, http::Endpoint};
use crate::{
    alert::{dispatch::Notification, to_json},
    units::Secret,
};

/// Names the message, so that the receiver can drop a repeat.
const ID: HeaderName = HeaderName::from_static("webhook-id");
/// When the attempt was made, in seconds since 1970, so that the receiver can refuse old ones.
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
/// What a key begins with.
const KEY_PREFIX: &str = "whsec_";
/// How long a key may be, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A receiver of our JSON. Any 2xx means that it has it.
#[derive(Clone, Debug)]
pub struct Webhook {
    endpoint: Endpoint,
    keys: Vec<SigningKey>,
    templates: Templates,
}

/// A key that the receiver shares with us.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

impl SigningKey {
    /// Reads `whsec_` and 24 to 64 bytes in base64.
    ///
    /// # Errors
    /// Says what is wrong without showing the key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = "a signing key is `whsec_` and 24 to 64 bytes in base64; make one with: echo whsec_$(openssl rand -base64 32)";
        let encoded = text.trim().strip_prefix(KEY_PREFIX).ok_or(wrong)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| wrong)?;
        if !KEY_BYTES.contains(&bytes.len()) {
            return Err(wrong.to_owned());
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// `v1,` and the signature of id, time and body.
    fn sign(&self, id: &str, seconds: i64, body: &str) -> String {
        let tag = hmac::sign(&self.0, format!("{id}.{seconds}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(tag))
    }
}

impl Webhook {
    /// # Errors
    /// When the URL cannot be used.
    pub fn new(client: &reqwest::Client, url: Secret) -> Result<Self, BuildError> {
        let endpoint = Endpoint::new(client, url)?;
        Ok(Self {
            endpoint,
            keys: Vec::new(),
            templates: Templates::default(),
        })
    }

    /// In these words where there are some.
    #[must_use]
    pub fn worded(mut self, templates: Templates) -> Self {
        self.templates = templates;
        self
    }

    /// Signs with each of these keys, so that the receiver can change from one to another.
    #[must_use]
    pub fn signed(mut self, keys: Vec<SigningKey>) -> Self {
        self.keys = keys;
        self
    }

    pub(super) fn preview(&self, told: &Notification) -> Preview {
        let id = format!("{ID}: {}", told.id);
        // The signature is over the moment of sending too, so there is none to show yet.
        let signed = [
            format!("{TIMESTAMP}: (the moment of sending)"),
            format!("{SIGNATURE}: v1,(made when it is sent, one for each key)"),
        ];
        let mut headers = vec![id.as_str()];
        if !self.keys.is_empty() {
            headers.extend(signed.iter().map(String::as_str));
        }
        self.endpoint
            .preview(&body(told, &self.templates), &headers)
    }

    pub(super) async fn deliver(&self, told: &Notification) -> Result<String, Failure> {
        let body = body(told, &self.templates);
        let mut headers = HeaderMap::new();
        let mut put = |name: HeaderName, value: String| {
            // Digits, letters and base64 only.
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        };
        put(ID, told.id.to_string());
        if !self.keys.is_empty() {
            let seconds = chrono::Utc::now().timestamp();
            put(TIMESTAMP, seconds.to_string());
            let sign = |key: &SigningKey| key.sign(&told.id, seconds, &body);
            put(
                SIGNATURE,
                self.keys.iter().map(sign).collect::<Vec<_>>().join(" "),
            );
        }
        self.endpoint.post(body, headers).await?.verdict()
    }
}

/// The alert; a list when there are several.
fn body(told: &Notification, templates: &Templates) -> String {
    if let Some(body) = templates.render(told).body {
        return body;
    }
    match told.alerts.as_slice() {
        [alert] => to_json(alert, told.missed),
        alerts => {
            let lines: Vec<String> = alerts
                .iter()
                .map(|alert| to_json(alert, told.missed))
                .collect();
            format!("[{}]", lines.join(","))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alert::{Change, samples},
        notify::tests::{Server, answer, test_client},
    };

    /// SHA-256 by the letter of FIPS 180-4, so that the signature is checked by other code.
    fn sha256(message: &[u8]) -> [u8; 32] {
        let fraction = |root: f64| ((root - root.floor()) * 4_294_967_296.0) as u32;
        let primes: Vec<u32> = (2..312u32)
            .filter(|n| (2..*n).all(|d| n % d != 0))
            .collect();
        let mut state: Vec<u32> = primes
            .iter()
            .take(8)
            .map(|p| fraction(f64::from(*p).sqrt()))
            .collect();
        let constants: Vec<u32> = primes
            .iter()
            .take(64)
            .map(|p| fraction(f64::from(*p).cbrt()))
            .collect();
        let mut padded = message.to_vec();
        padded.push(0x80);
        while padded.len() % 64 != 56 {
            padded.push(0);
        }
        padded.extend((message.len() as u64 * 8).to_be_bytes());
        for block in padded.chunks(64) {
            let mut w: Vec<u32> = block
                .chunks(4)
                .map(|b| u32::from_be_bytes(b.try_into().unwrap()))
                .collect();
            for i in 16..64 {
                let a = w[i - 15].rotate_right(7) ^ w[i - 15].rotate_right(18) ^ (w[i - 15] >> 3);
                let b = w[i - 2].rotate_right(17) ^ w[i - 2].rotate_right(19) ^ (w[i - 2] >> 10);
                w.push(
                    w[i - 16]
                        .wrapping_add(a)
                        .wrapping_add(w[i - 7])
                        .wrapping_add(b),
                );
            }
            let mut s = state.clone();
            for i in 0..64 {
                let big = s[4].rotate_right(6) ^ s[4].rotate_right(11) ^ s[4].rotate_right(25);
                let choice = (s[4] & s[5]) ^ (!s[4] & s[6]);
                let one = s[7]
                    .wrapping_add(big)
                    .wrapping_add(choice)
                    .wrapping_add(constants[i])
                    .wrapping_add(w[i]);
                let big = s[0].rotate_right(2) ^ s[0].rotate_right(13) ^ s[0].rotate_right(22);
                let most = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
                s.rotate_right(1);
                s[4] = s[4].wrapping_add(one);
                s[0] = one.wrapping_add(big).wrapping_add(most);
            }
            for (own, more) in state.iter_mut().zip(s) {
                *own = own.wrapping_add(more);
            }
        }
        let bytes: Vec<u8> = state.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.try_into().unwrap()
    }

    fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
        let padded = |with: u8| -> Vec<u8> {
            let key = key.iter().copied().chain(std::iter::repeat(0));
            key.take(64).map(|byte| byte ^ with).collect()
        };
        let inner = sha256(&[padded(0x36).as_slice(), message].concat());
        sha256(&[padded(0x5c).as_slice(), &inner].concat())
    }

    #[tokio::test]
    async fn signs_so_that_others_can_check_it() {
        let keys = [
            "first-key-of-24-bytes-ok",
            "second key: 0123456789 abcdefgh",
        ];
        let parse =
            |key: &&str| SigningKey::parse(&format!("whsec_{}\n", STANDARD.encode(key))).unwrap();
        let server = Server::start(vec![answer(200, "")]).await;
        let webhook = Webhook::new(&test_client(), server.url())
            .unwrap()
            .signed(keys.iter().map(parse).collect());
        let told = Notification::single(&"r".into(), &Change::Fired(samples::hostile()), 0);
        webhook.deliver(&told).await.unwrap();
        let (headers, body) = &server.requests()[0];
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        let (id, seconds) = (text("webhook-id"), text("webhook-timestamp"));
        assert_eq!(id, *told.id);
        assert!((chrono::Utc::now().timestamp() - seconds.parse::<i64>().unwrap()).abs() < 60);
        let signed = format!("{id}.{seconds}.{body}");
        let expected = keys.map(|key| {
            format!(
                "v1,{}",
                STANDARD.encode(hmac_sha256(key.as_bytes(), signed.as_bytes()))
            )
        });
        assert_eq!(text("webhook-signature"), expected.join(" "));
        assert!(!format!("{webhook:?}").contains("first-key"));
    }

    #[test]
    fn the_plain_hash_is_right() {
        let head = [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea];
        assert_eq!(sha256(b"abc")[..8], head);
    }

    #[test]
    fn refuses_weak_keys_without_showing_them() {
        for wrong in ["very-secret", "whsec_very-secret", "whsec_c2hvcnQ="] {
            let error = SigningKey::parse(wrong).unwrap_err();
            assert!(
                error.contains("24 to 64 bytes") && !error.contains("very-secret"),
                "{error}"
            );
        }
    }
}
