//! Damaged bodies at the real webhook, with a journal behind it.

use std::{io::Write as _, sync::Arc};

use auditwatch::{
    source::{
        Batch, Intake, SourceMetrics,
        webhook::{Journals, Webhook, WebhookSettings},
    },
    store::journal::JournalMetrics,
    telemetry::{Health, Metrics},
    units::ByteSize,
};
use reqwest::Client;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    chance::Chance,
    decode::{self, WORDS, event, seed},
    run,
};

struct Rig {
    url: String,
    client: Client,
    batches: mpsc::Receiver<Batch>,
    _folder: tempfile::TempDir,
}

impl Rig {
    async fn start(has_journal: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (intake, batches) = Intake::new(32 << 20);
        let metrics = Metrics::new().unwrap();
        let health = Arc::new(Health::default());
        let journal_metrics = JournalMetrics::new(&metrics).unwrap();
        let mut journals = Journals::new(folder.path(), Arc::default(), journal_metrics);
        let mut settings = WebhookSettings::new("127.0.0.1:0");
        // Nothing is committed here.
        settings.journal.backlog_max = ByteSize(1 << 40);
        let feed = intake.feed("webhook");
        let journal = has_journal.then(|| journals.open(&settings, feed.name(), &health).unwrap());
        let source_metrics = SourceMetrics::new(&metrics).unwrap();
        let part = health.part("webhook");
        let stop = CancellationToken::new();
        let webhook = Webhook::bind(settings, feed, &source_metrics, part, stop, journal).await;
        let webhook = webhook.unwrap();
        let url = format!("http://{}/", webhook.address());
        tokio::spawn(webhook.run());
        let client = Client::new();
        Self {
            url,
            client,
            batches,
            _folder: folder,
        }
    }

    async fn post(&self, body: Vec<u8>, is_gzip: bool) -> u16 {
        let mut request = self.client.post(&self.url).body(body);
        if is_gzip {
            request = request.header("Content-Encoding", "gzip");
        }
        request.send().await.unwrap().status().as_u16()
    }

    /// What comes out up to the event `last`.
    async fn read_up_to(&mut self, last: &str) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.last().is_none_or(|id| id != last) {
            let batch = self.batches.recv().await.unwrap();
            decode::read(&batch.block, &mut ids);
        }
        ids
    }
}

/// A damaged body, and whether its compression is damaged rather than what is in it.
fn body(chance: &mut Chance) -> (Vec<u8>, bool) {
    let gap = *chance.pick(&["", "\n", "\r\n  "]);
    let items: Vec<String> = (0..chance.below(6))
        .map(|_| event(seed(chance), "bad"))
        .collect();
    let list = format!(
        "{{{gap}\"kind\":\"EventList\",\"items\":[{}]{gap}}}",
        items.join(&format!(",{gap}"))
    );
    let mut body = list.into_bytes();
    let is_gzip = chance.one_in(4);
    if is_gzip {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&body).unwrap();
        body = packed.finish().unwrap();
    }
    chance.damage(&mut body, &WORDS);
    (body, is_gzip)
}

/// A body that is damaged is answered as it must be, and the next one loses nothing by it.
fn webhook(target: &str, has_journal: bool) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut rig = runtime.block_on(Rig::start(has_journal));
    let mut n = 0;
    run(target, 150, |chance, input| {
        let (damaged, is_gzip) = body(chance);
        input.clone_from(&damaged);
        let good: Vec<String> = (0..3)
            .map(|_| {
                n += 1;
                event(seed(chance), &format!("id-{n}"))
            })
            .collect();
        let list = format!("{{\"kind\":\"EventList\",\"items\":[{}]}}", good.join(","));
        let (answer, next, ids) = runtime.block_on(async {
            let answer = rig.post(damaged, is_gzip).await;
            let next = rig.post(list.into_bytes(), false).await;
            (answer, next, rig.read_up_to(&format!("id-{n}")).await)
        });
        let good: Vec<String> = (n - 2..=n).map(|n| format!("id-{n}")).collect();
        let result = match (answer, next) {
            (400, 200) if is_gzip => Ok(()),
            (200, 200) => Ok(()),
            answers => Err(format!("the answers are {answers:?}")),
        };
        result.and_then(|()| {
            if ids.ends_with(&good) {
                Ok(())
            } else {
                Err(format!("{ids:?} came out"))
            }
        })
    });
}

#[test]
fn webhook_with_journal() {
    webhook("webhook_with_journal", true);
}

#[test]
fn webhook_without_journal() {
    webhook("webhook_without_journal", false);
}
