//! The words that every message uses: who, with what, what, from where, when.
//!
//! Each answer is a [`Phrase`] that keeps our words apart from values that a stranger may have
//! chosen, so that whoever shows it can make the latter harmless in its own way.

use super::{Alert, Several};
use crate::{event::PrincipalFacts, units::Time};

/// One piece of a phrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Our own words; no need to escape them.
    Ours(String),
    /// A value from the event; never to be shown raw.
    Theirs(String),
    /// A command with such values in it, quoted for a shell: as raw as those, and never to be cut.
    Command(String),
}

/// A piece of a sentence, of our words and their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phrase(pub Vec<Piece>);

impl Phrase {
    /// Goes on in our own words.
    pub(super) fn ours(mut self, text: impl Into<String>) -> Self {
        self.0.push(Piece::Ours(text.into()));
        self
    }

    /// Goes on with a value.
    pub(super) fn theirs(mut self, text: impl Into<String>) -> Self {
        self.0.push(Piece::Theirs(text.into()));
        self
    }

    /// Goes on with a command.
    pub(super) fn command(mut self, text: impl Into<String>) -> Self {
        self.0.push(Piece::Command(text.into()));
        self
    }

    /// Goes on with all of another.
    pub(super) fn with(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// `12 addresses: a, b and 10 more`; the value alone when there is one.
    fn several(self, several: &Several, nouns: &str, shown_max: usize) -> Self {
        if let [one] = several.first() {
            return self.theirs(&**one);
        }
        let many = several.distinct() == Several::DISTINCT_MAX;
        let more = if many { " or more" } else { "" };
        let mut phrase = self.ours(format!("{}{more} {nouns}: ", several.distinct()));
        for (n, value) in several.first().iter().take(shown_max).enumerate() {
            phrase = if n > 0 { phrase.ours(", ") } else { phrase };
            phrase = phrase.theirs(&**value);
        }
        let left = several
            .distinct()
            .saturating_sub(shown_max.min(several.first().len()));
        if left > 0 {
            phrase.ours(format!(" and {left} more"))
        } else {
            phrase
        }
    }
}

/// How many of several values a phrase names.
const SHOWN_MAX: usize = 4;

/// Who did it: the real caller first, then whom the caller acted as.
pub fn who(alert: &Alert) -> Phrase {
    let Some(principal) = &alert.shared.principal else {
        return Phrase::default().several(&alert.principals, "principals", SHOWN_MAX);
    };
    let kind = match principal.kind {
        "serviceaccount" => "service account",
        "control-plane" => "control plane",
        kind => kind,
    };
    match &principal.impersonator {
        Some(real) => Phrase::default()
            .theirs(&**real)
            .ours(" acting as ")
            .theirs(&*principal.name)
            .ours(format!(" ({kind})")),
        None if principal.kind == "unauthenticated" => {
            Phrase::default().ours("nobody known: no valid credential was shown")
        }
        // Several impersonators, or only some requests under impersonation.
        None if alert.principals.distinct() > 1 => {
            let phrase = Phrase::default()
                .theirs(&*principal.name)
                .ours(format!(" ({kind}); "));
            phrase.several(&alert.principals, "ways", SHOWN_MAX)
        }
        None => Phrase::default()
            .theirs(&*principal.name)
            .ours(format!(" ({kind})")),
    }
}

/// The groups worth a look: those that not every caller of the same kind has.
pub fn groups(alert: &Alert) -> Option<Phrase> {
    let groups = &alert.shared.principal.as_ref()?.groups;
    let telling = |group: &&str| {
        !matches!(
            *group,
            "system:authenticated" | "system:unauthenticated" | "system:nodes"
        ) && !group.starts_with("system:serviceaccounts")
    };
    let mut phrase = Phrase::default();
    for (n, group) in groups
        .iter()
        .map(|group| &**group)
        .filter(telling)
        .take(SHOWN_MAX)
        .enumerate()
    {
        phrase = if n > 0 { phrase.ours(", ") } else { phrase };
        phrase = phrase.theirs(group);
    }
    (!phrase.0.is_empty()).then_some(phrase)
}

/// With which credential, when all requests used the same, and who minted it.
pub fn credential(alert: &Alert) -> Option<Phrase> {
    let credential = alert.shared.credential.as_ref()?;
    let mut phrase = Phrase::default()
        .ours(format!("{} ", credential.kind))
        .theirs(&*credential.id);
    let mut next = credential.minted.as_deref();
    let mut lead = ", minted by ";
    while let Some(minting) = next {
        phrase = phrase.ours(lead).theirs(&*minting.by);
        // Of a pod's own token its node is enough to know.
        let is_of_pod = minting.by.starts_with("system:node:");
        if let (Some(from), false) = (&minting.from, is_of_pod) {
            phrase = phrase.ours(" from ").theirs(&**from);
        }
        phrase = phrase.ours(format!(" at {}", seconds(minting.at)));
        if !is_of_pod {
            phrase = phrase
                .ours(" (audit id ")
                .theirs(&*minting.audit_id)
                .ours(")");
        }
        next = minting.earlier.as_deref();
        lead = " with a token that was minted by ";
    }
    Some(phrase)
}

/// A moment without its fraction of a second.
fn seconds(at: Time) -> String {
    let text = at.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

/// What was done to what.
pub fn what(alert: &Alert) -> Phrase {
    let target = &alert.shared.target;
    let mut phrase = match &target.verb {
        Some(verb) => Phrase::default().theirs(&**verb).ours(" "),
        None => Phrase::default().ours("several verbs on "),
    };
    phrase = match alert.resources.distinct() {
        0 => path(phrase, alert),
        _ => phrase.several(&alert.resources, "resources", SHOWN_MAX),
    };
    if let Some(name) = &target.name {
        phrase = phrase.ours(" ").theirs(&**name);
    }
    match (&target.namespace, alert.namespaces.distinct()) {
        (Some(namespace), _) => phrase.ours(" in namespace ").theirs(&**namespace),
        (None, 0) => phrase,
        (None, 1) => phrase.ours(" in the cluster and in namespace ").several(
            &alert.namespaces,
            "namespaces",
            SHOWN_MAX,
        ),
        (None, _) => phrase
            .ours(" in ")
            .several(&alert.namespaces, "namespaces", SHOWN_MAX),
    }
}

/// What a request without a resource names: its path.
fn path(phrase: Phrase, alert: &Alert) -> Phrase {
    let mut uris = alert.evidence.iter().map(|facts| &*facts.evidence.uri);
    let Some(first) = uris.next() else {
        return phrase;
    };
    let phrase = phrase.theirs(first);
    if uris.all(|uri| uri == first) {
        phrase
    } else {
        phrase.ours(" and other paths")
    }
}

/// From where, and with which client as far as the caller told the truth.
pub fn from(alert: &Alert) -> Phrase {
    let origin = &alert.shared.origin;
    let mut phrase = match (&origin.ip, alert.origins.distinct()) {
        (Some(ip), _) => Phrase::default().theirs(&**ip),
        (None, 0) => Phrase::default().ours("no recorded address"),
        (None, _) => Phrase::default().several(&alert.origins, "addresses", SHOWN_MAX),
    };
    if let Some(scope) = origin.scope.filter(|scope| *scope != "unknown") {
        phrase = phrase.ours(format!(" ({scope})"));
    }
    match (&origin.user_agent, &origin.client) {
        (Some(agent), _) if !agent.is_empty() => phrase.ours(" with ").theirs(&**agent),
        (Some(_), _) => phrase.ours(" with no user agent"),
        (None, Some(client)) => phrase.ours(" with ").theirs(&**client),
        (None, None) => phrase.ours(" with several clients"),
    }
}

/// When: `2026-11-23 11:05:00 to 11:10:30 UTC`.
pub fn when(alert: &Alert) -> String {
    between(alert.starts_at, alert.last_seen_at)
}

/// A stretch of time, with the date once where it is the same: `2026-11-23 11:05:00 UTC` when it
/// is shorter than a second.
pub fn between(from: Time, to: Time) -> String {
    let (from, to) = (from.to_string(), to.to_string());
    let parts = |text: &str| Some((text.get(..10)?.to_owned(), text.get(11..19)?.to_owned()));
    match (parts(&from), parts(&to)) {
        (Some((day, start)), Some((last_day, end))) if day == last_day && start == end => {
            format!("{day} {start} UTC")
        }
        (Some((day, start)), Some((last_day, end))) if day == last_day => {
            format!("{day} {start} to {end} UTC")
        }
        (Some((day, start)), Some((last_day, end))) => {
            format!("{day} {start} to {last_day} {end} UTC")
        }
        _ => "an unknown time".to_owned(),
    }
}

/// How many requests: `1 request`, `37 requests`.
pub fn requests(count: u64) -> String {
    format!(
        "{count} {}",
        if count == 1 { "request" } else { "requests" }
    )
}

/// Short form of a principal, for a line: its name, or what stands in for it.
pub fn short_name(principal: &PrincipalFacts) -> &str {
    if principal.name.is_empty() {
        principal.kind
    } else {
        &principal.name
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{alert::samples, event::Facts};

    /// An alert about these requests, one a second, each changed by its number.
    fn alert(requests: i64, change: impl Fn(i64, &mut Facts)) -> Arc<Alert> {
        let mut detection = samples::detection("key", 0..requests);
        for (n, facts) in (0..).zip(&mut detection.evidence) {
            change(n, Arc::make_mut(facts));
        }
        samples::fired(detection)
    }

    fn said(phrase: &Phrase) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Ours(text) => text.clone(),
            Piece::Theirs(text) | Piece::Command(text) => format!("[{text}]"),
        };
        phrase.0.iter().map(text).collect()
    }

    #[test]
    fn names_the_real_and_the_effective_principal() {
        let acting = alert(2, |_, facts| {
            Arc::make_mut(&mut facts.principal).impersonator = Some("bob".into());
        });
        let expected = "[bob] acting as [system:serviceaccount:shop:web] (service account)";
        assert_eq!(said(&who(&acting)), expected);
        let some = alert(2, |n, facts| {
            Arc::make_mut(&mut facts.principal).impersonator = (n == 1).then(|| "bob".into());
        });
        let name = "system:serviceaccount:shop:web";
        let expected = format!("[{name}] (service account); 2 ways: [{name}], [{name} (by bob)]");
        assert_eq!(said(&who(&some)), expected);
    }

    #[test]
    fn names_those_who_have_no_name() {
        let unknown = alert(3, |n, facts| {
            Arc::make_mut(&mut facts.principal).name = "".into();
            Arc::make_mut(&mut facts.principal).kind = "unauthenticated";
            Arc::make_mut(&mut facts.principal).groups.clear();
            Arc::make_mut(&mut facts.origin).ip = Some(format!("198.51.100.{n}").into());
        });
        assert_eq!(
            said(&who(&unknown)),
            "nobody known: no valid credential was shown"
        );
        let addresses = "3 addresses: [198.51.100.0], [198.51.100.1], [198.51.100.2] (public)";
        assert!(
            said(&from(&unknown)).starts_with(addresses),
            "{}",
            said(&from(&unknown))
        );
    }

    #[test]
    fn shows_only_groups_that_tell_something() {
        assert_eq!(groups(&alert(1, |_, _| {})), None);
        let admin = alert(1, |_, facts| {
            Arc::make_mut(&mut facts.principal)
                .groups
                .push("system:masters".into());
        });
        assert_eq!(said(&groups(&admin).unwrap()), "[system:masters]");
    }

    #[test]
    fn says_what_was_done() {
        let exec = alert(1, |_, facts| {
            facts.target.resource = Some("pods".into());
            facts.target.subresource = Some("exec".into());
        });
        assert_eq!(
            said(&what(&exec)),
            "[get] [pods/exec] [key-0] in namespace [payments]"
        );
        let paths = alert(2, |_, facts| {
            facts.target.resource = None;
            facts.target.namespace = None;
            facts.target.name = None;
        });
        let path = "[/api/v1/namespaces/payments/secrets/key-0]";
        assert_eq!(said(&what(&paths)), format!("[get] {path} and other paths"));
        let many = alert(20, |n, facts| {
            facts.target.verb = ["get", "list"][usize::from(n % 2 == 1)].into();
            facts.target.namespace = Some(format!("team-{n}").into());
        });
        let expected = "several verbs on [secrets] in 20 namespaces: [team-0], [team-1], [team-2], \
            [team-3] and 16 more";
        assert_eq!(said(&what(&many)), expected);
    }

    #[test]
    fn says_the_date_once() {
        let time = |text| Time::parse(text).unwrap();
        let (from, to) = (time("2026-11-23T23:59:59Z"), time("2026-11-24T00:00:01Z"));
        assert_eq!(between(from, from), "2026-11-23 23:59:59 UTC");
        assert_eq!(
            between(from, to),
            "2026-11-23 23:59:59 to 2026-11-24 00:00:01 UTC"
        );
    }
}
