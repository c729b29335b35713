//! What a role's rules grant, one "verb resource" for each combination that a rule allows, so
//! that a verb of one rule is never taken together with a resource of another.

use std::borrow::Cow;

use super::{Event, Slot, body::Body, json, value::Value};

/// The most combinations of one role that are told; real roles have a few hundred.
const GRANTS_MAX: usize = 8_192;
/// Told of a role with more combinations than that.
const TOO_MANY: &str = "too many to tell";

impl Event<'_> {
    /// Visits the grants of the role in the request body, or of the one in the response body
    /// where the request (a patch) has no whole rule.
    pub(super) fn grants(&self, visit: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        let mut seen = false;
        let found = in_body(self.request_body(), &mut seen, visit);
        if seen || self.slots().raw(Slot::ResponseObject).is_empty() {
            return found;
        }
        in_body(self.response_body(), &mut seen, visit)
    }
}

fn in_body(body: &Body<'_>, seen: &mut bool, visit: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
    let mut left = GRANTS_MAX;
    body.any("rules", &mut |rule| match rule {
        Value::Object(raw) => {
            *seen = true;
            in_rule(raw, &mut left, visit)
        }
        _ => false,
    })
}

fn in_rule(raw: &str, left: &mut usize, visit: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
    let list = |key| texts(json::member(raw, key).unwrap_or_default());
    let verbs = list("verbs");
    let groups = list("apiGroups");
    let urls = list("nonResourceURLs");
    let mut resources: Vec<String> = Vec::new();
    for resource in list("resources") {
        // What is left says how much of a product can still be told.
        for group in groups.iter().take(*left) {
            resources.push(qualified(&resource, group));
        }
        if resources.len() > *left {
            break;
        }
    }
    resources.extend(urls);
    for resource in &resources {
        for verb in &verbs {
            if *left == 0 {
                return visit(Value::text(TOO_MANY));
            }
            *left -= 1;
            if visit(Value::text(format!("{verb} {resource}"))) {
                return true;
            }
        }
    }
    false
}

/// As kubectl writes it: the resource alone in the core group, else `resource.group`.
fn qualified(resource: &str, group: &str) -> String {
    if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    }
}

fn texts(raw: &str) -> Vec<String> {
    let mut texts = Vec::new();
    Value::any(raw, &mut |value| {
        texts.extend(value.into_text().map(Cow::into_owned));
        texts.len() > GRANTS_MAX
    });
    texts
}
