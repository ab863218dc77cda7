//! Rows of CSV (RFC 4180) that no spreadsheet takes for formulas.
//!
//! What stands in a cell was chosen by others: names of files, messages of targets. A spreadsheet runs a
//! cell as a formula when it begins with `=`, `+`, `-` or `@` — their wide forms too, and behind spaces or
//! quotes — so such a cell gets an apostrophe before it. Where `;` separates cells, as in much of Europe, a
//! cell also begins within ours: a `;` before a formula is written `\x3b`. Control characters, which may
//! begin a cell as well (tab, carriage return), are written `\xHH`, as paths are.

use sojourn_domain::files::path_text;

/// How lines end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newline {
    Lf,
    CrLf,
}

impl Newline {
    pub const fn text(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::CrLf => "\r\n",
        }
    }
}

/// Appends one row.
pub fn row(out: &mut Vec<u8>, cells: &[&str], newline: Newline) {
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let cell = harmless(cell);
        if cell.contains([',', '"', ';', '\'', ' ']) {
            out.push(b'"');
            out.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            out.push(b'"');
        } else {
            out.extend_from_slice(cell.as_bytes());
        }
    }
    out.extend_from_slice(newline.text().as_bytes());
}

/// The text as it may stand in a cell.
fn harmless(text: &str) -> String {
    let escaped = escaped(text);
    let mut harmless = String::with_capacity(escaped.len() + 1);
    if begins_formula(&escaped) {
        harmless.push('\'');
    }
    let mut rest = escaped.as_str();
    while let Some(at) = rest.find(';') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        harmless.push_str(before);
        harmless.push_str(if begins_formula(after) { "\\x3b" } else { ";" });
        rest = after;
    }
    harmless.push_str(rest);
    harmless
}

/// Control characters as `\xHH`. Paths are so already, and stay as they are.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        let mut bytes = [0; 4];
        let alone = character.encode_utf8(&mut bytes);
        if character == '\\' {
            escaped.push(character);
        } else {
            escaped.push_str(&path_text(alone.as_bytes()));
        }
    }
    escaped
}

/// Whether a spreadsheet takes what begins here for a formula.
fn begins_formula(text: &str) -> bool {
    let begun = text.trim_start_matches(|character: char| {
        character.is_whitespace()
            || matches!(
                character,
                '"' | '\'' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{00ad}'
            )
    });
    begun.starts_with([
        '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}', '\u{fe66}', '\u{fe62}',
        '\u{fe63}', '\u{fe6b}',
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> String {
        let mut out = Vec::new();
        row(&mut out, &[text], Newline::Lf);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let mut out = Vec::new();
        row(&mut out, &["a", "b,c", "say \"hi\"", "", "ü"], Newline::CrLf);
        assert_eq!(String::from_utf8(out).unwrap(), "a,\"b,c\",\"say \"\"hi\"\"\",,ü\r\n");
    }

    #[test]
    fn what_would_be_a_formula_is_none() {
        for (text, written) in [
            ("=1+1", "\"'=1+1\"\n"),
            ("+1", "\"'+1\"\n"),
            ("-1", "\"'-1\"\n"),
            ("@SUM(A1)", "\"'@SUM(A1)\"\n"),
            ("  =1", "\"'  =1\"\n"),
            ("\"=1\"", "\"'\"\"=1\"\"\"\n"),
            ("'=1", "\"''=1\"\n"),
            ("\u{feff}=1", "\"'\u{feff}=1\"\n"),
            ("＝1+1", "\"'＝1+1\"\n"),
            ("＠SUM", "\"'＠SUM\"\n"),
            ("\u{a0}－1", "\"'\u{a0}－1\"\n"),
            ("/a;=1+1", "/a\\x3b=1+1\n"),
            ("/a; \"@x", "\"/a\\x3b \"\"@x\"\n"),
            ("/a;b", "\"/a;b\"\n"),
            ("\t=1", "\\x09=1\n"),
            ("\r=1", "\\x0d=1\n"),
            ("\n=1\0", "\\x0a=1\\x00\n"),
            ("a\u{202e}b", "a\\xe2\\x80\\xaeb\n"),
            ("/a\\x0ab", "/a\\x0ab\n"),
            ("/srv/a=b", "/srv/a=b\n"),
            ("2024-01-01T00:00:00.000Z", "2024-01-01T00:00:00.000Z\n"),
        ] {
            assert_eq!(cell(text), written, "{text:?}");
        }
    }
}
