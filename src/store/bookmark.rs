//! Bookmarks: where a source reads on, and how it learns that they are safe.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// Where a source reads on. The store keeps the latest of each (source, part), in the same
/// transaction as everything that followed from the bytes before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bookmark {
    /// The stable name of the source: `file:/var/log/kubernetes/audit.log`, `webhook:0.0.0.0:9443`.
    pub source: Arc<str>,
    /// Which file, or which stream of segments, within the source; may be empty.
    pub part: Box<str>,
    /// JSON that the source owns and an investigator can read. `None` forgets the part.
    pub value: Option<String>,
}

/// The bookmarks of one source that are safe: the value of each part.
pub type Kept = BTreeMap<Box<str>, String>;

/// Tells each source which of its bookmarks are safe: at the start those of the last run, then
/// after each commit the latest.
#[derive(Debug, Default)]
pub struct Commits(Mutex<BTreeMap<Arc<str>, watch::Sender<Kept>>>);

impl Commits {
    /// Starts with the bookmarks that the store has.
    pub fn new(bookmarks: impl IntoIterator<Item = Bookmark>) -> Self {
        let commits = Self::default();
        commits.publish(bookmarks);
        commits
    }

    /// What is safe of one source, now and from now on. A source that is not known has nothing
    /// kept yet. The receiver lives as long as these commits do.
    pub fn watch(&self, source: &str) -> watch::Receiver<Kept> {
        let mut sources = self.sources();
        if let Some(sender) = sources.get(source) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Kept::new());
        sources.insert(source.into(), sender);
        receiver
    }

    /// Says that these bookmarks were committed; of the same part the last one holds.
    pub fn publish(&self, bookmarks: impl IntoIterator<Item = Bookmark>) {
        let mut by_source: BTreeMap<Arc<str>, Vec<Bookmark>> = BTreeMap::new();
        for bookmark in bookmarks {
            let of_source = by_source.entry(Arc::clone(&bookmark.source));
            of_source.or_default().push(bookmark);
        }
        let mut sources = self.sources();
        for (source, parts) in by_source {
            let sender = sources
                .entry(source)
                .or_insert_with(|| watch::Sender::new(Kept::new()));
            sender.send_modify(|kept| {
                for Bookmark { part, value, .. } in parts {
                    match value {
                        Some(value) => kept.insert(part, value),
                        None => kept.remove(&part),
                    };
                }
            });
        }
    }

    fn sources(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, watch::Sender<Kept>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bookmark(source: &str, part: &str, value: Option<&str>) -> Bookmark {
        Bookmark {
            source: source.into(),
            part: part.into(),
            value: value.map(str::to_owned),
        }
    }

    fn kept(receiver: &watch::Receiver<Kept>) -> Vec<(String, String)> {
        let kept = receiver.borrow();
        kept.iter()
            .map(|(part, value)| (part.to_string(), value.clone()))
            .collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected
            .iter()
            .map(|(part, value)| ((*part).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn each_source_sees_its_own_latest() {
        let commits = Commits::new([bookmark("file:a", "1", Some("x"))]);
        let (a, mut b) = (commits.watch("file:a"), commits.watch("file:b"));
        assert_eq!((kept(&a), kept(&b)), (pairs(&[("1", "x")]), pairs(&[])));
        commits.publish([
            bookmark("file:a", "2", Some("y")),
            bookmark("file:a", "1", Some("w")),
            bookmark("file:a", "1", None),
        ]);
        assert_eq!(kept(&a), pairs(&[("2", "y")]));
        assert!(!b.has_changed().unwrap());
        commits.publish([bookmark("file:b", "", Some("z"))]);
        assert!(b.has_changed().unwrap());
        assert_eq!(kept(&commits.watch("file:b")), pairs(&[("", "z")]));
        assert_eq!(kept(&b), pairs(&[("", "z")]));
        b.mark_unchanged();
    }
}
