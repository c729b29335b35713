//! Hides URLs in the lines that messages show: a receiver's URL is a secret.

use crate::diagnostic::SourceFile;

/// The same text with what follows a URL's `://` starred out, byte for byte, so that places stay.
pub(super) fn urls(file: &SourceFile) -> SourceFile {
    let mut shown = String::with_capacity(file.text.len());
    let mut rest = file.text.as_str();
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + 3);
        let end = behind
            .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '}' | ']'))
            .unwrap_or(behind.len());
        shown.push_str(before);
        shown.extend(std::iter::repeat_n('*', end));
        rest = &behind[end..];
    }
    shown.push_str(rest);
    SourceFile::new(&file.name, shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_places_and_no_secret() {
        let text = "a: https://host.example/sécret?x=1\nb: [\"http://u:p@h/x\", c]\nd: 1";
        let shown = urls(&SourceFile::new("f", text)).text;
        assert_eq!(
            shown,
            format!(
                "a: https://{}\nb: [\"http://{}\", c]\nd: 1",
                "*".repeat(24),
                "*".repeat(7)
            )
        );
        assert_eq!(shown.len(), text.len());
    }
}
