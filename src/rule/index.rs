//! Which rules an event matches, found without asking most rules.
//!
//! Events repeat themselves: a few thousand combinations of verb, resource, namespace and code
//! make up nearly all traffic, and as many combinations of caller, client and address. A
//! [`Matcher`] remembers for each combination of the first kind ("what") the truth of all tests
//! that depend on nothing else and the rules that these do not rule out, and for each of the
//! second kind ("who") the truth of tests asked so far. Both memories are bounded and keyed by
//! the raw bytes themselves, so two combinations are never taken for one another. Any other test
//! is asked when a rule still needs it, once an event.

use std::sync::Arc;

use hashbrown::HashMap;
use ipnet::IpNet;

use super::{
    RuleSet,
    pattern::fold,
    predicate::{Place, Predicate, Source, Test},
};
use crate::event::{Event, Field, FieldGroup, Slot};

/// The slots that "what" depends on; with the outcome they are the key of its memory.
const WHAT: [Slot; 8] = [
    Slot::Verb,
    Slot::Resource,
    Slot::Subresource,
    Slot::ApiGroup,
    Slot::Namespace,
    Slot::StatusCode,
    Slot::Level,
    Slot::Stage,
];

/// The slots that "who" depends on.
const WHO: [Slot; 6] = [
    Slot::UserName,
    Slot::UserGroups,
    Slot::ImpersonatedName,
    Slot::ImpersonatedGroups,
    Slot::UserAgent,
    Slot::SourceIps,
];

/// How many combinations of a kind are remembered; when it is full it starts anew.
const REMEMBERED_MAX: usize = 8_192;
/// Longer combinations are not remembered: nobody but an attacker repeats them.
const KEY_BYTES_MAX: usize = 4_096;

/// What all matchers of a rule set share: where each test's truth is kept.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// For each predicate id its home.
    homes: Vec<Home>,
    /// Predicate ids by group.
    what: Vec<u32>,
    who: Vec<u32>,
    free: Vec<u32>,
    /// "What" fields whose whole texts are looked up at once: folded text → bits in the entry.
    lookups: Vec<(Field, HashMap<String, Vec<u32>>)>,
    /// Places in `what` that no lookup answers.
    single: Vec<u32>,
}

/// A group and the bit within it.
#[derive(Clone, Copy, Debug)]
struct Home {
    group: FieldGroup,
    bit: u32,
}

impl Plan {
    pub(super) fn new(specs: &[Predicate]) -> Self {
        let mut plan = Self::default();
        for (id, spec) in specs.iter().enumerate() {
            let group = spec.group();
            let list = match group {
                FieldGroup::What => &mut plan.what,
                FieldGroup::Who => &mut plan.who,
                FieldGroup::Free => &mut plan.free,
            };
            let bit = list.len() as u32;
            list.push(id as u32);
            plan.homes.push(Home { group, bit });
            if group == FieldGroup::What {
                plan.place_what(spec, bit);
            }
        }
        plan
    }

    fn place_what(&mut self, spec: &Predicate, bit: u32) {
        let (
            Source::Field(field),
            Test::Text {
                place: Place::Whole,
                texts,
                cased: false,
            },
        ) = (&spec.source, &spec.test)
        else {
            return self.single.push(bit);
        };
        let known = self.lookups.iter().position(|(other, _)| other == field);
        let place = known.unwrap_or_else(|| {
            self.lookups.push((field.clone(), HashMap::new()));
            self.lookups.len() - 1
        });
        for text in texts {
            self.lookups[place]
                .1
                .entry(text.clone())
                .or_default()
                .push(bit);
        }
    }
}

/// Truths by bit.
#[derive(Clone, Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(bits: usize) -> Self {
        Self(vec![0; bits.div_ceil(64)])
    }

    fn get(&self, bit: u32) -> bool {
        self.0[bit as usize / 64] >> (bit % 64) & 1 == 1
    }

    fn set(&mut self, bit: u32) {
        self.0[bit as usize / 64] |= 1 << (bit % 64);
    }

    fn clear(&mut self) {
        self.0.fill(0);
    }
}

/// Truths of tests that are asked only when needed.
#[derive(Debug)]
struct Asked {
    known: Bits,
    truths: Bits,
}

impl Asked {
    fn new(bits: usize) -> Self {
        Self {
            known: Bits::new(bits),
            truths: Bits::new(bits),
        }
    }

    fn ask(&mut self, bit: u32, ask: impl FnOnce() -> bool) -> bool {
        if !self.known.get(bit) {
            self.known.set(bit);
            if ask() {
                self.truths.set(bit);
            }
        }
        self.truths.get(bit)
    }
}

/// What follows from a "what" combination.
#[derive(Debug, Default)]
struct What {
    truths: Bits,
    /// The rules that it does not rule out, ascending.
    candidates: Vec<u32>,
}

/// A bounded memory of combinations.
#[derive(Debug)]
struct Memory<T> {
    entries: HashMap<Vec<u8>, T>,
    /// Holds the answer for a combination that is too long to be remembered.
    unkept: Option<T>,
}

impl<T> Memory<T> {
    fn new() -> Self {
        Self {
            entries: HashMap::new(),
            unkept: None,
        }
    }

    fn get(&mut self, key: &[u8], make: impl FnOnce() -> T) -> &mut T {
        if key.len() > KEY_BYTES_MAX {
            return self.unkept.insert(make());
        }
        if self.entries.len() >= REMEMBERED_MAX && !self.entries.contains_key(key) {
            self.entries.clear();
        }
        self.entries.entry_ref(key).or_insert_with(make)
    }
}

/// Tells which rules an event matches. One for each worker thread; the answer depends on the event
/// alone, never on what was asked before.
#[derive(Debug)]
pub struct Matcher {
    set: Arc<RuleSet>,
    what: Memory<What>,
    who: Memory<Asked>,
    free: Asked,
    /// Whose word `sourceIPs` was read by, for what is remembered about callers.
    proxies: Vec<IpNet>,
    key: Vec<u8>,
    matched: Vec<usize>,
}

impl Matcher {
    /// A matcher that remembers nothing yet.
    pub fn new(set: Arc<RuleSet>) -> Self {
        let free = Asked::new(set.plan.free.len());
        Self {
            set,
            what: Memory::new(),
            who: Memory::new(),
            free,
            proxies: Vec::new(),
            key: Vec::new(),
            matched: Vec::new(),
        }
    }

    /// The rules, for whoever has the places that [`Matcher::matches`] gives.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.set
    }

    /// The places in [`RuleSet::rules`] of the rules that the event matches, ascending.
    pub fn matches(&mut self, event: &Event<'_>) -> &[usize] {
        self.matched.clear();
        let Self {
            set,
            what,
            who,
            free,
            proxies,
            key,
            matched,
        } = self;
        combination(key, event, &WHAT);
        key.push(event.outcome() as u8);
        let what = &*what.get(key, || look_up_what(set, event));
        if what.candidates.is_empty() {
            return matched;
        }
        free.known.clear();
        free.truths.clear();
        let mut caller: Option<&mut Asked> = None;
        let mut who = Some(who);
        for &rule in &what.candidates {
            let holds = set.rules[rule as usize].program.truth(|id| {
                let Home { group, bit } = set.plan.homes[id as usize];
                let ask = || set.predicates[id as usize].holds(event);
                match group {
                    FieldGroup::What => what.truths.get(bit),
                    FieldGroup::Free => free.ask(bit, ask),
                    FieldGroup::Who => {
                        if let Some(who) = who.take() {
                            let trusted = &event.context().trusted_proxies;
                            if proxies != trusted {
                                who.entries.clear();
                                proxies.clone_from(trusted);
                            }
                            combination(key, event, &WHO);
                            caller = Some(who.get(key, || Asked::new(set.plan.who.len())));
                        }
                        caller.as_mut().is_some_and(|caller| caller.ask(bit, ask))
                    }
                }
            });
            if holds {
                matched.push(rule as usize);
            }
        }
        matched
    }
}

/// Writes the raw bytes of slots into `key`. No byte of UTF-8 is 255, so it separates them.
fn combination(key: &mut Vec<u8>, event: &Event<'_>, slots: &[Slot]) {
    key.clear();
    for slot in slots {
        key.extend_from_slice(event.slots().raw(*slot).as_bytes());
        key.push(255);
    }
}

fn look_up_what(set: &RuleSet, event: &Event<'_>) -> What {
    let plan = &set.plan;
    let mut truths = Bits::new(plan.what.len());
    for (field, texts) in &plan.lookups {
        event.any(field, &mut |value| {
            if let Some(text) = value.into_text()
                && let Some(bits) = texts.get(&*fold(&text))
            {
                for bit in bits {
                    truths.set(*bit);
                }
            }
            false
        });
    }
    for &bit in &plan.single {
        if set.predicates[plan.what[bit as usize] as usize].holds(event) {
            truths.set(bit);
        }
    }
    let mut reached = Vec::new();
    let candidates = (0..set.rules.len() as u32)
        .filter(|rule| {
            set.rules[*rule as usize]
                .program
                .possible(&mut reached, |id| {
                    let Home { group, bit } = plan.homes[id as usize];
                    (group == FieldGroup::What).then(|| truths.get(bit))
                })
        })
        .collect();
    What { truths, candidates }
}
