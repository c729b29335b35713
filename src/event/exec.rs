//! The command of an exec, read from the request URI, where it stands at every audit level.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::{Event, Slot};

/// The decoded values of a query parameter, in order; `+` is a space, as in forms.
pub(super) fn query_values<'u>(uri: &'u str, name: &'u str) -> impl Iterator<Item = String> + 'u {
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    query.split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = percent_decode_str(key).decode_utf8_lossy();
        if key != name {
            return None;
        }
        let value = value.replace('+', " ");
        Some(percent_decode_str(&value).decode_utf8_lossy().into_owned())
    })
}

impl Event<'_> {
    /// The command that an exec runs, its words joined by spaces, wherever `command=` stands in
    /// the query and however it is encoded. `None` for other requests and for an empty command.
    pub fn exec_command(&self) -> Option<String> {
        let is_exec = self.slots().raw(Slot::Subresource) == "\"exec\"";
        let uri = self.text(Slot::RequestUri).unwrap_or(Cow::Borrowed(""));
        // The kubelet's own endpoints, reached through nodes/proxy, carry a command too.
        if !is_exec
            && !["/proxy/run/", "/proxy/exec/"]
                .iter()
                .any(|part| uri.contains(part))
        {
            return None;
        }
        let mut words: Vec<String> = query_values(&uri, "command").collect();
        if words.is_empty() {
            words = query_values(&uri, "cmd").collect();
        }
        (!words.is_empty()).then(|| words.join(" "))
    }
}
