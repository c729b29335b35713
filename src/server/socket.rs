//! The local socket: the same API for whoever may open the file, which is our own user and root.
//! Only through it can anything be changed.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hyper_util::service::TowerToHyperService;
use tokio::{net::UnixListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Shown, admin};
use crate::source::webhook::{AcceptLimits, serve};

/// People and scripts need a handful.
const CONNECTIONS_MAX: usize = 32;
/// How long a client may take to send a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The file's name in the directory of the state.
const FILE: &str = "admin.sock";

/// Where the socket of a daemon with this state directory is.
pub fn socket_in(state: &Path) -> PathBuf {
    state.join(FILE)
}

/// The local socket, open.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Opens it; the directory must be ours alone and held, since a socket that an earlier process
    /// left there makes way.
    ///
    /// # Errors
    /// Says what is in the way.
    pub fn bind(path: PathBuf) -> Result<Self, String> {
        let bind = || -> io::Result<UnixListener> {
            match fs::symlink_metadata(&path) {
                Ok(found) if found.file_type().is_socket() => fs::remove_file(&path)?,
                _ => {}
            }
            let listener = UnixListener::bind(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        let listener = bind().map_err(|error| {
            let long = "; a socket's path may have about 100 bytes, so take a shorter directory";
            let help = if error.kind() == io::ErrorKind::InvalidInput {
                long
            } else {
                ""
            };
            format!("cannot listen on {}: {error}{help}", path.display())
        })?;
        Ok(Self { listener, path })
    }

    /// Answers until it is stopped; then the file goes.
    pub async fn run(self, shown: Shown, stop: CancellationToken) {
        let (room, tasks) = (
            Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            TaskTracker::new(),
        );
        let limits = AcceptLimits {
            connections_max: CONNECTIONS_MAX,
            head_timeout: HEAD_TIMEOUT,
        };
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                break;
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // Out of file descriptors, most likely: give others the time to close some.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let peer = match stream.peer_cred() {
                Ok(peer) => format!("uid {}", peer.uid()),
                Err(_) => "unknown uid".to_owned(),
            };
            let service = TowerToHyperService::new(admin::local(shown.clone(), peer));
            let stop = stop.clone();
            tasks.spawn(async move {
                serve(stream, service, limits, stop).await;
                drop(permit);
            });
        }
        tasks.close();
        tasks.wait().await;
        // Left behind it would only make way for the next.
        let _ = fs::remove_file(&self.path);
    }
}
