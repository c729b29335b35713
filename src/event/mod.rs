//! One audit event.

mod facts;
mod field;
mod slot;

pub use facts::{CredentialFacts, Evidence, Facts, OriginFacts, PrincipalFacts, TargetFacts};
pub use field::Field;
pub use slot::{Slot, Slots};
