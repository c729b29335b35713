//! One message to one receiver.

use crate::alert::{Alert, Change, dispatch::Notification};

/// A change of an alert, and what the receiver missed before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What happened.
    pub change: Change,
    /// How many messages the receiver was not told since it last took one.
    pub dropped: u64,
}

impl Message {
    /// The alert as it is now.
    pub fn alert(&self) -> &Alert {
        self.change.alert()
    }

    /// The message as a notification about one alert.
    pub fn notification(&self, receiver: &str) -> Notification {
        Notification {
            id: self.id().into(),
            ..Notification::single(&receiver.into(), &self.change, self.dropped)
        }
    }

    /// Names the message, the same for each attempt and after a restart that reads the same
    /// events again: alert id, status and the microseconds of `updated_at`, joined by dots.
    pub fn id(&self) -> String {
        let alert = self.alert();
        format!(
            "{}.{}.{}",
            alert.id,
            alert.status.name(),
            alert.updated_at.micros()
        )
    }
}
