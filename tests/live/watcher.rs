//! The program under test, as the API server's audit webhook.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{
    Told,
    control_plane::free_port,
    recorder::{Recorder, told},
};

/// A running auditwatch.
pub(crate) struct Watcher {
    child: Child,
    certificate: PathBuf,
    webhook: u16,
    admin: u16,
}

impl Watcher {
    pub(crate) fn start(folder: &Path, recorder: &Recorder) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = folder.join("webhook.crt");
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(folder.join("webhook.key"), made.signing_key.serialize_pem()).unwrap();
        fs::write(folder.join("token"), "webhook-token").unwrap();
        let (webhook, admin) = (free_port(), free_port());
        let child = Command::new(env!("CARGO_BIN_EXE_auditwatch"))
            .current_dir(folder)
            .args(["run", "--webhook", &format!("127.0.0.1:{webhook}")])
            .args(["--tls-cert", "webhook.crt", "--tls-key", "webhook.key"])
            .args(["--token-file", "token", "--alert-webhook", &recorder.url()])
            .args(["--admin", &format!("127.0.0.1:{admin}")])
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("auditwatch.log")).unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            certificate,
            webhook,
            admin,
        }
    }

    /// What tells the API server where to send audit events.
    pub(crate) fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: auditwatch\n\
             clusters: [{{name: auditwatch, cluster: {{server: 'https://127.0.0.1:{}/', certificate-authority: '{}'}}}}]\n\
             users: [{{name: api-server, user: {{token: webhook-token}}}}]\n\
             contexts: [{{name: auditwatch, context: {{cluster: auditwatch, user: api-server}}}}]\n",
            self.webhook,
            self.certificate.display()
        )
    }

    /// How many events and rejects it has taken in.
    pub(crate) fn received(&self) -> u64 {
        self.sum("auditwatch_events_received_total")
    }

    /// Whether what was taken in is the sum of what became of it.
    pub(crate) fn is_conserved(&self) -> bool {
        let metrics = self.metrics();
        let parts = ["evaluated", "duplicate", "rejected", "late", "dropped"];
        let parts = parts.map(|part| sum(&metrics, &format!("auditwatch_events_{part}_total")));
        sum(&metrics, "auditwatch_events_received_total") == parts.iter().sum::<u64>()
    }

    /// The metrics, as Prometheus would read them; empty while it does not answer.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.admin)) {
            let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(request);
            let _ = stream.read_to_string(&mut text);
        }
        text
    }

    fn sum(&self, metric: &str) -> u64 {
        sum(&self.metrics(), metric)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sum of a counter over its labels.
fn sum(metrics: &str, metric: &str) -> u64 {
    let of = |line: &str| {
        let rest = line.strip_prefix(metric)?;
        rest.starts_with(['{', ' ']).then_some(())?;
        rest.rsplit(' ').next()?.parse::<u64>().ok()
    };
    metrics.lines().filter_map(of).sum()
}

/// Which rules fire for whom in a log that is replayed.
pub(crate) fn replay(log: &Path) -> BTreeSet<Told> {
    let output = Command::new(env!("CARGO_BIN_EXE_auditwatch"))
        .args(["replay", "--output", "json"])
        .arg(log)
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| told(&serde_json::from_str(line).unwrap()))
        .collect()
}
