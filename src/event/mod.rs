//! One audit event: its slots, the fields that rules name, who, what, where from, how it ended.
//!
//! Everything is a view over the bytes of the batch and read on demand. What is shown to people
//! goes through [`redact()`] first.

mod act;
mod audit_event;
mod body;
mod certificate;
mod credential;
mod exec;
mod facts;
mod field;
mod grants;
mod json;
mod origin;
mod outcome;
mod principal;
mod redact;
mod slot;
mod table;
mod value;
mod word;
mod workload;

#[cfg(test)]
mod tests;

pub use act::Act;
pub use audit_event::{Context, Event, Stage};
pub use facts::{
    CredentialFacts, Evidence, Facts, Minting, OriginFacts, PrincipalFacts, TargetFacts,
};
pub use field::{Field, UnknownField};
pub use origin::{NO_CLIENT, OriginScope};
pub use outcome::Outcome;
pub use principal::PrincipalKind;
pub use redact::{REDACTED, redact, shorten};
pub use slot::{Slot, Slots};
pub use table::{AuditLevel, Entry, FIELDS, FieldGroup};
pub use value::Value;
pub use word::{Word, word, word_or_none};
