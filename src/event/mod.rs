//! One audit event.

mod facts;
mod slot;

pub use facts::{CredentialFacts, Evidence, Facts, OriginFacts, PrincipalFacts, TargetFacts};
pub use slot::{Slot, Slots};
