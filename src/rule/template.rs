//! Text with `{{ field }}` places: the summary of an alert, the commands that answer it.

use std::fmt::{self, Write};

use crate::{event::Field, units::Span};

/// A template, parsed and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
    Count,
    Timespan,
    Threshold,
}

/// The numbers that a template can show beside the event's fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// `{{ count }}`: how many requests the detection is about.
    pub count: u64,
    /// `{{ timespan }}`: the length of the rule's window, if it has one.
    pub timespan: Option<Span>,
    /// `{{ threshold }}`: the least count that fires, if there is one.
    pub threshold: Option<u64>,
}

/// What is wrong with a template, and where in its text (bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateMistake {
    /// The first byte.
    pub start: usize,
    /// The byte behind the last.
    pub end: usize,
    /// What is wrong.
    pub message: String,
    /// The name at fault when it is no field.
    pub unknown: Option<String>,
}

/// The longest text that a field fills in, in characters.
const VALUE_MAX: usize = 512;

impl Template {
    /// Parses `text {{ field }} text`. Beside fields there are `count`, `timespan` and
    /// `threshold`.
    ///
    /// # Errors
    /// An unclosed place, an empty one, a name that is no field.
    pub fn parse(text: &str) -> Result<Self, TemplateMistake> {
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(open) = text[at..].find("{{").map(|found| at + found) {
            if open > at {
                parts.push(Part::Text(text[at..open].to_owned()));
            }
            let Some(close) = text[open..].find("}}").map(|found| open + found) else {
                let message = "`{{` is never closed; write `{{ field }}`".to_owned();
                return Err(TemplateMistake {
                    start: open,
                    end: open + 2,
                    message,
                    unknown: None,
                });
            };
            let inner = &text[open + 2..close];
            let name = inner.trim();
            let start = open + 2 + (inner.len() - inner.trim_start().len());
            parts.push(match name {
                "count" => Part::Count,
                "timespan" => Part::Timespan,
                "threshold" => Part::Threshold,
                _ => Part::Field(Field::parse(name).map_err(|_| TemplateMistake {
                    start,
                    end: start + name.len(),
                    message: format!("there is no field `{name}`"),
                    unknown: Some(name.to_owned()),
                })?),
            });
            at = close + 2;
        }
        if at < text.len() {
            parts.push(Part::Text(text[at..].to_owned()));
        }
        Ok(Self { parts })
    }

    /// The fields that it shows, in order, repeats included.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(field) => Some(field),
            _ => None,
        })
    }

    /// The text with values in their places. `look_up` gives a field's value; `?` stands for an
    /// absent one. Control characters of values are left out.
    pub fn fill(&self, look_up: &dyn Fn(&Field) -> Option<String>, extras: &Extras) -> String {
        self.fill_with(look_up, extras, |value| harmless(&value))
    }

    /// The same for a shell, exactly: a value is quoted unless it is plain, with characters that
    /// are not seen spelled out, so that the command is about what the value names and nothing
    /// that looks like it. A value that would be taken for an option (somebody called a binding
    /// `--all`) makes the command a comment.
    pub fn fill_shell(
        &self,
        look_up: &dyn Fn(&Field) -> Option<String>,
        extras: &Extras,
    ) -> String {
        let command = self.fill_with(look_up, extras, |value| quoted(&value));
        if self.starts_an_option(look_up) {
            return format!("# a name begins with - and would be an option: {command}");
        }
        command
    }

    /// Whether a value stands at the start of a word and begins as options do.
    fn starts_an_option(&self, look_up: &dyn Fn(&Field) -> Option<String>) -> bool {
        let mut before = ' ';
        self.parts.iter().any(|part| {
            let is_start = before == ' ';
            before = match part {
                Part::Text(text) => text.chars().next_back().unwrap_or(before),
                _ => 'x',
            };
            match part {
                Part::Field(field) if is_start => {
                    look_up(field).is_some_and(|value| value.starts_with('-'))
                }
                _ => false,
            }
        })
    }

    fn fill_with(
        &self,
        look_up: &dyn Fn(&Field) -> Option<String>,
        extras: &Extras,
        shown: impl Fn(String) -> String,
    ) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field(field) => match look_up(field) {
                    Some(value) => out.push_str(&shown(value)),
                    None => out.push('?'),
                },
                Part::Count => {
                    let _ = write!(out, "{}", extras.count);
                }
                Part::Timespan => match extras.timespan {
                    Some(timespan) => {
                        let _ = write!(out, "{timespan}");
                    }
                    None => out.push('?'),
                },
                Part::Threshold => match extras.threshold {
                    Some(threshold) => {
                        let _ = write!(out, "{threshold}");
                    }
                    None => out.push('?'),
                },
            }
        }
        out
    }
}

/// Callers of the API server choose these values: no character of them may act on a terminal or
/// turn the text around.
fn harmless(value: &str) -> String {
    let mut kept = value.chars().filter(|c| !acts(*c));
    let mut out: String = kept.by_ref().take(VALUE_MAX).collect();
    if kept.next().is_some() {
        out.push('…');
    }
    out
}

/// Whether a character is not seen, or acts on a terminal or on its neighbours.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// At most `VALUE_MAX` characters of a value for a shell: as it is, in quotes, or in the quotes
/// of bash and zsh in which characters can be spelled out.
pub fn quoted(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"@%+=:,./_-".contains(&b);
    let mut value: String = value.chars().take(VALUE_MAX + 1).collect();
    if value.chars().count() > VALUE_MAX {
        // No such name is there, so a command about it does nothing.
        value.pop();
        value.push('…');
    }
    if !value.is_empty() && value.bytes().all(plain) {
        return value;
    }
    if !value.chars().any(acts) {
        return format!("'{}'", value.replace('\'', r"'\''"));
    }
    let mut out = "$'".to_owned();
    for c in value.chars() {
        // Writing to a String succeeds.
        match c {
            '\'' | '\\' => out.extend(['\\', c]),
            c if acts(c) && u32::from(c) > 0xffff => _ = write!(out, "\\U{:08x}", u32::from(c)),
            c if acts(c) => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

impl fmt::Display for Template {
    /// As it was written, but for white space within the braces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Field(field) => write!(f, "{{{{ {} }}}}", field.name()),
            Part::Count => f.write_str("{{ count }}"),
            Part::Timespan => f.write_str("{{ timespan }}"),
            Part::Threshold => f.write_str("{{ threshold }}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str, value: Option<&str>, shell: bool) -> String {
        let template = Template::parse(text).unwrap();
        let look_up = |_: &Field| value.map(str::to_owned);
        let extras = Extras {
            count: 12,
            timespan: Some(Span::from_secs(300)),
            threshold: Some(10),
        };
        if shell {
            template.fill_shell(&look_up, &extras)
        } else {
            template.fill(&look_up, &extras)
        }
    }

    #[test]
    fn fills_values_in() {
        let text = "{{ principal }} used {{verb}}: {{count}} of {{ threshold }} in {{timespan}}.";
        assert_eq!(
            fill(text, Some("bob"), false),
            "bob used bob: 12 of 10 in 5m."
        );
        assert_eq!(fill("{{ verb }}", None, false), "?");
        assert_eq!(fill("no place } here", None, false), "no place } here");
        let template = Template::parse("{{ verb }}").unwrap();
        assert_eq!(template.fill(&|_| None, &Extras::default()), "?");
        assert_eq!(template.fields().count(), 1);
    }

    #[test]
    fn values_cannot_break_out() {
        for (value, shown) in [
            ("alice@acme.example", "alice@acme.example"),
            ("", "''"),
            ("a b", "'a b'"),
            ("$(reboot)", "'$(reboot)'"),
            ("it's", r"'it'\''s'"),
            (
                "a\nb\u{1b}[2J\u{202e}'\\",
                r"$'a\u000ab\u001b[2J\u202e\'\\'",
            ),
            ("tag\u{e0041}", r"$'tag\U000e0041'"),
            (
                "--all",
                "# a name begins with - and would be an option: --all",
            ),
        ] {
            assert_eq!(fill("{{ principal }}", Some(value), true), shown, "{value}");
        }
        for shell in [false, true] {
            let long = fill("{{ principal }}", Some(&"x".repeat(10_000)), shell);
            assert!(long.chars().count() <= VALUE_MAX + 3, "{long}");
        }
        let value = Some("-x");
        assert_eq!(
            fill("kubectl --as={{ principal }}", value, true),
            "kubectl --as=-x"
        );
        let told = fill("kubectl delete {{ verb }}", value, true);
        assert!(
            told.starts_with("# ") && told.ends_with(": kubectl delete -x"),
            "{told}"
        );
    }

    #[test]
    fn mistakes_know_their_place() {
        for (text, wrong, says) in [
            ("a {{ verb", "{{", "never closed"),
            ("a {{ vreb }} b", "vreb", "no field `vreb`"),
            ("{{}}", "", "no field ``"),
        ] {
            let mistake = Template::parse(text).unwrap_err();
            assert_eq!(&text[mistake.start..mistake.end], wrong);
            assert!(mistake.message.contains(says), "{mistake:?}");
        }
    }
}
