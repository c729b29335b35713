//! A kept state whose rows, or whose file, were damaged.

use std::{
    fs,
    io::Read as _,
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};

use auditwatch::{
    alert::{
        self,
        dispatch::{Bounds, Dispatcher, Plan, Route},
    },
    decode::{Decoded, Framer, Limits, each_event},
    detect::{self, Observation, Observer, SourceId},
    event::{Context, Event},
    pipeline::Judge,
    rule::{Layer, RuleSet, shipped_rules},
    store::{self, Bookmark, Checkpoint, Store},
    telemetry::{Health, Metrics},
    units::Time,
    window::Rows,
};
use flate2::read::MultiGzDecoder;

use crate::run;

const WORDS: [&[u8]; 6] = [
    b"\0",
    b"\xff\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"\x01",
    b"SQLite format 3\0",
    b"\xf4\x8f\xbf\xbf",
];

const PATIENCE: Duration = Duration::from_secs(60);

/// The shipped rules, and what they see in an attack.
struct Story {
    rules: Arc<RuleSet>,
    observations: Vec<Observation>,
}

static STORY: LazyLock<Story> = LazyLock::new(|| {
    let loaded = RuleSet::load(&[Layer::new(shipped_rules())]).unwrap();
    let rules = Arc::new(loaded.set);
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("sample-logs/impersonation-and-escalation.jsonl.gz");
    let mut log = Vec::new();
    let packed = fs::File::open(path).unwrap();
    MultiGzDecoder::new(packed).read_to_end(&mut log).unwrap();
    let mut observer = Observer::new(Arc::clone(&rules));
    let context = Context::default();
    let mut framer = Framer::new(Limits::default());
    framer.feed(&log);
    framer.finish();
    let mut observations = Vec::new();
    while let Some(block) = framer.next_block() {
        each_event(&block, &mut |decoded| {
            if let Decoded::Event(slots, line) = decoded {
                observations.push(observer.observe(&Event::new(slots, line, &context)));
            }
        });
    }
    assert!(observations.len() > 1_000);
    Story {
        rules,
        observations,
    }
});

fn judge() -> Judge {
    Judge::new(
        Arc::clone(&STORY.rules),
        detect::Settings::default(),
        alert::Settings::default(),
    )
}

fn go_on(judge: &mut Judge, observations: &[Observation]) {
    let mut changes = Vec::new();
    for observation in observations {
        judge.take(SourceId(0), observation, None, &mut |_| {}, &mut changes);
    }
}

fn plan() -> Plan {
    Plan {
        root: Route::default(),
        inhibit_rules: Vec::new(),
        receivers: Vec::new(),
        bounds: Bounds::default(),
    }
}

/// The state in the midst of the attack.
fn rows() -> Rows {
    let mut judge = judge();
    go_on(&mut judge, &STORY.observations[..1_000]);
    let mut rows = Rows::default();
    judge.changes(&mut rows);
    rows.sort();
    assert!(rows.len() > 200, "{} rows", rows.len());
    rows
}

/// Takes up rows as the daemon does at its start, and goes on where they are taken.
fn take_up(rows: &Rows) -> bool {
    let mut judge = judge();
    if judge.restore(rows).is_err() {
        return false;
    }
    let firing = judge.alerts().firing();
    let mut dispatcher = Dispatcher::new(plan());
    let is_taken = dispatcher
        .take_up(rows, firing, Time::from_micros(1))
        .is_ok();
    go_on(&mut judge, &STORY.observations[1_000..1_100]);
    is_taken
}

/// Rows are taken up whole or refused; never is there a panic, nor more memory than there is.
#[test]
fn snapshot() {
    let good = rows();
    assert!(take_up(&good));
    let kept: Vec<_> = good.iter().collect();
    run("snapshot", 150, |chance, input| {
        let mut rows = Rows::default();
        let from = chance.below(kept.len());
        for (at, row) in kept.iter().enumerate() {
            let value = row.value.unwrap();
            // The one that was chosen, and now and then another, another value or key.
            if at == from || chance.one_in(kept.len()) {
                let mut damaged = value.to_vec();
                chance.damage(&mut damaged, &WORDS);
                input.extend_from_slice(&damaged);
                let key = if chance.one_in(8) {
                    kept[chance.below(kept.len())].key
                } else {
                    row.key
                };
                rows.put_raw(row.owner, key, &damaged);
            } else if !chance.one_in(2_000) {
                rows.put_raw(row.owner, row.key, value);
            }
        }
        take_up(&rows);
        Ok(())
    });
}

fn open(folder: &Path) -> (Store, store::Loaded, Option<String>) {
    Store::open(store::Settings::new(folder)).unwrap()
}

/// Whatever became of the file, the daemon starts; what it cannot use it puts aside and says so;
/// and the next start has nothing to say any more.
#[test]
fn state_file() {
    let whole = tempfile::tempdir().unwrap();
    let (store, ..) = open(whole.path());
    let metrics = Metrics::new().unwrap();
    let part = Arc::new(Health::default()).part("state");
    let own = store::Metrics::new(&metrics).unwrap();
    let (keeper, keeping) = store.keeper(Vec::new(), ["log".into()].into(), own, part);
    keeping.start(Box::new(drop)).unwrap();
    keeper.commit(Checkpoint {
        bookmarks: vec![Bookmark {
            source: "file:audit.log".into(),
            part: "1".into(),
            value: Some("{}".to_owned()),
        }],
        rows: rows(),
        notes: Vec::new(),
        ..Checkpoint::default()
    });
    assert!(keeper.wait(PATIENCE) && keeper.stop(PATIENCE));
    let good = fs::read(whole.path().join("state.db")).unwrap();
    {
        let (_, loaded, lost) = open(whole.path());
        assert_eq!((lost, loaded.bookmarks.len()), (None, 1));
        assert!(take_up(&loaded.rows));
    }
    run("state_file", 40, |chance, input| {
        *input = good.clone();
        chance.damage(input, &WORDS);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("state.db"), &*input).unwrap();
        let (store, loaded, lost) = open(folder.path());
        if lost.is_some() && !loaded.rows.is_empty() {
            return Err("it was put aside and used as well".to_owned());
        }
        let is_taken = lost.is_some() || take_up(&loaded.rows);
        if is_taken {
            drop(store);
        } else {
            drop(store.begin_anew("a row is damaged").unwrap());
        }
        let (_, loaded, again) = open(folder.path());
        if is_taken && lost.is_none() {
            return Ok(());
        }
        match again {
            None if loaded.rows.is_empty() => Ok(()),
            None => Err("what was put aside is still there".to_owned()),
            Some(again) => Err(format!("it never ends: {again}")),
        }
    });
}
