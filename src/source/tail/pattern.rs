//! Paths with wildcards: which files they mean now. A rotated file is not one of them.

use std::path::PathBuf;

use super::rotated::is_rotated_name;

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

#[cfg(test)]
mod tests {
    use super::*;

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
