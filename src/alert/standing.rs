//! The JSON form of an alert together with how it stands: what people ask for and what is kept of
//! alerts that are over.

use serde_json::{Map, Value, json};

use super::{
    Alert,
    dispatch::{Hidden, Standing},
    to_json, to_visible,
};

/// The contract's object with more fields at its end, on one line.
pub fn with_standing(alert: &Alert, standing: &Standing) -> String {
    let by = |wanted: fn(&Hidden) -> Option<&str>| -> Vec<&str> {
        standing.hidden.iter().filter_map(wanted).collect()
    };
    let silenced_by = by(|hidden| match hidden {
        Hidden::Silenced(id) => Some(id),
        Hidden::Inhibited(_) => None,
    });
    let inhibited_by = by(|hidden| match hidden {
        Hidden::Inhibited(id) => Some(id),
        Hidden::Silenced(_) => None,
    });
    let labels = standing.labels.iter();
    let labels: Map<String, Value> = labels
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let receivers = standing.receivers.iter();
    let receivers: Vec<Value> = receivers
        .map(|told| json!({"name": told.name, "told_at": told.at.map(|at| at.to_string())}))
        .collect();
    let acked = standing
        .ack
        .as_ref()
        .map(|ack| json!({"by": ack.by, "at": ack.at.to_string(), "comment": ack.comment}));
    let more = json!({
        "state": standing.state(),
        "labels": labels,
        "silencedBy": silenced_by,
        "inhibitedBy": inhibited_by,
        "acked": acked,
        "receivers": receivers,
    });
    let line = to_json(alert, 0);
    let line = line.strip_suffix('}').unwrap_or(&line);
    format!("{line},{}", &to_visible(&more)[1..])
}
