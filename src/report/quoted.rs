//! Text that a stranger chose, told apart from our own words.

use std::borrow::Cow;

use crate::alert::visible;

/// [`visible`] text, in quotes when the text could be taken for more than one word of ours.
pub fn quoted(text: &str) -> Cow<'_, str> {
    let shown = visible(text);
    if shown.is_empty()
        || shown.contains([' ', '"', '\'', '(', ')', ';'])
        || shown.contains('\u{a0}')
    {
        return Cow::Owned(format!("\"{}\"", shown.replace('"', "\\\"")));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_could_be_ours() {
        assert_eq!(quoted("system:admin"), "system:admin");
        assert_eq!(quoted("root (user)"), "\"root (user)\"");
        assert_eq!(quoted("say \"hi\""), "\"say \\\"hi\\\"\"");
        assert_eq!(quoted(""), "\"\"");
    }
}
