//! Owns what `/livez` and `/readyz` say: which parts there are and which is not ready.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

/// The health of one app.
#[derive(Default)]
pub struct Health {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Part by name, and why it is not ready.
    parts: BTreeMap<String, Option<String>>,
    /// Why the process cannot go on.
    failed: Option<String>,
}

/// One part's own entry.
pub struct Part {
    name: String,
    health: Arc<Health>,
}

impl Health {
    /// Adds a part; it is not ready until it says so.
    pub fn part(self: &Arc<Self>, name: &str) -> Part {
        let part = Part {
            name: name.to_owned(),
            health: Arc::clone(self),
        };
        part.not_ready("is starting");
        part
    }

    /// Says that a part has died and only a restart helps; `/livez` fails from now on.
    pub fn fail(&self, why: &str) {
        self.change(|state| state.failed = Some(why.to_owned()));
    }

    /// Why the process cannot go on; `None` while it lives.
    pub fn failure(&self) -> Option<String> {
        self.change(|state| state.failed.clone())
    }

    /// Whether every part is ready, and one line for each part.
    pub fn readiness(&self) -> (bool, String) {
        self.change(|state| {
            let mut text = String::new();
            for (name, wanting) in &state.parts {
                // Writing to a String cannot fail.
                let _ = match wanting {
                    None => writeln!(text, "[+] {name}: ready"),
                    Some(why) => writeln!(text, "[-] {name}: {why}"),
                };
            }
            let ready = state.failed.is_none() && state.parts.values().all(Option::is_none);
            (ready, text)
        })
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Part {
    /// The part does its work.
    pub fn ready(&self) {
        self.set(None);
    }

    /// The part does not, because of `why` (`is waiting for the file to appear`).
    pub fn not_ready(&self, why: &str) {
        self.set(Some(why.to_owned()));
    }

    fn set(&self, wanting: Option<String>) {
        self.health
            .change(|state| state.parts.insert(self.name.clone(), wanting));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_not_ready() {
        let health = Arc::new(Health::default());
        let (engine, file) = (health.part("engine"), health.part("file a.log"));
        engine.ready();
        file.not_ready("is waiting for the file to appear");
        let (ready, text) = health.readiness();
        assert!(!ready);
        assert_eq!(
            text,
            "[+] engine: ready\n[-] file a.log: is waiting for the file to appear\n"
        );
        file.ready();
        assert!(health.readiness().0);
        health.fail("the engine has stopped");
        assert_eq!(health.failure().as_deref(), Some("the engine has stopped"));
        assert!(!health.readiness().0);
    }
}
