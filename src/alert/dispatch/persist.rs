//! A dispatcher's rows among all others that survive the process, and the alerts that they need.
//!
//! Alerts that go on have rows of their own already. Those that are over and not told yet have not,
//! so they are written here.

use std::{collections::BTreeMap, sync::Arc};

use super::{Dispatcher, GroupRow, ReceiverRow, Silence};
use crate::{
    alert::{Alert, Change, Status},
    detect::row_kind,
    units::Time,
    window::{Owner, Rows, Unreadable, read},
};

const GROUP: Owner = owner(2);
const RECEIVER: Owner = owner(3);
const ENDED: Owner = owner(4);
const SILENCE: Owner = owner(5);
const ACK: Owner = owner(6);

const fn owner(number: u8) -> Owner {
    Owner {
        kind: row_kind::OTHERS + number,
        of: 0,
    }
}

impl Dispatcher {
    /// Adds the rows that changed since this was last called. They belong into one transaction
    /// with the rows of the alerts whose changes were taken in.
    pub fn changes(&mut self, rows: &mut Rows) {
        for alert in self.ended() {
            rows.put(ENDED, alert.id.as_bytes(), &*alert);
            self.kept.insert(alert.id.clone());
        }
        for (key, row) in self.take_changed() {
            match row {
                Some(row) => rows.put(GROUP, key.as_bytes(), &row),
                None => rows.remove(GROUP, key.as_bytes()),
            }
        }
        for (name, row) in self.receivers() {
            rows.put(RECEIVER, name.as_bytes(), &row);
        }
        for id in std::mem::take(&mut self.changed_silences) {
            match self.silences.get(&id) {
                Some(silence) => rows.put(SILENCE, id.as_bytes(), silence),
                None => rows.remove(SILENCE, id.as_bytes()),
            }
        }
        for id in std::mem::take(&mut self.changed_acks) {
            match self.acks.get(&id) {
                Some(ack) => rows.put(ACK, id.as_bytes(), ack),
                None => rows.remove(ACK, id.as_bytes()),
            }
        }
        let (kept, gone) = std::mem::take(&mut self.kept)
            .into_iter()
            .partition(|id| self.is_waiting(id));
        self.kept = kept;
        for id in gone {
            rows.remove(ENDED, id.as_bytes());
        }
    }

    /// Alerts that are over, not told yet, and not written yet.
    fn ended(&self) -> Vec<Arc<Alert>> {
        let groups = self.changed.iter().filter_map(|key| self.groups.get(key));
        let members = groups.flat_map(|group| group.members.values());
        let held = self.desks.values().flat_map(|desk| &desk.held);
        let alerts = members
            .map(|member| &member.alert)
            .chain(held.flat_map(|held| &held.alerts));
        alerts
            .filter(|alert| alert.status == Status::Resolved && !self.kept.contains(&alert.id))
            .map(Arc::clone)
            .collect()
    }

    /// Whether an alert waits in a group or for a digest.
    fn is_waiting(&self, id: &str) -> bool {
        let mut held = self.desks.values().flat_map(|desk| &desk.held);
        self.tracked.contains_key(id)
            || held.any(|held| held.alerts.iter().any(|alert| *alert.id == *id))
    }

    /// Takes on what all rows hold, in a dispatcher that is new; `open` are the alerts that go on,
    /// in their order. Those that no row knows of count as fired. Other kinds of rows are left
    /// alone.
    ///
    /// # Errors
    /// When a row is not what it should be; the dispatcher is of no use then.
    pub fn take_up(
        &mut self,
        rows: &Rows,
        open: Vec<Arc<Alert>>,
        now: Time,
    ) -> Result<(), Unreadable> {
        let mut own = super::Rows::default();
        let by_id = |alert: &Arc<Alert>| (alert.id.clone(), Arc::clone(alert));
        let mut alerts: BTreeMap<Box<str>, Arc<Alert>> = open.iter().map(by_id).collect();
        for row in rows.iter() {
            let (owner, Some(value)) = (row.owner, row.value) else {
                continue;
            };
            let key = || std::str::from_utf8(row.key).map_err(|_| Unreadable { owner });
            if owner == GROUP {
                own.groups
                    .insert(key()?.into(), read::<GroupRow>(owner, value)?);
            } else if owner == RECEIVER {
                own.receivers
                    .insert(key()?.into(), read::<ReceiverRow>(owner, value)?);
            } else if owner == SILENCE {
                let silence: Silence = read(owner, value)?;
                self.silences.insert(silence.id.clone(), silence);
            } else if owner == ACK {
                self.acks.insert(key()?.into(), read(owner, value)?);
            } else if owner == ENDED {
                let alert: Alert = read(owner, value)?;
                self.kept.insert(alert.id.clone());
                alerts.insert(alert.id.clone(), Arc::new(alert));
            }
        }
        self.restore(own, now, &mut |id| alerts.get(id).cloned());
        for alert in open {
            if !self.is_tracked(&alert.id) {
                self.on_change(&Change::Fired(alert), now);
            }
        }
        // An alert may have found its end in another place than here.
        let acked = self.acks.keys();
        let lost: Vec<Box<str>> = acked
            .filter(|id| !self.tracked.contains_key(*id))
            .cloned()
            .collect();
        for id in lost {
            self.forget_ack(&id);
        }
        Ok(())
    }
}
