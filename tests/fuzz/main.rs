//! Random damage to everything that comes from outside: audit logs, webhook bodies, the journal's
//! files, the state, rules, configuration. Nothing may panic or grow without bound, what is good
//! beside what is damaged must come out, and each record is an event or a counted reject.
//!
//! `cargo test` runs a short while from a fixed seed. `AUDITWATCH_FUZZ_SECONDS=600` runs each
//! target for that long, each time from another seed; `AUDITWATCH_FUZZ_SEED=…`, which a failure
//! prints together with the file that its input is in, runs one case again.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed, and says with what"
)]

mod chance;
mod decode;
mod journal;
mod state;
mod texts;
mod webhook;

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant, SystemTime},
};

use chance::Chance;

/// Runs a target's cases: `few` of them, or as many as the wished time allows.
///
/// A case puts what it has damaged into its second argument before it does anything with it, so
/// that one that panics leaves it behind, and returns what should not have happened.
fn run(
    target: &str,
    few: u64,
    mut case: impl FnMut(&mut Chance, &mut Vec<u8>) -> Result<(), String>,
) {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seconds = number("AUDITWATCH_FUZZ_SECONDS").map(Duration::from_secs);
    let only = number("AUDITWATCH_FUZZ_SEED");
    let first = match (only, seconds) {
        (Some(seed), _) => seed,
        (None, Some(_)) => {
            let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
            since.as_micros() as u64
        }
        (None, None) => 1,
    };
    let start = Instant::now();
    let mut seed = first;
    loop {
        let mut input = Vec::new();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            case(&mut Chance::new(seed), &mut input)
        }));
        let wrong = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(wrong)) => Some(wrong),
            Err(_) => Some("a panic, which stands above".to_owned()),
        };
        if let Some(wrong) = wrong {
            let path = env::temp_dir().join(format!("auditwatch-fuzz-{target}-{seed}"));
            fs::write(&path, &input).unwrap();
            let path = path.display();
            panic!(
                "{target}: {wrong}\n  input: {path}\n  again: AUDITWATCH_FUZZ_SEED={seed} cargo test --test fuzz {target}"
            );
        }
        seed += 1;
        let is_over = match (only, seconds) {
            (Some(_), _) => true,
            (None, Some(lasts)) => start.elapsed() >= lasts,
            (None, None) => seed - first >= few,
        };
        if is_over {
            break;
        }
    }
    let (cases, took) = (seed - first, start.elapsed());
    eprintln!("{target}: {cases} cases from seed {first} in {took:.1?}");
}
