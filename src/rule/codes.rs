//! The codes of all problems that a rule file can have, with what they mean.

macro_rules! codes {
    ($($name:ident = $code:literal, $meaning:literal;)*) => {
        $(#[doc = $meaning] pub(super) const $name: &str = $code;)*

        /// Each code of rule, list and case files and what it says, for the reference and for tests.
        pub const CODES: &[(&str, &str)] = &[$(($code, $meaning)),*];
    };
}

codes! {
    NOT_A_RULE = "not-a-rule", "The document has none of `detection`, `correlation` and `filter`.";
    ACTION = "action", "`action` documents are an older way of Sigma to share parts between rules.";
    BAD_ID = "bad-id", "The id is not a UUID.";
    BAD_NAME = "bad-name", "A name holds something other than letters, digits and `-_.`.";
    DUPLICATE_RULE = "duplicate-rule", "Two rules have the same id or the same name.";
    OTHER_LOGSOURCE = "other-logsource", "The rule is about another log than the Kubernetes audit log and was skipped.";
    UNKNOWN_FIELD = "unknown-field", "There is no such field in an audit event.";
    UNKNOWN_MODIFIER = "unknown-modifier", "Sigma has no such modifier.";
    UNSUITABLE_MODIFIER = "unsuitable-modifier", "The modifier has no meaning here: audit events are JSON text.";
    MODIFIERS_CLASH = "modifiers-clash", "Two modifiers cannot stand together.";
    BAD_OPERAND = "bad-operand", "The value does not suit the modifier.";
    BAD_REGEX = "bad-regex", "The regular expression is wrong or too big.";
    EMPTY_SELECTION = "empty-selection", "A selection or a list of values is empty.";
    UNKNOWN_PLACEHOLDER = "unknown-placeholder", "No list file has this name.";
    UNKNOWN_VALUE = "unknown-value", "The field never has this value.";
    NEVER_MATCHES = "never-matches", "No event can meet this.";
    BAD_CONDITION = "bad-condition", "The condition is not well formed.";
    UNKNOWN_SELECTION = "unknown-selection", "The condition names a selection that does not exist.";
    UNUSED_SELECTION = "unused-selection", "No condition uses the selection.";
    OLD_AGGREGATION = "old-aggregation", "Counting within a condition was replaced by correlation rules.";
    UNKNOWN_RULE = "unknown-rule", "There is no rule of this id or name.";
    CIRCULAR = "circular", "Correlations refer to each other in a circle.";
    UNSUPPORTED = "unsupported", "Sigma knows this, auditwatch does not.";
    BAD_BOUNDS = "bad-bounds", "The counts of a correlation's condition make no sense.";
    BAD_TEMPLATE = "bad-template", "A template is not well formed.";
    BAD_CASE = "bad-case", "A case's event cannot be made.";
}
