//! The OpenAPI document that is committed is the one that the server makes.

use std::path::Path;

use sojourn_server::http::openapi;

/// Writes the document instead of comparing it, where set.
const BLESS: &str = "SOJOURN_BLESS";

#[test]
fn the_committed_document_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi.json");
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&path, openapi::text()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == openapi::text(),
        "openapi.json is old: run `cargo xtask openapi` and read the difference"
    );
}

/// Clients are generated from it: every operation has a name of its own and says what it answers.
#[test]
fn operations_are_complete() {
    let document: serde_json::Value = serde_json::from_str(openapi::text()).unwrap();
    let mut names = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{method} {path}: {name} is taken");
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
            assert!(operation["tags"][0].is_string(), "{method} {path} has no tag");
            assert!(operation["security"].is_array(), "{method} {path} says nothing about security");
            let answers = operation["responses"].as_object().unwrap();
            let done = |status: &String| status.starts_with('2') || status == "101";
            assert!(answers.keys().any(done), "{method} {path}");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let found = path.contains(&format!("{{{}}}", parameter["name"].as_str().unwrap()));
                assert_eq!(parameter["in"] == "path", found, "{method} {path}: {parameter}");
            }
        }
    }
    // References lead somewhere.
    let text = openapi::text();
    for part in text.split("\"$ref\": \"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}
