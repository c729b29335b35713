//! Nothing is lost and nothing is made up when the daemon is killed at any moment: the alerts that
//! a receiver ends up with are those of an uninterrupted replay of the same bytes.
//!
//! `AUDITWATCH_LEDGER_KILLS` says how many times it is killed, `AUDITWATCH_LEDGER_SEED` when; a
//! failing run says its seed.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Stdio},
    sync::{Arc, Mutex},
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

fn serve(stream: TcpStream, told: &Mutex<Vec<Value>>, chance: &mut Chance) -> std::io::Result<()> {
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

fn start(folder: &Path, url: &str) -> Child {
    let log = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(folder.join("stderr"))
        .unwrap();
    fs::write(
        folder.join("auditwatch.yml"),
        format!(
            "sources: {{files: [audit.log], from: start}}\nstate: {{dir: state}}\nadmin: {{listen: 'off'}}\n\
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
    let answer = auditwatch([Path::new("replay"), Path::new("--output=json"), log]);
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

#[test]
fn killed_at_any_moment_it_tells_what_an_uninterrupted_replay_tells() {
    let kills = number("AUDITWATCH_LEDGER_KILLS", 6);
    let seed = number("AUDITWATCH_LEDGER_SEED", 0x9E37_79B9);
    let mut chance = Chance(seed | 1);
    let mut lines = Vec::new();
    for name in ["finding-out-what-is-open", "impersonation-and-escalation"] {
        lines.extend(sample(&format!("{name}.jsonl.gz")));
    }
    let stamped: Value = serde_json::from_str(&lines[lines.len() - 1]).unwrap();
    let day = &stamped["stageTimestamp"].as_str().unwrap()[..11];
    lines.push(LAST.replace("TIME", &format!("{day}23:59:59.000000Z")) + "\n");
    let bytes = lines.concat().into_bytes();

    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.jsonl");
    fs::write(&whole, &bytes).unwrap();
    let expected = replayed(&whole);
    assert!(expected.len() > 10, "{} alerts", expected.len());

    let recorder = Recorder::start(Chance(seed.rotate_left(32) | 1));
    let log = folder.path().join("audit.log");
    let mut file = fs::File::create(&log).unwrap();
    let mut rest = bytes.as_slice();
    for left in (1..=kills).rev() {
        let mut child = start(folder.path(), &recorder.url);
        // Some of it is written before, some while it runs, cut anywhere in a line.
        let share = rest.len() / left as usize;
        let told = recorder.count();
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
        while Instant::now() < until && !(wants_told && recorder.count() > told) {
            thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    file.write_all(rest).unwrap();
    let starts = || {
        let said = fs::read_to_string(folder.path().join("stderr")).unwrap();
        said.matches("watching audit.log").count()
    };
    let before = starts();
    let mut child = start(folder.path(), &recorder.url);
    let deadline = Instant::now() + PATIENCE;
    while starts() == before && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    while essence(&recorder.last_words()) != essence(&expected) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    let told = recorder.last_words();
    let said = fs::read_to_string(folder.path().join("stderr")).unwrap();
    assert_eq!(essence(&told), essence(&expected), "seed {seed}\n{said}");
    let id = child.id().to_string();
    let stopped = std::process::Command::new("kill")
        .arg(&id)
        .status()
        .unwrap();
    assert!(stopped.success());
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
}
