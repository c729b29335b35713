//! Which rules are blind by what the daemon reads: gathered by the workers, judged now and then on
//! a thread of its own, told in the log when it changes, in metrics and to the admin endpoint.
//!
//! What was seen ages: only the last one to two hours count, so that a policy that is changed
//! shows.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use prometheus::{IntGaugeVec, Result};

use crate::{
    detect::{Blind, Sightedness, Visibility},
    rule::RuleSet,
    telemetry::{Metrics, catalogue},
};

/// What the workers say.
pub(super) enum Seen {
    /// These requests were seen.
    Requests(Visibility),
    /// From now on these rules are judged.
    Rules(Arc<RuleSet>),
}

/// How many of these may wait; a worker that finds no room says it later.
pub(super) const SEEN_MAX: usize = 64;

/// From the first event on it takes so long until rules are called blind: by then a cluster has
/// shown most of what it does.
const FIRST_AFTER: Duration = Duration::from_secs(180);

/// How often it is judged, and so told at most.
const EVERY: Duration = Duration::from_secs(60);

/// How long what was seen counts at least; at most it counts twice as long.
const GENERATION: Duration = Duration::from_secs(3_600);

/// How many blind rules are named in the log.
const NAMED: usize = 5;

/// Which rules are blind, for whoever asks; `None` until it was judged.
pub type LiveSight = RwLock<Option<Arc<Sightedness>>>;

/// The thread's state.
pub(super) struct Sight {
    rules: Arc<RuleSet>,
    /// What was seen since `began`, and in the generation before.
    seen: Visibility,
    before: Visibility,
    began: Instant,
    first: Option<Instant>,
    judged: Option<Instant>,
    told: Vec<(String, bool)>,
    gauge: IntGaugeVec,
    live: Arc<LiveSight>,
}

impl Sight {
    pub(super) fn new(
        rules: Arc<RuleSet>,
        live: Arc<LiveSight>,
        metrics: &Metrics,
    ) -> Result<Self> {
        let sight = Self {
            rules,
            seen: Visibility::default(),
            before: Visibility::default(),
            began: Instant::now(),
            first: None,
            judged: None,
            told: Vec::new(),
            gauge: metrics.gauges(&catalogue::RULES_BLIND)?,
            live,
        };
        sight.show(&Sightedness::default());
        Ok(sight)
    }

    /// Gathers and judges until all workers have ended.
    pub(super) fn watch(mut self, inbox: &Receiver<Seen>) {
        loop {
            match inbox.recv_timeout(EVERY) {
                Ok(Seen::Requests(seen)) => {
                    self.first.get_or_insert_with(Instant::now);
                    self.seen.add(&seen);
                }
                Ok(Seen::Rules(rules)) => self.rules = rules,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.is_due(Instant::now()) {
                self.judge();
                self.age(Instant::now());
            }
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        let is_enough = |first| now.duration_since(first) >= FIRST_AFTER;
        let is_time = |judged| now.duration_since(judged) >= EVERY;
        self.first.is_some_and(is_enough) && self.judged.is_none_or(is_time)
    }

    fn age(&mut self, now: Instant) {
        if now.duration_since(self.began) >= GENERATION {
            self.before = std::mem::take(&mut self.seen);
            self.began = now;
        }
    }

    fn judge(&mut self) {
        self.judged = Some(Instant::now());
        let mut all = self.before.clone();
        all.add(&self.seen);
        if all.events() == 0 {
            return;
        }
        let sight = all.judge(&self.rules);
        self.show(&sight);
        let now: Vec<(String, bool)> = sight
            .blind
            .iter()
            .map(|blind| (blind.rule.clone(), blind.wholly))
            .collect();
        if now != self.told {
            tell(&sight, all.events());
            self.told = now;
        }
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        *live = Some(Arc::new(sight));
    }

    fn show(&self, sight: &Sightedness) {
        for extent in ["blind", "partly"] {
            for reason in ["level", "stage"] {
                let is_such = |blind: &&Blind| blind.extent() == extent && blind.reason() == reason;
                let count = sight.blind.iter().filter(is_such).count();
                self.gauge
                    .with_label_values(&[extent, reason])
                    .set(count as i64);
            }
        }
    }
}

/// One line, and the most severe few with their reasons.
fn tell(sight: &Sightedness, events: u64) {
    let (wholly, all) = (sight.wholly_blind(), sight.blind.len());
    if all == 0 {
        tracing::info!(events, "no rule is blind by what was read of late");
        return;
    }
    let named: Vec<String> = sight
        .blind
        .iter()
        .take(NAMED)
        .map(|blind| format!("{} ({}): {}", blind.rule, blind.extent(), blind.why))
        .collect();
    let more = match all.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more, see /api/v1/rules/blind"),
    };
    tracing::warn!(
        events,
        "{wholly} rules are blind and {} partly, because the audit policy does not record what \
         they need: {}{more}",
        all - wholly,
        named.join("; ")
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decode,
        diagnostic::SourceFile,
        event::{Context, Event},
        rule::Layer,
    };

    const RULE: &str = "
title: Privileged pod
name: privileged-pod
logsource: {product: kubernetes, service: audit}
detection:
  s: {verb: create, objectRef.resource: pods, pod.privileged: true}
  condition: s
level: high
";

    fn created(level: &str) -> Visibility {
        let line = format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"{level}","auditID":"1","stage":"ResponseComplete","requestURI":"/","verb":"create","objectRef":{{"resource":"pods"}}}}"#
        );
        let context = Context::default();
        let mut seen = Visibility::default();
        seen.see(&Event::new(decode::event(&line).unwrap(), &line, &context));
        seen
    }

    #[test]
    fn what_was_seen_long_ago_does_not_count() {
        let layer = Layer {
            rules: vec![Arc::new(SourceFile::new("r.yml", RULE))],
            ..Layer::default()
        };
        let rules = Arc::new(RuleSet::load(&[layer]).unwrap().set);
        let live = Arc::default();
        let metrics = Metrics::new().unwrap();
        let mut sight = Sight::new(rules, Arc::clone(&live), &metrics).unwrap();
        let blind = |sight: &mut Sight| {
            sight.judge();
            let live = live.read().unwrap();
            let blind: &Vec<Blind> = &live.as_ref().unwrap().blind;
            blind
                .iter()
                .map(|blind| blind.why.clone())
                .collect::<Vec<_>>()
        };
        sight.seen.add(&created("Request"));
        assert_eq!(blind(&mut sight), [""; 0]);
        let began = sight.began;
        sight.age(began + GENERATION);
        sight.seen.add(&created("Metadata"));
        sight.seen.add(&created("Metadata"));
        assert_eq!(blind(&mut sight), [""; 0], "an hour ago there was a body");
        sight.age(began + GENERATION * 2);
        assert_eq!(
            blind(&mut sight),
            ["needs pod.privileged; 2 × create pods at Metadata"]
        );
        let text = metrics.render().unwrap();
        assert!(
            text.contains(r#"auditwatch_rules_blind{extent="blind",reason="level"} 1"#),
            "{text}"
        );
    }
}
