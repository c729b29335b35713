//! The `auditwatch:` block of a rule: what Sigma lacks.

use super::Template;
use crate::{event::Field, units::Span};

/// The validated `auditwatch:` block; empty where a rule has none.
#[derive(Clone, Debug, Default)]
pub struct Extension {
    /// `enabled: false`: the rule waits until the configuration's `rules.enable` names it.
    pub off: bool,
    /// Fires when a value is seen for the first time for a key that has been learnt.
    pub novelty: Option<Novelty>,
    /// Fires when a key does far more than it ever did.
    pub rate: Option<Rate>,
    /// Fires when what was seen steadily is not seen any more.
    pub silence: Option<Silence>,
    /// One sentence for the alert.
    pub summary: Option<Template>,
    /// Commands for whoever reads the alert, which change nothing; filled values are quoted for a
    /// shell.
    pub respond: Vec<Template>,
    /// Commands that stop what goes on, and so change the cluster.
    pub contain: Vec<Template>,
    /// Where it stands what to do: a web address; moved into the rule's meta data.
    pub runbook: Option<String>,
}

/// `novelty: {by: […], of: […], learn: 7d, forget: 30d}`
#[derive(Clone, Debug)]
pub struct Novelty {
    /// The fields that name the key.
    pub by: Vec<Field>,
    /// The fields whose combination is new or not.
    pub of: Vec<Field>,
    /// How long a key is watched before anything about it can be new.
    pub learn: Span,
    /// How long an unseen value is remembered.
    pub forget: Span,
}

/// `rate: {by: […], every: 5m, factor: 8, min: 100}`
#[derive(Clone, Debug)]
pub struct Rate {
    /// The fields that name the key.
    pub by: Vec<Field>,
    /// The length of one step of the key's past.
    pub every: Span,
    /// How many times its own average is far above; greater than 1.
    pub factor: f64,
    /// The least count in one step that fires.
    pub min: u64,
}

/// `silence: {by: […], after: 2m}`
#[derive(Clone, Debug)]
pub struct Silence {
    /// The fields that name the key.
    pub by: Vec<Field>,
    /// The longest pause that is none.
    pub after: Span,
}
