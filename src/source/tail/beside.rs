//! What lies beside a live file: rotated, compressed and copied files, and which are known.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use super::{
    disk::{Disk, DiskFile, Identity},
    held::{HeldFile, Kinship},
    mark::Mark,
    rotated::{Generation, generation_of, stem, without_packing},
    watch::directory_of,
};
use crate::units::Time;

/// The most files beside one that are looked at.
const FOUND_MAX: usize = 1024;

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kin {
    /// It is held open, and this mark is of it.
    Held(u64),
    /// It has the content that this mark is of: it is the file, or a copy of it.
    Same(u64),
    /// It has the beginning of that content, but less than was read.
    Shorter(u64),
    /// It was never met.
    Unknown,
}

impl Kin {
    /// The mark of its content.
    pub(super) fn serial(self) -> Option<u64> {
        match self {
            Self::Held(serial) | Self::Same(serial) | Self::Shorter(serial) => Some(serial),
            Self::Unknown => None,
        }
    }
}

/// One file beside the live one.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    /// Length as it lies on the disk; `None` when it is compressed.
    pub(super) len: Option<u64>,
    /// When it was rotated away, or last written.
    pub(super) when: Time,
    /// What its name says; `None` when that is not a name of this live file's rotation.
    pub(super) generation: Option<Generation>,
    pub(super) kin: Kin,
}

/// What a look beside a live file gave.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Oldest first; those whose names say nothing come before all others.
    pub(super) found: Vec<Found>,
    /// Something changed under the look: what is missing may be there the next time.
    pub(super) is_shaky: bool,
}

/// Which of the marks, given from the oldest to the newest, a file's content is of.
pub(super) fn kin_of<F: DiskFile>(file: &HeldFile<F>, marks: &[(u64, Mark)]) -> io::Result<Kin> {
    let head = file.head()?;
    let mut kin = Kin::Unknown;
    for (serial, mark) in marks.iter().rev() {
        match file.kinship(&head, mark)? {
            Kinship::Same => return Ok(Kin::Same(*serial)),
            Kinship::Shorter => kin = Kin::Shorter(*serial),
            Kinship::None => {}
        }
    }
    Ok(kin)
}

/// Looks at the files beside `path` whose names begin like its own, but for `newcomer`.
pub(super) fn look_beside<D: Disk>(
    disk: &D,
    path: &Path,
    held: impl Fn(Identity) -> Option<u64>,
    newcomer: Option<Identity>,
    marks: &[(u64, Mark)],
) -> Beside {
    let mut beside = Beside::default();
    let mut seen: BTreeSet<Identity> = newcomer.into_iter().collect();
    // A live name that is a symbolic link has its rotated files beside the link or its target.
    let target = disk.target(path).ok().filter(|target| target != path);
    let lives: Vec<&Path> = [Some(path), target.as_deref()]
        .into_iter()
        .flatten()
        .collect();
    let directories: BTreeSet<PathBuf> =
        lives.iter().filter_map(|path| directory_of(path)).collect();
    let live_names: Vec<_> = lives
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_string_lossy()))
        .collect();
    for directory in directories {
        let names = match disk.names(&directory) {
            Ok(names) => names,
            Err(error) => {
                beside.is_shaky |= is_passing(&error);
                continue;
            }
        };
        let mut names: Vec<String> = names
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .filter(|name| live_names.iter().any(|live| name.starts_with(stem(live).0)))
            .collect();
        names.sort_unstable();
        for name in names.iter().take(FOUND_MAX) {
            // It is being compressed, and the copy is not yet complete.
            let is_being_packed = without_packing(name)
                .is_some_and(|plain| names.binary_search_by(|name| (**name).cmp(plain)).is_ok());
            let place = directory.join(name);
            if is_being_packed || place == path {
                continue;
            }
            match look_at(disk, place, &held, &mut seen, marks) {
                Ok(Some(mut found)) => {
                    found.generation = live_names.iter().find_map(|live| generation_of(live, name));
                    if let Some(Generation::Stamp(stamp)) = found.generation {
                        found.when = stamp;
                    }
                    beside.found.push(found);
                }
                Ok(None) => {}
                Err(error) => beside.is_shaky |= is_passing(&error),
            }
        }
    }
    sort(&mut beside.found);
    beside
}

/// Whether it may go better the next time: a name that was moved on, a disk that stumbled.
fn is_passing(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::PermissionDenied
}

fn look_at<D: Disk>(
    disk: &D,
    path: PathBuf,
    held: impl Fn(Identity) -> Option<u64>,
    seen: &mut BTreeSet<Identity>,
    marks: &[(u64, Mark)],
) -> io::Result<Option<Found>> {
    let looked = disk.look(&path)?;
    if !looked.is_file || seen.contains(&looked.identity) {
        return Ok(None);
    }
    let (kin, is_packed) = if let Some(serial) = held(looked.identity) {
        (Kin::Held(serial), false)
    } else {
        let file = HeldFile::open_rotated(disk, &path)?;
        (kin_of(&file, marks)?, file.is_packed())
    };
    seen.insert(looked.identity);
    Ok(Some(Found {
        path,
        identity: looked.identity,
        len: (!is_packed).then_some(looked.len),
        when: looked.modified,
        generation: None,
        kin,
    }))
}

/// Sorts from the oldest to the newest: by what the names say where all say it alike, otherwise
/// by when the files were written.
fn sort(found: &mut [Found]) {
    let mut generations = found.iter().filter_map(|found| found.generation.as_ref());
    let first = generations.next();
    let is_uniform = first.is_some_and(|first| generations.all(|other| other.is_like(first)));
    found.sort_by(|one, other| {
        let by_name = if is_uniform {
            one.generation.cmp(&other.generation)
        } else {
            one.generation.is_some().cmp(&other.generation.is_some())
        };
        by_name.then_with(|| (one.when, &one.path).cmp(&(other.when, &other.path)))
    });
}
