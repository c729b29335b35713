//! The API server's audit webhook: takes `EventList` bodies over HTTP and hands their events on.
//!
//! What the answers are is decided by what kube-apiserver does with them: anything but 200 to 206
//! makes it send the whole batch again, five times over one to four minutes, and then drop it. So
//! a bad item never fails a batch, 200 is said only for what is safe in the journal (without a
//! state folder: for what the pipeline has taken), and what is full or cannot be written says 503
//! with `Retry-After`, which stretches the API server's patience most.

mod accept;
mod answer;
mod body;
mod credentials;
mod forward;
mod journals;
mod lines;
mod receive;
mod serve;
mod settings;
mod tls;

#[cfg(test)]
mod tests;

pub use accept::{AcceptLimits, Listening, accept, bind, serve};
pub use credentials::{TokenFile, check_credentials};
pub use journals::Journals;
pub use serve::{Journaled, Webhook};
pub use settings::{TlsSettings, WebhookSettings};
