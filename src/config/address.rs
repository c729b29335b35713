//! Addresses to listen on, as people write them.

use std::net::SocketAddr;

/// A host or address with a port: `127.0.0.1:9646`, `[::]:9443`, `localhost:9443`.
///
/// # Errors
/// Says what is missing and what to write.
pub(super) fn listen(text: &str) -> Result<String, String> {
    if text.parse::<SocketAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    if text.parse::<u16>().is_ok() {
        return Err(format!(
            "`{text}` lacks an address; write 0.0.0.0:{text}, or 127.0.0.1:{text} for this machine only"
        ));
    }
    if let Some(port) = text
        .strip_prefix(':')
        .filter(|port| port.parse::<u16>().is_ok())
    {
        return Err(format!(
            "`{text}` lacks an address; write 0.0.0.0:{port}, or 127.0.0.1:{port} for this machine only"
        ));
    }
    let wrong = || {
        Err(format!(
            "`{text}` is no address with a port; write it like 127.0.0.1:9646 or [::1]:9646"
        ))
    };
    let Some((host, port)) = text.rsplit_once(':') else {
        return wrong();
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    // A word of digits and dots that is no address is a mistyped one, not a name.
    let is_name = !host.is_empty()
        && host.chars().all(is_plain)
        && host.chars().any(|c| c.is_ascii_alphabetic());
    if is_name && port.parse::<u16>().is_ok() {
        return Ok(text.to_owned());
    }
    wrong()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_addresses_and_helps_with_others() {
        for text in [
            "127.0.0.1:9646",
            "[::]:0",
            "localhost:9443",
            "aud-it.example:1",
        ] {
            assert_eq!(listen(text).as_deref(), Ok(text));
        }
        for (text, told) in [
            ("9646", "write 0.0.0.0:9646"),
            (":9646", "write 0.0.0.0:9646"),
            ("localhost", "write it like"),
            ("127.0.0.1", "write it like"),
            ("999.0.0.1:80", "write it like"),
            ("127.0.0.1:70000", "write it like"),
            ("http://x:1", "write it like"),
            ("", "write it like"),
        ] {
            let error = listen(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
