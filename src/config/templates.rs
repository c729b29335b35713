//! The key `templates` of a receiver: texts in other words than ours, with each mistake at its
//! place in the file.

use crate::{
    diagnostic::Table,
    notify::{
        Templates,
        template::{Form, Template},
    },
};

/// Reads them for this kind of receiver.
pub(super) fn read(table: &mut Table<'_>, kind: &str) -> Templates {
    let (title, body, html) = match kind {
        "slack" => (Some(Form::Plain), Some(Form::Slack), None),
        "teams" | "pagerduty" | "opsgenie" => (Some(Form::Plain), Some(Form::Plain), None),
        "email" => (Some(Form::Plain), Some(Form::Plain), Some(Form::Html)),
        "webhook" => (None, Some(Form::Json), None),
        _ => (None, None, None),
    };
    if body.is_none() {
        if let Some(entry) = table.entry("templates") {
            let message = format!("what `{kind}` sends is for machines and has no templates");
            let problem = table.error("unknown-key", entry.key_spot, message);
            let help = "take `templates` out, or write a `webhook`, whose JSON can be another";
            table.problems.add(problem.help(help));
        }
        return Templates::default();
    }
    let Some(mut table) = table.table("templates", "`templates`") else {
        return Templates::default();
    };
    let mut one = |key, form: Option<Form>| form.and_then(|form| template(&mut table, key, form));
    let templates = Templates {
        title: one("title", title),
        body: one("body", body),
        html: one("html", html),
    };
    table.finish();
    templates
}

fn template(table: &mut Table<'_>, key: &'static str, form: Form) -> Option<Template> {
    let node = table.take(key)?;
    let Some(scalar) = node.scalar() else {
        table.wrong(key, node, "text");
        return None;
    };
    match Template::new(&scalar.text, form) {
        Ok(template) => Some(template),
        Err(mistake) => {
            let place = mistake.place;
            let spot = node.spot_of(table.file, place.start, place.end);
            let problem = table.error("wrong-template", spot, mistake.message);
            table.problems.add(problem.help(mistake.help));
            None
        }
    }
}
