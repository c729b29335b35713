//! Templates: what they may say, what is refused at load, and that no value breaks out.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    alert::{Change, is_hidden, samples},
    notify::tests::hostile,
};

fn render(text: &str, form: Form, told: &Notification) -> String {
    let template = Template::new(text, form).unwrap();
    let templates = Templates {
        body: Some(template),
        ..Templates::default()
    };
    templates.render(told).body.unwrap()
}

fn told() -> Notification {
    Notification::single(&"soc".into(), &Change::Fired(samples::burst(9)), 0)
}

#[test]
fn says_what_the_alert_says() {
    let text =
        "{{ receiver }}: {{ alert.principal }} {{ alert.verb }} {{ alert.resource }}, {{ alert.count }}
{% for request in alert.seen %}
{{ request.code }} {{ request.verb }}
{% endfor %}
{% if alert.impersonator %}never{% endif %}{{ alert.why }}";
    let expected = "soc: system:serviceaccount:shop:web get secrets, 9\n403 get\n403 get\n403 get\n403 get\n403 get\n9 requests refused within 1m (threshold 3)";
    assert_eq!(render(text, Form::Plain, &told()), expected);
}

#[test]
fn a_mistake_is_told_with_its_place() {
    for (text, form, place, message, help) in [
        (
            "a {{ alert.whoo }}",
            Form::Plain,
            "whoo",
            "templates know no `whoo`",
            "did you mean `who`?",
        ),
        (
            "alret {{ alret.who }}",
            Form::Plain,
            "alret",
            "templates know no `alret`",
            "did you mean `alert`?",
        ),
        (
            "{% if total > 99 %}{{ alert.cout }}{% endif %}",
            Form::Plain,
            "cout",
            "templates know no `cout`",
            "did you mean `count`?",
        ),
        (
            "{% for a in alerts %}{{ a.whoo }}{% endfor %}",
            Form::Plain,
            "a.whoo",
            "templates know no `a.whoo`",
            "did you mean `who`?",
        ),
        (
            "{{ title|safe }}",
            Form::Html,
            "safe",
            "unknown filter",
            "language is Jinja",
        ),
        (
            "one\n{{ title|uper }}",
            Form::Plain,
            "uper",
            "unknown filter",
            "language is Jinja",
        ),
        (
            "{% if %}",
            Form::Plain,
            "",
            "syntax error",
            "language is Jinja",
        ),
        (
            "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
            Form::Plain,
            "",
            "more than 100000 steps",
            "loops",
        ),
        (
            "{% for a in range(9000) %}a long line{% endfor %}",
            Form::Plain,
            "",
            "longer than 64 KiB",
            "show less",
        ),
        (
            r#"{"who": "{{ alert.who }}"}"#,
            Form::Json,
            "",
            "is no JSON",
            "own quotes",
        ),
    ] {
        let mistake = Template::new(text, form).unwrap_err();
        assert!(mistake.message.contains(message), "{text}: {mistake:?}");
        assert!(mistake.help.contains(help), "{text}: {mistake:?}");
        let shown = &text[mistake.place.clone()];
        assert!(shown.contains(place), "{text}: {shown}");
    }
}

#[test]
fn our_own_words_stand_in_for_a_template_that_fails_or_says_nothing() {
    let failing = "{% if missed == 7 %}{{ 1 / (missed - 7) }}{% else %}fine{% endif %}";
    let templates = Templates {
        title: Some(Template::new(failing, Form::Plain).unwrap()),
        body: Some(Template::new("{% if total > 99 %}many{% endif %}", Form::Plain).unwrap()),
        html: None,
    };
    assert_eq!(templates.render(&told()).title.as_deref(), Some("fine"));
    let bad = Notification::single(&"r".into(), &Change::Fired(samples::burst(9)), 7);
    assert_eq!(templates.render(&bad), Texts::default());
}

#[test]
fn names_stay_what_they_are_in_slack() {
    assert_eq!(slack("my_pod-1"), "my_pod-1");
    assert_eq!(slack("_a_ *b* ~c~ `d`"), "ˍaˍ ∗b∗ ∼c∼ ˋdˋ");
    assert_eq!(slack("<!channel>"), "&lt;!channel&gt;");
}

const ALL: &str = "{{ title }}{{ alert }}{{ alerts }}{{ group }}{{ principals }}{{ sections }}{{ alert.principal }}{{ alert.look }}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_value_breaks_out(value in prop_oneof![any::<String>(), "[\u{1b}<>&\"'\n😀*_~`{%}\\\\]{0,200}"]) {
        let told = hostile(&value);
        let text = render(ALL, Form::Slack, &told);
        prop_assert!(!text.contains(['<', '>', '*', '~', '`']), "{}", text);
        let text = render(ALL, Form::Html, &told);
        prop_assert!(!text.contains(['<', '>', '"', '\'']), "{}", text);
        let text = render(ALL, Form::Plain, &told);
        prop_assert!(!text.chars().any(is_hidden));
        let json = r#"{"who": {{ alert.principal }}, "all": [{{ alert }}, {{ alerts }}], "text": {{ "<" ~ alert.user_agent ~ ">" }}}"#;
        let text = render(json, Form::Json, &told);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read["who"].as_str(), told.first().unwrap().shared.principal.as_ref().map(|who| &*who.name));
    }
}

/// What is compiled is shared, and two of the same text are the same setting.
#[test]
fn templates_of_the_same_text_are_equal() {
    let one = Template::new("{{ title }}", Form::Plain).unwrap();
    assert_eq!(one, Template::new("{{ title }}", Form::Plain).unwrap());
    assert_ne!(one, Template::new("{{ title }}", Form::Html).unwrap());
    assert!(Arc::ptr_eq(&one.environment, &one.clone().environment));
}
