//! Text with `{{ field }}` places.

/// A parsed template.
#[derive(Clone, Debug)]
pub struct Template(pub String);
