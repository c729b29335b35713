//! Texts that people write themselves in place of ours: compiled and tried when the configuration
//! is read, so that a mistake is told then and not when something happens.
//!
//! Whatever a template does, a value comes out harmless for the place where it is shown: every
//! value passes through the form's own escaping, and nothing in a template turns that off.

mod view;

use std::{
    borrow::Cow,
    fmt,
    io::{self, Write},
    sync::Arc,
};

use minijinja::{
    Environment, Error, ErrorKind, Output, UndefinedBehavior, Value, syntax::SyntaxConfig,
    value::Serde,
};
use serde_json::value::RawValue;

use crate::{
    alert::{cut_middle, dispatch::Notification, to_visible, visible},
    diagnostic::nearest,
};
use view::View;
pub use view::{ALERT_FIELDS, FIELDS};

/// The longest text that comes of a template, in bytes.
const OUTPUT_MAX: usize = 64 << 10;
/// How many steps a template may take.
const FUEL: u64 = 100_000;
/// The longest value in it, in characters; JSON has values whole.
const VALUE_MAX: usize = 1_000;
/// The one name by which each template is known to its environment.
const NAME: &str = "template";

/// Where the text is shown, which decides what has to be escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Nothing is read as formatting.
    Plain,
    /// Slack's formatting, in a section of a message.
    Slack,
    /// HTML: values are text, in elements and in quoted attributes.
    Html,
    /// JSON: each value comes with its own quotes.
    Json,
}

/// A template that was tried with samples.
#[derive(Clone)]
pub struct Template {
    text: Arc<str>,
    form: Form,
    environment: Arc<Environment<'static>>,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// One sentence.
    pub message: String,
    /// What to write instead.
    pub help: String,
    /// Where in the template's text: bytes, the end excluded.
    pub place: std::ops::Range<usize>,
}

/// The templates of one receiver; what has none is told in our words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Templates {
    /// The one line that is seen first.
    pub title: Option<Template>,
    /// Everything below it.
    pub body: Option<Template>,
    /// The same for readers of HTML.
    pub html: Option<Template>,
}

/// What came of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Texts {
    pub(super) title: Option<String>,
    pub(super) body: Option<String>,
    pub(super) html: Option<String>,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.form, self.text)
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.form == other.form && self.text == other.text
    }
}

impl Eq for Template {}

impl Template {
    /// Reads a template and tries it with alerts that begin, that are over, and many at once.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn new(text: &str, form: Form) -> Result<Self, Mistake> {
        let mut environment = environment(form).map_err(|error| mistake(&error, text))?;
        environment
            .add_template_owned(NAME, text.to_owned())
            .map_err(|error| mistake(&error, text))?;
        unknown_name(&environment, text)?;
        let template = Self {
            text: text.into(),
            form,
            environment: Arc::new(environment),
        };
        for view in View::samples() {
            let made = template.render(&view);
            let made = made.map_err(|error| mistake(&error, text))?;
            if form == Form::Json {
                check_json(&made, text)?;
            }
        }
        Ok(template)
    }

    fn render(&self, view: &View) -> Result<String, Error> {
        let template = self.environment.get_template(NAME)?;
        let mut out = Bounded(Vec::new());
        template.render_captured_to(Value::from(Serde(view)), &mut out)?;
        String::from_utf8(out.0)
            .map_err(|_| Error::new(ErrorKind::WriteFailure, "the text is not UTF-8"))
    }
}

impl Templates {
    /// The texts of a notification. What cannot be made is left to our own words, since an alert
    /// must be told; the log says why.
    pub(super) fn render(&self, told: &Notification) -> Texts {
        if *self == Self::default() {
            return Texts::default();
        }
        let view = View::of(told);
        let text = |name: &str, template: &Option<Template>| {
            let template = template.as_ref()?;
            let made = template.render(&view);
            match made {
                Ok(text) if template.form == Form::Json && !is_json(&text) => {
                    tracing::warn!(receiver = %told.receiver, template = name, "what came of the template is no JSON, so our own is sent");
                    None
                }
                Ok(text) => Some(text).filter(|text| !text.trim().is_empty()),
                Err(error) => {
                    // The detail may quote a value that a stranger chose.
                    let (line, why) = (error.line().unwrap_or(0), error.kind());
                    tracing::warn!(receiver = %told.receiver, template = name, line, %why, "the template failed, so our own text is sent");
                    None
                }
            }
        };
        Texts {
            title: text("title", &self.title).map(|title| one_line(&title)),
            body: text("body", &self.body).map(|body| body.trim().to_owned()),
            html: text("html", &self.html),
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What templates can do: what minijinja brings, without what would put a value out unescaped or
/// let memory grow in a loop.
fn environment(form: Form) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    for filter in ["safe", "escape", "e", "tojson"] {
        environment.remove_filter(filter);
    }
    for name in ["namespace", "debug"] {
        environment.remove_global(name);
    }
    // A line that holds nothing but a block is no line of the text.
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    environment.set_syntax(syntax);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_debug(true);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_formatter(move |out, _, value| write_value(form, out, value));
    Ok(environment)
}

fn write_value(form: Form, out: &mut Output<'_>, value: &Value) -> Result<(), Error> {
    if value.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    if form == Form::Json {
        return Ok(out.write_str(&to_visible(value))?);
    }
    if value.is_none() {
        return Ok(());
    }
    let text = value.to_string();
    let shown = cut_middle(&visible(&text), VALUE_MAX);
    Ok(out.write_str(&match form {
        Form::Html => html(&shown).into(),
        Form::Slack => slack(&shown),
        Form::Plain | Form::Json => Cow::Borrowed(shown.as_str()),
    })?)
}

fn html(text: &str) -> String {
    super::email::escaped(text)
}

/// Text in which Slack reads neither links and mentions nor formatting: what would begin or end
/// bold, struck or code is another character that looks alike. An underscore between letters is
/// read by nobody, so names stay what they are.
fn slack(text: &str) -> Cow<'_, str> {
    let acts = ['&', '<', '>', '*', '~', '`', '_'];
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let after = rest.peek().copied().unwrap_or(' ');
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '*' => out.push('∗'),
            '~' => out.push('∼'),
            '`' => out.push('ˋ'),
            '_' if !(before.is_alphanumeric() && after.is_alphanumeric()) => out.push('ˍ'),
            c => out.push(c),
        }
        before = c;
    }
    Cow::Owned(out)
}

/// A name that a template uses and that there is none of, wherever it stands: samples do not
/// reach every branch.
fn unknown_name(environment: &Environment<'_>, text: &str) -> Result<(), Mistake> {
    let Ok(template) = environment.get_template(NAME) else {
        return Ok(());
    };
    let mut names: Vec<String> = template.undeclared_variables(true).into_iter().collect();
    names.sort_unstable();
    for name in names {
        let mut parts = name.split('.');
        let root = parts.next().unwrap_or_default();
        let is_global = environment.globals().any(|(known, _)| known == root);
        let fields: &[(&str, &str)] = if root == "alert" { &ALERT_FIELDS } else { &[] };
        let known = |all: &[(&str, &str)], name: &str| all.iter().any(|(known, _)| *known == name);
        let wrong = match parts.next() {
            _ if is_global => None,
            _ if !known(&FIELDS, root) => Some((root, near(root, &FIELDS))),
            Some(field) if root == "alert" && !known(fields, field) => {
                Some((field, near(field, fields)))
            }
            _ => None,
        };
        if let Some((name, help)) = wrong {
            let message = format!("templates know no `{name}`");
            let place = place_of(text, name);
            return Err(Mistake {
                message,
                help,
                place,
            });
        }
    }
    Ok(())
}

fn near(name: &str, fields: &[(&str, &str)]) -> String {
    let names = fields.iter().map(|(name, _)| *name);
    match nearest(name, names.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are: {}", names.collect::<Vec<_>>().join(", ")),
    }
}

/// Where a name stands by itself, and not within another.
fn place_of(text: &str, name: &str) -> std::ops::Range<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let alone = |at: &usize| {
        !text[..*at].ends_with(is_part) && !text[at + name.len()..].starts_with(is_part)
    };
    let blocks = text.match_indices(name).map(|(at, _)| at);
    // What stands between braces, and not in the text around them.
    let inside = |at: &usize| {
        let open = text[..*at].rfind("{{").max(text[..*at].rfind("{%"));
        let closed = text[..*at].rfind("}}").max(text[..*at].rfind("%}"));
        open > closed
    };
    blocks
        .filter(alone)
        .find(inside)
        .map_or(0..text.len(), |at| at..at + name.len())
}

fn mistake(error: &Error, text: &str) -> Mistake {
    let place = error
        .range()
        .filter(|range| text.get(range.clone()).is_some());
    let place = place.unwrap_or_else(|| line_of(text, error.line()));
    let quoted = one_line(&text[place.clone()]);
    let detail = error.detail().map(|detail| format!(": {detail}"));
    let detail = detail.unwrap_or_default();
    let (message, help) = match error.kind() {
        ErrorKind::UndefinedError => {
            let field = quoted.rsplit(['.', ' ']).next().unwrap_or_default();
            let all: Vec<_> = ALERT_FIELDS.into_iter().chain(FIELDS).collect();
            (format!("templates know no `{quoted}`"), near(field, &all))
        }
        ErrorKind::OutOfFuel => (
            format!("the template takes more than {FUEL} steps"),
            "take the inner of two loops out".to_owned(),
        ),
        ErrorKind::WriteFailure => (
            format!("the text gets longer than {} KiB", OUTPUT_MAX >> 10),
            "show less; a receiver cuts what is too long".to_owned(),
        ),
        kind => (
            format!("{kind}{detail}"),
            "the language is Jinja as minijinja has it: https://docs.rs/minijinja/latest/minijinja/syntax"
                .to_owned(),
        ),
    };
    Mistake {
        message,
        help,
        place,
    }
}

/// The bytes of a line, from 1.
fn line_of(text: &str, number: Option<usize>) -> std::ops::Range<usize> {
    let Some(number) = number else {
        return 0..text.len();
    };
    let mut start = 0;
    for (n, line) in text.split_inclusive('\n').enumerate() {
        if n + 1 == number {
            return start..start + line.trim_end().len();
        }
        start += line.len();
    }
    0..text.len()
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

fn check_json(made: &str, text: &str) -> Result<(), Mistake> {
    let Err(error) = serde_json::from_str::<&RawValue>(made) else {
        return Ok(());
    };
    let line = made.lines().nth(error.line().saturating_sub(1));
    let line = cut_middle(line.unwrap_or_default().trim(), 100);
    Err(Mistake {
        message: format!("what comes of it is no JSON: {error}: {line}"),
        help: "values bring their own quotes: `{\"who\": {{ alert.who }}, \"text\": {{ \"seen: \" ~ alert.count }}}`".to_owned(),
        place: 0..text.len(),
    })
}

/// Memory for a text of at most [`OUTPUT_MAX`].
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
