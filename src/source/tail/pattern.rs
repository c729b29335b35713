//! Paths with wildcards: which files they mean now. A rotated file is not one of them.

use std::path::PathBuf;

/// Whether the path has to be searched for.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The directory part before the first wildcard.
pub(super) fn fixed_part(pattern: &str) -> PathBuf {
    let wild = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
    let end = pattern[..wild].rfind('/');
    match end {
        Some(0) => PathBuf::from("/"),
        Some(end) => PathBuf::from(&pattern[..end]),
        None => PathBuf::from("."),
    }
}

/// Files that match now, sorted. Unreadable directories are passed over; they are looked at again.
pub(super) fn matches(pattern: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = glob::glob(pattern)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            !is_rotated_name(&name) && path.is_file()
        })
        .collect();
    paths.sort_unstable();
    paths
}

/// Whether a file's name says that it was rotated away: by kube-apiserver
/// (`audit-2026-11-23T11-05-17.835.log`), by logrotate (`audit.log.1`, `audit.log-20261123`), or
/// compressed.
fn is_rotated_name(name: &str) -> bool {
    let compressed = [".gz", ".zst", ".bz2", ".xz"]
        .iter()
        .any(|end| name.ends_with(end));
    let numbered = name.rsplit_once('.').is_some_and(|(rest, end)| {
        !rest.is_empty() && !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit())
    });
    let dated = name
        .rsplit_once('-')
        .is_some_and(|(_, end)| end.len() >= 8 && end.bytes().all(|byte| byte.is_ascii_digit()));
    compressed || numbered || dated || has_lumberjack_stamp(name)
}

/// `-2006-01-02T15-04-05.000` before the extension, as lumberjack names its backups.
fn has_lumberjack_stamp(name: &str) -> bool {
    const SHAPE: &[u8] = b"-dddd-dd-ddTdd-dd-dd.ddd";
    name.as_bytes().windows(SHAPE.len()).any(|window| {
        window.iter().zip(SHAPE).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_rotated_names() {
        for name in [
            "audit-2026-11-23T11-05-17.835.log",
            "audit-2026-11-23T11-05-17.835.log.gz",
            "audit.log.1",
            "audit.log.2.gz",
            "audit.log-20261123",
        ] {
            assert!(is_rotated_name(name), "{name}");
        }
        for name in [
            "audit.log",
            "kube-apiserver.log",
            "audit-10.0.0.1.log",
            "audit-log.json",
            "a",
        ] {
            assert!(!is_rotated_name(name), "{name}");
        }
    }

    #[test]
    fn finds_the_fixed_part() {
        for (pattern, fixed) in [
            ("/var/log/*/audit.log", "/var/log"),
            ("/*.log", "/"),
            ("*.log", "."),
            ("logs/a?.log", "logs"),
        ] {
            assert_eq!(fixed_part(pattern), PathBuf::from(fixed), "{pattern}");
        }
    }
}
