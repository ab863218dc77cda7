//! Paths as requests write them.
//!
//! In a query a path is percent-encoded bytes, which need not be UTF-8. In a JSON body it is a string, or
//! `{"raw": "/a/%FF"}` with the same percent-encoded bytes. What comes out is a [`RemotePath`]: absolute, and
//! without any way above the root.

use std::borrow::Cow;

use data_encoding::HEXUPPER;
use serde::Deserialize;
use sojourn_gateway::files::RemotePath;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, OneOfBuilder, Type},
    },
};

use crate::http::problem::Problem;

/// The longest text of a path: every byte of the longest path, percent-encoded.
const TEXT: usize = 3 * 4096;

/// All values of a parameter in a query, as bytes: a plus sign is a space, as browsers write it.
pub(super) fn values(query: Option<&str>, name: &str) -> Vec<Vec<u8>> {
    query
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key) == name.as_bytes()).then(|| decoded(value))
        })
        .collect()
}

fn decoded(text: &str) -> Vec<u8> {
    percent(text, true)
}

/// Undoes percent-encoding; a percent sign that begins nothing stands for itself.
fn percent(text: &str, plus: bool) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'+' if plus => out.push(b' '),
            b'%' => {
                let digits = bytes.get(at..at + 2).map(<[u8]>::to_ascii_uppercase);
                match digits.and_then(|digits| HEXUPPER.decode(&digits).ok()) {
                    Some(byte) => {
                        out.extend_from_slice(&byte);
                        at += 2;
                    }
                    None => out.push(b'%'),
                }
            }
            other => out.push(*other),
        }
    }
    out
}

/// Percent-encoded bytes: letters, digits, `/` and `-._~` stay.
pub(super) fn encoded(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(*byte)),
            byte => {
                out.push('%');
                out.push_str(&HEXUPPER.encode(&[*byte]));
            }
        }
    }
    out
}

/// A path's bytes as a path; `field` is named where they are none.
pub(super) fn path(field: &str, bytes: &[u8]) -> Result<RemotePath, Problem> {
    RemotePath::from_bytes(bytes).map_err(|error| Problem::invalid(field, error.to_string()))
}

/// The one path in a query; where there is none, `missing` or a problem.
pub(super) fn of_query(query: Option<&str>, missing: Option<&RemotePath>) -> Result<RemotePath, Problem> {
    let values = values(query, "path");
    match (values.as_slice(), missing) {
        ([one], _) => path("path", one),
        ([], Some(missing)) => Ok(missing.clone()),
        ([], None) => Err(Problem::invalid("path", "expected the path of a file or folder")),
        ([_, _, ..], _) => Err(Problem::invalid("path", "expected one path")),
    }
}

/// A flag in a query: `1`, `true`, `0` or `false`.
pub(super) fn flag(query: Option<&str>, name: &str) -> Result<Option<bool>, Problem> {
    match values(query, name).last().map(Vec::as_slice) {
        None => Ok(None),
        Some(b"1" | b"true") => Ok(Some(true)),
        Some(b"0" | b"false") => Ok(Some(false)),
        Some(_) => Err(Problem::invalid(name, "expected 1, true, 0 or false")),
    }
}

/// A path in a JSON body.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum PathText {
    Text(String),
    Raw(RawPath),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPath {
    raw: String,
}

impl PathText {
    pub(super) fn read(&self, field: &str) -> Result<RemotePath, Problem> {
        let bytes: Cow<'_, [u8]> = match self {
            Self::Text(text) => text.as_bytes().into(),
            Self::Raw(RawPath { raw }) => percent(raw, false).into(),
        };
        path(field, &bytes)
    }

    /// As [`PathText::read`], for something that is to be made: its name has no control characters.
    pub(super) fn read_new(&self, field: &str) -> Result<RemotePath, Problem> {
        new_name(field, self.read(field)?)
    }
}

/// Refuses control characters in the name of what is to be made: nobody could tell it from another.
pub(super) fn new_name(field: &str, path: RemotePath) -> Result<RemotePath, Problem> {
    let Some(name) = path.name() else {
        return Err(Problem::invalid(field, "expected a path below the root"));
    };
    let control = match std::str::from_utf8(name) {
        Ok(text) => text.chars().any(char::is_control),
        Err(_) => name.iter().any(u8::is_ascii_control),
    };
    if control {
        return Err(Problem::invalid(field, "expected a name without control characters"));
    }
    Ok(path)
}

impl PartialSchema for PathText {
    fn schema() -> RefOr<Schema> {
        let text = |about: &str| {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(1))
                .max_length(Some(TEXT))
                .description(Some(about))
        };
        OneOfBuilder::new()
            .item(text("An absolute path").examples(["/srv/www/index.html"]))
            .item(
                ObjectBuilder::new()
                    .property("raw", text("Percent-encoded bytes, for names that are not UTF-8"))
                    .required("raw")
                    .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::FreeForm(
                        false,
                    ))),
            )
            .description(Some("A path on the target"))
            .into()
    }
}

impl ToSchema for PathText {
    fn name() -> Cow<'static, str> {
        "FilePath".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_queries_are_bytes() {
        let all = |query: &str| values(Some(query), "path");
        assert_eq!(all("path=/a%20b+c&x=1&path=%2Fd%ff"), [b"/a b c".to_vec(), b"/d\xff".to_vec()]);
        assert_eq!(all("p%61th=100%&path"), [b"100%".to_vec(), Vec::new()]);
        assert_eq!(all(""), Vec::<Vec<u8>>::new());
        assert_eq!(encoded(b"/a b\xff~"), "/a%20b%FF~");
        assert_eq!(percent(&encoded(b"/+%41\n\xc3\xa4"), false), b"/+%41\n\xc3\xa4");
    }

    #[test]
    fn bodies_hold_text_or_raw_bytes() {
        let read = |json: &str| serde_json::from_str::<PathText>(json).unwrap().read("path");
        assert_eq!(read("\"/a/../b/./c+d%20\"").unwrap().as_bytes(), b"/b/c+d%20");
        assert_eq!(read("{\"raw\":\"/a%FF\"}").unwrap().as_bytes(), b"/a\xff");
        assert_eq!(read("\"/../../etc\"").unwrap().as_bytes(), b"/etc");
        for wrong in ["\"/a\\u0000b\"", "{\"raw\":\"/a%00\"}"] {
            assert_eq!(read(wrong).unwrap_err().status(), 422, "{wrong}");
        }
        let long = format!("\"/{}\"", "x".repeat(5000));
        assert_eq!(read(&long).unwrap_err().status(), 422);
        assert!(serde_json::from_str::<PathText>("{\"raw\":\"/\",\"x\":1}").is_err());
    }

    #[test]
    fn what_is_made_has_a_name_of_one_line() {
        let new = |json: &str| serde_json::from_str::<PathText>(json).unwrap().read_new("path");
        assert!(new("\"/a/b\"").is_ok());
        assert!(new("{\"raw\":\"/%FF\"}").is_ok());
        for wrong in ["\"/\"", "\"/a\\nb\"", "\"/a\\u009bb\"", "{\"raw\":\"/%FF%1b\"}"] {
            assert_eq!(new(wrong).unwrap_err().status(), 422, "{wrong}");
        }
    }
}
