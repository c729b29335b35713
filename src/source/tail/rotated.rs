//! Names of rotated files: whose they are, and which is older.

use std::cmp::Reverse;

use crate::units::Time;

/// What a rotated file's name says about when it was rotated away.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Generation {
    /// kube-apiserver's own rotation: the moment of it.
    Stamp(Time),
    /// logrotate with `dateext`: digits that sort by time.
    Date(String),
    /// logrotate: the smaller the number, the newer.
    Number(Reverse<u64>),
}

impl Generation {
    /// Whether both were named in the same way, so that they can be compared.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

const PACKED: [&str; 3] = [".gz", ".zst", ".zstd"];
const PACKED_STRANGELY: [&str; 2] = [".bz2", ".xz"];
const STAMP: &[u8] = b"dddd-dd-ddTdd-dd-dd.ddd";

/// The name without the ending of a packing that can be read.
pub(super) fn without_packing(name: &str) -> Option<&str> {
    PACKED.iter().find_map(|end| name.strip_suffix(end))
}

/// A name before its last dot, and from that on.
pub(super) fn stem(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 => name.split_at(dot),
        _ => (name, ""),
    }
}

/// What `name` says when it is that of a rotated file whose live name is `live`.
pub(super) fn generation_of(live: &str, name: &str) -> Option<Generation> {
    let name = without_packing(name).unwrap_or(name);
    let (stem, extension) = stem(live);
    let inner = name
        .strip_prefix(stem)
        .and_then(|rest| rest.strip_suffix(extension));
    let behind = name.strip_prefix(live);
    [inner, behind].into_iter().flatten().find_map(generation)
}

fn generation(mark: &str) -> Option<Generation> {
    let rest = mark.strip_prefix('-').or_else(|| mark.strip_prefix('.'))?;
    if has_shape(rest.as_bytes()) {
        let (date, time) = rest.split_at(11);
        let rfc3339 = format!("{date}{}Z", time.replace('-', ":"));
        return Time::parse(&rfc3339).map(Generation::Stamp);
    }
    let digits = rest.bytes().filter(u8::is_ascii_digit).count();
    if digits >= 8
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-')
    {
        return Some(Generation::Date(rest.to_owned()));
    }
    let is_number = mark.starts_with('.') && digits == rest.len() && digits > 0;
    let number = is_number.then(|| rest.parse().ok()).flatten()?;
    Some(Generation::Number(Reverse(number)))
}

fn has_shape(text: &[u8]) -> bool {
    text.len() == STAMP.len()
        && text.iter().zip(STAMP).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

/// Whether a file's name says that it was rotated away, whatever it was called before: by
/// kube-apiserver (`audit-2026-11-23T11-05-17.835.log`), by logrotate (`audit.log.1`,
/// `audit.log-20261123`), or compressed.
pub(super) fn is_rotated_name(name: &str) -> bool {
    let is_packed = PACKED
        .iter()
        .chain(&PACKED_STRANGELY)
        .any(|end| name.ends_with(end));
    let is_numbered = name.rsplit_once('.').is_some_and(|(rest, end)| {
        !rest.is_empty() && !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit())
    });
    let is_dated = name
        .rsplit_once('-')
        .is_some_and(|(_, end)| end.len() >= 8 && end.bytes().all(|byte| byte.is_ascii_digit()));
    let is_stamped = name
        .as_bytes()
        .windows(STAMP.len() + 1)
        .any(|window| window[0] == b'-' && has_shape(&window[1..]));
    is_packed || is_numbered || is_dated || is_stamped
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
    fn tells_which_is_older() {
        for names in [
            &[
                "audit-2026-11-23T11-05-17.835.log.gz",
                "audit-2026-11-23T11-05-18.001.log",
            ][..],
            &["audit.log.10.gz", "audit.log.9.zst", "audit.log.1"],
            &["audit.10.log", "audit.2.log"],
            &["audit.log-20261122.gz", "audit.log-20261123"],
            &["audit-20261122-17.log", "audit-20261122-18.log"],
        ] {
            let generations: Vec<Generation> = names
                .iter()
                .map(|name| generation_of("audit.log", name).expect(name))
                .collect();
            for pair in generations.windows(2) {
                assert!(pair[0].is_like(&pair[1]) && pair[0] < pair[1], "{names:?}");
            }
        }
    }

    #[test]
    fn leaves_the_files_of_others() {
        for name in [
            "audit.log",
            "audit.log.gz",
            "audit-webhook.log",
            "audit-10.log",
            "audit.log.old",
            "audit-2026-11-23T11-05-17.835.json",
            "audit-2026-13-23T11-05-17.835.log",
            "other.log.1",
            "audit.log.x1",
        ] {
            assert_eq!(generation_of("audit.log", name), None, "{name}");
        }
        assert!(generation_of("audit", "audit.1").is_some());
        assert!(generation_of("audit", "audit-20261123.gz").is_some());
    }
}
