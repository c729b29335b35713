//! What an event did, as it is kept for people: redacted, cut, and in one piece of memory,
//! because windows hold hundreds of thousands of them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{
    Event, Slot,
    facts::{Evidence, Facts, TargetFacts},
    redact::{is_clean, shorten},
};
use crate::units::Time;

/// The texts, in the order in which they stand.
const TEXTS: [Slot; 7] = [
    Slot::AuditId,
    Slot::Verb,
    Slot::Resource,
    Slot::Subresource,
    Slot::Namespace,
    Slot::Name,
    Slot::RequestUri,
];

/// What one event did: the parts that differ from one event of a caller to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The texts of [`TEXTS`], each with a newline behind it: no shape of a secret reaches over
    /// one, so that all can be searched at once.
    texts: Box<str>,
    /// Where each text ends.
    ends: [u16; TEXTS.len()],
    /// A bit for each text that the event has.
    has: u8,
    code: Option<u16>,
    time: Time,
}

impl Act {
    /// Reads it from an event; `scratch` is for its memory alone.
    pub fn of(event: &Event<'_>, scratch: &mut String) -> Self {
        scratch.clear();
        let (mut ends, mut has, mut is_short) = ([0; TEXTS.len()], 0, true);
        for (index, slot) in TEXTS.into_iter().enumerate() {
            if let Some(text) = event.text(slot) {
                has |= 1 << index;
                is_short &= text.len() <= Facts::TEXT_MAX;
                scratch.push_str(&text);
            }
            ends[index] = scratch.len() as u16;
            scratch.push('\n');
        }
        if !is_short || !is_clean(scratch) {
            ends = write_shortened(event, scratch);
        }
        Self {
            texts: scratch.as_str().into(),
            ends,
            has,
            code: event.code(),
            time: event.received().unwrap_or_default(),
        }
    }

    /// One of the texts; `None` when the event has none. State that was read back is not trusted
    /// to be whole.
    fn text(&self, slot: Slot) -> Option<&str> {
        let index = TEXTS.iter().position(|text| *text == slot)?;
        let before = index
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        let start = before.map_or(0, |end| usize::from(*end) + 1);
        let text = self.texts.get(start..usize::from(self.ends[index]))?;
        (self.has & (1 << index) != 0).then_some(text)
    }

    /// See [`Evidence::audit_id`].
    pub fn audit_id(&self) -> &str {
        self.text(Slot::AuditId).unwrap_or_default()
    }

    /// The verb as recorded.
    pub fn verb(&self) -> &str {
        self.text(Slot::Verb).unwrap_or_default()
    }

    /// `objectRef.resource`.
    pub fn resource(&self) -> Option<&str> {
        self.text(Slot::Resource)
    }

    /// `objectRef.subresource`.
    pub fn subresource(&self) -> Option<&str> {
        self.text(Slot::Subresource)
    }

    /// `objectRef.namespace`.
    pub fn namespace(&self) -> Option<&str> {
        self.text(Slot::Namespace)
    }

    /// `objectRef.name`.
    pub fn name(&self) -> Option<&str> {
        self.text(Slot::Name)
    }

    /// See [`Evidence::uri`].
    pub fn uri(&self) -> &str {
        self.text(Slot::RequestUri).unwrap_or_default()
    }

    /// Event time; the beginning of time where the event does not say.
    pub const fn time(&self) -> Time {
        self.time
    }

    /// What was acted on.
    pub fn target(&self) -> TargetFacts {
        TargetFacts {
            verb: self.verb().into(),
            resource: self.resource().map(Box::from),
            subresource: self.subresource().map(Box::from),
            namespace: self.namespace().map(Box::from),
            name: self.name().map(Box::from),
        }
    }

    /// The event as evidence.
    pub fn evidence(&self) -> Evidence {
        Evidence {
            audit_id: self.audit_id().into(),
            time: self.time,
            verb: self.verb().into(),
            uri: self.uri().into(),
            code: self.code,
        }
    }
}

/// Writes the texts one by one. They come from the path of the request, where a caller may write
/// what they like.
fn write_shortened(event: &Event<'_>, into: &mut String) -> [u16; TEXTS.len()] {
    into.clear();
    TEXTS.map(|slot| {
        let text = event.text(slot).unwrap_or(Cow::Borrowed(""));
        into.push_str(&shorten(&text, Facts::TEXT_MAX));
        let end = into.len() as u16;
        into.push('\n');
        end
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Context, Slots};

    fn json(text: &str) -> String {
        serde_json::to_string(text).unwrap()
    }

    proptest! {
        #[test]
        fn each_text_is_what_it_is_alone(texts in prop::array::uniform7(prop::option::of(
            prop_oneof![
                "[a-z]{0,6}",
                "\\PC{0,40}",
                "(token|Bearer|x|eyJabcdefgh|--password)?[=: \n]?[a-z]{0,9}",
                "[é/]{300,600}",
            ],
        ))) {
            let raw = texts.clone().map(|text| text.map(|text| json(&text)));
            let mut slots = Slots::default();
            for (slot, raw) in TEXTS.into_iter().zip(&raw) {
                if let Some(raw) = raw {
                    slots.set(slot, raw);
                }
            }
            let context = Context::default();
            let event = Event::new(slots, "{}", &context);
            let act = Act::of(&event, &mut "left over".to_owned());
            for (slot, text) in TEXTS.into_iter().zip(&texts) {
                let alone = text.as_deref().map(|text| shorten(text, Facts::TEXT_MAX));
                prop_assert_eq!(act.text(slot), alone.as_deref());
            }
        }
    }

    #[test]
    fn what_was_read_back_damaged_is_empty_and_not_the_end() {
        let slots = Slots::default();
        let context = Context::default();
        let mut act = Act::of(&Event::new(slots, "{}", &context), &mut String::new());
        act.ends = [9, 3, 70, 2, 1, 0, u16::MAX];
        act.has = u8::MAX;
        assert_eq!((act.audit_id(), act.uri()), ("", ""));
        assert_eq!(act.name(), None);
    }
}
