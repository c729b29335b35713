//! The dispatcher as its receivers see it, in simulated time.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::{
    alert::{Alert, Change, Status, samples},
    rule::Severity,
    units::{Span, Time},
    window,
};

const SHOWN: usize = 5;

fn at(seconds: i64) -> Time {
    samples::at(seconds)
}

/// An alert of this rule about this principal; its id carries the number of its life.
fn alert(rule: &str, principal: &str, severity: Severity, life: u32) -> Arc<Alert> {
    let mut alert = Alert::clone(&samples::fired(samples::detection(principal, 0..1)));
    let meta = Arc::make_mut(&mut alert.rule);
    meta.name = rule.into();
    meta.severity = severity;
    alert.fingerprint = format!("{rule}/{principal}").into();
    alert.id = format!("{rule}/{principal}#{life}").into();
    Arc::new(alert)
}

fn fired(alert: &Arc<Alert>) -> Change {
    Change::Fired(Arc::clone(alert))
}

fn updated(alert: &Arc<Alert>, seconds: i64) -> Change {
    let mut alert = Alert::clone(alert);
    alert.updated_at = at(seconds);
    Change::Updated(Arc::new(alert))
}

fn resolved(alert: &Arc<Alert>) -> Change {
    let mut alert = Alert::clone(alert);
    alert.status = Status::Resolved;
    alert.updated_at = alert.updated_at.plus(Span::from_secs(900));
    Change::Resolved(Arc::new(alert))
}

fn people(name: &str) -> Telling {
    Telling {
        name: name.into(),
        style: Style::Digest { shown: SHOWN },
        send_resolved: true,
        send_updates: false,
        repeats: Repeats::AsRouted,
        rate: None,
    }
}

fn route(group_by: &[&str]) -> Route {
    Route {
        receivers: vec!["r".into()],
        group_by: GroupBy::Labels(group_by.iter().map(|name| (*name).into()).collect()),
        ..Route::default()
    }
}

fn plan(root: Route, telling: Telling) -> Plan {
    Plan {
        root,
        inhibit_rules: Vec::new(),
        receivers: vec![telling],
        bounds: Bounds::default(),
    }
}

/// A dispatcher, its clock and everything that it told.
struct Play {
    dispatcher: Dispatcher,
    second: i64,
    told: Vec<Notification>,
}

impl Play {
    fn new(plan: Plan) -> Self {
        Self {
            dispatcher: Dispatcher::new(plan),
            second: 0,
            told: Vec::new(),
        }
    }

    fn change(&mut self, change: &Change) -> &mut Self {
        self.dispatcher.on_change(change, at(self.second));
        self.dispatcher.advance(at(self.second), &mut self.told);
        self
    }

    /// Goes on to a second, waking exactly when the dispatcher asks for it.
    fn until(&mut self, second: i64) -> &mut Self {
        while let Some(wake) = self
            .dispatcher
            .next_wake()
            .filter(|wake| *wake <= at(second))
        {
            self.dispatcher
                .advance(wake.max(at(self.second)), &mut self.told);
        }
        self.second = second;
        self.dispatcher.advance(at(second), &mut self.told);
        self
    }

    /// What was told since the last look: second, reason, shown alerts, `firing/resolved`.
    fn seen(&mut self) -> Vec<String> {
        let line = |told: Notification| {
            let second = (told.at.micros() - at(0).micros()) / 1_000_000;
            let ids: Vec<_> = told
                .alerts
                .iter()
                .map(|alert| {
                    let over = if alert.status == Status::Resolved {
                        "-"
                    } else {
                        "+"
                    };
                    format!("{over}{}", alert.id)
                })
                .collect();
            let counts = format!("{}/{}", told.firing.total(), told.resolved.total());
            format!("{second} {} {} {counts}", told.reason.name(), ids.join(" "))
        };
        self.told.drain(..).map(line).collect()
    }
}

#[test]
fn a_group_waits_then_tells_what_is_new_then_repeats_then_ends() {
    let mut play = Play::new(plan(route(&["alertname"]), people("r")));
    let (a, b, c) = (
        alert("x", "a", Severity::Low, 1),
        alert("x", "b", Severity::Medium, 1),
        alert("y", "c", Severity::Low, 1),
    );
    play.change(&fired(&a))
        .until(10)
        .change(&fired(&b))
        .change(&fired(&c))
        .until(40);
    assert_eq!(
        play.seen(),
        ["30 first +x/b#1 +x/a#1 2/0", "40 first +y/c#1 1/0"]
    );
    play.until(100)
        .change(&resolved(&c))
        .until(400)
        .change(&resolved(&a))
        .until(1000);
    assert_eq!(
        play.seen(),
        ["340 resolved -y/c#1 0/1", "630 fewer -x/a#1 +x/b#1 1/1"]
    );
    play.until(15_200);
    assert_eq!(play.seen(), ["15330 repeat +x/b#1 1/0"; 0]);
    play.until(15_400);
    assert_eq!(play.seen(), ["15330 repeat +x/b#1 1/0"]);
    play.change(&resolved(&b)).until(100_000);
    assert_eq!(play.seen(), ["15630 resolved -x/b#1 0/1"]);
    assert_eq!(play.dispatcher.size(), (0, 0), "nothing is left behind");
    assert_eq!(play.dispatcher.next_wake(), None);
}

#[test]
fn what_is_severe_goes_at_once_and_so_does_what_is_worse() {
    let mut play = Play::new(plan(route(&[]), people("r")));
    let severities = [
        Severity::High,
        Severity::High,
        Severity::Low,
        Severity::Critical,
        Severity::Critical,
    ];
    for (n, severity) in severities.into_iter().enumerate() {
        play.change(&fired(&alert("x", &n.to_string(), severity, 1)))
            .until(n as i64 + 1);
    }
    play.until(400);
    assert_eq!(
        play.seen(),
        [
            "0 first +x/0#1 1/0",
            "3 new +x/3#1 +x/1#1 +x/2#1 +x/0#1 4/0",
            "303 new +x/4#1 +x/3#1 +x/0#1 +x/1#1 +x/2#1 5/0",
        ]
    );
}

#[test]
fn what_came_and_went_is_told_all_the_same() {
    let mut play = Play::new(plan(route(&[]), people("r")));
    let a = alert("x", "a", Severity::Low, 1);
    play.change(&fired(&a))
        .until(5)
        .change(&resolved(&a))
        .until(60);
    assert_eq!(play.seen(), ["30 first -x/a#1 0/1"]);
}

#[test]
fn silences_and_inhibition_hide_but_not_that_it_is_over() {
    let mut plan = plan(route(&["alertname", "principal"]), people("r"));
    plan.inhibit_rules = vec![InhibitRule {
        source: Matchers::parse("severity=critical").unwrap(),
        target: Matchers::parse("severity=low").unwrap(),
        equal: vec!["namespace".into()],
    }];
    let mut play = Play::new(plan);
    let (a, b) = (
        alert("x", "a", Severity::Low, 1),
        alert("x", "b", Severity::Medium, 1),
    );
    let silence = Silence {
        id: "s1".into(),
        matchers: Matchers::parse("alertname=x,severity=medium").unwrap(),
        starts_at: at(100),
        ends_at: at(2000),
        created_by: "ops".into(),
        comment: "upgrade".into(),
    };
    play.change(&fired(&b)).until(100);
    assert_eq!(play.seen(), ["30 first +x/b#1 1/0"]);
    play.dispatcher.silence(silence);
    let b2 = alert("x", "b2", Severity::Medium, 1);
    play.change(&fired(&b2)).change(&resolved(&b)).until(1000);
    assert_eq!(
        play.seen(),
        ["330 resolved -x/b#1 0/1"],
        "who was told that it goes on is told that it is over"
    );
    assert_eq!(
        play.dispatcher.hidden("x/b2#1"),
        [Hidden::Silenced("s1".into())]
    );
    play.until(2500);
    assert_eq!(play.seen(), ["2230 first +x/b2#1 1/0"]);
    let big = alert("z", "z", Severity::Critical, 1);
    play.change(&fired(&big)).change(&fired(&a)).until(2600);
    assert_eq!(play.seen(), ["2500 first +z/z#1 1/0"]);
    assert_eq!(
        play.dispatcher.hidden("x/a#1"),
        [Hidden::Inhibited("z/z#1".into())]
    );
    play.change(&resolved(&big)).until(3200);
    assert_eq!(
        play.seen(),
        ["2800 resolved -z/z#1 0/1", "2830 first +x/a#1 1/0"]
    );
}

#[test]
fn what_happens_while_nobody_may_be_told_is_told_later() {
    let mut root = route(&[]);
    let interval = Interval {
        times: vec![DayTime::parse("11:00", "11:20").unwrap()],
        ..Interval::default()
    };
    root.mute = vec![Arc::new(TimeInterval {
        name: "lunch".into(),
        intervals: vec![interval],
    })];
    let mut play = Play::new(plan(root, people("r")));
    let (a, b) = (
        alert("x", "a", Severity::Critical, 1),
        alert("x", "b", Severity::Low, 1),
    );
    play.change(&fired(&a))
        .change(&fired(&b))
        .until(10)
        .change(&resolved(&a))
        .until(1500);
    assert_eq!(play.seen(), ["900 first -x/a#1 +x/b#1 1/1"]);
}

#[test]
fn an_acknowledged_alert_is_not_repeated() {
    let mut play = Play::new(plan(route(&[]), people("r")));
    let a = alert("x", "a", Severity::Low, 1);
    play.change(&fired(&a)).until(60);
    let ack = Ack {
        by: "eva".into(),
        at: at(60),
        comment: "mine".into(),
    };
    assert!(play.dispatcher.ack(&a.id, ack.clone()));
    assert!(!play.dispatcher.ack("nobody", ack));
    play.until(40_000)
        .change(&fired(&alert("x", "b", Severity::Low, 1)))
        .until(41_000);
    assert_eq!(
        play.seen(),
        ["30 first +x/a#1 1/0", "40230 new +x/b#1 +x/a#1 2/0"]
    );
    play.change(&resolved(&a)).until(41_200);
    assert_eq!(
        play.dispatcher.acked("x/a#1"),
        None,
        "an ack ends with its alert"
    );
}

#[test]
fn what_comes_and_goes_is_told_ever_more_rarely() {
    let mut play = Play::new(plan(route(&[]), people("r")));
    for life in 0..48 {
        let a = alert("x", "a", Severity::High, life);
        let start = i64::from(life) * 1200;
        play.until(start)
            .change(&fired(&a))
            .until(start + 600)
            .change(&resolved(&a));
    }
    play.until(100_000);
    let told = std::mem::take(&mut play.told);
    assert!(
        (10..24).contains(&told.len()),
        "{} messages for 48 lives",
        told.len()
    );
    let over: u64 = told.iter().map(|told| told.resolved.total()).sum();
    assert_eq!(over, 48, "every life is told");
    // Somebody else is not held back by it.
    play.change(&fired(&alert("x", "new", Severity::High, 1)));
    assert_eq!(play.seen().len(), 1);
}

#[test]
fn a_storm_is_a_handful_of_messages_that_count_everything() {
    let mut telling = people("r");
    telling.rate = Some(Rate {
        messages: 6,
        per: Span::from_secs(60),
    });
    let mut play = Play::new(plan(route(&["principal"]), telling));
    for n in 0..1000 {
        let severity = if n % 100 == 7 {
            Severity::High
        } else {
            Severity::Low
        };
        play.until(n * 60 / 1000)
            .change(&fired(&alert("x", &format!("user-{n}"), severity, 1)));
    }
    play.until(280);
    let told = std::mem::take(&mut play.told);
    assert!(told.len() <= 24, "{} messages", told.len());
    let firing: u64 = told.iter().map(|told| told.firing.total()).sum();
    assert_eq!(firing, 1000, "every alert is counted once");
    let digests: Vec<_> = told
        .iter()
        .filter(|told| told.reason == Reason::Digest)
        .collect();
    assert!(digests.iter().map(|told| told.stands_for).sum::<u64>() > 900);
    assert!(
        digests
            .iter()
            .all(|told| told.alerts.len() <= SHOWN && told.fresh == told.alerts.len())
    );
    let ids: std::collections::BTreeSet<_> = told.iter().map(|told| &told.id).collect();
    assert_eq!(ids.len(), told.len());
}

#[test]
fn what_nobody_is_told_of_may_explain_others() {
    let mut root = Route {
        receivers: Vec::new(),
        ..route(&[])
    };
    root.routes = vec![Route {
        matchers: Matchers::parse("severity=low").unwrap(),
        ..route(&[])
    }];
    let mut plan = plan(root, people("r"));
    plan.inhibit_rules = vec![InhibitRule {
        source: Matchers::parse("severity=critical").unwrap(),
        target: Matchers::parse("severity=low").unwrap(),
        equal: Vec::new(),
    }];
    let mut play = Play::new(plan);
    let big = alert("z", "z", Severity::Critical, 1);
    play.change(&fired(&big))
        .change(&fired(&alert("x", "a", Severity::Low, 1)))
        .until(60);
    assert!(play.seen().is_empty());
    play.change(&resolved(&big)).until(400);
    assert_eq!(play.seen(), ["330 first +x/a#1 1/0"]);
}

#[test]
fn machines_are_told_of_every_change_at_once() {
    let telling = Telling {
        style: Style::Each { at_most: 2 },
        send_updates: true,
        repeats: Repeats::Never,
        ..people("r")
    };
    let root = Route {
        group_by: GroupBy::Alert,
        group_wait: Span::ZERO,
        ..route(&[])
    };
    let mut play = Play::new(plan(root, telling));
    let a = alert("x", "a", Severity::Low, 1);
    play.change(&fired(&a))
        .until(3)
        .change(&updated(&a, 3))
        .until(5)
        .change(&resolved(&a))
        .until(100_000);
    assert_eq!(
        play.seen(),
        [
            "0 first +x/a#1 1/0",
            "3 updated +x/a#1 1/0",
            "5 resolved -x/a#1 0/1"
        ]
    );
    assert_eq!(play.dispatcher.size(), (0, 0));
}

#[test]
fn machines_that_forget_are_told_again() {
    let telling = Telling {
        style: Style::Each { at_most: 2 },
        repeats: Repeats::Every(Span::from_secs(100)),
        ..people("r")
    };
    let root = Route {
        group_wait: Span::ZERO,
        ..route(&[])
    };
    let mut play = Play::new(plan(root, telling));
    for (n, name) in ["a", "b", "c"].into_iter().enumerate() {
        play.until(n as i64 * 10)
            .change(&fired(&alert("x", name, Severity::Low, 1)));
    }
    play.until(99);
    assert_eq!(play.seen().len(), 3);
    play.until(250);
    let told = play.seen();
    assert_eq!(told.len(), 4, "{told:#?}");
    assert!(
        told[0].starts_with("100 repeat +x/a#1 +x/b#1") && told[1].starts_with("100 repeat +x/c#1")
    );
}

#[test]
fn the_clock_may_jump() {
    let mut play = Play::new(plan(route(&[]), people("r")));
    play.change(&fired(&alert("x", "a", Severity::Low, 1)));
    let back = Time::parse("2026-11-22T00:00:00Z").unwrap();
    play.dispatcher.advance(back, &mut play.told);
    assert_eq!(
        play.dispatcher.next_wake(),
        Some(back.plus(Span::from_secs(30)))
    );
    play.dispatcher.advance(at(1_000_000), &mut play.told);
    assert_eq!(play.told.len(), 1);
}

#[test]
fn groups_are_bounded_and_nothing_is_lost() {
    let mut plan = plan(route(&["principal"]), people("r"));
    plan.bounds = Bounds {
        groups_max: 3,
        members_max: 8,
    };
    let mut play = Play::new(plan);
    for n in 0..10 {
        play.change(&fired(&alert("x", &format!("user-{n}"), Severity::Low, 1)));
    }
    assert_eq!(play.dispatcher.size(), (4, 8));
    play.until(40);
    let (told, missed) = play.told.iter().fold((0, 0), |(told, missed), n| {
        (told + n.firing.total(), missed + n.missed)
    });
    assert_eq!((told, missed), (8, 2));
}

/// What can happen to one of a few alerts.
#[derive(Clone, Copy, Debug)]
enum Step {
    Fire(usize),
    Update(usize),
    Resolve(usize),
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0usize..6).prop_map(Step::Fire),
        1 => (0usize..6).prop_map(Step::Update),
        2 => (0usize..6).prop_map(Step::Resolve),
        4 => (1i64..400).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

const SEVERITIES: [Severity; 3] = [Severity::Low, Severity::High, Severity::Critical];

/// Plays the steps, restarting from rows before those in `restarts`; gives what was told.
fn run(steps: &[Step], plan: &Plan, restart_every: usize) -> (Vec<Notification>, Dispatcher) {
    let mut play = Play::new(plan.clone());
    let mut stored = BTreeMap::<(window::Owner, Vec<u8>), Vec<u8>>::new();
    let mut open: [Option<Arc<Alert>>; 6] = Default::default();
    let mut lives = 0;
    for (n, step) in steps.iter().enumerate() {
        match *step {
            Step::Wait(seconds) => _ = play.until(play.second + seconds),
            Step::Fire(who) if open[who].is_none() => {
                lives += 1;
                let new = alert(
                    ["x", "y"][who % 2],
                    &who.to_string(),
                    SEVERITIES[who % 3],
                    lives,
                );
                play.change(&fired(&new));
                open[who] = Some(new);
            }
            Step::Update(who) => {
                if let Some(alert) = &open[who] {
                    let change = updated(alert, play.second);
                    play.change(&change);
                    open[who] = Some(Arc::clone(change.alert()));
                }
            }
            Step::Resolve(who) => {
                if let Some(alert) = open[who].take() {
                    let change = resolved(&alert);
                    play.change(&change);
                }
            }
            Step::Fire(_) => {}
        }
        let mut rows = window::Rows::default();
        play.dispatcher.changes(&mut rows);
        for row in rows.iter() {
            let key = (row.owner, row.key.to_vec());
            match row.value {
                Some(value) => _ = stored.insert(key, value.to_vec()),
                None => _ = stored.remove(&key),
            }
        }
        if restart_every > 0 && n % restart_every == 0 {
            let mut rows = window::Rows::default();
            for ((owner, key), value) in &stored {
                rows.put_raw(*owner, key, value);
            }
            play.dispatcher = Dispatcher::new(plan.clone());
            let open = open.iter().flatten().map(Arc::clone).collect();
            play.dispatcher
                .take_up(&rows, open, at(play.second))
                .unwrap();
        }
    }
    (play.told, play.dispatcher)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A restart between any two steps changes nothing that is told, ids included.
    #[test]
    fn a_restart_does_not_show(steps in steps(), every in 1usize..4, limited in any::<bool>()) {
        let mut telling = people("r");
        telling.send_updates = true;
        telling.rate = limited.then_some(Rate { messages: 2, per: Span::from_secs(600) });
        let plan = plan(route(&["alertname"]), telling);
        let (left, right) = (run(&steps, &plan, every).0, run(&steps, &plan, 0).0);
        prop_assert!(left == right, "{} and {} messages", left.len(), right.len());
    }

    /// Whatever happens: every alert is told, once as new; what was told is told to be over; two
    /// messages about one group are the interval apart unless it got worse; ids never repeat.
    #[test]
    fn nothing_is_lost_and_nothing_floods(steps in steps()) {
        let mut steps = steps;
        steps.extend((0..6).map(Step::Resolve));
        // Longer than anything is held back.
        steps.extend([Step::Wait(20_000), Step::Wait(20_000)]);
        let plan = plan(route(&["alertname"]), Telling { style: Style::Digest { shown: 1000 }, ..people("r") });
        let (told, dispatcher) = run(&steps, &plan, 0);
        let mut news = BTreeMap::<&str, u32>::new();
        let mut last = BTreeMap::<&str, (Time, Severity)>::new();
        let mut ids = std::collections::BTreeSet::new();
        for one in &told {
            prop_assert!(ids.insert(&one.id));
            prop_assert_eq!(one.alerts.len() as u64, one.total());
            for alert in &one.alerts {
                *news.entry(&alert.id).or_default() += 1;
            }
            let severity = one.severity();
            if let Some((before, worst)) = last.get(&*one.group_key) {
                let apart = one.at.since(*before) >= Span::from_secs(30);
                prop_assert!(apart || severity > *worst || one.reason == Reason::First, "{:?} {severity} after {worst}, {} and {}", one.reason, before, one.at);
            }
            let before = last.get(&*one.group_key).map_or(severity, |(_, worst)| *worst);
            // What begins after all was over begins anew.
            let worst = match one.status() {
                Status::Firing => severity.max(before),
                Status::Resolved => Severity::Informational,
            };
            last.insert(&one.group_key, (one.at, worst));
        }
        // An alert that began anew before anybody was told of its end is told as one.
        let lives = steps.iter().filter(|step| matches!(step, Step::Fire(_))).count();
        prop_assert!(news.len() <= lives);
        prop_assert_eq!(dispatcher.size().1, 0, "all were told to be over");
        let mut ends = BTreeMap::<&str, bool>::new();
        for alert in told.iter().flat_map(|one| &one.alerts) {
            ends.insert(&alert.fingerprint, alert.status == Status::Resolved);
        }
        prop_assert!(ends.values().all(|ended| *ended), "{ends:?}");
    }
}

fn quiet_about(id: &str, matchers: &str, (from, until): (i64, i64)) -> Silence {
    Silence {
        id: id.into(),
        matchers: Matchers::parse(matchers).unwrap(),
        starts_at: at(from),
        ends_at: at(until),
        created_by: "ops".into(),
        comment: "upgrade".into(),
    }
}

#[test]
fn silences_and_acks_survive_a_restart_and_old_silences_go() {
    let mut play = Play::new(plan(route(&["principal"]), people("r")));
    let (a, b) = (
        alert("x", "a", Severity::Low, 1),
        alert("x", "b", Severity::Low, 1),
    );
    play.change(&fired(&a)).change(&fired(&b)).until(60);
    play.dispatcher
        .silence(quiet_about("s", "principal=a", (0, 500)));
    let ack = Ack {
        by: "eva".into(),
        at: at(60),
        comment: "mine".into(),
    };
    assert!(play.dispatcher.ack(&a.id, ack.clone()) && play.dispatcher.ack(&b.id, ack.clone()));
    let mut rows = window::Rows::default();
    play.dispatcher.changes(&mut rows);

    // The second alert ended while nobody looked, and so did what was said about it.
    let mut later = Dispatcher::new(plan(route(&["principal"]), people("r")));
    later.take_up(&rows, vec![Arc::clone(&a)], at(100)).unwrap();
    let standing = later.standing(&a);
    assert_eq!(standing.state(), "silenced");
    assert_eq!(standing.hidden, [Hidden::Silenced("s".into())]);
    assert_eq!(standing.ack, Some(ack));
    assert_eq!(&*standing.receivers[0].name, "r");
    assert_eq!(standing.receivers[0].at, Some(at(30)));
    assert_eq!(later.acked(&b.id), None);
    assert_eq!(later.silence_counts(), [1, 0, 0]);

    later.set_time(at(500));
    assert_eq!(
        (later.hidden_now(), later.silence_counts()),
        ((0, 0), [0, 0, 1])
    );
    later.set_time(at(500).plus(Silence::KEPT));
    later.forget_silences();
    let mut rows = window::Rows::default();
    later.changes(&mut rows);
    assert!(
        rows.iter()
            .any(|row| row.key == b"s" && row.value.is_none())
    );
    assert_eq!(later.silences().count(), 0);
}

#[test]
fn a_silence_that_is_changed_hides_what_it_says_now() {
    let mut play = Play::new(plan(route(&["principal"]), people("r")));
    let (a, b) = (
        alert("x", "a", Severity::Low, 1),
        alert("x", "b", Severity::Low, 1),
    );
    play.change(&fired(&a));
    play.dispatcher
        .silence(quiet_about("s", "principal=~\"a|b\"", (0, 500)));
    play.change(&fired(&b));
    assert_eq!(play.dispatcher.hidden_now(), (2, 0));
    play.dispatcher
        .silence(quiet_about("s", "principal=b", (0, 500)));
    assert_eq!(play.dispatcher.standing(&a).state(), "active");
    assert_eq!(play.dispatcher.standing(&b).state(), "silenced");
}

#[test]
fn a_clock_that_jumps_neither_loses_an_alert_nor_keeps_one_quiet_for_ever() {
    let mut play = Play::new(plan(route(&["principal"]), people("r")));
    let a = alert("x", "a", Severity::Low, 1);
    play.dispatcher
        .silence(quiet_about("s", "principal=a", (0, 3600)));
    play.change(&fired(&a)).until(60);
    assert!(play.seen().is_empty());
    // A day ahead the silence is over: it is told.
    play.until(86_400);
    assert!(play.seen()[0].contains("first +x/a#1"));
    // Back again the silence holds; what is new is hidden, and told when its hour is over.
    let b = alert("x", "b", Severity::Low, 1);
    play.second = 120;
    play.dispatcher
        .silence(quiet_about("t", "principal=b", (0, 3600)));
    play.change(&fired(&b)).until(3500);
    assert!(play.seen().is_empty());
    assert_eq!(play.dispatcher.hidden_now(), (2, 0));
    play.until(4000);
    assert!(play.seen().iter().any(|told| told.contains("+x/b#1")));
}

#[test]
fn what_waits_for_the_end_of_a_muted_time_is_told_when_nothing_is_kept() {
    let mut root = route(&[]);
    let interval = Interval {
        times: vec![DayTime::parse("11:00", "11:20").unwrap()],
        ..Interval::default()
    };
    root.mute = vec![Arc::new(TimeInterval {
        name: "lunch".into(),
        intervals: vec![interval],
    })];
    let mut play = Play::new(plan(root, people("r")));
    play.change(&fired(&alert("x", "a", Severity::Critical, 1)))
        .until(40);
    assert!(play.seen().is_empty());
    play.dispatcher.close(at(50), &mut play.told);
    assert_eq!(play.seen(), ["50 first +x/a#1 1/0"]);
}
