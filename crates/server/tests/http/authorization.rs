//! Who may call what. Every route of the OpenAPI document stands here; a route that does not, or
//! a line without a route, fails.

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};
use sojourn_domain::policy::{BuiltinRole, Permission, Permissions};
use sojourn_server::http::openapi;
use sojourn_store::audit::By;

use crate::house::{As, House};

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy)]
enum Needs {
    /// Nothing.
    Nothing,
    /// To be somebody.
    Somebody,
    /// One of these.
    One(&'static [Permission]),
}

use Needs::{Nothing, One, Somebody};

const VIEW: Needs = One(&[Permission::PresenceView]);
const MANAGE: Needs = One(&[Permission::PresenceManage]);
const SESSIONS: Needs = One(&[Permission::SessionsViewOwn, Permission::SessionsViewAny]);
const PURGE: Needs = One(&[Permission::SessionsDelete]);
const FILES: Needs = One(&[Permission::ConnectionsUse]);
const SETTINGS: Needs = One(&[Permission::SettingsManage]);

const LIVE: Needs =
    One(&[Permission::SessionsViewOwn, Permission::SessionsViewAny, Permission::SessionsWatch]);

/// Placeholders in paths are filled with what exists nowhere.
#[rustfmt::skip]
const MATRIX: &[(&str, &str, Needs)] = &[
    ("get",    "/auth/state",               Nothing),
    ("post",   "/auth/setup",               Nothing),
    ("post",   "/auth/login",               Nothing),
    ("post",   "/auth/logout",              Nothing),
    ("get",    "/auth/logins",              Somebody),
    ("delete", "/auth/logins/{id}",         Somebody),
    ("post",   "/auth/password",            Somebody),
    ("get",    "/users",                    One(&[Permission::UsersManage])),
    ("post",   "/users",                    One(&[Permission::UsersManage])),
    ("get",    "/users/{id}",               One(&[Permission::UsersManage])),
    ("patch",  "/users/{id}",               One(&[Permission::UsersManage])),
    ("delete", "/users/{id}",               One(&[Permission::UsersManage])),
    ("get",    "/roles",                    One(&[Permission::RolesManage, Permission::UsersManage])),
    ("post",   "/roles",                    One(&[Permission::RolesManage])),
    ("patch",  "/roles/{name}",             One(&[Permission::RolesManage])),
    ("delete", "/roles/{name}",             One(&[Permission::RolesManage])),
    ("get",    "/tokens",                   Somebody),
    ("post",   "/tokens",                   Somebody),
    ("delete", "/tokens/{id}",              Somebody),
    ("get",    "/audit",                    One(&[Permission::AuditView])),
    ("get",    "/sessions/list",            VIEW),
    ("get",    "/sessions/calendar",        VIEW),
    ("get",    "/sessions/session-events",  VIEW),
    ("get",    "/sessions/totals",          VIEW),
    // With a MAC address here; with a session's id in `access`.
    ("get",    "/sessions/{id}",            VIEW),
    ("get",    "/sessions",                 SESSIONS),
    ("delete", "/sessions",                 PURGE),
    ("delete", "/sessions/{id}",            PURGE),
    ("put",    "/sessions/{id}/hold",       PURGE),
    ("get",    "/sessions/{id}/commands",   SESSIONS),
    ("get",    "/sessions/{id}/recording",  SESSIONS),
    ("post",   "/sessions/rdp-session",     Somebody),
    ("post",   "/sessions/{id}/recording/chunk", Somebody),
    ("post",   "/sessions/{id}/recording/finalize", Somebody),
    ("get",    "/sessions/{id}/recording/events", SESSIONS),
    ("post",   "/sessions/{id}/recording/events", Somebody),
    ("get",    "/sessions/{id}/verify",     SESSIONS),
    ("get",    "/sessions/{id}/export",     SESSIONS),
    ("get",    "/sessions/storage",         SETTINGS),
    ("get",    "/file-sessions",            SESSIONS),
    ("get",    "/file-sessions/{id}",       SESSIONS),
    ("get",    "/file-sessions/{id}/events", SESSIONS),
    ("get",    "/file-sessions/{id}/export", SESSIONS),
    ("put",    "/file-sessions/{id}/hold",  PURGE),
    ("post",   "/file-sessions/{id}/terminate", Somebody),
    ("get",    "/connections",              Somebody),
    ("post",   "/connections",              One(&[Permission::ConnectionsCreate])),
    ("get",    "/connections/{id}",         Somebody),
    ("patch",  "/connections/{id}",         Somebody),
    ("delete", "/connections/{id}",         Somebody),
    ("put",    "/connections/{id}/grants",  Somebody),
    ("put",    "/connections/{id}/host-key", Somebody),
    ("delete", "/connections/{id}/host-key", Somebody),
    ("post",   "/connections/{id}/test",    Somebody),
    ("post",   "/connections/test",         One(&[Permission::ConnectionsCreate])),
    ("get",    "/users/{id}/keys",          Somebody),
    ("post",   "/users/{id}/keys",          Somebody),
    ("delete", "/users/{id}/keys/{keyId}",  Somebody),
    ("get",    "/sessions/live",            LIVE),
    ("get",    "/sessions/stream",          LIVE),
    ("post",   "/sessions/{id}/terminate",  Somebody),
    ("post",   "/sessions/{id}/tickets",    Somebody),
    ("post",   "/connections/{id}/tickets", One(&[Permission::ConnectionsUse])),
    ("get",    "/files/{connection}/list",              FILES),
    ("get",    "/files/{connection}/stat",              FILES),
    ("get",    "/files/{connection}/content",           FILES),
    ("put",    "/files/{connection}/content",           FILES),
    ("get",    "/files/{connection}/archive",           FILES),
    ("get",    "/files/{connection}/uploads",           FILES),
    ("post",   "/files/{connection}/uploads",           FILES),
    ("get",    "/files/{connection}/uploads/{id}",      FILES),
    ("patch",  "/files/{connection}/uploads/{id}",      FILES),
    ("delete", "/files/{connection}/uploads/{id}",      FILES),
    ("post",   "/files/{connection}/uploads/{id}/finish", FILES),
    ("post",   "/files/{connection}/mkdir",             FILES),
    ("post",   "/files/{connection}/rename",            FILES),
    ("post",   "/files/{connection}/copy",              FILES),
    ("post",   "/files/{connection}/delete",            FILES),
    ("post",   "/files/{connection}/chmod",             FILES),
    ("post",   "/files/{connection}/link",              FILES),
    ("post",   "/files/{connection}/truncate",          FILES),
    ("post",   "/files/{connection}/login",             FILES),
    ("delete", "/files/{connection}/session",           FILES),
    ("post",   "/files/{connection}/session/close",     FILES),
    ("get",    "/nodes",                    SETTINGS),
    ("get",    "/terminal",                 Nothing),
    ("get",    "/desktop",                  Nothing),
    ("post",   "/sessions/create",          MANAGE),
    ("delete", "/sessions/delete",          MANAGE),
    ("get",    "/devices",                  VIEW),
    ("post",   "/devices",                  MANAGE),
    ("patch",  "/devices",                  MANAGE),
    ("get",    "/devices/{mac}",            VIEW),
    ("patch",  "/devices/{mac}",            MANAGE),
    ("delete", "/devices/{mac}",            MANAGE),
    ("get",    "/devices/{mac}/timeline",   VIEW),
    ("get",    "/presence/online",          VIEW),
    ("get",    "/presence/events",          VIEW),
    ("get",    "/presence/history",         VIEW),
    ("get",    "/presence/timeline",        VIEW),
    ("get",    "/presence/stream",          VIEW),
    ("post",   "/presence/sightings",       MANAGE),
    ("post",   "/presence/import",          MANAGE),
    ("get",    "/sources",                  VIEW),
    ("post",   "/sources",                  SETTINGS),
    ("patch",  "/sources/{id}",             SETTINGS),
    ("delete", "/sources/{id}",             SETTINGS),
    ("post",   "/sources/{id}/test",        SETTINGS),
    ("post",   "/sources/{id}/scan",        SETTINGS),
    ("get",    "/healthz",                  Nothing),
    ("get",    "/readyz",                   Nothing),
    ("get",    "/metrics",                  One(&[Permission::AuditView, Permission::SettingsManage])),
    ("get",    "/openapi.json",             Nothing),
];

fn documented() -> BTreeSet<(String, String)> {
    let document: serde_json::Value = serde_json::from_str(openapi::text()).unwrap();
    let mut routes = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            routes.insert((method.clone(), path.clone()));
        }
    }
    routes
}

fn filled(path: &str) -> String {
    path.replace("/files/{connection}", "/files/conn_01h455vb4pex5vsknk084sn02q")
        .replace("/uploads/{id}", "/uploads/upl_01h455vb4pex5vsknk084sn02q")
        .replace("/auth/logins/{id}", "/auth/logins/login_01h455vb4pex5vsknk084sn02q")
        .replace("/users/{id}", "/users/user_01h455vb4pex5vsknk084sn02q")
        .replace("/tokens/{id}", "/tokens/token_01h455vb4pex5vsknk084sn02q")
        .replace("/sources/{id}", "/sources/source_01h455vb4pex5vsknk084sn02q")
        .replace("/connections/{id}", "/connections/conn_01h455vb4pex5vsknk084sn02q")
        .replace("/file-sessions/{id}", "/file-sessions/fsess_01h455vb4pex5vsknk084sn02q")
        .replace("/sessions/{id}/", "/sessions/sess_01h455vb4pex5vsknk084sn02q/")
        .replace("/sessions/{id}", "/sessions/00:00:5E:00:53:99")
        .replace("/connections/{id}", "/connections/conn_01h455vb4pex5vsknk084sn02q")
        .replace("{keyId}", "key_01h455vb4pex5vsknk084sn02q")
        .replace("{mac}", "00:00:5E:00:53:99")
        .replace("{name}", "no-such-role")
}

#[test]
fn every_route_stands_in_the_matrix() {
    let matrix: BTreeSet<(String, String)> =
        MATRIX.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(matrix.len(), MATRIX.len(), "a route stands twice");
    let documented = documented();
    assert_eq!(
        documented.difference(&matrix).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new(),
        "not in the matrix"
    );
    assert_eq!(
        matrix.difference(&documented).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new(),
        "not a route"
    );
}

#[tokio::test]
async fn everybody_gets_what_the_matrix_says() {
    let house = House::new().await;
    let roles = [BuiltinRole::Admin, BuiltinRole::Auditor, BuiltinRole::User];
    let mut personas: Vec<(String, As, Option<Permissions>)> = Vec::new();
    for role in roles {
        personas.push((role.name().to_owned(), house.persona(role.name()).await, Some(role.permissions())));
    }
    let admin = house.user("limited", "admin").await;
    personas.push((
        "admin's token without permissions".to_owned(),
        house.token(admin, Some(Permissions::new())).await,
        Some(Permissions::new()),
    ));
    let former = house.user("former", "admin").await;
    let revoked = house.token(former, None).await;
    let token = house.store.tokens(Some(former), 1).await.unwrap()[0].id;
    house.store.token_revoke(token, &By::cli(house.now())).await.unwrap();

    for (method, path, needs) in MATRIX {
        let method: Method = method.to_uppercase().parse().unwrap();
        for mount in ["", "/api/v1"] {
            let path = format!("{mount}{}", filled(path));
            let call = async |who: &As| {
                let call = house.call(method.clone(), &path).r#as(who);
                let call = if method == Method::GET { call } else { call.json(serde_json::json!({})) };
                let status = call.status().await;
                assert!(!status.is_server_error(), "{method} {path} as {who:?}: {status}");
                status
            };
            let barred = |status| matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            let nobody = call(&As::Nobody).await;
            if matches!(needs, Nothing) {
                assert!(!barred(nobody), "{method} {path} as nobody: {nobody}");
            } else {
                assert_eq!(nobody, StatusCode::UNAUTHORIZED, "{method} {path} as nobody");
                assert_eq!(call(&revoked).await, StatusCode::UNAUTHORIZED, "{method} {path} revoked");
            }
            for (name, who, permissions) in &personas {
                let permissions = permissions.as_ref().unwrap();
                let may = match needs {
                    Nothing | Somebody => true,
                    One(any) => any.iter().any(|permission| permissions.contains(permission)),
                };
                let status = call(who).await;
                if may {
                    assert!(!barred(status), "{method} {path} as {name}: {status}");
                } else {
                    assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path} as {name}");
                }
            }
        }
    }
}
