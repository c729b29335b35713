//! Mail as a server and a reader get it.

use proptest::prelude::*;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};

use super::*;
use crate::{
    alert::{Change, samples},
    notify::tests::hostile,
};

fn settings(port: u16) -> EmailSettings {
    EmailSettings {
        host: "127.0.0.1".into(),
        port,
        encryption: Encryption::None,
        login: None,
        from: "auditwatch <auditwatch@example.com>".parse().unwrap(),
        to: vec![
            "soc@example.com".parse().unwrap(),
            "Eva <eva@example.com>".parse().unwrap(),
        ],
    }
}

fn told() -> Notification {
    Notification::single(&"r".into(), &Change::Fired(samples::burst(9)), 0)
}

/// A mail server that takes one session; gives what it was told. It answers `refusal` to the
/// recipients if there is one.
async fn server(refusal: Option<&'static str>) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let session = async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut heard = String::new();
        let mut is_data = false;
        stream.write_all(b"220 test\r\n").await.unwrap();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap() == 0 {
                return heard;
            }
            heard.push_str(&line);
            let word = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            let answer = match word.as_str() {
                _ if is_data && line == ".\r\n" => {
                    is_data = false;
                    "250 taken"
                }
                _ if is_data => continue,
                "DATA" => {
                    is_data = true;
                    "354 go on"
                }
                "RCPT" => refusal.unwrap_or("250 fine"),
                "QUIT" => "221 bye",
                _ => "250 fine",
            };
            stream
                .write_all(format!("{answer}\r\n").as_bytes())
                .await
                .unwrap();
            if word == "QUIT" {
                return heard;
            }
        }
    };
    (port, tokio::spawn(session))
}

#[tokio::test]
async fn a_server_gets_the_whole_mail() {
    let (port, session) = server(None).await;
    let email = Email::new(settings(port), None).unwrap();
    email.deliver(&told()).await.unwrap();
    drop(email);
    let heard = session.await.unwrap();
    assert!(
        heard.contains("MAIL FROM:<auditwatch@example.com>")
            && heard.contains("RCPT TO:<eva@example.com>"),
        "{heard}"
    );
    assert!(
        heard.contains("Why: 9 requests refused within 1m (threshold 3)"),
        "{heard}"
    );
    assert!(
        heard.contains(&format!("Message-ID: <{}@auditwatch>", told().id)),
        "{heard}"
    );
}

#[tokio::test]
async fn says_whether_it_helps_to_try_again() {
    for (answer, reason, permanent) in [
        ("550 very-secret", Reason::ClientError, true),
        ("451 very-secret", Reason::ServerError, false),
    ] {
        let (port, _session) = server(Some(answer)).await;
        let failure = Email::new(settings(port), None)
            .unwrap()
            .deliver(&told())
            .await
            .unwrap_err();
        assert_eq!(
            (failure.reason, failure.permanent),
            (reason, permanent),
            "{failure}"
        );
        assert!(!failure.to_string().contains("very-secret"));
    }
    // A server that does not offer what must be there.
    let (port, _session) = server(None).await;
    let secret = EmailSettings {
        encryption: Encryption::StartTls,
        login: Some(("me".into(), Secret::new("very-secret"))),
        host: "localhost".into(),
        ..settings(port)
    };
    let email = Email::new(secret, None).unwrap();
    assert!(!format!("{email:?}").contains("very-secret"));
    let failure = email.deliver(&told()).await.unwrap_err();
    assert!(
        !failure.permanent && !failure.to_string().contains("very-secret"),
        "{failure}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever a caller chose: the mail has exactly our headers, and its HTML our tags.
    #[test]
    fn nothing_breaks_out(value in prop_oneof![any::<String>(), "[\r\n:<>&\"' aBcc@x]{0,300}", Just("\r\nBcc: evil@example.com\r\n\r\n<script>".to_owned())]) {
        let told = hostile(&value);
        let mail = mail(&told, &settings(25), &Templates::default()).unwrap();
        let text = String::from_utf8(mail.formatted()).unwrap();
        let (headers, _) = text.split_once("\r\n\r\n").unwrap();
        let names: Vec<&str> = headers.lines().filter(|line| !line.starts_with([' ', '\t'])).map(|line| line.split(':').next().unwrap()).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, ["Content-Type", "Date", "From", "In-Reply-To", "MIME-Version", "Message-ID", "References", "Subject", "To"]);
        let html = html(&Brief::of(&told));
        for (at, _) in html.match_indices('<') {
            let tag: String = html[at + 1..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '/' || *c == '!').collect();
            let tag = tag.trim_start_matches('/');
            prop_assert!(["!doctype", "html", "body", "h3", "table", "tr", "td", "br", "code", "a"].contains(&tag), "{}", tag);
        }
    }
}
