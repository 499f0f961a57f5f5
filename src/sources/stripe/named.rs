//! Lists of named secrets, as settings write them: `rk_live_…`, or `live=whsec_…,test=whsec_…`.

use crate::config::is_name;

/// Parses a list of secrets into names and texts. Commas, semicolons and new lines separate them, as in a file
/// with one on each line. One without a name is called `noun-1`, `noun-2` and so on. `is_bare` recognizes an
/// entry without a name, and `check` returns what is wrong with a secret.
///
/// An error names an entry by its position only: in a mistyped one, any part may be the secret.
pub(super) fn parse<T>(
    text: &str,
    noun: &str,
    is_bare: fn(&str) -> bool,
    check: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<Vec<(String, T)>, String> {
    let mut read: Vec<(String, T)> = Vec::new();
    let entries = text.split([',', ';', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
    for (number, entry) in (1..).zip(entries) {
        let (name, secret) = match entry.split_once('=') {
            Some((name, secret)) if !is_bare(entry) => (name.trim().to_owned(), secret.trim()),
            _ => (format!("{noun}-{number}"), entry),
        };
        if !is_name(&name) {
            return Err(format!("the name of {noun} {number} may only have letters, digits, - and _"));
        }
        if let Some(what) = secret.chars().find_map(stray) {
            return Err(format!("{noun} {number} contains {what}: copy it again"));
        }
        let secret = check(secret).map_err(|why| format!("{noun} {number} {why}"))?;
        if read.iter().any(|(earlier, _)| *earlier == name) {
            return Err(format!("the name {name:?} is used twice"));
        }
        read.push((name, secret));
    }
    Ok(read)
}

/// What a character is that comes along when a secret is copied, and is in none.
fn stray(character: char) -> Option<&'static str> {
    match character {
        '"' | '\'' | '`' | '“' | '”' | '‘' | '’' => Some("a quotation mark"),
        '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}' => Some("an invisible character"),
        _ if character.is_whitespace() => Some("a blank"),
        _ if character.is_control() => Some("a control character"),
        _ => None,
    }
}
