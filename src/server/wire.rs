//! The JSON of the API: silences in Alertmanager's form, and what comes in.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    alert::dispatch::{Ack, Matchers, Phase, Silence},
    units::Time,
};

/// The longest name or comment, in bytes.
const TEXT_MAX: usize = 4_096;
/// The most matchers of one silence.
const MATCHERS_MAX: usize = 100;

/// A silence as Alertmanager's API and `amtool silence query -o json` have it; what only they know
/// is left aside.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SilenceBody {
    id: Option<String>,
    matchers: Vec<MatcherBody>,
    starts_at: Option<String>,
    ends_at: String,
    #[serde(default)]
    created_by: String,
    #[serde(default)]
    comment: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MatcherBody {
    name: String,
    value: String,
    #[serde(default)]
    is_regex: bool,
    #[serde(default = "yes")]
    is_equal: bool,
}

const fn yes() -> bool {
    true
}

/// Who acknowledges, and what they say.
#[derive(Debug, Deserialize)]
pub(super) struct AckBody {
    author: String,
    #[serde(default)]
    comment: String,
}

/// Who says that an alert is over.
#[derive(Debug, Deserialize)]
pub(super) struct ResolveBody {
    pub(super) author: String,
}

impl SilenceBody {
    /// The silence that is meant; `new_id` names one that has no id yet.
    pub(super) fn read(
        self,
        now: Time,
        new_id: impl FnOnce() -> String,
    ) -> Result<Silence, String> {
        let moment = |name: &str, text: &str| {
            Time::parse(text).ok_or_else(|| {
                format!("`{name}`: `{text}` is no time; write it like 2026-11-24T12:00:00Z")
            })
        };
        let starts_at = match self.starts_at {
            Some(text) => moment("startsAt", &text)?,
            None => now,
        };
        let ends_at = moment("endsAt", &self.ends_at)?;
        if ends_at <= now {
            return Err(format!("`endsAt` {ends_at} is over already; it is {now}"));
        }
        if ends_at <= starts_at {
            return Err(format!(
                "`endsAt` {ends_at} is not after `startsAt` {starts_at}"
            ));
        }
        if self.matchers.len() > MATCHERS_MAX {
            return Err(format!("a silence has at most {MATCHERS_MAX} matchers"));
        }
        let parts = self.matchers.into_iter().map(|matcher| {
            let operator = match (matcher.is_equal, matcher.is_regex) {
                (true, false) => "=",
                (false, false) => "!=",
                (true, true) => "=~",
                (false, true) => "!~",
            };
            (matcher.name, operator, matcher.value)
        });
        let silence = Silence {
            id: match self.id.filter(|id| !id.is_empty()) {
                Some(id) => short("id", &id)?,
                None => new_id().into(),
            },
            matchers: Matchers::of_parts(parts)?,
            starts_at,
            ends_at,
            created_by: said("createdBy", &self.created_by)?,
            comment: said("comment", &self.comment)?,
        };
        if silence.is_boundless() {
            let told = "the matchers would hide every alert; add one that names something, such \
                        as alertname=\"forbidden-burst\"";
            return Err(told.to_owned());
        }
        Ok(silence)
    }
}

impl AckBody {
    pub(super) fn read(&self, now: Time) -> Result<Ack, String> {
        Ok(Ack {
            by: said("author", &self.author)?,
            at: now,
            comment: short("comment", &self.comment)?,
        })
    }
}

/// A text that has to be there.
pub(super) fn said(name: &str, text: &str) -> Result<Box<str>, String> {
    if text.trim().is_empty() {
        return Err(format!("`{name}` is empty; others want to know"));
    }
    short(name, text)
}

fn short(name: &str, text: &str) -> Result<Box<str>, String> {
    if text.len() > TEXT_MAX {
        return Err(format!("`{name}` is longer than {TEXT_MAX} bytes"));
    }
    Ok(text.trim().into())
}

/// A silence for others to read.
pub(super) fn silence(silence: &Silence, phase: Phase) -> Value {
    let matchers = silence.matchers.iter().map(|matcher| {
        let operator = matcher.operator();
        json!({
            "name": matcher.name(),
            "value": matcher.value(),
            "isRegex": operator.ends_with('~'),
            "isEqual": operator.starts_with('='),
        })
    });
    json!({
        "id": silence.id,
        "status": {"state": phase.name()},
        "matchers": matchers.collect::<Vec<_>>(),
        "startsAt": silence.starts_at.to_string(),
        "endsAt": silence.ends_at.to_string(),
        "createdBy": silence.created_by,
        "comment": silence.comment,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::samples;

    fn read(body: &str) -> Result<Silence, String> {
        let body: SilenceBody = serde_json::from_str(body).unwrap();
        body.read(samples::at(0), || "new".to_owned())
    }

    #[test]
    fn reads_what_amtool_writes_and_writes_what_it_reads() {
        let ends = samples::at(3600).to_string();
        let body = json!({
            "id": "a-b", "status": {"state": "active"}, "updatedAt": ends, "endsAt": ends,
            "startsAt": samples::at(-5).to_string(), "createdBy": "eva", "comment": "upgrade",
            "matchers": [{"name": "namespace", "value": "kube-.*", "isRegex": true, "isEqual": true}],
        });
        let found = read(&body.to_string()).unwrap();
        assert_eq!(found.matchers.to_string(), r#"{namespace=~"kube-.*"}"#);
        let mut written = silence(&found, Phase::Active);
        written["updatedAt"] = body["updatedAt"].clone();
        assert_eq!(written, body);
    }

    #[test]
    fn refuses_what_would_hide_all_or_nobody_can_answer_for() {
        let (over, late) = (samples::at(-1).to_string(), samples::at(60).to_string());
        let body = |matchers: &str, ends: &str, comment: &str| {
            let text = format!(
                r#"{{"matchers":[{matchers}],"endsAt":"{ends}","createdBy":"eva","comment":"{comment}"}}"#
            );
            read(&text).map_or_else(Into::into, |silence| silence.id)
        };
        let good = r#"{"name":"a","value":"b"}"#;
        assert_eq!(&*body(good, &late, "x"), "new");
        let all = r#"{"name":"a","value":".*","isRegex":true}"#;
        let wrong = r#"{"name":"a","value":"(","isRegex":true}"#;
        for (told, says) in [
            (body("", &late, "x"), "every alert"),
            (body(all, &late, "x"), "every alert"),
            (body(wrong, &late, "x"), "no regular expression"),
            (body(good, &over, "x"), "is over already"),
            (body(good, "noon", "x"), "is no time"),
            (body(good, &late, " "), "`comment` is empty"),
        ] {
            assert!(told.contains(says), "{told}");
        }
    }
}
