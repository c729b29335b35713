//! Starts the built program and holds what it answered.

use std::{
    ffi::OsStr,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

/// What a run of the program gave.
pub(crate) struct Answer {
    /// The exit code.
    pub(crate) code: i32,
    /// The results.
    pub(crate) stdout: String,
    /// Everything else that it said.
    pub(crate) stderr: String,
}

impl Answer {
    /// The results, one JSON object a line.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The same where a line may be a list of objects.
    pub(crate) fn objects_or_lists(&self) -> Vec<Value> {
        let flat = self.objects().into_iter().flat_map(|value| match value {
            Value::Array(all) => all,
            one => vec![one],
        });
        flat.collect()
    }

    /// The line of `--stats json`, which is the last on stderr. All that was received must be
    /// accounted for in it.
    pub(crate) fn stats(&self) -> Value {
        let line = self.stderr.lines().rfind(|line| line.starts_with('{'));
        let line = line.unwrap_or_else(|| panic!("no numbers: {}", self.stderr));
        let stats: Value = serde_json::from_str(line).unwrap();
        let one = |key: &str| stats[key].as_u64().unwrap();
        let each = |key: &str| -> u64 {
            let reasons = stats[key].as_object().unwrap().values();
            reasons.map(|count| count.as_u64().unwrap()).sum()
        };
        let accounted = one("evaluated") + one("duplicate") + one("late");
        let accounted = accounted + each("rejected") + each("dropped");
        assert_eq!(one("received"), accounted, "{line}");
        stats
    }
}

/// The program, in an environment that has nothing of the caller's.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditwatch"));
    command
        .current_dir(root())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the program to its end.
pub(crate) fn auditwatch<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Answer {
    answer(program().args(args), b"")
}

/// Runs a command to its end, with bytes on its stdin.
pub(crate) fn answer(command: &mut Command, stdin: &[u8]) -> Answer {
    if !stdin.is_empty() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().unwrap();
    let feed = child.stdin.take().map(|mut pipe| {
        let bytes = stdin.to_owned();
        // A program that does not want its input any more closes the pipe.
        std::thread::spawn(move || drop(pipe.write_all(&bytes)))
    });
    let output = child.wait_with_output().unwrap();
    if let Some(thread) = feed {
        thread.join().unwrap();
    }
    Answer {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The lines of a sample log, each with its end.
pub(crate) fn sample(name: &str) -> Vec<String> {
    let file = std::fs::File::open(root().join("sample-logs").join(name)).unwrap();
    let mut text = String::new();
    MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    text.split_inclusive('\n').map(str::to_owned).collect()
}
