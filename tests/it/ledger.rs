//! Nothing is lost and nothing is made up when the daemon is killed at any moment: the alerts that
//! a receiver ends up with are those of an uninterrupted replay of the same bytes.
//!
//! `AUDITWATCH_LEDGER_KILLS` says how many times it is killed, `AUDITWATCH_LEDGER_SEED` when; a
//! failing run says its seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::program::{auditwatch, program, sample};

/// Long enough for a busy machine; a test that fails takes this long, one that passes does not.
const PATIENCE: Duration = Duration::from_secs(120);

/// What comes long after all else, so that every alert is over: receivers know all of it then.
const LAST: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"the-end","stage":"ResponseComplete","requestURI":"/readyz","verb":"get","user":{"username":"system:kube-probe"},"responseStatus":{"code":200},"requestReceivedTimestamp":"TIME","stageTimestamp":"TIME"}"#;

/// Numbers that a seed gives: xorshift, good enough to choose moments.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    let given = env::var(variable).ok();
    given.map_or(otherwise, |given| given.parse().unwrap())
}

/// Records what it is told, and now and then refuses to hear or closes early.
#[derive(Clone)]
struct Recorder {
    url: String,
    told: Arc<Mutex<Vec<Value>>>,
}

impl Recorder {
    fn start(mut chance: Chance) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let recorder = Self {
            url: format!("http://{}/alerts", listener.local_addr().unwrap()),
            told: Arc::default(),
        };
        let told = Arc::clone(&recorder.told);
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that was killed in the midst of it is what this is about.
                let _ = stream.and_then(|stream| serve(stream, &told, &mut chance));
            }
        });
        recorder
    }

    fn count(&self) -> usize {
        self.told.lock().unwrap().len()
    }

    /// The last word about each alert. Whatever was told twice was the same both times.
    fn last_words(&self) -> BTreeMap<String, Value> {
        let mut by_message: BTreeMap<String, Value> = BTreeMap::new();
        let mut last = BTreeMap::new();
        for alert in &*self.told.lock().unwrap() {
            let mut alert = alert.clone();
            alert.as_object_mut().unwrap().remove("dropped");
            let name = ["id", "status", "updated_at"].map(|key| alert[key].to_string());
            let before = by_message.insert(name.join(" "), alert.clone());
            if let Some(before) = before {
                assert_eq!(before, alert, "a repeat that differs");
            }
            let order = |alert: &Value| {
                let is_over = alert["status"] == "resolved";
                (is_over, alert["updated_at"].as_str().unwrap().to_owned())
            };
            let id = alert["id"].as_str().unwrap().to_owned();
            let known: Option<&Value> = last.get(&id);
            if known.is_none_or(|known| order(known) <= order(&alert)) {
                last.insert(id, alert);
            }
        }
        last
    }
}

fn serve(stream: TcpStream, told: &Mutex<Vec<Value>>, chance: &mut Chance) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim().to_lowercase();
        if let Some(given) = line.strip_prefix("content-length:") {
            length = given.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut stream = reader.into_inner();
    let answer = match chance.below(8) {
        0 => "500 No",
        // Heard, but the client does not learn of it.
        1 => "",
        _ => "200 Yes",
    };
    if answer != "500 No" {
        told.lock()
            .unwrap()
            .push(serde_json::from_slice(&body).unwrap());
    }
    if answer.is_empty() {
        return Ok(());
    }
    write!(
        stream,
        "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}

/// Starts the daemon on a source, as the configuration has it.
fn start(folder: &Path, source: &str, url: &str) -> Child {
    let log = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(folder.join("stderr"))
        .unwrap();
    fs::write(
        folder.join("auditwatch.yml"),
        format!(
            "sources: {{{source}}}\nstate: {{dir: state}}\nadmin: {{listen: 'off'}}\n\
             receivers: [{{name: ledger, webhook: {{url: '{url}'}}}}]\n\
             notify: {{backoff_first: 10ms, backoff_max: 50ms}}\n"
        ),
    )
    .unwrap();
    program()
        .current_dir(folder)
        .args(["run", "--config", "auditwatch.yml"])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// The last word of a replay about each alert.
fn replayed(log: &Path) -> BTreeMap<String, Value> {
    let how = ["replay", "--output=json", "--stats=json"].map(Path::new);
    let answer = auditwatch(how.into_iter().chain([log]));
    answer.stats();
    let alerts = answer.objects().into_iter();
    alerts
        .map(|alert| (alert["id"].as_str().unwrap().to_owned(), alert))
        .collect()
}

/// What live and replay must agree on. How often people were told meanwhile differs.
fn essence(alerts: &BTreeMap<String, Value>) -> BTreeMap<String, Vec<Value>> {
    let keys = ["status", "count", "starts_at", "ends_at", "evidence"];
    let essence =
        |(id, alert): (&String, &Value)| (id.clone(), keys.map(|key| alert[key].clone()).to_vec());
    alerts.iter().map(essence).collect()
}

/// Two attacks at once, and long after them the end.
fn story() -> Vec<String> {
    let mut lines = Vec::new();
    for name in ["finding-out-what-is-open", "impersonation-and-escalation"] {
        lines.extend(sample(&format!("{name}.jsonl.gz")));
    }
    // Both in one log, in the order in which an API server writes.
    let stamped = |line: &String| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["stageTimestamp"].as_str().unwrap().to_owned()
    };
    lines.sort_by_cached_key(stamped);
    let day = &stamped(&lines[lines.len() - 1])[..11];
    lines.push(LAST.replace("TIME", &format!("{day}23:59:59.000000Z")) + "\n");
    lines
}

/// What both ledgers hold on to: the folder, the receiver, and what it must have heard in the end.
struct Ledger {
    folder: tempfile::TempDir,
    recorder: Recorder,
    expected: BTreeMap<String, Value>,
    seed: u64,
    chance: Chance,
    kills: u64,
}

impl Ledger {
    fn open(lines: &[String], kills: u64) -> Self {
        let kills = number("AUDITWATCH_LEDGER_KILLS", kills);
        let seed = number("AUDITWATCH_LEDGER_SEED", 0x9E37_79B9);
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("whole.jsonl");
        fs::write(&whole, lines.concat()).unwrap();
        let expected = replayed(&whole);
        assert!(expected.len() > 10, "{} alerts", expected.len());
        Self {
            folder,
            recorder: Recorder::start(Chance(seed.rotate_left(32) | 1)),
            expected,
            seed,
            chance: Chance(seed | 1),
            kills,
        }
    }

    fn start(&self, source: &str) -> Child {
        start(self.folder.path(), source, &self.recorder.url)
    }

    /// Waits until the receiver has heard what it must, or for long; then asks the daemon to end.
    fn close(&self, mut child: Child) {
        let deadline = Instant::now() + PATIENCE;
        let missing = || differences(&self.recorder.last_words(), &self.expected);
        while !missing().is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let said = fs::read_to_string(self.folder.path().join("stderr")).unwrap();
        let seed = self.seed;
        let none: [&str; 0] = [];
        assert_eq!(missing(), none, "seed {seed}\n{said}");
        let id = child.id().to_string();
        let stopped = std::process::Command::new("kill")
            .arg(&id)
            .status()
            .unwrap();
        assert!(stopped.success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    }
}

/// What differs between what was told and what a replay tells; short, for people.
fn differences(told: &BTreeMap<String, Value>, expected: &BTreeMap<String, Value>) -> Vec<String> {
    let (told, expected) = (essence(told), essence(expected));
    let ids: BTreeSet<&String> = told.keys().chain(expected.keys()).collect();
    let differing = ids
        .into_iter()
        .filter(|id| told.get(*id) != expected.get(*id));
    let short = |side: Option<&Vec<Value>>| match side {
        None => "nothing".to_owned(),
        Some(values) => {
            let quoted = values[4].as_array().map_or(0, Vec::len);
            format!("{:?} with {quoted} quotes", &values[..4])
        }
    };
    differing
        .map(|id| {
            format!(
                "{id}: {} / {}",
                short(told.get(id)),
                short(expected.get(id))
            )
        })
        .collect()
}

#[test]
fn killed_at_any_moment_it_tells_what_an_uninterrupted_replay_tells() {
    const SOURCE: &str = "files: [audit.log], from: start";
    let lines = story();
    let mut ledger = Ledger::open(&lines, 12);
    let bytes = lines.concat().into_bytes();
    let log = ledger.folder.path().join("audit.log");
    let mut file = fs::File::create(&log).unwrap();
    let mut rest = bytes.as_slice();
    for left in (1..=ledger.kills).rev() {
        let mut child = ledger.start(SOURCE);
        let chance = &mut ledger.chance;
        // Some of it is written before, some while it runs, cut anywhere in a line.
        let share = rest.len() / left as usize;
        let told = ledger.recorder.count();
        let moment = Duration::from_millis(chance.below(700));
        let until = Instant::now() + moment;
        let mut mine = share;
        while mine > 0 && (left > 1 || Instant::now() < until) {
            let size = mine.min(1 + chance.below(200_000) as usize);
            let (now, after) = rest.split_at(size);
            file.write_all(now).unwrap();
            (rest, mine) = (after, mine - size);
            thread::sleep(Duration::from_millis(chance.below(40)));
        }
        // Half of the times just after somebody was told, else at any moment: a fault, no wait
        // for anything.
        let wants_told = chance.below(2) == 0;
        while Instant::now() < until && !(wants_told && ledger.recorder.count() > told) {
            thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    file.write_all(rest).unwrap();
    let starts = || {
        let said = fs::read_to_string(ledger.folder.path().join("stderr")).unwrap();
        said.matches("watching audit.log").count()
    };
    let before = starts();
    let child = ledger.start(SOURCE);
    let deadline = Instant::now() + PATIENCE;
    while starts() == before && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    ledger.close(child);
}

/// An API server in small: sends each batch until it is taken, in order; now and then once more,
/// as one does that did not hear the answer.
struct ApiServer {
    /// Of how many batches it may send.
    allowed: Arc<AtomicUsize>,
    /// How many were taken.
    taken: Arc<AtomicUsize>,
}

impl ApiServer {
    fn start(address: SocketAddr, batches: Vec<String>, mut chance: Chance) -> Self {
        let (allowed, taken) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let server = Self {
            allowed: Arc::clone(&allowed),
            taken: Arc::clone(&taken),
        };
        thread::spawn(move || {
            for (at, batch) in batches.iter().enumerate() {
                let mut times = 1 + u64::from(chance.below(8) == 0);
                while times > 0 {
                    let may = allowed.load(Ordering::SeqCst) > at;
                    if may && post(address, batch).is_ok_and(|code| code == 200) {
                        times -= 1;
                    } else {
                        thread::sleep(Duration::from_millis(2));
                    }
                }
                taken.store(at + 1, Ordering::SeqCst);
            }
        });
        server
    }

    fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

/// The status that a request is answered with.
fn post(address: SocketAddr, body: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: auditwatch\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.ok_or_else(|| io::Error::other("no answer"))
}

#[test]
fn killed_at_any_moment_the_webhook_keeps_what_it_answered_for() {
    let lines = story();
    let mut ledger = Ledger::open(&lines, 13);
    // The port must stay the same over restarts, so that nobody else may have it meanwhile.
    let address = TcpListener::bind("127.0.0.1:0")
        .and_then(|free| free.local_addr())
        .unwrap();
    let source = format!("webhook: {{listen: '{address}'}}");
    let mut batches = Vec::new();
    let mut rest = lines.as_slice();
    while !rest.is_empty() {
        let size = rest.len().min(1 + ledger.chance.below(40) as usize);
        let (batch, after) = rest.split_at(size);
        let items: Vec<&str> = batch.iter().map(|line| line.trim_end()).collect();
        batches.push(format!(
            r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{{}},"items":[{}]}}"#,
            items.join(",")
        ));
        rest = after;
    }
    let all = batches.len();
    let api_server = ApiServer::start(address, batches, Chance(ledger.seed.rotate_left(16) | 1));
    for round in 1..=ledger.kills {
        let mut child = ledger.start(&source);
        let chance = &mut ledger.chance;
        let (told, taken) = (ledger.recorder.count(), api_server.taken());
        let share = all * round as usize / (ledger.kills + 1) as usize;
        api_server.allowed.store(share, Ordering::SeqCst);
        // Half of the times just after somebody was told, else some moment after the first batch
        // was taken; in any case before long.
        let wants_told = chance.below(2) == 0;
        let mut left = Duration::from_millis(chance.below(200));
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until && !left.is_zero() {
            if wants_told && ledger.recorder.count() > told {
                break;
            }
            thread::sleep(Duration::from_millis(1));
            if !wants_told && api_server.taken() > taken {
                left = left.saturating_sub(Duration::from_millis(1));
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    api_server.allowed.store(all, Ordering::SeqCst);
    let child = ledger.start(&source);
    ledger.close(child);
    assert_eq!(api_server.taken(), all);
    // The journal is an archive of all that was answered for.
    let archive = ledger.folder.path().join("state/journal");
    let none: [&str; 0] = [];
    assert_eq!(differences(&replayed(&archive), &ledger.expected), none);
}
