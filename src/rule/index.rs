//! Which rules an event matches, found without asking most rules.
//!
//! Events repeat themselves: a few thousand combinations of verb, resource, namespace and code
//! make up nearly all traffic, and as many combinations of caller, credential, client and address.
//! A [`Matcher`] remembers for each combination of the first kind ("what") the truth of all tests
//! that depend on nothing else and the rules that these do not rule out; for each of the second
//! kind ("who") the truth of tests asked so far; and for each pair of the two how far each rule
//! got: ruled out, met, or waiting for a test of something else. Only those are asked for each
//! event, once an event. All memories are bounded, and keyed by the raw bytes themselves, so that
//! two combinations are never taken for one another.

use std::sync::Arc;

use hashbrown::HashMap;
use ipnet::IpNet;

use super::{
    RuleSet,
    logic::Resume,
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
const WHO: [Slot; 10] = [
    Slot::UserName,
    Slot::UserUid,
    Slot::UserGroups,
    Slot::UserExtra,
    Slot::ImpersonatedName,
    Slot::ImpersonatedUid,
    Slot::ImpersonatedGroups,
    Slot::ImpersonatedExtra,
    Slot::UserAgent,
    Slot::SourceIps,
];

/// How many combinations of a kind are remembered; when it is full it starts anew.
const REMEMBERED_MAX: usize = 8_192;
/// How many pairs of the two kinds are remembered.
const PAIRS_MAX: usize = 2 * REMEMBERED_MAX;
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
    /// The rules that it does not rule out, ascending, and how far it takes them.
    open: Vec<Open>,
    /// Whether one of them asks anything about "who".
    asks_who: bool,
}

/// A rule that a pair of combinations leaves open, and how far it was evaluated.
type Open = (u32, Resume);

/// A bounded memory of combinations, each with a number that is its own until the memory starts
/// anew.
#[derive(Debug)]
struct Memory<T> {
    numbers: HashMap<Vec<u8>, u32>,
    entries: Vec<T>,
}

impl<T> Memory<T> {
    fn new() -> Self {
        Self {
            numbers: HashMap::new(),
            entries: Vec::new(),
        }
    }

    fn number(&self, key: &[u8]) -> Option<u32> {
        self.numbers.get(key).copied()
    }

    /// Whether one more would be too many.
    fn is_full(&self) -> bool {
        self.entries.len() >= REMEMBERED_MAX
    }

    fn clear(&mut self) {
        self.numbers.clear();
        self.entries.clear();
    }

    /// Adds an entry; one whose key is too long is not found again.
    fn add(&mut self, key: &[u8], entry: T) -> u32 {
        let number = self.entries.len() as u32;
        self.entries.push(entry);
        if key.len() <= KEY_BYTES_MAX {
            self.numbers.insert(key.to_vec(), number);
        }
        number
    }
}

/// Tells which rules an event matches. One for each worker thread; the answer depends on the event
/// alone, never on what was asked before.
#[derive(Debug)]
pub struct Matcher {
    set: Arc<RuleSet>,
    what: Memory<What>,
    who: Memory<Asked>,
    /// What a pair of the two leaves open.
    pairs: HashMap<(u32, u32), Vec<Open>>,
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
            pairs: HashMap::new(),
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
        let what = self.what_number(event);
        let what_known = &self.what.entries[what as usize];
        if what_known.open.is_empty() {
            return &self.matched;
        }
        let who = if what_known.asks_who {
            Some(self.who_number(event))
        } else {
            None
        };
        let Self {
            set,
            pairs,
            free,
            matched,
            ..
        } = self;
        // Looking "who" up may have made all memories start anew, but not that of "what".
        let what_known = &self.what.entries[what as usize];
        let mut caller = who.map(|who| &mut self.who.entries[who as usize]);
        let open = match (who, &mut caller) {
            (Some(who), Some(caller)) => {
                if pairs.len() >= PAIRS_MAX && !pairs.contains_key(&(what, who)) {
                    pairs.clear();
                }
                pairs
                    .entry((what, who))
                    .or_insert_with(|| settle(set, what_known, caller, event))
            }
            _ => &what_known.open,
        };
        free.known.clear();
        free.truths.clear();
        for &(rule, at) in open {
            let holds = set.rules[rule as usize].program.truth(at, |id| {
                let Home { group, bit } = set.plan.homes[id as usize];
                let ask = || set.predicates[id as usize].holds(event);
                match group {
                    FieldGroup::What => what_known.truths.get(bit),
                    FieldGroup::Who => caller.as_mut().map_or_else(ask, |c| c.ask(bit, ask)),
                    FieldGroup::Free => free.ask(bit, ask),
                }
            });
            if holds {
                matched.push(rule as usize);
            }
        }
        &self.matched
    }

    fn what_number(&mut self, event: &Event<'_>) -> u32 {
        combination(&mut self.key, event, &WHAT);
        self.key.push(event.outcome() as u8);
        self.what.number(&self.key).unwrap_or_else(|| {
            if self.what.is_full() {
                self.what.clear();
                self.pairs.clear();
            }
            self.what.add(&self.key, look_up_what(&self.set, event))
        })
    }

    fn who_number(&mut self, event: &Event<'_>) -> u32 {
        let trusted = &event.context().trusted_proxies;
        if self.proxies != *trusted {
            self.who.clear();
            self.pairs.clear();
            self.proxies.clone_from(trusted);
        }
        combination(&mut self.key, event, &WHO);
        self.who.number(&self.key).unwrap_or_else(|| {
            if self.who.is_full() {
                self.who.clear();
                self.pairs.clear();
            }
            self.who.add(&self.key, Asked::new(self.set.plan.who.len()))
        })
    }
}

/// Evaluates the candidates as far as "what" and "who" tell.
fn settle(set: &RuleSet, what: &What, caller: &mut Asked, event: &Event<'_>) -> Vec<Open> {
    let settled = what.open.iter().map(|&(rule, at)| {
        let at = set.rules[rule as usize].program.settle(at, |id| {
            let Home { group, bit } = set.plan.homes[id as usize];
            match group {
                FieldGroup::What => Some(what.truths.get(bit)),
                FieldGroup::Who => {
                    Some(caller.ask(bit, || set.predicates[id as usize].holds(event)))
                }
                FieldGroup::Free => None,
            }
        });
        (rule, at)
    });
    settled.filter(|(_, at)| !at.is_rejected()).collect()
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
    let mut open = Vec::new();
    let mut asks_who = false;
    for (place, rule) in set.rules.iter().enumerate() {
        let mut rule_asks_who = false;
        let possible = rule.runs()
            && rule.program.possible(&mut reached, |id| {
                let Home { group, bit } = plan.homes[id as usize];
                rule_asks_who |= group == FieldGroup::Who;
                (group == FieldGroup::What).then(|| truths.get(bit))
            });
        if possible {
            asks_who |= rule_asks_who;
            let at = rule.program.settle(rule.program.start(), |id| {
                let Home { group, bit } = plan.homes[id as usize];
                (group == FieldGroup::What).then(|| truths.get(bit))
            });
            open.push((place as u32, at));
        }
    }
    What {
        truths,
        open,
        asks_who,
    }
}
