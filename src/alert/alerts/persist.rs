//! The open alerts as rows that survive the process: one each, and only those that changed.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Alerts, Open, size};
use crate::{
    alert::Alert,
    detect::row_kind,
    rule::RuleMeta,
    units::Time,
    window::{Owner, Rows, Unreadable, read},
};

const ALERT: Owner = Owner {
    kind: row_kind::OTHERS,
    of: 0,
};
const WATERMARK: Owner = Owner {
    kind: row_kind::OTHERS + 1,
    of: 0,
};

/// The version of what the rows hold. Rows of another version cannot be read.
pub const VERSION: u32 = 3;

/// An open alert as it is kept.
#[derive(Serialize)]
struct Written<'a> {
    alert: &'a Alert,
    told_at: Time,
    idle_at: Time,
}

/// The same as it is read.
#[derive(Deserialize)]
struct Kept {
    alert: Alert,
    told_at: Time,
    idle_at: Time,
}

impl Alerts {
    /// Adds the rows that changed since this was last called. From then on alerts that are over
    /// are remembered until the next call, at most as many as there are rows.
    pub fn changes(&mut self, rows: &mut Rows) {
        for labels in std::mem::take(&mut self.removed) {
            rows.remove(ALERT, labels.as_bytes());
        }
        for labels in std::mem::take(&mut self.touched) {
            let Some(open) = self.open.get_mut(&labels) else {
                continue;
            };
            open.kept = true;
            open.touched = false;
            let written = Written {
                alert: &open.alert,
                told_at: open.told_at,
                idle_at: open.idle_at,
            };
            rows.put(ALERT, labels.as_bytes(), &written);
        }
        rows.put(WATERMARK, &[], &self.watermark);
    }

    /// Takes up the alerts that all rows hold, when none is open yet. Other kinds of rows are left
    /// alone.
    ///
    /// # Errors
    /// When a row is not what it should be; the alerts are of no use then.
    pub fn restore(&mut self, rows: &Rows) -> Result<(), Unreadable> {
        let mut rules: BTreeMap<String, Arc<RuleMeta>> = BTreeMap::new();
        for row in rows.iter() {
            let (owner, Some(value)) = (row.owner, row.value) else {
                continue;
            };
            if owner == WATERMARK {
                self.watermark = read(owner, value)?;
            } else if owner == ALERT {
                let labels = std::str::from_utf8(row.key).map_err(|_| Unreadable { owner })?;
                let mut kept: Kept = read(owner, value)?;
                let rule = rules
                    .entry(kept.alert.rule.id.clone())
                    .or_insert_with(|| Arc::clone(&kept.alert.rule));
                if *rule == kept.alert.rule {
                    kept.alert.rule = Arc::clone(rule);
                }
                self.take_up(labels.into(), kept);
            }
        }
        Ok(())
    }

    fn take_up(&mut self, labels: Arc<str>, kept: Kept) {
        let Kept {
            alert,
            told_at,
            idle_at,
        } = kept;
        let bytes = size(&labels, &alert);
        let severity = alert.severity();
        let mut open = Open {
            alert,
            told_at,
            bytes,
            due_at: Time::MIN,
            idle_at,
            kept: true,
            touched: false,
        };
        open.due_at = open.due(&self.settings);
        self.bytes += bytes;
        self.due.insert((open.due_at, Arc::clone(&labels)));
        self.idle.insert((severity, idle_at, Arc::clone(&labels)));
        self.open.insert(labels, open);
    }
}
