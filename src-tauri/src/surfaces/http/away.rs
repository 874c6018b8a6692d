//! Browsers of other machines, as the port of `[console]` marks them: which host and page they may come from, which paths and
//! routes they never get, and their sessions by name. Whatever is not listed as done on the machine of the node alone needs the
//! same session, scope and second token as there. A token, a key of the node and a peer count for nothing here.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{Method, header};

use super::answer::{Answered, Failed, Id, ok};
use super::auth::{Caller, host};
use super::{Api, assets, hooks};
use crate::adapters::transport::Away;
use crate::domain::base::{Code, Refusal};
use crate::operator::Door;
use crate::operator::access::sessions::Place;
use crate::operator::access::{API_ROOT, Scope};
use crate::operator::routes::Verb;

/// The paths of routes that are done on the machine of the node alone, and all below them: links, what its own key signs with
/// a passphrase, pairing, keys of providers.
const HERE_ALONE: [&str; 4] = ["/console", "/pairing", "/credentials", "/model-token"];
/// Routes of which asking stays possible, and changing is done on the machine of the node: who gives a chat a key of theirs, a program a
/// token, or a gateway its token.
const CHANGED_HERE_ALONE: [&str; 3] = ["/channels", "/mcp", "/gateways"];
/// Below those, what ends something and makes nothing: it is possible from everywhere.
const ENDS: [&str; 2] = ["/channels/{id}/end", "/mcp/clients/{id}"];
/// The one path beside pages and the API: a one-time link.
pub(super) const OPEN: &str = "/console/open";

/// Whether a route is done on the machine of the node alone.
pub(super) fn is_here_alone(verb: Verb, path: &str) -> bool {
    let below = |root: &&str| {
        path.strip_prefix(*root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let changes = verb != Verb::Get && !ENDS.contains(&path);
    HERE_ALONE.iter().any(below)
        || CHANGED_HERE_ALONE.iter().any(below) && changes
        || path == "/channels/offer"
}

/// Where a request's session counts.
pub(super) fn place(request: &Request) -> Place {
    match request.extensions().get::<Away>() {
        Some(away) => Place::Away(away.from()),
        None => Place::Here,
    }
}

fn refused(why: &str) -> Refusal {
    Refusal::new(Code::NotAuthorized, why)
}

/// The first check of a request of a browser of another machine.
///
/// # Errors
/// `NOT_AUTHORIZED` with what is not answered there.
pub(super) fn admit(door: &Door, request: &Request) -> Result<(), Refusal> {
    let headers = request.headers();
    let Some(host) = host(headers).filter(|host| door.is_host_away(host)) else {
        return Err(refused(
            "this name is none of console.hosts in config.toml of the node",
        ));
    };
    // A page of another name or port, also one that was pointed here, has another origin.
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let ours = |origin: &str| {
        let authority = origin.strip_prefix("https://");
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    };
    let looks = matches!(*request.method(), Method::GET | Method::HEAD);
    let fits = match (origins.next(), origins.next()) {
        (None, _) => looks,
        (Some(origin), None) => origin.to_str().is_ok_and(ours),
        _ => false,
    };
    if !fits {
        return Err(refused("requests of other web pages are not answered here"));
    }
    if headers.contains_key(header::AUTHORIZATION) {
        return Err(refused(
            "tokens count on the machine of the node alone; a browser comes by a link of `clawmesh-node console --phone`",
        ));
    }
    let path = request.uri().path();
    let of_api = path
        .strip_prefix(API_ROOT)
        .is_some_and(|rest| rest.starts_with('/'));
    if !of_api && path != OPEN && (assets::is_of_programs(path) || path.starts_with(hooks::ROOT)) {
        return Err(refused("this is answered on the machine of the node alone"));
    }
    Ok(())
}

/// The sessions that are open.
pub(super) async fn sessions(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Answered {
    Ok(ok(&listed(&api, &caller)))
}

/// Ends one of them, and answers with those that are left.
pub(super) async fn session_end(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
) -> Answered {
    let now = api.door.context().now();
    let session = match api.browsers.to_end(&id, caller.scope(), now) {
        // It may be one whose end is not on the disk yet: then the answer says so.
        Err(none) if none.code == Code::NotFound && api.browsers.is_unwritten() => {
            api.door
                .keep_sessions(&api.browsers)
                .await
                .map_err(Failed::from)?;
            return Err(none.into());
        }
        found => found?,
    };
    if let Caller::Session(own) = &caller
        && own.away
        && own.scope < Scope::Admin
        && own.id != session.id
    {
        let why = "a phone ends its own session alone; others are ended in the console of the node's machine, or with `clawmesh-node console end`";
        return Err(refused(why).into());
    }
    if api.browsers.end(&session.id) {
        api.door.session_ended(&session).await;
        if session.away {
            api.door
                .keep_sessions(&api.browsers)
                .await
                .map_err(Failed::from)?;
        }
    }
    Ok(ok(&listed(&api, &caller)))
}

fn listed(api: &Api, caller: &Caller) -> Vec<crate::operator::access::listed::OpenSession> {
    let own = match caller {
        Caller::Session(session) => Some(&session.id),
        _ => None,
    };
    let (most, now) = (api.door.most_away(), api.door.context().now());
    let all = api.browsers.list(own, most, now);
    api.door.with_push(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::routes;

    #[test]
    fn what_makes_keys_links_or_trust_by_hand_is_done_on_the_machine_of_the_node_alone() {
        let here: Vec<String> = routes::ALL
            .iter()
            .filter(|route| is_here_alone(route.verb, route.path))
            .map(|route| format!("{:?} {}", route.verb, route.path))
            .collect();
        assert_eq!(
            here,
            [
                "Get /credentials",
                "Post /credentials",
                "Delete /credentials/{id}",
                "Post /mcp/clients",
                "Post /gateways",
                "Post /gateways/{id}",
                "Delete /gateways/{id}",
                "Get /channels/offer",
                "Post /channels",
                "Post /channels/{id}/void",
                "Post /console/link",
                "Post /console/decide",
                "Post /console/approvals",
                "Post /console/approvals/end",
                "Get /pairing",
                "Delete /pairing",
                "Post /pairing/window",
                "Post /pairing/start",
                "Post /pairing/decision",
            ]
        );
    }
}
