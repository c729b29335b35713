//! The slots of an audit event: raw slices of its JSON text, one for each field that rules read.
//!
//! A slot holds the field's value exactly as it stands in the batch (a string with its quotes and
//! escapes), and is empty when the field is absent. Nothing is unescaped or copied until it is
//! read. Names follow `k8s.io/apiserver/pkg/apis/audit/v1` types.go.

/// One field of the event that has its own slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[expect(
    missing_docs,
    reason = "each is the field of the same name; the field table tells more"
)]
pub enum Slot {
    Kind,
    ApiVersion,
    Level,
    AuditId,
    Stage,
    RequestUri,
    Verb,
    UserName,
    UserUid,
    UserGroups,
    UserExtra,
    ImpersonatedName,
    ImpersonatedUid,
    ImpersonatedGroups,
    ImpersonatedExtra,
    SourceIps,
    UserAgent,
    Resource,
    Namespace,
    Name,
    Uid,
    ApiGroup,
    ObjectApiVersion,
    ResourceVersion,
    Subresource,
    StatusCode,
    StatusStatus,
    StatusReason,
    StatusMessage,
    StatusDetails,
    RequestObject,
    ResponseObject,
    RequestReceived,
    StageTimestamp,
    Annotations,
    AuthenticationMetadata,
}

impl Slot {
    /// How many slots there are.
    pub const COUNT: usize = Self::AuthenticationMetadata as usize + 1;
}

/// The raw slices of one event, borrowed from the batch that it came in.
#[derive(Clone, Debug)]
pub struct Slots<'b>([&'b str; Slot::COUNT]);

impl Default for Slots<'_> {
    fn default() -> Self {
        Self([""; Slot::COUNT])
    }
}

impl<'b> Slots<'b> {
    /// Puts the raw JSON text of a value into a slot. A later value replaces an earlier one, as
    /// Go's decoder does with duplicate keys. `null` empties the slot.
    pub fn set(&mut self, slot: Slot, raw: &'b str) {
        self.0[slot as usize] = if raw == "null" { "" } else { raw };
    }

    /// The raw JSON text of a field; empty when it is absent or null.
    pub fn raw(&self, slot: Slot) -> &'b str {
        self.0[slot as usize]
    }
}
