//! Slack messages as a picture: `docs/slack.html` shows what people see of real alerts. The
//! messages are those of `auditwatch notify preview`; this renders their blocks as Slack does.
//!
//! `BLESS=1 cargo test --test it slack_page` writes the page anew.

use std::{fmt::Write as _, fs};

use serde_json::Value;

use super::program::{answer, program, root};

const PAGE: &str = "docs/slack.html";

/// Groups are told at once, so that a log of minutes has the whole life of an alert; one receiver
/// may have three messages an hour.
const CONFIG: &str = "
rules: {shipped: false, paths: [RULES]}
engine: {lateness: 1s}
alerts: {resolve_after: 20s}
receivers:
  - {name: soc, slack: {url_file: url}}
  - {name: busy, slack: {url_file: url}, rate_limit: 3/1h}
route:
  receiver: soc
  group_by: [alertname, cluster]
  group_interval: 10s
  routes:
    - {receiver: busy, group_by: ['...'], group_wait: 0s, continue: true}
    - {matchers: ['severity=~\"high|critical\"']}
";

const STYLE: &str = "
body{margin:0;background:#fff;color:#1d1c1d;font:15px/1.46668 Lato,'Helvetica Neue',Arial,sans-serif}
main{max-width:760px;margin:0 auto;padding:24px 20px}
h1{font-size:22px}h2{font-size:14px;color:#616061;font-weight:400;margin:28px 0 4px;border-top:1px solid #ddd;padding-top:12px}
.message{display:flex;gap:8px}.avatar{flex:none;width:36px;height:36px;border-radius:6px;background:#1f3a5f;color:#fff;font-weight:900;display:flex;align-items:center;justify-content:center}
.body{min-width:0;flex:1}.name b{font-weight:900}.app{background:#ddd;color:#616061;border-radius:2px;font-size:10px;font-weight:700;padding:1px 3px;margin:0 4px}.time{color:#616061;font-size:12px}
.header{font-size:18px;font-weight:900;margin:8px 0 4px}.section{margin:8px 0;overflow-wrap:anywhere;white-space:pre-wrap}
.fields{display:grid;grid-template-columns:1fr 1fr;gap:8px 16px;margin:8px 0}.fields>div{overflow-wrap:anywhere;white-space:pre-wrap}
.context{color:#616061;font-size:13px;margin:8px 0;display:flex;flex-wrap:wrap;gap:0 8px;overflow-wrap:anywhere}
hr{border:0;border-top:1px solid #ddd;margin:12px 0}a{color:#1264a3;text-decoration:none}
code{background:#f6f6f6;border:1px solid #ddd;border-radius:3px;color:#c01343;font:12px Menlo,Consolas,'DejaVu Sans Mono',monospace;padding:1px 3px}
pre{background:#f8f8f8;border:1px solid #ddd;border-radius:4px;font:12px/1.5 Menlo,Consolas,'DejaVu Sans Mono',monospace;margin:4px 0 0;padding:8px;white-space:pre-wrap;overflow-wrap:anywhere}
";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// What Slack reads in text: the three entities are there already; code blocks, code, bold, links.
fn mrkdwn(text: &str) -> String {
    let mut html = String::new();
    for (n, part) in text.split("```").enumerate() {
        if n % 2 == 1 {
            write!(html, "<pre>{}</pre>", part.trim_end()).unwrap();
            continue;
        }
        for (n, part) in part.trim_matches('\n').split('`').enumerate() {
            if n % 2 == 1 {
                write!(html, "<code>{part}</code>").unwrap();
                continue;
            }
            for (n, part) in part.split('*').enumerate() {
                let linked = links(part);
                let bold = if n % 2 == 1 { "<b>" } else { "" };
                let end = if n % 2 == 1 { "</b>" } else { "" };
                write!(html, "{bold}{linked}{end}").unwrap();
            }
        }
    }
    html
}

/// `<url>` and `<url|text>`.
fn links(text: &str) -> String {
    let mut html = String::new();
    let mut parts = text.split('<');
    html.push_str(parts.next().unwrap());
    for part in parts {
        let (link, rest) = part.split_once('>').unwrap();
        let (url, shown) = link.split_once('|').unwrap_or((link, link));
        write!(html, "<a href=\"{url}\">{shown}</a>{rest}").unwrap();
    }
    html
}

/// A text object; in plain text nothing but the entities is read.
fn text(object: &Value) -> String {
    let text = object["text"].as_str().unwrap();
    match object["type"].as_str().unwrap() {
        "mrkdwn" => mrkdwn(text),
        "plain_text" => text.to_owned(),
        other => panic!("{other}"),
    }
}

fn block(block: &Value) -> String {
    let each = |key: &str, tag: &str| -> String {
        let all = block[key].as_array().unwrap().iter();
        let all = all.map(|object| format!("<{tag}>{}</{tag}>", text(object)));
        all.collect::<Vec<_>>().concat()
    };
    match block["type"].as_str().unwrap() {
        "header" => format!("<div class=header>{}</div>", text(&block["text"])),
        "section" if block["fields"].is_array() => {
            format!("<div class=fields>{}</div>", each("fields", "div"))
        }
        "section" => format!("<div class=section>{}</div>", text(&block["text"])),
        "context" => format!("<div class=context>{}</div>", each("elements", "span")),
        "divider" => "<hr>".to_owned(),
        other => panic!("a block of type {other} is not shown here"),
    }
}

fn message(title: &str, payload: &Value) -> String {
    let blocks: Vec<String> = payload["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .map(block)
        .collect();
    format!(
        "<h2>{}</h2>\n<div class=message><div class=avatar>aw</div><div class=body><div class=name><b>auditwatch</b><span class=app>APP</span><span class=time>03:07</span></div>\n{}\n</div></div>\n",
        escaped(title),
        blocks.join("\n")
    )
}

#[test]
fn the_page_shows_the_messages_of_today() {
    let folder = tempfile::tempdir().unwrap();
    let rules = root().join("tests/it/slack_page/rules.yml");
    let config = folder.path().join("auditwatch.yml");
    fs::write(
        folder.path().join("url"),
        "https://hooks.slack.com/services/T/B/x",
    )
    .unwrap();
    fs::write(&config, CONFIG.replace("RULES", rules.to_str().unwrap())).unwrap();
    let preview = |receiver: &str| {
        let mut command = program();
        command.args([
            "notify",
            "preview",
            "--limit",
            "100",
            "--receiver",
            receiver,
        ]);
        command.args(["--events", "sample-logs", "--config"]);
        let answer = answer(command.arg(&config), b"");
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        answer.objects()
    };
    let (all, busy) = (preview("soc"), preview("busy"));
    let of = |messages: &[Value], start: &str| {
        let texts = messages.iter().map(|told| told["text"].as_str().unwrap());
        let titles: Vec<&str> = texts.collect();
        let place = titles.iter().position(|text| text.starts_with(start));
        messages[place.unwrap_or_else(|| panic!("no {start}: {titles:#?}"))].clone()
    };
    let shown = [
        (
            "A burst, critical, just begun",
            of(&all, "🚨 CRITICAL: Many requests refused"),
        ),
        (
            "Three callers, one chain of events",
            of(&all, "🚨 CRITICAL: Refused, then granted"),
        ),
        ("It is over", of(&all, "✅ HIGH, over: Cluster-admin")),
        (
            "Too many messages in an hour: one digest in their place",
            busy.last().unwrap().clone(),
        ),
    ];
    let messages = shown.map(|(title, payload)| message(title, &payload));
    let page = format!(
        "<!doctype html>\n<html lang=en><meta charset=utf-8><title>auditwatch in Slack</title>\n<style>{STYLE}</style>\n<main><h1>auditwatch in Slack</h1>\n<p>Block Kit messages of alerts from the sample logs, rendered as Slack shows them. A test makes this page.</p>\n{}</main></html>\n",
        messages.concat()
    );
    let path = root().join(PAGE);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == page,
        "{PAGE} is old; run BLESS=1 cargo test --test it slack_page"
    );
}
