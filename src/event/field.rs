//! Fields.

/// A field of an audit event that a rule can name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field(String);
