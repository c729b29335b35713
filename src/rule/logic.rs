//! A rule's condition: first a tree over tests, then flat steps that jump.

/// A boolean expression over leaves of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Logic<P> {
    /// One test.
    Test(P),
    /// The opposite.
    Not(Box<Self>),
    /// All of them; true when there is none.
    All(Vec<Self>),
    /// At least one of them; false when there is none.
    Any(Vec<Self>),
}

impl<P> Logic<P> {
    /// The opposite.
    pub(super) fn not(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// All of them, without a needless layer.
    pub(super) fn all(mut parts: Vec<Self>) -> Self {
        if parts.len() == 1 {
            parts.remove(0)
        } else {
            Self::All(parts)
        }
    }

    /// One of them, without a needless layer.
    pub(super) fn any(mut parts: Vec<Self>) -> Self {
        if parts.len() == 1 {
            parts.remove(0)
        } else {
            Self::Any(parts)
        }
    }

    /// The same tree over other leaves.
    pub(super) fn map<Q>(&self, leaf: &mut impl FnMut(&P) -> Q) -> Logic<Q> {
        match self {
            Self::Test(test) => Logic::Test(leaf(test)),
            Self::Not(inner) => Logic::Not(Box::new(inner.map(leaf))),
            Self::All(parts) => Logic::All(parts.iter().map(|part| part.map(leaf)).collect()),
            Self::Any(parts) => Logic::Any(parts.iter().map(|part| part.map(leaf)).collect()),
        }
    }

    /// Its truth, by the plainest way.
    pub(super) fn truth(&self, leaf: &mut impl FnMut(&P) -> bool) -> bool {
        match self {
            Self::Test(test) => leaf(test),
            Self::Not(inner) => !inner.truth(leaf),
            Self::All(parts) => parts.iter().all(|part| part.truth(leaf)),
            Self::Any(parts) => parts.iter().any(|part| part.truth(leaf)),
        }
    }

    /// Puts the parts of each level in order, cheap ones first; equals keep their order.
    pub(super) fn sort(&mut self, cost: &impl Fn(&P) -> u32) -> u32 {
        match self {
            Self::Test(test) => cost(test),
            Self::Not(inner) => inner.sort(cost),
            Self::All(parts) | Self::Any(parts) => {
                let mut costs: Vec<(u32, Self)> = std::mem::take(parts)
                    .into_iter()
                    .map(|mut part| (part.sort(cost), part))
                    .collect();
                costs.sort_by_key(|(cost, _)| *cost);
                let sum = costs
                    .iter()
                    .fold(0u32, |sum, (cost, _)| sum.saturating_add(*cost));
                *parts = costs.into_iter().map(|(_, part)| part).collect();
                sum
            }
        }
    }
}

/// One question, and where to go on with either answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    predicate: u32,
    yes: u32,
    no: u32,
}

const ACCEPT: u32 = u32::MAX;
const REJECT: u32 = u32::MAX - 1;

/// A place to which a condition was evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resume(u32);

impl Resume {
    /// Whether the condition is known not to hold.
    pub(super) fn is_rejected(self) -> bool {
        self.0 == REJECT
    }
}

/// A condition as flat steps over predicate ids. Evaluation only goes forward and asks nothing
/// whose answer cannot matter any more; negation costs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    steps: Vec<Step>,
    start: u32,
}

impl Program {
    /// Lays a tree out flat.
    pub(super) fn new(logic: &Logic<u32>) -> Self {
        let mut program = Self {
            steps: Vec::new(),
            start: REJECT,
        };
        program.start = program.lay(logic, ACCEPT, REJECT);
        // Steps were laid from the end to the start; turned round, all jumps go forward.
        let last = program.steps.len() as u32;
        let turn = |at: u32| if at < last { last - 1 - at } else { at };
        program.steps.reverse();
        for step in &mut program.steps {
            step.yes = turn(step.yes);
            step.no = turn(step.no);
        }
        program.start = turn(program.start);
        program
    }

    fn lay(&mut self, logic: &Logic<u32>, yes: u32, no: u32) -> u32 {
        match logic {
            Logic::Test(predicate) => {
                self.steps.push(Step {
                    predicate: *predicate,
                    yes,
                    no,
                });
                self.steps.len() as u32 - 1
            }
            Logic::Not(inner) => self.lay(inner, no, yes),
            Logic::All(parts) => parts
                .iter()
                .rev()
                .fold(yes, |next, part| self.lay(part, next, no)),
            Logic::Any(parts) => parts
                .iter()
                .rev()
                .fold(no, |next, part| self.lay(part, yes, next)),
        }
    }

    /// The ids of all its tests.
    pub(super) fn tests(&self) -> impl Iterator<Item = u32> {
        self.steps.iter().map(|step| step.predicate)
    }

    /// Where evaluation begins.
    pub(super) fn start(&self) -> Resume {
        Resume(self.start)
    }

    /// Goes on while answers are known: to where the first unknown one is asked, or to the end.
    pub(super) fn settle(&self, at: Resume, mut known: impl FnMut(u32) -> Option<bool>) -> Resume {
        let mut at = at.0;
        while let Some(step) = self.steps.get(at as usize) {
            at = match known(step.predicate) {
                Some(true) => step.yes,
                Some(false) => step.no,
                None => break,
            };
        }
        Resume(at)
    }

    /// The condition's truth, from a place to which it was evaluated before.
    pub(super) fn truth(&self, at: Resume, mut ask: impl FnMut(u32) -> bool) -> bool {
        self.settle(at, |predicate| Some(ask(predicate))).0 == ACCEPT
    }

    /// Whether the condition could still hold when only some answers are known. `reached` is
    /// scratch space.
    pub(super) fn possible(
        &self,
        reached: &mut Vec<bool>,
        mut known: impl FnMut(u32) -> Option<bool>,
    ) -> bool {
        reached.clear();
        reached.resize(self.steps.len(), false);
        let mut accepted = self.start == ACCEPT;
        let mut reach = |reached: &mut Vec<bool>, at: u32| match reached.get_mut(at as usize) {
            Some(flag) => *flag = true,
            None => accepted |= at == ACCEPT,
        };
        reach(reached, self.start);
        for (at, step) in self.steps.iter().enumerate() {
            if !reached[at] {
                continue;
            }
            let answer = known(step.predicate);
            if answer != Some(false) {
                reach(reached, step.yes);
            }
            if answer != Some(true) {
                reach(reached, step.no);
            }
        }
        accepted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in super::super) fn tree() -> impl Strategy<Value = Logic<u32>> {
        (0u32..6)
            .prop_map(Logic::Test)
            .prop_recursive(4, 24, 4, |inner| {
                prop_oneof![
                    inner.clone().prop_map(Logic::not),
                    prop::collection::vec(inner.clone(), 0..4).prop_map(Logic::All),
                    prop::collection::vec(inner, 0..4).prop_map(Logic::Any),
                ]
            })
    }

    proptest! {
        #[test]
        fn flat_is_as_true_as_the_tree(mut tree in tree(), answers in 0u32..64, unknown in 0u32..64) {
            let plain = tree.truth(&mut |p| answers >> p & 1 == 1);
            tree.sort(&|p| 7 * p % 5);
            let program = Program::new(&tree);
            prop_assert_eq!(program.truth(program.start(), |p| answers >> p & 1 == 1), plain);
            let mut scratch = Vec::new();
            let possible = |answers: u32, unknown: u32, scratch: &mut Vec<bool>| {
                program.possible(scratch, |p| (unknown >> p & 1 == 0).then_some(answers >> p & 1 == 1))
            };
            prop_assert_eq!(possible(answers, 0, &mut scratch), plain);
            // Never rules out what some answer to the unknown would make true.
            let could = (0u32..64).any(|other| {
                let mixed = answers & !unknown | other & unknown;
                program.truth(program.start(), |p| mixed >> p & 1 == 1)
            });
            if could {
                prop_assert!(possible(answers, unknown, &mut scratch));
            }
        }
    }
}
