//! Text in HTML.

use std::fmt::{self, Display, Formatter, Write as _};

/// Text that is safe in HTML, between tags and in a quoted attribute.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&#39;")?,
                other => out.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes_from_text_or_an_attribute() {
        let escaped = Escaped("<a href=\"x\" title='y'>&").to_string();
        assert_eq!(escaped, "&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;");
    }
}
