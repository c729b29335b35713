//! Which rules an event matches, found without asking most rules.
//!
//! Events repeat themselves: a few thousand combinations of verb, resource, namespace and code
//! make up nearly all traffic, and as many combinations of caller, credential, client and address.
//! To the rules most of these are alike. So a [`Matcher`] remembers for each combination of the
//! first kind ("what") and of the second ("who") its *class*: the truth of all tests that depend
//! on nothing else. And it remembers for each pair of classes how far each rule got: ruled out,
//! met, or waiting for a test of something else. Only those are asked for each event, once an
//! event; a rule that a pair rules out costs nothing. All memories are bounded, and keyed by the
//! raw bytes themselves, so that two combinations are never taken for one another.

use std::sync::Arc;

use hashbrown::HashMap;
use ipnet::IpNet;

use super::{
    RuleSet,
    logic::Resume,
    pattern::fold,
    predicate::{Place, Predicate, Ready, Source, Test},
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

/// How many combinations of a kind, and how many bytes of them, are remembered; when there are
/// more the memory starts anew.
const REMEMBERED_MAX: usize = 8_192;
const REMEMBERED_BYTES_MAX: usize = 4 << 20;
/// How many pairs of classes are remembered.
const PAIRS_MAX: usize = 2 * REMEMBERED_MAX;
/// Longer combinations are not remembered: nobody but an attacker repeats them.
const KEY_BYTES_MAX: usize = 4_096;

/// What all matchers of a rule set share: where each test's truth is kept.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// For each predicate id its home.
    homes: Vec<Home>,
    what: Group,
    who: Group,
    free: Group,
}

/// The tests that depend on the same things; the place of each is its bit.
#[derive(Debug, Default)]
struct Group {
    /// Their predicate ids.
    ids: Vec<u32>,
    /// Fields whose whole texts are looked up at once: folded text → bits.
    lookups: Vec<(Field, HashMap<String, Vec<u32>>)>,
    /// The bits that no lookup answers.
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
            let tests = match group {
                FieldGroup::What => &mut plan.what,
                FieldGroup::Who => &mut plan.who,
                FieldGroup::Free => &mut plan.free,
            };
            let bit = tests.add(id as u32, spec);
            plan.homes.push(Home { group, bit });
        }
        plan
    }
}

impl Group {
    fn add(&mut self, id: u32, spec: &Predicate) -> u32 {
        let bit = self.ids.len() as u32;
        self.ids.push(id);
        if let Source::Field(field) = &spec.source
            && let Test::Text {
                place: Place::Whole,
                texts,
                cased: false,
            } = &spec.test
        {
            self.add_lookup(field, texts, bit);
        } else {
            self.single.push(bit);
        }
        bit
    }

    fn add_lookup(&mut self, field: &Field, texts: &[String], bit: u32) {
        let known = self.lookups.iter().position(|(other, _)| other == field);
        let place = known.unwrap_or_else(|| {
            self.lookups.push((field.clone(), HashMap::new()));
            self.lookups.len() - 1
        });
        let bits_of = &mut self.lookups[place].1;
        for text in texts {
            bits_of.entry(text.clone()).or_default().push(bit);
        }
    }

    /// The truth of all tests.
    fn truths(&self, predicates: &[Ready], event: &Event<'_>) -> Bits {
        let mut truths = Bits::new(self.ids.len());
        for (field, bits_of) in &self.lookups {
            event.any(field, &mut |value| {
                let text = value.into_text();
                let bits = text.and_then(|text| bits_of.get(&*fold(&text)));
                bits.into_iter().flatten().for_each(|bit| truths.set(*bit));
                false
            });
        }
        for &bit in &self.single {
            if predicates[self.ids[bit as usize] as usize].holds(event) {
                truths.set(bit);
            }
        }
        truths
    }
}

/// Truths by bit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
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

/// What follows from a class of "what" combinations.
#[derive(Debug)]
struct What {
    truths: Bits,
    /// The rules that it does not rule out, ascending, and how far it takes them.
    open: Vec<Open>,
    /// Whether one of them asks anything about "who".
    asks_who: bool,
}

/// A rule that a pair of classes leaves open, and how far it was evaluated.
type Open = (u32, Resume);

/// A bounded memory of combinations and of the classes that they fall into.
#[derive(Debug)]
struct Memory<T> {
    /// The class of each combination, and the combination's number.
    seen: HashMap<Box<[u8]>, (u32, u64)>,
    seen_bytes: usize,
    /// The number of the next combination; none is given twice, so 0 is that of none.
    next: u64,
    /// Classes by the truths that make them; their numbers stay until the memory starts anew.
    numbers: HashMap<Bits, u32>,
    classes: Vec<T>,
}

impl<T> Memory<T> {
    fn new() -> Self {
        Self {
            seen: HashMap::new(),
            seen_bytes: 0,
            next: 1,
            numbers: HashMap::new(),
            classes: Vec::new(),
        }
    }

    /// Whether one more combination could be too many.
    fn is_full(&self) -> bool {
        self.seen.len() >= REMEMBERED_MAX
            || self.seen_bytes >= REMEMBERED_BYTES_MAX
            || self.classes.len() >= REMEMBERED_MAX
    }

    fn clear(&mut self) {
        let next = self.next;
        *self = Self {
            next,
            ..Self::new()
        };
    }

    /// Remembers a combination, unless it is too long, and gives its class and number.
    fn add(
        &mut self,
        key: &[u8],
        truths: Bits,
        class: impl FnOnce(&Bits) -> T,
    ) -> (u32, Option<u64>) {
        let Self {
            numbers, classes, ..
        } = self;
        let place = if let Some(place) = numbers.get(&truths) {
            *place
        } else {
            let place = classes.len() as u32;
            classes.push(class(&truths));
            numbers.insert(truths, place);
            place
        };
        if key.len() > KEY_BYTES_MAX {
            return (place, None);
        }
        let number = self.next;
        self.next += 1;
        self.seen.insert(key.into(), (place, number));
        self.seen_bytes += key.len();
        (place, Some(number))
    }
}

/// Tells which rules an event matches. One for each worker thread; the answer depends on the event
/// alone, never on what was asked before.
#[derive(Debug)]
pub struct Matcher {
    set: Arc<RuleSet>,
    what: Memory<What>,
    who: Memory<Bits>,
    /// What a pair of classes leaves open.
    pairs: HashMap<(u32, u32), Box<[Open]>>,
    free: Asked,
    /// Whose word `sourceIPs` was read by, for what is remembered about callers.
    proxies: Vec<IpNet>,
    key: Vec<u8>,
    matched: Vec<usize>,
    latest: Likeness,
}

/// What the latest event has in common with others, by number: what depends on no more than the
/// fields of a group is the same for all events with the group's number. A number never comes to
/// mean something else. `None` for what was not asked, or is not remembered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Likeness {
    /// Verb, resource, namespace, outcome: the fields of [`FieldGroup::What`].
    pub what: Option<u64>,
    /// Caller, credential, client, address: the fields of [`FieldGroup::Who`].
    pub who: Option<u64>,
}

impl Matcher {
    /// A matcher that remembers nothing yet.
    pub fn new(set: Arc<RuleSet>) -> Self {
        let free = Asked::new(set.plan.free.ids.len());
        Self {
            set,
            what: Memory::new(),
            who: Memory::new(),
            pairs: HashMap::new(),
            free,
            proxies: Vec::new(),
            key: Vec::new(),
            matched: Vec::new(),
            latest: Likeness::default(),
        }
    }

    /// The rules, for whoever has the places that [`Matcher::matches`] gives.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.set
    }

    /// What [`Matcher::matches`] gave last.
    pub fn matched(&self) -> &[usize] {
        &self.matched
    }

    /// What the event that [`Matcher::matches`] saw last has in common with others.
    pub fn likeness(&self) -> Likeness {
        self.latest
    }

    /// The places in [`RuleSet::rules`] of the rules that the event matches, ascending.
    pub fn matches(&mut self, event: &Event<'_>) -> &[usize] {
        self.matched.clear();
        self.latest = Likeness::default();
        let what = self.what_class(event);
        let what_known = &self.what.classes[what as usize];
        if what_known.open.is_empty() {
            return &self.matched;
        }
        let who = what_known.asks_who.then(|| self.who_class(event));
        let Self {
            set,
            pairs,
            free,
            matched,
            ..
        } = self;
        // Looking "who" up may have made other memories start anew, but not that of "what".
        let what_known = &self.what.classes[what as usize];
        let caller = who.map(|who| &self.who.classes[who as usize]);
        let open = match (who, caller) {
            (Some(who), Some(caller)) => {
                if pairs.len() >= PAIRS_MAX && !pairs.contains_key(&(what, who)) {
                    pairs.clear();
                }
                pairs
                    .entry((what, who))
                    .or_insert_with(|| settle(set, what_known, caller))
            }
            _ => &*what_known.open,
        };
        free.known.clear();
        free.truths.clear();
        for &(rule, at) in open {
            let holds = set.rules[rule as usize].program.truth(at, |id| {
                let Home { group, bit } = set.plan.homes[id as usize];
                let ask = || set.predicates[id as usize].holds(event);
                match group {
                    FieldGroup::What => what_known.truths.get(bit),
                    FieldGroup::Who => caller.map_or_else(ask, |caller| caller.get(bit)),
                    FieldGroup::Free => free.ask(bit, ask),
                }
            });
            if holds {
                matched.push(rule as usize);
            }
        }
        &self.matched
    }

    fn what_class(&mut self, event: &Event<'_>) -> u32 {
        combination(&mut self.key, event, &WHAT);
        self.key.push(event.outcome() as u8);
        if let Some((class, number)) = self.what.seen.get(&*self.key) {
            self.latest.what = Some(*number);
            return *class;
        }
        if self.what.is_full() {
            self.what.clear();
            self.pairs.clear();
        }
        let set = &*self.set;
        let truths = set.plan.what.truths(&set.predicates, event);
        let follows = |truths: &Bits| what_follows(set, truths);
        let (class, number) = self.what.add(&self.key, truths, follows);
        self.latest.what = number;
        class
    }

    fn who_class(&mut self, event: &Event<'_>) -> u32 {
        let trusted = &event.context().trusted_proxies;
        if self.proxies != *trusted {
            self.who.clear();
            self.pairs.clear();
            self.proxies.clone_from(trusted);
        }
        combination(&mut self.key, event, &WHO);
        if let Some((class, number)) = self.who.seen.get(&*self.key) {
            self.latest.who = Some(*number);
            return *class;
        }
        if self.who.is_full() {
            self.who.clear();
            self.pairs.clear();
        }
        let set = &*self.set;
        let truths = set.plan.who.truths(&set.predicates, event);
        let (class, number) = self.who.add(&self.key, truths, Bits::clone);
        self.latest.who = number;
        class
    }
}

/// Evaluates the candidates as far as "what" and "who" tell.
fn settle(set: &RuleSet, what: &What, caller: &Bits) -> Box<[Open]> {
    let settled = what.open.iter().map(|&(rule, at)| {
        let at = set.rules[rule as usize].program.settle(at, |id| {
            let Home { group, bit } = set.plan.homes[id as usize];
            match group {
                FieldGroup::What => Some(what.truths.get(bit)),
                FieldGroup::Who => Some(caller.get(bit)),
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

/// How far the truths of "what" take each rule.
fn what_follows(set: &RuleSet, truths: &Bits) -> What {
    let mut reached = Vec::new();
    let mut open = Vec::new();
    let mut asks_who = false;
    for (place, rule) in set.rules.iter().enumerate() {
        let mut rule_asks_who = false;
        let possible = rule.runs()
            && rule.program.possible(&mut reached, |id| {
                let Home { group, bit } = set.plan.homes[id as usize];
                rule_asks_who |= group == FieldGroup::Who;
                (group == FieldGroup::What).then(|| truths.get(bit))
            });
        if possible {
            asks_who |= rule_asks_who;
            let at = rule.program.settle(rule.program.start(), |id| {
                let Home { group, bit } = set.plan.homes[id as usize];
                (group == FieldGroup::What).then(|| truths.get(bit))
            });
            open.push((place as u32, at));
        }
    }
    What {
        truths: truths.clone(),
        open,
        asks_who,
    }
}
