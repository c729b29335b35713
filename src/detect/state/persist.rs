//! The state of a rule or correlation as rows.

use std::sync::Arc;

use super::{Baselines, Brought, Counting, Window};
use crate::{
    detect::{
        Trace,
        snapshot::{KeptRows, kind},
        trace::Shared,
    },
    window::{Owner, Rows, Unreadable},
};

impl Baselines {
    /// Adds the rows that changed since this was last called.
    pub(in crate::detect) fn changes(&mut self, of: u64, rows: &mut Rows) {
        if let Some(novelty) = &mut self.novelty {
            let kind = kind::NOVELTY;
            novelty.changes(Owner { kind, of }, rows);
        }
        if let Some(rate) = &mut self.rate {
            let kind = kind::RATE;
            rate.changes(Owner { kind, of }, rows);
        }
        if let Some(silence) = &mut self.silence {
            let kind = kind::SILENCE;
            silence.changes(Owner { kind, of }, rows);
        }
    }

    /// Takes up what its rows hold.
    pub(in crate::detect) fn restore(
        &mut self,
        of: u64,
        rows: &mut KeptRows<'_>,
    ) -> Result<(), Unreadable> {
        if let Some(novelty) = &mut self.novelty {
            let kind = kind::NOVELTY;
            novelty.restore(Owner { kind, of }, rows.take(Owner { kind, of }))?;
        }
        if let Some(rate) = &mut self.rate {
            let kind = kind::RATE;
            rate.restore(Owner { kind, of }, rows.take(Owner { kind, of }))?;
        }
        if let Some(silence) = &mut self.silence {
            let kind = kind::SILENCE;
            silence.restore(Owner { kind, of }, rows.take(Owner { kind, of }))?;
        }
        Ok(())
    }
}

impl Counting {
    /// Adds the rows that changed since this was last called.
    pub(in crate::detect) fn changes(&mut self, of: u64, rows: &mut Rows) {
        let owner = Owner {
            kind: kind::WINDOW,
            of,
        };
        match &mut self.window {
            Window::Count(window) => window.changes(owner, rows),
            Window::Values(window) | Window::Members(window) => window.changes(owner, rows),
            Window::Sequence(window) => window.changes(owner, rows),
        }
        if let Some(once) = &mut self.once {
            let kind = kind::ONCE;
            once.changes(Owner { kind, of }, rows);
        }
    }

    /// Takes up what its rows hold.
    pub(in crate::detect) fn restore(
        &mut self,
        of: u64,
        rows: &mut KeptRows<'_>,
        shared: &mut Shared,
    ) -> Result<(), Unreadable> {
        let owner = Owner {
            kind: kind::WINDOW,
            of,
        };
        let window = rows.take(owner);
        let each = &mut |brought: &mut Brought| {
            brought
                .traces()
                .iter_mut()
                .for_each(|trace| shared.share(trace));
        };
        match &mut self.window {
            Window::Count(counting) => counting.restore(owner, window, each)?,
            Window::Values(counting) | Window::Members(counting) => {
                counting.restore(owner, window, each)?;
            }
            Window::Sequence(counting) => counting.restore(owner, window, each)?,
        }
        if let Some(once) = &mut self.once {
            let kind = kind::ONCE;
            once.restore(Owner { kind, of }, rows.take(Owner { kind, of }))?;
        }
        Ok(())
    }
}

impl Brought {
    fn traces(&mut self) -> &mut [Arc<Trace>] {
        match self {
            Self::Request(trace) => std::slice::from_mut(trace),
            Self::Step(evidence) => &mut evidence.0,
        }
    }
}
