//! One value of each field, where fields have several: which combinations there are.

use std::collections::VecDeque;

use super::Hit;
use crate::event::{Event, Field};

/// The different values of the fields that have more than one.
pub(super) struct Choices<'p> {
    fields: Vec<(&'p Field, Vec<Box<str>>)>,
    /// How many combinations there are, those of values beyond the cap included.
    all: u64,
}

/// One value of each field that has several; of a field that it does not name, the first.
#[derive(Default)]
pub(super) struct Choice<'c>(Vec<(&'c Field, &'c str)>);

impl<'c> Choice<'c> {
    pub(super) fn of(&self, field: &Field) -> Option<&'c str> {
        let (_, value) = self.0.iter().find(|(chosen, _)| *chosen == field)?;
        Some(value)
    }
}

impl<'p> Choices<'p> {
    /// Looks which of these fields have several values in this event.
    pub(super) fn of(fields: &'p [Field], event: &Event<'_>) -> Self {
        let mut all = 1_u64;
        let mut several = Vec::new();
        for field in fields {
            let mut values: Vec<Box<str>> = Vec::new();
            let mut beyond = 0_u64;
            event.any(field, &mut |value| {
                let Some(text) = value.into_text() else {
                    return false;
                };
                if values.iter().any(|known| **known == *text) {
                    return false;
                }
                if values.len() < Hit::COMBINATIONS_MAX {
                    values.push(text.into());
                } else {
                    beyond += 1;
                }
                false
            });
            if values.len() > 1 {
                all = all.saturating_mul(values.len() as u64 + beyond);
                several.push((field, values));
            }
        }
        Self {
            fields: several,
            all,
        }
    }

    /// The first `most` combinations, all first values first. Those that are furthest in come
    /// last, so that no field takes all the room.
    pub(super) fn all(&self, most: usize) -> Vec<Choice<'_>> {
        let mut found = Vec::new();
        // From each combination on, only fields from the last one that moved move further, so
        // each is reached once.
        let mut next = VecDeque::from([(vec![0; self.fields.len()], 0)]);
        while let Some((places, moved)) = next.pop_front() {
            let chosen = self.fields.iter().zip(&places);
            found.push(Choice(
                chosen
                    .map(|((field, values), at): (_, &usize)| (*field, &*values[*at]))
                    .collect(),
            ));
            if found.len() == most {
                break;
            }
            for (field, (_, values)) in self.fields.iter().enumerate().skip(moved) {
                if places[field] + 1 < values.len() {
                    let mut further = places.clone();
                    further[field] += 1;
                    next.push_back((further, field));
                }
            }
        }
        found
    }

    /// How many combinations there are beyond the first `taken`.
    pub(super) fn beyond(&self, taken: usize) -> u32 {
        u32::try_from(self.all.saturating_sub(taken as u64)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Context, Slot, Slots};

    fn shown(groups: &str, ips: &str, most: usize) -> (Vec<String>, u32) {
        let mut slots = Slots::default();
        slots.set(Slot::UserGroups, groups);
        slots.set(Slot::SourceIps, ips);
        let context = Context::default();
        let event = Event::new(slots, "", &context);
        let fields = ["user.groups", "sourceIPs"].map(|name| Field::parse(name).unwrap());
        let choices = Choices::of(&fields, &event);
        let all = choices.all(most);
        let text = |choice: &Choice<'_>| {
            let parts: Vec<&str> = fields.iter().filter_map(|field| choice.of(field)).collect();
            parts.join(" ")
        };
        (all.iter().map(text).collect(), choices.beyond(all.len()))
    }

    #[test]
    fn each_combination_once_and_no_field_first() {
        let (all, beyond) = shown(r#"["a","b","a","c"]"#, r#"["1","2"]"#, 16);
        assert_eq!(all, ["a 1", "b 1", "a 2", "c 1", "b 2", "c 2"]);
        assert_eq!(beyond, 0);
        let (all, beyond) = shown(r#"["a","b","c"]"#, r#"["1","2"]"#, 4);
        assert_eq!((all.join(","), beyond), ("a 1,b 1,a 2,c 1".to_owned(), 2));
    }

    #[test]
    fn one_value_is_no_choice() {
        assert_eq!(shown(r#"["a"]"#, "", 16), (vec![String::new()], 0));
        let many: Vec<String> = (0..1_000).map(|n| format!("\"{n}\"")).collect();
        let (all, beyond) = shown(&format!("[{}]", many.join(",")), r#"["1"]"#, 16);
        assert_eq!((all.len(), beyond), (16, 984));
    }
}
