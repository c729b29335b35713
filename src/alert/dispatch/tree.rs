//! The route tree: which receivers an alert goes to, and how it is grouped on the way.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::{Labels, Matchers, TimeInterval};
use crate::{
    rule::Severity,
    units::{Span, Time},
};

/// What alerts are grouped by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// By the values of these labels; by none of them, so that all are one group, when empty.
    Labels(Vec<Box<str>>),
    /// Each alert by itself: Alertmanager's `...`.
    Alert,
}

/// One node of the tree with what it inherited filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which alerts enter here.
    pub matchers: Matchers,
    /// Whether siblings behind this one are tried as well.
    pub continues: bool,
    /// Names of the receivers; all of them are told.
    pub receivers: Vec<Arc<str>>,
    /// What alerts are grouped by.
    pub group_by: GroupBy,
    /// How long a new group waits for more before people are told.
    pub group_wait: Span,
    /// How often at most people are told what is new in a group.
    pub group_interval: Span,
    /// When people are told again although nothing is new.
    pub repeat_interval: Span,
    /// From this severity on nobody waits: the first notification of a group goes at once, and so
    /// does one about a more severe alert than the group had before.
    pub at_once: Option<Severity>,
    /// Nothing is told while one of these holds.
    pub mute: Vec<Arc<TimeInterval>>,
    /// Something is told only while one of these holds; always when there are none.
    pub active: Vec<Arc<TimeInterval>>,
    /// Its children, tried in order.
    pub routes: Vec<Self>,
}

impl Default for Route {
    /// A root with Alertmanager's own defaults that tells nobody yet.
    fn default() -> Self {
        Self {
            matchers: Matchers::default(),
            continues: false,
            receivers: Vec::new(),
            group_by: GroupBy::Labels(Vec::new()),
            group_wait: Span::from_secs(30),
            group_interval: Span::from_secs(5 * 60),
            repeat_interval: Span::from_secs(4 * 3600),
            at_once: Some(Severity::High),
            mute: Vec::new(),
            active: Vec::new(),
            routes: Vec::new(),
        }
    }
}

impl Route {
    /// Whether this moment is one at which its receivers may be told.
    pub fn is_open(&self, now: Time) -> bool {
        let holds = |interval: &Arc<TimeInterval>| interval.contains(now);
        (self.active.is_empty() || self.active.iter().any(holds)) && !self.mute.iter().any(holds)
    }

    /// The labels that make the group of an alert here.
    pub(super) fn group_of(&self, labels: &Labels) -> Labels {
        match &self.group_by {
            GroupBy::Labels(names) => labels.only(names),
            GroupBy::Alert => labels.clone(),
        }
    }
}

/// The tree in a row, so that groups can name their route by a number.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    route: Route,
    /// The same across restarts: its matchers and those above it, and its number among siblings
    /// with the same matchers.
    key: Arc<str>,
    children: Vec<usize>,
}

impl Tree {
    /// Of a root, whose own matchers count too.
    pub fn new(root: Route) -> Self {
        let mut tree = Self { nodes: Vec::new() };
        tree.plant(root, "");
        tree
    }

    fn plant(&mut self, mut route: Route, above: &str) -> usize {
        let children = std::mem::take(&mut route.routes);
        let key: Arc<str> = format!("{above}{}", route.matchers).into();
        let place = self.nodes.len();
        self.nodes.push(Node {
            route,
            key: Arc::clone(&key),
            children: Vec::new(),
        });
        let mut seen: Vec<String> = Vec::new();
        for child in children {
            let matchers = child.matchers.to_string();
            let twins = seen.iter().filter(|other| **other == matchers).count();
            seen.push(matchers);
            let above = match twins {
                0 => format!("{key}/"),
                twin => format!("{key}/#{twin}"),
            };
            let number = self.plant(child, &above);
            self.nodes[place].children.push(number);
        }
        place
    }

    /// The numbers of the routes that an alert ends in: the deepest that match.
    pub fn find(&self, labels: &Labels) -> Vec<usize> {
        let mut found = Vec::new();
        self.descend(0, labels, &mut found);
        found
    }

    fn descend(&self, number: usize, labels: &Labels, found: &mut Vec<usize>) -> bool {
        let node = &self.nodes[number];
        if !node.route.matchers.matches(labels) {
            return false;
        }
        let before = found.len();
        for &child in &node.children {
            if self.descend(child, labels, found) && !self.nodes[child].route.continues {
                break;
            }
        }
        if found.len() == before {
            found.push(number);
        }
        true
    }

    /// A route by its number.
    pub fn route(&self, number: usize) -> &Route {
        &self.nodes[number].route
    }

    /// What names a route across restarts: `{}/{severity="critical"}`.
    pub fn key(&self, number: usize) -> &Arc<str> {
        &self.nodes[number].key
    }

    pub(super) fn by_key(&self, key: &str) -> Option<usize> {
        self.nodes.iter().position(|node| *node.key == *key)
    }
}

/// 32 hex digits that name a group of a route for good.
pub(super) fn group_key(route: &str, labels: &Labels) -> Arc<str> {
    format!("{:032x}", xxh3_128(format!("{route}:{labels}").as_bytes())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(matchers: &str, receiver: &str, continues: bool, routes: Vec<Route>) -> Route {
        Route {
            matchers: Matchers::parse(matchers).unwrap(),
            receivers: vec![receiver.into()],
            continues,
            routes,
            ..Route::default()
        }
    }

    #[test]
    fn goes_as_deep_as_it_can_and_on_when_told_to() {
        let tree = Tree::new(route(
            "",
            "root",
            false,
            vec![
                route("a=1", "all", true, vec![]),
                route(
                    "a=1",
                    "one",
                    false,
                    vec![route("b=2", "deep", false, vec![])],
                ),
                route("a=~.+", "never after one", false, vec![]),
            ],
        ));
        let names = |labels: &[(&str, &str)]| {
            let found = tree.find(&Labels::new(labels.iter().copied()));
            let name = |number: usize| tree.route(number).receivers[0].to_string();
            found.into_iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[("a", "1")]), ["all", "one"]);
        assert_eq!(names(&[("a", "1"), ("b", "2")]), ["all", "deep"]);
        assert_eq!(names(&[("a", "3")]), ["never after one"]);
        assert_eq!(names(&[]), ["root"]);
        let keys: Vec<_> = tree.nodes.iter().map(|node| &*node.key).collect();
        let expected = [
            "{}",
            "{}/{a=\"1\"}",
            "{}/#1{a=\"1\"}",
            "{}/#1{a=\"1\"}/{b=\"2\"}",
            "{}/{a=~\".+\"}",
        ];
        assert_eq!(keys, expected);
    }
}
