//! What can be set about tailed files.

use std::{sync::Arc, time::Duration};

use crate::units::{Span, Time};

/// Where to begin in a file that is there when a source is read for the first time. A file that
/// appears later is always read from its beginning, and a bookmark wins over this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// At its beginning: nothing is missed, and a first run shows what already happened.
    #[default]
    Start,
    /// At its end: only what happens from now on.
    End,
    /// At the events of this last stretch of time, also in files that were rotated since.
    Last(Span),
}

/// [`From`] at the moment of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    Start,
    End,
    Since(Time),
}

impl From {
    pub(super) fn at(self, now: Time) -> Beginning {
        match self {
            Self::Start => Beginning::Start,
            Self::End => Beginning::End,
            Self::Last(span) => Beginning::Since(now.minus(span)),
        }
    }
}

/// One entry of `sources.files`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailSettings {
    /// Name in metrics and logs; the path as given unless set.
    pub name: String,
    /// A path, or a pattern with `*`, `?`, `[…]` or `**`.
    pub path: String,
    /// The cluster whose API server writes here; may be empty.
    pub cluster: Arc<str>,
    /// Where to begin.
    pub from: From,
    /// How often files are looked at even when the file system announces nothing.
    pub poll: Duration,
    /// How long a rotated file must have been quiet before it is closed.
    pub grace: Duration,
}

impl TailSettings {
    /// The defaults for a path.
    pub fn new(path: &str) -> Self {
        Self {
            name: path.to_owned(),
            path: path.to_owned(),
            cluster: Arc::from(""),
            from: From::default(),
            poll: Duration::from_millis(250),
            grace: Duration::from_secs(10),
        }
    }

    /// The name of the source in bookmarks: the same in every run, whatever it is called.
    pub fn bookmark_name(&self) -> String {
        let path = std::path::absolute(&self.path);
        let path = path.map_or_else(|_| self.path.clone(), |path| path.to_string_lossy().into());
        format!("file:{path}")
    }
}
