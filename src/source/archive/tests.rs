//! Tests of finding archives: every way in which an argument can be wrong says what to do.

use std::io::Write as _;

use super::*;

const EVENT: &str = "{\"auditID\":\"a\",\"stage\":\"ResponseComplete\",\
                     \"stageTimestamp\":\"2026-11-23T11:05:12.061588Z\"}\n";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, content) in files {
            let path = folder.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn find(&self, names: &[&str]) -> Result<Found, Vec<Problem>> {
        find(&names.iter().map(|name| self.path(name)).collect::<Vec<_>>())
    }

    /// The names found, relative to the folder.
    fn names(&self, arguments: &[&str]) -> Vec<String> {
        let relative = |archive: &Archive| {
            let path = archive.path.clone().unwrap();
            path.strip_prefix(self.0.path())
                .unwrap()
                .display()
                .to_string()
        };
        self.find(arguments)
            .unwrap()
            .archives
            .iter()
            .map(relative)
            .collect()
    }

    /// The one problem's text.
    fn problem(&self, argument: &str) -> String {
        let mut problems = self.find(&[argument]).unwrap_err();
        assert_eq!(problems.len(), 1);
        problems.remove(0).to_string()
    }
}

#[test]
fn finds_files_directories_and_patterns_once_and_sorted() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(EVENT.as_bytes()).unwrap();
    let folder = Folder::new(&[
        ("logs/audit.log", EVENT.as_bytes()),
        ("logs/audit-1.log.gz", &gzip.finish().unwrap()),
        ("logs/deep/er/b", EVENT.as_bytes()),
        ("logs/.hidden", EVENT.as_bytes()),
        ("logs/policy.yaml", b"apiVersion: audit.k8s.io/v1\n"),
        ("logs/empty", b""),
        ("other.log", EVENT.as_bytes()),
    ]);
    let all = ["logs/audit-1.log.gz", "logs/audit.log", "logs/deep/er/b"];
    assert_eq!(folder.names(&["logs"]), all);
    assert_eq!(
        folder.names(&["logs", "logs/audit.log", "other.log"])[..3],
        all
    );
    assert_eq!(
        folder.names(&["logs/audit.log", "logs"])[0],
        "logs/audit.log"
    );
    assert_eq!(folder.names(&["logs/audit*"]), all[..2]);
    assert_eq!(folder.names(&["logs/policy.yaml"]), ["logs/policy.yaml"]);
    let found = folder.find(&["logs"]).unwrap();
    assert_eq!(
        found.archives[0].first(),
        Time::parse("2026-11-23T11:05:12.061588Z")
    );
    assert_eq!(found.archives[1].size(), Some(EVENT.len() as u64));
    assert_eq!(found.skipped.len(), 2);
    let stdin = PathBuf::from("-");
    assert_eq!(
        find(&[stdin.clone(), stdin]).unwrap().archives,
        [Archive::stdin()]
    );
}

#[test]
fn each_problem_says_what_to_do() {
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    let folder = Folder::new(&[
        ("empty.log", b""),
        ("program", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0"),
        ("logs.tar", &tar),
        ("logs.xz", b"\xfd7zXZ\0\0\x04"),
        ("notes/readme.md", b"# Notes\n"),
    ]);
    fs::create_dir(folder.path("nothing")).unwrap();
    for (argument, what, help) in [
        ("missing.log", "no such file", "check the spelling"),
        ("missing-*.log", "no file matches", "quote it"),
        ("a[", "bad pattern", "are understood"),
        ("empty.log", "is empty", "nothing to do"),
        ("program", "binary data", "plain, gzip or zstd"),
        ("logs.tar", "binary data", "tar -xf"),
        ("logs.xz", "binary data", "xz -dc"),
        (
            "notes",
            "no audit log in this directory",
            "--audit-log-path",
        ),
        (
            "nothing",
            "no audit log in this directory",
            "--audit-log-path",
        ),
    ] {
        let problem = folder.problem(argument);
        assert!(problem.contains(argument), "{problem}");
        assert!(
            problem.contains(what) && problem.contains(help),
            "{problem}"
        );
    }
    assert_eq!(
        folder
            .find(&["missing.log", "nothing", "program"])
            .unwrap_err()
            .len(),
        3
    );
}

#[test]
fn a_damaged_file_is_read_and_counted_there() {
    let folder = Folder::new(&[("audit.log.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03broken")]);
    assert_eq!(folder.names(&["audit.log.gz"]), ["audit.log.gz"]);
}

#[test]
fn no_permission_is_told_apart() {
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    assert!(
        Problem::unreadable(&"x", &denied)
            .to_string()
            .contains("as root")
    );
}
