//! What the engine keeps of an event that matched a rule: all that people may be shown of it,
//! small, because windows hold many. Callers act more than once, so what is known of a caller is
//! shared.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet, HashTable};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::event::{Act, CredentialFacts, Event, Facts, OriginFacts, PrincipalFacts};

/// How many callers an observer remembers; when there are more it starts anew.
const CALLERS_MAX: usize = 4_096;

/// One event that matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    caller: Arc<Caller>,
    act: Act,
    request: u128,
}

/// Who acted, with what and from where.
#[derive(Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Caller {
    cluster: Arc<str>,
    principal: Arc<PrincipalFacts>,
    credential: Option<Arc<CredentialFacts>>,
    origin: Arc<OriginFacts>,
}

/// The callers of late. A memo: what it gives depends on the event alone.
#[derive(Default)]
pub(super) struct Callers {
    known: HashTable<(Box<[u8]>, Arc<Caller>)>,
    bytes: Vec<u8>,
    /// Where the texts of an act are put together.
    texts: String,
}

/// A field of an event that a trace holds, and how it is read.
type Held = (&'static str, fn(&Trace) -> Option<&str>);

/// The fields that need not travel with a hit.
const HELD: [Held; 15] = [
    ("cluster", |trace| Some(&trace.caller.cluster)),
    ("principal", |trace| Some(&trace.caller.principal.name)),
    ("principal.kind", |trace| Some(trace.caller.principal.kind)),
    ("impersonator", |trace| {
        trace.caller.principal.impersonator.as_deref()
    }),
    ("credential.id", |trace| {
        Some(&trace.caller.credential.as_ref()?.id)
    }),
    ("origin.ip", |trace| trace.caller.origin.ip.as_deref()),
    ("origin.scope", |trace| Some(trace.caller.origin.scope)),
    ("client", |trace| Some(&trace.caller.origin.client)),
    ("userAgent", |trace| Some(&trace.caller.origin.user_agent)),
    ("verb", |trace| Some(trace.act.verb())),
    ("objectRef.resource", |trace| trace.act.resource()),
    ("objectRef.subresource", |trace| trace.act.subresource()),
    ("objectRef.namespace", |trace| trace.act.namespace()),
    ("objectRef.name", |trace| trace.act.name()),
    ("requestURI", |trace| Some(trace.act.uri())),
];

impl Trace {
    pub(super) fn of(event: &Event<'_>, request: u128, callers: &mut Callers) -> Self {
        Self {
            request,
            caller: callers.caller(event),
            act: Act::of(event, &mut callers.texts),
        }
    }

    /// Whether a field can be read from a trace.
    pub(super) fn holds(field: &str) -> bool {
        HELD.iter().any(|(name, _)| *name == field)
    }

    /// The value of a field that a trace [`holds`](Self::holds), as people may see it.
    pub(super) fn shown(&self, field: &str) -> Option<&str> {
        let (_, read) = HELD.iter().find(|(name, _)| *name == field)?;
        read(self).filter(|value| !value.is_empty())
    }

    /// Which request it is of.
    pub(super) const fn request(&self) -> u128 {
        self.request
    }

    /// When its request was received, as far as its event says.
    pub(super) const fn time(&self) -> crate::units::Time {
        self.act.time()
    }

    /// All of it, for people.
    pub(super) fn facts(&self) -> Facts {
        Facts {
            cluster: Arc::clone(&self.caller.cluster),
            principal: Arc::clone(&self.caller.principal),
            credential: self.caller.credential.clone(),
            origin: Arc::clone(&self.caller.origin),
            target: self.act.target(),
            evidence: self.act.evidence(),
        }
    }
}

/// Traces read back from where they were kept, each and its caller once, as they were before.
#[derive(Default)]
pub(super) struct Shared {
    callers: HashSet<Arc<Caller>>,
    traces: HashMap<u128, Arc<Trace>>,
}

impl Shared {
    /// Puts what was read before in the place of the same read again.
    pub(super) fn share(&mut self, trace: &mut Arc<Trace>) {
        if let Some(known) = self.traces.get(&trace.request)
            && known == trace
        {
            *trace = Arc::clone(known);
            return;
        }
        if let Some(trace) = Arc::get_mut(trace) {
            let caller = self.callers.get_or_insert_with(&trace.caller, Arc::clone);
            trace.caller = Arc::clone(caller);
        }
        self.traces.insert(trace.request, Arc::clone(trace));
    }
}

impl Callers {
    fn caller(&mut self, event: &Event<'_>) -> Arc<Caller> {
        self.bytes.clear();
        let parts = [
            event.context().cluster.as_str(),
            event.credential_kind().unwrap_or_default(),
        ];
        let slots = Facts::CALLER.map(|slot| event.slots().raw(slot));
        for part in parts.into_iter().chain(slots) {
            self.bytes.extend((part.len() as u32).to_le_bytes());
            self.bytes.extend(part.as_bytes());
        }
        let bytes = self.bytes.as_slice();
        let hash = xxh3_64(bytes);
        if let Some((_, caller)) = self.known.find(hash, |(known, _)| **known == *bytes) {
            return Arc::clone(caller);
        }
        let caller = Arc::new(Caller {
            cluster: event.context().cluster.as_str().into(),
            principal: Arc::new(PrincipalFacts::of(event)),
            credential: CredentialFacts::of(event).map(Arc::new),
            origin: Arc::new(OriginFacts::of(event)),
        });
        if self.known.len() >= CALLERS_MAX {
            self.known.clear();
        }
        let entry = (Box::from(bytes), Arc::clone(&caller));
        self.known
            .insert_unique(hash, entry, |(known, _)| xxh3_64(known));
        caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Context, Field, Slot, Slots};

    fn slots(user: &str) -> Slots<'_> {
        let mut slots = Slots::default();
        for (slot, raw) in [
            (Slot::UserName, user),
            (
                Slot::UserExtra,
                r#"{"authentication.kubernetes.io/credential-id":["JTI=7"]}"#,
            ),
            (Slot::SourceIps, r#"["10.0.0.9"]"#),
            (Slot::UserAgent, r#""curl/8""#),
            (Slot::Verb, r#""get""#),
            (Slot::Resource, r#""pods""#),
            (Slot::Subresource, r#""log""#),
            (Slot::Namespace, r#""shop""#),
            (Slot::Name, r#""api""#),
            (Slot::RequestUri, r#""/api/v1/pods""#),
            (Slot::ImpersonatedName, r#""alice""#),
        ] {
            slots.set(slot, raw);
        }
        slots
    }

    #[test]
    fn holds_what_the_fields_say() {
        let context = Context {
            cluster: "east".to_owned(),
            ..Context::default()
        };
        let event = Event::new(slots(r#""bob""#), "{}", &context);
        let mut callers = Callers::default();
        for _ in 0..2 {
            let trace = Trace::of(&event, 7, &mut callers);
            for (name, _) in HELD {
                let field = Field::parse(name).unwrap();
                assert_eq!(field.name(), name);
                assert_eq!(
                    trace.shown(name).map(str::to_owned),
                    event.first(&field).map(String::from)
                );
                assert!(trace.shown(name).is_some(), "{name}");
            }
            assert_eq!(trace.facts(), Facts::of(&event));
        }
        assert!(!Trace::holds("pod.privileged"));
    }

    #[test]
    fn callers_are_shared_and_bounded() {
        let context = Context::default();
        let mut callers = Callers::default();
        let names: Vec<String> = (0..2 * CALLERS_MAX)
            .map(|n| format!("\"user-{n}\""))
            .collect();
        for name in &names {
            let event = Event::new(slots(name), "{}", &context);
            let (one, other) = (callers.caller(&event), callers.caller(&event));
            assert!(Arc::ptr_eq(&one, &other));
            assert_eq!(
                one.principal.impersonator.as_deref(),
                Some(name.trim_matches('"'))
            );
        }
        assert!(callers.known.len() <= CALLERS_MAX);
    }
}
