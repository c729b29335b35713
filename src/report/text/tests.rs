//! Golden texts. Look at them as their reader would before changing them.

use proptest::prelude::*;

use super::*;
use crate::alert::{is_hidden, samples};

fn plain(width: usize) -> Style {
    Style {
        colour: false,
        width,
    }
}

/// The text with the alert's id, a hash, taken out.
fn golden(change: &Change, width: usize) -> String {
    text(change, plain(width)).replace(&*change.alert().id, "ID")
}

#[test]
fn the_life_of_an_alert() {
    let changes = samples::burst_changes();
    assert_eq!(
        golden(&changes[0], 100),
        "\
HIGH      Many requests refused to one principal
  who     system:serviceaccount:shop:web (service account)
  what    get secrets in namespace payments
  from    198.51.100.7 (public) with \"kubectl/v1.36.1 (linux/amd64) kubernetes/2c8c4f7\"
  with    token JTI=7d1e3c52-9f0a-4c0e-8a35-0d1f5a2b9e11
  when    2026-11-23 11:05:00 to 11:05:09 UTC, 10 requests
  why     10 requests refused within 1m (threshold 3)
  cluster prod-eu
  seen    11:05:00.000  403  /api/v1/namespaces/payments/secrets/key-0  00000000-0000
          11:05:01.000  403  /api/v1/namespaces/payments/secrets/key-1  00000000-0000
          11:05:02.000  403  /api/v1/namespaces/payments/secrets/key-2  00000000-0000
          11:05:03.000  403  /api/v1/namespaces/payments/secrets/key-3  00000000-0000
          … and 5 more
          11:05:09.000  403  /api/v1/namespaces/payments/secrets/key-9  00000000-0000
  look    kubectl auth can-i --list --as='system:serviceaccount:shop:web'
  contain kubectl -n shop delete serviceaccount web  # ends all its tokens; make it anew afterwards
  read    https://attack.mitre.org/techniques/T1613/
          rule forbidden-burst, alert ID

"
    );
    assert_eq!(
        golden(&changes[1], 100),
        "\
HIGH      Many requests refused to one principal (goes on, 311 more)
  who     system:serviceaccount:shop:web (service account)
  what    get secrets in namespace payments
  from    198.51.100.7 (public) with \"kubectl/v1.36.1 (linux/amd64) kubernetes/2c8c4f7\"
  with    token JTI=7d1e3c52-9f0a-4c0e-8a35-0d1f5a2b9e11
  when    2026-11-23 11:05:00 to 11:10:30 UTC, 321 requests
  why     311 requests refused within 1m (threshold 3)
          rule forbidden-burst, alert ID

"
    );
    assert_eq!(
        golden(&changes[2], 100),
        "\
HIGH      Many requests refused to one principal (over)
          system:serviceaccount:shop:web (service account), 321 requests from 2026-11-23 11:05:00 to
          11:10:30 UTC
          rule forbidden-burst, alert ID

"
    );
}

#[test]
fn many_of_everything_on_a_narrow_terminal() {
    assert_eq!(
        golden(&Change::Fired(samples::spray()), 80),
        "\
HIGH      Many requests refused to one principal
  who     12 principals: user-0@acme.example, user-1@acme.example,
          user-2@acme.example, user-3@acme.example and 8 more
  what    get 3 resources: secrets, pods, nodes in 6 namespaces: team-0, team-2,
          team-4, team-6 and 2 more
  from    3 addresses: 198.51.100.7, 198.51.100.8, 198.51.100.9 (public) with
          python
  when    2026-11-23 11:05:00 to 11:05:11 UTC, 12 requests
  why     12 requests refused within 1m (threshold 3)
  cluster prod-eu
  seen    11:05:00  403  user-0@acme.example   198.51.100.7  /api/v…key-0  00000000-0000
          11:05:01  403  user-1@acme.example   198.51.100.8  /api/v…key-1  00000000-0000
          11:05:02  403  user-2@acme.example   198.51.100.9  /api/v…key-2  00000000-0000
          11:05:03  403  user-3@acme.example   198.51.100.7  /api/v…key-3  00000000-0000
          … and 7 more
          11:05:11  403  user-11@acme.example  198.51.100.9  /api/v…ey-11  00000000-0000
  look    kubectl auth can-i --list --as=''
  read    https://attack.mitre.org/techniques/T1613/
          rule forbidden-burst, alert ID

"
    );
}

#[test]
fn hostile_names_stay_in_their_place() {
    assert_eq!(
        golden(&Change::Fired(samples::hostile()), 100),
        r#"CRITICAL  Somebody was made cluster-admin
          <!channel>\x1b[2J\u{202e}*x*`y`\n& \u{9b}31m<https://evil.example|click> did it
  who     "<!channel>\x1b[2J\u{202e}*x*`y`\n& \u{9b}31m<https://evil.example|click>" acting as
          "<!channel>\x1b[2J\u{202e}*x*`y`\n& \u{9b}31m<https://evil.example|click>" (service
          account)
  groups  "<!channel>\x1b[2J\u{202e}*x*`y`\n& \u{9b}31m<https://evil.example|click>"
  what    get secrets "<!channel>\x1b[2J\u{202e}*x*`y`\n& \u{9b}31m<https://evil.example|click>" in
          namespace "<!channel>\x1b[2J\u{202e}*x*`y`\n& \u{9b}31m<https://evil.example|click>"
  from    198.51.100.7 (public) with "<!channel>\x1b[2J\u{202e}*x*`y`\n&
          \u{9b}31m<https://evil.example|click>"
  with    other "<!channel>\x1b[2J\u{202e}*x*`y`\n& \u{9b}31m<https://evil.example|click>", minted
          by "<!channel>\x1b[2J\u{202e}*x*`y`\n& \u{9b}31m<https://evil.example|click>" from
          "<!channel>\x1b[2J\u{202e}*x*`y`\n& \u{9b}31m<https://evil.example|click>" at
          2026-11-23T11:04:00Z (audit id "<!channel>\x1b[2J\u{202e}*x*`y`\n&
          \u{9b}31m<https://evil.example|click>")
  when    2026-11-23 11:05:00 UTC, 1 request
  why     <!channel>\x1b[2J\u{202e}*x*`y`\n& \u{9b}31m<https://evil.example|click>
  cluster prod-eu
  seen    11:05:00.000  403  "<!channel>\x1b[2J\u{202e}*x…ttps://evil.example|click>"  <!channel>\x1
  look    kubectl get '<!channel>\x1b[2J\u{202e}*x*`y`\n& \u{9b}31m<https://evil.example|click>'
  contain kubectl delete '<!channel>\x1b[2J\u{202e}*x*`y`\n& \u{9b}31m<https://evil.example|click>'
  read    https://attack.mitre.org/techniques/T1613/
          rule cluster-admin-binding, alert ID

"#
    );
}

#[test]
fn colour_only_when_told_so() {
    let change = Change::Fired(samples::hostile());
    let coloured = text(
        &change,
        Style {
            colour: true,
            width: 100,
        },
    );
    assert!(coloured.starts_with("\u{1b}[1;97;41mCRITICAL\u{1b}[0m  \u{1b}[1mSomebody"));
    let mut bare = coloured;
    for code in ["0", "1", "2", "1;97;41"] {
        bare = bare.replace(&format!("\u{1b}[{code}m"), "");
    }
    let lines = |text: &str| {
        text.lines()
            .map(|line| line.trim_end().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        lines(&bare),
        lines(&text(&change, plain(100))),
        "the same words, wrapped alike"
    );
}

proptest! {
    /// Whatever callers choose: no hidden character, no line of theirs in front of the margin,
    /// and what is wrapped fits.
    #[test]
    fn fits_and_is_harmless(value in any::<String>(), columns in 0usize..160) {
        let mut facts = Facts::clone(&samples::facts_at(0));
        Arc::make_mut(&mut facts.principal).name = value.as_str().into();
        Arc::make_mut(&mut facts.origin).user_agent = value.as_str().into();
        facts.target.namespace = Some(value.as_str().into());
        facts.evidence.uri = value.as_str().into();
        facts.evidence.audit_id = value.as_str().into();
        let mut detection = samples::single(facts);
        detection.why = value;
        let text = text(&Change::Fired(samples::fired(detection)), plain(columns));
        for line in text.lines() {
            prop_assert!(!line.chars().any(is_hidden));
            let whole = ["  look", "  contain", "  rule"].iter().any(|start| line.starts_with(start))
                || line.contains("rule cluster-admin-binding, alert ");
            prop_assert!(width(line) <= columns.max(Style::WIDTH_MIN) || whole, "{line}");
            let label: String = line.chars().take(MARGIN).collect();
            let labels = ["CRITICAL", "", "who", "what", "from", "with", "when", "why", "cluster",
                "seen", "look", "contain", "read"];
            prop_assert!(labels.contains(&label.trim()), "{line}");
        }
    }
}
