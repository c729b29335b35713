//! The words that events are told apart by, read back from state that was kept.

use serde::{Deserialize, Deserializer, de::Error};

/// One of a closed set of words of ours.
pub type Word = &'static str;

/// All words that [`Facts`](super::Facts) hold.
const WORDS: [Word; 15] = [
    "user",
    "serviceaccount",
    "node",
    "control-plane",
    "anonymous",
    "unauthenticated",
    "token",
    "certificate",
    "legacy-token",
    "other",
    "public",
    "private",
    "loopback",
    "link-local",
    "unknown",
];

/// Reads a word.
///
/// # Errors
/// When it is none of ours.
pub fn word<'de, D: Deserializer<'de>>(from: D) -> Result<Word, D::Error> {
    let text = Box::<str>::deserialize(from)?;
    let known = WORDS.into_iter().find(|word| **word == *text);
    known.ok_or_else(|| D::Error::custom("an unknown word"))
}

/// Reads a word that may be absent.
///
/// # Errors
/// When it is none of ours.
pub fn word_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Word>, D::Error> {
    #[derive(Deserialize)]
    struct One(#[serde(deserialize_with = "word")] Word);
    Ok(Option::<One>::deserialize(from)?.map(|one| one.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{OriginScope, PrincipalKind};

    #[test]
    fn all_words_are_known() {
        let kinds = [
            PrincipalKind::User,
            PrincipalKind::ServiceAccount,
            PrincipalKind::Node,
            PrincipalKind::ControlPlane,
            PrincipalKind::Anonymous,
            PrincipalKind::Unauthenticated,
        ];
        let scopes = [
            OriginScope::Public,
            OriginScope::Private,
            OriginScope::Loopback,
            OriginScope::LinkLocal,
            OriginScope::Unknown,
        ];
        let kinds = kinds.map(PrincipalKind::name);
        for known in kinds.into_iter().chain(scopes.map(OriginScope::name)) {
            let written = postcard::to_extend(known, Vec::new()).unwrap();
            let mut reading = postcard::Deserializer::from_bytes(&written);
            assert_eq!(word(&mut reading).unwrap(), known);
        }
        let written = postcard::to_extend("no such word", Vec::new()).unwrap();
        assert!(word(&mut postcard::Deserializer::from_bytes(&written)).is_err());
    }
}
