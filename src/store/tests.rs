//! The store from outside: what is committed is there afterwards, whatever happened in between.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

use super::*;
use crate::{
    telemetry::{self, Health},
    units::{Span, Time},
    window::{Owner, Rows},
};

const PATIENCE: Duration = Duration::from_secs(30);

const OWNER: Owner = Owner { kind: 3, of: 7 };

/// A running store and what it handed on.
struct Running {
    keeper: Keeper,
    handed: Receiver<Delivery>,
    health: Arc<Health>,
    metrics: telemetry::Metrics,
    faults: Faults,
}

impl Running {
    fn start(dir: &Path, outbox_max: usize) -> Self {
        let faults = Faults::default();
        let settings = Settings {
            outbox_max,
            faults: faults.clone(),
            ..Settings::new(dir)
        };
        let (store, loaded, lost) = Store::open(settings).unwrap();
        assert_eq!(lost, None);
        let (health, metrics) = (Arc::<Health>::default(), telemetry::Metrics::new().unwrap());
        let own = Metrics::new(&metrics).unwrap();
        let receivers = ["soc".into(), "log".into()].into();
        let (keeper, keeping) =
            store.keeper(loaded.bookmarks, receivers, own, health.part("state"));
        let (hand, handed) = channel();
        keeping
            .start(Box::new(move |delivery| drop(hand.send(delivery))))
            .unwrap();
        Self {
            keeper,
            handed,
            health,
            metrics,
            faults,
        }
    }

    fn commit(&self, checkpoint: Checkpoint) {
        assert!(self.keeper.wait(PATIENCE));
        self.keeper.commit(checkpoint);
    }

    fn handed(&self) -> Delivery {
        self.handed.recv_timeout(PATIENCE).unwrap()
    }

    /// Numbers of new messages.
    fn new_notes(&self) -> Vec<u64> {
        match self.handed() {
            Delivery::New(notes) => notes.iter().map(|note| note.number).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn more(&self, receiver: &str, after: u64, at_most: usize) -> (Vec<u64>, bool) {
        self.keeper.more(&receiver.into(), after, at_most);
        match self.handed() {
            Delivery::More { notes, is_all, .. } => {
                (notes.iter().map(|note| note.number).collect(), is_all)
            }
            other => panic!("{other:?}"),
        }
    }

    fn stop(self) {
        assert!(self.keeper.stop(PATIENCE));
    }

    fn metric(&self, name: &str) -> bool {
        self.metrics.render().unwrap().contains(name)
    }
}

fn note(id: &str, receiver: &str, level: u8) -> Note {
    Note {
        number: 0,
        id: id.into(),
        receiver: receiver.into(),
        about: id.split('.').next().unwrap_or_default().into(),
        level,
        is_update: id.ends_with('u'),
        made_at: Time::from_micros(5),
        payload: Arc::from(id.as_bytes()),
    }
}

fn bookmark(part: &str, value: Option<&str>) -> Bookmark {
    Bookmark {
        source: "file:a".into(),
        part: part.into(),
        value: value.map(str::to_owned),
    }
}

fn rows(pairs: &[(&[u8], Option<&str>)]) -> Rows {
    let mut rows = Rows::default();
    for (key, value) in pairs {
        match value {
            Some(value) => rows.put_raw(OWNER, key, value.as_bytes()),
            None => rows.remove(OWNER, key),
        }
    }
    rows
}

fn loaded(dir: &Path) -> (Vec<Bookmark>, Vec<(Vec<u8>, String)>) {
    let (_, loaded, lost) = Store::open(Settings::new(dir)).unwrap();
    assert_eq!(lost, None);
    let rows = loaded.rows.iter().map(|row| {
        let value = String::from_utf8(row.value.unwrap().to_vec()).unwrap();
        (row.key.to_vec(), value)
    });
    let rows = rows.collect();
    (loaded.bookmarks, rows)
}

fn notes(notes: impl IntoIterator<Item = Note>) -> Checkpoint {
    Checkpoint {
        notes: notes.into_iter().collect(),
        ..Checkpoint::default()
    }
}

#[test]
fn what_was_committed_is_there_after_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), 100);
    let mut safe = running.keeper.commits().watch("file:a");
    running.commit(Checkpoint {
        bookmarks: vec![bookmark("1", Some("{}")), bookmark("2", Some("[2]"))],
        rows: rows(&[(b"a", Some("x")), (b"b", Some("y"))]),
        notes: vec![note("1.f", "soc", 3), note("1.f", "log", 3)],
        ..Checkpoint::default()
    });
    assert_eq!(running.new_notes(), [1, 2]);
    assert_eq!(safe.borrow_and_update().len(), 2);
    let mut gone = rows(&[(b"a", None), (b"c", Some("z"))]);
    gone.forget(Owner { of: 8, ..OWNER });
    running.commit(Checkpoint {
        bookmarks: vec![bookmark("1", None), bookmark("2", Some("[3]"))],
        rows: gone,
        ..Checkpoint::default()
    });
    running.keeper.taken(1);
    running.stop();
    assert_eq!(
        loaded(dir.path()),
        (
            vec![bookmark("2", Some("[3]"))],
            vec![
                (b"b".to_vec(), "y".to_owned()),
                (b"c".to_vec(), "z".to_owned())
            ]
        )
    );
    let again = Running::start(dir.path(), 100);
    assert_eq!(again.more("soc", 0, 10), (vec![], true));
    assert_eq!(again.more("log", 0, 10), (vec![2], true));
    again.commit(notes([note("2.f", "soc", 3)]));
    assert_eq!(again.new_notes(), [3], "numbers are not given twice");
    again.stop();
}

#[test]
fn nobody_else_may_read_it_or_use_it() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("deep/state");
    let (store, ..) = Store::open(Settings::new(&dir)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for file in fs::read_dir(&dir).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    let refused = Store::open(Settings::new(&dir)).unwrap_err().to_string();
    assert!(
        refused.starts_with("another auditwatch keeps its state in "),
        "{refused}"
    );
    drop(store);
    Store::open(Settings::new(&dir)).unwrap();
}

#[test]
fn a_file_of_no_use_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    let lost = || Store::open(Settings::new(dir.path())).unwrap().2;
    assert_eq!(lost(), None);
    for number in 0..5 {
        let rubbish = format!("no database {number} {}", "x".repeat(5_000));
        fs::write(&file, rubbish).unwrap();
        let lost = lost().unwrap();
        assert!(lost.contains("it was put aside as"), "{lost}");
    }
    let aside: Vec<String> = (1..=4)
        .filter_map(|n| fs::read_to_string(dir.path().join(format!("state.db.set-aside-{n}"))).ok())
        .map(|text| text[..13].to_owned())
        .collect();
    assert_eq!(aside, ["no database 2", "no database 3", "no database 4"]);

    let change = |sql: &str| {
        rusqlite::Connection::open(&file)
            .unwrap()
            .execute_batch(sql)
            .unwrap();
    };
    change("UPDATE meta SET value = '99' WHERE key = 'schema'");
    assert!(lost().unwrap().contains("its version (99) is unknown"));
    // An engine that keeps other rows does not cost what was told and silenced.
    change(&format!(
        "INSERT INTO state VALUES (1, 2, x'00', x'00'), (16, 2, x'01', x'02');
            UPDATE meta SET value = '0.{}' WHERE key = 'state'",
        crate::alert::SNAPSHOT_VERSION
    ));
    let told = lost().unwrap();
    let expected = format!(
        "(0.{}): windows and baselines begin anew",
        crate::alert::SNAPSHOT_VERSION
    );
    assert!(told.contains(&expected), "{told}");
    let rows = loaded(dir.path()).1;
    assert_eq!(rows.len(), 1, "{rows:?}");
    change(
        "INSERT INTO state VALUES (1, 2, x'00', x'00');
            INSERT INTO bookmark VALUES ('file:a', '1', '{}');
            UPDATE meta SET value = '0.0' WHERE key = 'state'",
    );
    let told = lost().unwrap();
    assert!(
        told.contains("is of another version of auditwatch (0.0)"),
        "{told}"
    );
    assert_eq!(
        loaded(dir.path()),
        (vec![bookmark("1", Some("{}"))], vec![])
    );
    change("DROP TABLE state");
    assert!(lost().unwrap().contains("it is damaged"));
}

#[test]
fn faults_are_told_and_gone_through() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), 100);
    let faults = [
        (Fault::Full, "full", "make room on its disk"),
        (Fault::Io, "io", "look at the disk"),
        (Fault::Sync, "io", "look at the disk"),
    ];
    for (number, (fault, reason, advice)) in (1u64..).zip(faults) {
        running.faults.set(Some(fault));
        let id = format!("{number}.f");
        running.commit(Checkpoint {
            bookmarks: vec![bookmark("1", Some(&id))],
            notes: vec![note(&id, "soc", 3)],
            ..Checkpoint::default()
        });
        assert_eq!(
            running.new_notes(),
            [2 * number - 1],
            "who is to be told is told"
        );
        assert!(running.keeper.is_failing() && !running.keeper.is_idle());
        let (is_ready, told) = running.health.readiness();
        assert!(!is_ready && told.contains(advice), "{told}");
        let failed = format!("auditwatch_checkpoints_failed_total{{reason=\"{reason}\"}} 0\n");
        assert!(!running.metric(&failed));
        let safe = running.keeper.commits().watch("file:a");
        assert_ne!(safe.borrow().get("1"), Some(&id), "nothing is safe yet");
        running
            .keeper
            .hurry(vec![note(&format!("{number}.h"), "soc", 3)]);
        assert_eq!(running.new_notes(), [2 * number]);
        running.keeper.taken(2 * number);

        running.faults.set(None);
        assert!(running.keeper.wait(PATIENCE), "it goes on by itself");
        assert!(running.health.readiness().0);
        assert_eq!(safe.borrow().get("1"), Some(&id));
    }
    // What was handed on and not taken waits still, what was taken does not.
    assert_eq!(running.more("soc", 0, 10), (vec![1, 3, 5], true));
    running.stop();
}

/// SQLite itself runs out of room, in the midst of a transaction.
#[test]
fn a_really_full_file_takes_nothing_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, ..) = Store::open(Settings::new(dir.path())).unwrap();
    let limit = |store: &Store, pages: u32| {
        let connection = store.connection();
        connection
            .pragma_update(None, "max_page_count", pages)
            .unwrap();
    };
    let many = |number: u32| {
        let mut rows = Rows::default();
        for key in 0..1_000 {
            rows.put_raw(OWNER, &(number + key).to_be_bytes(), &[7; 200]);
        }
        Checkpoint {
            rows,
            bookmarks: vec![bookmark("1", Some(&number.to_string()))],
            ..Checkpoint::default()
        }
    };
    store.commit(&many(0)).unwrap();
    limit(&store, 60);
    let full = store.commit(&many(100_000)).unwrap_err();
    assert_eq!(Reason::of(&full), Reason::Full);
    limit(&store, 1_000_000);
    store.commit(&many(200_000)).unwrap();
    drop(store);
    let (bookmarks, rows) = loaded(dir.path());
    assert_eq!(
        (bookmarks[0].value.as_deref(), rows.len()),
        (Some("200000"), 2_000)
    );
}

#[test]
fn a_full_outbox_lets_the_least_go_first() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), 4);
    running.commit(notes([
        note("a.u", "soc", 4),
        note("b.u", "soc", 0),
        note("a.r", "soc", 4),
        note("c.f", "soc", 1),
    ]));
    assert_eq!(running.new_notes(), [1, 2, 3, 4]);
    running.keeper.dead(4, "rejected");
    running.commit(notes([note("d.f", "soc", 2)]));
    assert_eq!(running.new_notes(), [5]);
    // The dead letter went, nobody else.
    assert_eq!(running.more("soc", 0, 10), (vec![1, 2, 3, 5], true));
    running.commit(notes([note("e.f", "soc", 2)]));
    running.new_notes();
    let dropped = |numbers: &[u64]| {
        let dropped = numbers.iter().map(|number| ("soc".into(), *number));
        Delivery::Dropped(dropped.collect())
    };
    assert_eq!(running.handed(), dropped(&[1]), "an update that is old");
    running.commit(notes([note("f.f", "soc", 0), note("g.f", "soc", 3)]));
    running.new_notes();
    assert_eq!(running.handed(), dropped(&[2, 7]), "the least severe");
    assert!(running.metric("auditwatch_outbox_dead_forgotten_total 1\n"));
    running.stop();
}

#[test]
fn an_operator_sends_again_and_drops() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), 100);
    running.commit(notes(
        ["a", "b", "c"].map(|id| note(&format!("{id}.f"), "soc", 3)),
    ));
    running.new_notes();
    running.keeper.dead(1, "expired");
    running.keeper.dead(2, "rejected");
    // The answer comes after what was asked before it was written.
    running.commit(Checkpoint::default());
    assert!(running.keeper.wait(PATIENCE));

    let mut outbox = Outbox::open(dir.path()).unwrap();
    let dead = outbox.list(true, 10).unwrap();
    let reasons: Vec<&str> = dead.iter().map(|entry| &*entry.reason).collect();
    assert_eq!(reasons, ["expired", "rejected"]);
    assert_eq!(outbox.find("c.f").unwrap()[0].standing, "waiting");
    assert_eq!(
        outbox.retry(&Which::These(vec!["3".to_owned()])),
        Ok(0),
        "it waits"
    );
    assert_eq!(outbox.retry(&Which::These(vec!["a.f".to_owned()])), Ok(1));
    assert_eq!(running.new_notes(), [4], "sent again under a new number");
    assert_eq!(outbox.drop(&Which::These(vec!["3".to_owned()])), Ok(1));
    assert_eq!(running.handed(), Delivery::Forget(vec![3]));
    assert_eq!(outbox.drop(&Which::AllDead), Ok(1));
    assert_eq!(running.handed(), Delivery::Forget(vec![2]));
    running.stop();
    assert_eq!(outbox.list(false, 10).unwrap().len(), 1);
    let none = Outbox::open(&dir.path().join("nowhere")).err().unwrap();
    assert!(none.contains("give the directory"), "{none}");
}

#[test]
fn what_waits_for_a_receiver_that_is_gone_becomes_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), 100);
    running.commit(notes([
        note("a.f", "pager", 3),
        note("a.f", "soc", 3),
        note("b.f", "pager", 3),
    ]));
    running.new_notes();
    running.stop();
    let mut outbox = Outbox::open(dir.path()).unwrap();
    assert_eq!(outbox.drop(&Which::These(vec!["3".to_owned()])), Ok(1));
    let running = Running::start(dir.path(), 100);
    let dead = outbox.list(true, 10).unwrap();
    assert_eq!((dead.len(), &*dead[0].reason), (1, "receiver removed"));
    assert_eq!(&*dead[0].note.receiver, "pager");
    running.stop();
}

/// Damage that only shows while it is used: the next start puts the file aside and has nothing to
/// say at the one after.
#[test]
fn what_is_found_damaged_while_in_use_is_put_aside_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), 10);
    let (store, ..) = {
        drop(running);
        loop {
            // The thread gives the lock back when it has ended.
            match Store::open(Settings::new(dir.path())) {
                Err(OpenError::Taken(_)) => std::thread::yield_now(),
                opened => break opened.unwrap(),
            }
        }
    };
    // Nobody who only reads the state misses the outbox.
    store
        .connection()
        .execute_batch("DROP TABLE outbox")
        .unwrap();
    let own = Metrics::new(&telemetry::Metrics::new().unwrap()).unwrap();
    let part = Arc::<Health>::default().part("state");
    let (_, keeping) = store.keeper(Vec::new(), ["log".into()].into(), own, part);
    let failed = keeping.start(Box::new(drop)).unwrap_err().to_string();
    assert!(failed.contains("outbox"), "{failed}");
    let opened = || Store::open(Settings::new(dir.path())).unwrap().2;
    let lost = opened().unwrap();
    assert!(lost.contains("found damaged while it was in use"), "{lost}");
    assert_eq!(opened(), None);
}

#[test]
fn the_history_keeps_the_latest_for_as_long_as_is_wished() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        retention: Retention {
            age_max: Span::from_secs(100),
            count_max: 3,
        },
        ..Settings::new(dir.path())
    };
    let (mut store, ..) = Store::open(settings).unwrap();
    let ended = |id: &str, second: i64, level| Ended {
        id: id.into(),
        ended_at: Time::from_micros(second * 1_000_000),
        level,
        alert: format!("{{\"id\":\"{id}\"}}"),
    };
    let mut write = |ended: Vec<Ended>| {
        let checkpoint = Checkpoint {
            ended,
            ..Checkpoint::default()
        };
        store.commit(&checkpoint).unwrap();
    };
    write(vec![ended("old", 10, 4), ended("a", 80, 1)]);
    // The same again after a crash is the same.
    write(vec![ended("a", 80, 1), ended("b", 120, 3)]);
    let history = History::open(dir.path()).unwrap();
    let list = |level| history.list(Time::MIN, level, 10).unwrap();
    assert_eq!(list(0), [r#"{"id":"b"}"#, r#"{"id":"a"}"#], "too old");
    assert_eq!(list(2), [r#"{"id":"b"}"#]);
    assert_eq!(history.find("old").unwrap(), None);
    assert_eq!(history.find("a").unwrap().unwrap(), r#"{"id":"a"}"#);
    write(vec![ended("c", 130, 1), ended("d", 140, 1)]);
    let left = [r#"{"id":"d"}"#, r#"{"id":"c"}"#, r#"{"id":"b"}"#];
    assert_eq!(list(0), left, "too many");
}
