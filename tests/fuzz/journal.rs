//! A journal whose files were damaged behind its back.

use std::{fs, path::Path, sync::Arc, thread};

use auditwatch::{
    decode::Block,
    store::{
        Commits,
        journal::{Ends, Entry, JournalMetrics, JournalSettings, Reader, open},
    },
    telemetry::{Health, Metrics},
    units::Time,
};

use crate::{decode, run};

const WORDS: [&[u8]; 6] = [
    b"\n",
    b"\0",
    b"{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"items\":[],\"journal\":",
    b"{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"items\":[],\"journal\":{\"received\":\"\",\"cluster\":\"\",\"bytes\":18446744073709551615,\"hash\":\"\"}}\n",
    b"\"bytes\":0",
    b"}\n",
];

fn open_at(folder: &Path) -> Ends {
    let metrics = JournalMetrics::new(&Metrics::new().unwrap()).unwrap();
    let kept = Commits::default().watch("webhook");
    let part = Arc::new(Health::default()).part("journal");
    open(
        folder,
        JournalSettings::default(),
        kept,
        "webhook",
        &metrics,
        part,
    )
    .unwrap()
}

/// Appends bodies and waits until they are durable.
fn append(ends: Ends, ids: &[String]) -> Reader {
    let Ends {
        journal,
        writer,
        reader,
    } = ends;
    let writing = thread::spawn(|| writer.run());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for id in ids {
        let line = decode::event(decode::seeds()[0], id) + "\n";
        let entry = Entry::new("eu", Time::from_micros(1), vec![line.into()]);
        runtime.block_on(journal.append(entry)).unwrap();
    }
    drop(journal);
    writing.join().unwrap();
    reader
}

fn ids(reader: &mut Reader) -> Result<Vec<String>, String> {
    let (mut ids, mut bytes) = (Vec::new(), 0);
    while let Some(stretch) = reader.next_stretch().map_err(|error| error.to_string())? {
        if stretch.bytes.is_empty() || stretch.start >= stretch.end {
            return Err(format!("no progress at {:?}", stretch.start));
        }
        bytes += stretch.bytes.len();
        if bytes > 1 << 20 {
            return Err("more comes out than there is".to_owned());
        }
        decode::read(&Block::of_lines(stretch.bytes, 0), &mut ids);
    }
    Ok(ids)
}

#[test]
fn journal() {
    let names: Vec<String> = (0..6).map(|n| format!("id-{n}")).collect();
    let whole = tempfile::tempdir().unwrap();
    let mut reader = append(open_at(whole.path()), &names);
    let segment = whole.path().join("000000000001.jsonl");
    let good = fs::read(segment).unwrap();
    // Where each entry begins, and where the last one ends.
    let mut places: Vec<usize> =
        memchr::memmem::find_iter(&good, b"{\"kind\":\"EventList\"").collect();
    places.push(good.len());
    assert_eq!(ids(&mut reader).unwrap(), names);
    run("journal", 200, |chance, input| {
        *input = good.clone();
        let touched = chance.damage(input, &WORDS);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("000000000001.jsonl"), &*input).unwrap();
        let mut reader = append(open_at(folder.path()), &["later".to_owned()]);
        ids(&mut reader).and_then(|read| {
            for (n, name) in names.iter().enumerate() {
                let is_whole = places[n + 1] <= touched.start || places[n] >= touched.end;
                if is_whole && !read.contains(name) {
                    return Err(format!("{name} is lost, {touched:?} was touched: {read:?}"));
                }
            }
            match read.last() {
                Some(last) if last == "later" => Ok(()),
                _ => Err(format!("what came later is lost: {read:?}")),
            }
        })
    });
}
