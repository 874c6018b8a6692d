//! The console's files, built into the program, and the few pages that stand in for them. They hold
//! no data and need no session; loopback and `Host` have been checked before.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::operator::access::sessions::NotOpened;

/// One file of the console.
struct File {
    /// Its path, with a leading slash.
    path: &'static str,
    /// Its media type.
    kind: &'static str,
    /// The quoted hash of its content.
    etag: &'static str,
    /// Its content.
    bytes: &'static [u8],
    /// The same, compressed with gzip, where the build made that.
    gzip: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/site.rs"));

/// The content security policy of our pages: only what comes from this node itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; font-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
/// Paths that programs use: what is missing there is an error in JSON, never a page.
const NOT_PAGES: [&str; 6] = ["/api", "/metrics", "/healthz", "/v1", "/console", "/mcp"];

/// The pages that are not part of the console.
pub(super) enum Page {
    /// The program was built without the console.
    NotBuilt,
    /// A one-time link did not open.
    NotOpened(NotOpened),
    /// A one-time link did not open in a browser of another machine.
    NotOpenedAway(NotOpened),
    /// The request does not say whom it means.
    BadHost,
}

fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A plain page.
pub(super) fn page(status: StatusCode, page: &Page) -> Response {
    let (title, text, command) = match page {
        Page::NotBuilt => (
            "The console is not in this build",
            "This node was built without its web console. The API and the command line work. To build it in:",
            "make console",
        ),
        Page::NotOpened(NotOpened::Unknown) => (
            "This link does not open the console",
            "It has been used already, or its two minutes are over. On the machine where the node runs, make a new one:",
            "clawmesh-node console",
        ),
        Page::NotOpenedAway(NotOpened::Unknown) => (
            "This link does not open the console",
            "It has been used already, or its ten minutes are over. On the machine where the node runs, make a new one:",
            "clawmesh-node console --phone",
        ),
        Page::NotOpened(NotOpened::Full) | Page::NotOpenedAway(NotOpened::Full) => (
            "As many phones as may have a session have one",
            "The link stays good for its ten minutes. On the machine where the node runs, end a session that is not needed, then open the link again:",
            "clawmesh-node console sessions",
        ),
        Page::NotOpenedAway(NotOpened::TooMany) => (
            "Too many links have failed",
            "Wait a minute. Then, on the machine where the node runs, make a new link:",
            "clawmesh-node console --phone",
        ),
        Page::NotOpened(NotOpened::TooMany) => (
            "Too many links have failed",
            "Wait a minute. Then, on the machine where the node runs, make a new link:",
            "clawmesh-node console",
        ),
        Page::NotOpened(NotOpened::Random) | Page::NotOpenedAway(NotOpened::Random) => (
            "The node could not make a session",
            "The system gave no random bytes. Look at the node:",
            "clawmesh-node status",
        ),
        Page::BadHost => (
            "This address does not work here",
            "Use localhost or an IP address. On the machine where the node runs, make a new link:",
            "clawmesh-node console",
        ),
    };
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title} · ClawMesh</title></head>\
         <body><main><h1>{title}</h1><p>{text}</p><pre><code>{command}</code></pre></main></body></html>\n"
    );
    let kind = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    secured((status, kind, html).into_response())
}

/// Whether a path is one that programs use.
pub(super) fn is_of_programs(path: &str) -> bool {
    NOT_PAGES.iter().any(|root| {
        path.strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

fn is_page(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    !is_of_programs(path) && !last.contains('.')
}

/// The file or page of a path; `None` for what is no path of the console.
pub(super) fn serve(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    if *method != Method::GET && *method != Method::HEAD {
        return None;
    }
    from(FILES, uri.path(), headers)
}

fn from(files: &'static [File], path: &str, headers: &HeaderMap) -> Option<Response> {
    let find = |path: &str| files.iter().find(|f| f.path == path);
    if let Some(file) = find(path).filter(|f| f.path != "/index.html") {
        return Some(sent(file, headers));
    }
    if !is_page(path) && path != "/index.html" {
        return None;
    }
    Some(match find("/index.html") {
        Some(index) => sent(index, headers),
        None => page(StatusCode::OK, &Page::NotBuilt),
    })
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING);
    accepted.and_then(|v| v.to_str().ok()).is_some_and(|v| {
        v.split(',').any(|one| {
            let mut parts = one.split(';').map(str::trim);
            let named = matches!(parts.next(), Some("gzip" | "*"));
            named && !parts.any(|p| matches!(p, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    })
}

fn sent(file: &'static File, headers: &HeaderMap) -> Response {
    // Names under /assets carry a hash of their content: what was fetched once stays good.
    let cache = if file.path.starts_with("/assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let mut about = HeaderMap::new();
    about.insert(header::ETAG, HeaderValue::from_static(file.etag));
    about.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    about.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let known = headers.get(header::IF_NONE_MATCH);
    let known = known.and_then(|v| v.to_str().ok()).is_some_and(|v| {
        v.split(',')
            .any(|tag| tag.trim().trim_start_matches("W/") == file.etag || tag.trim() == "*")
    });
    if known {
        return secured((StatusCode::NOT_MODIFIED, about).into_response());
    }
    about.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    let body = match file.gzip.filter(|_| takes_gzip(headers)) {
        Some(gzip) => {
            about.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            gzip
        }
        None => file.bytes,
    };
    secured((about, body).into_response())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use http_body_util::BodyExt as _;

    use super::*;

    static BUILT: &[File] = &[
        File {
            path: "/index.html",
            kind: "text/html; charset=utf-8",
            etag: "\"1\"",
            bytes: b"<html>",
            gzip: None,
        },
        File {
            path: "/assets/app-1a2b.js",
            kind: "text/javascript; charset=utf-8",
            etag: "\"2\"",
            bytes: b"js",
            gzip: Some(b"packed"),
        },
    ];

    fn head(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    async fn bytes(response: Response) -> Vec<u8> {
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .to_vec()
    }

    #[tokio::test]
    async fn pages_get_the_console_and_programs_do_not() {
        let none = HeaderMap::new();
        for path in ["/", "/approvals", "/proposals/abc", "/index.html"] {
            let response = from(BUILT, path, &none).unwrap();
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache");
            assert_eq!(response.headers()[header::CONTENT_SECURITY_POLICY], POLICY);
            assert_eq!(bytes(response).await, b"<html>", "{path}");
        }
        for path in [
            "/api",
            "/api/operator/v1/nope",
            "/metrics",
            "/v1/models",
            "/console/x",
            "/favicon.png",
            "/assets/gone.js",
        ] {
            assert!(from(BUILT, path, &none).is_none(), "{path}");
        }
        assert!(from(&[], "/assets/x.js", &none).is_none());
        let page = bytes(from(&[], "/", &none).unwrap()).await;
        assert!(String::from_utf8(page).unwrap().contains("make console"));
    }

    #[tokio::test]
    async fn assets_are_kept_packed_and_not_sent_twice() {
        let path = "/assets/app-1a2b.js";
        let plain = from(BUILT, path, &HeaderMap::new()).unwrap();
        assert!(
            plain.headers()[header::CACHE_CONTROL]
                .to_str()
                .unwrap()
                .contains("immutable")
        );
        assert_eq!(bytes(plain).await, b"js");
        let packed = from(BUILT, path, &head(header::ACCEPT_ENCODING, "br, gzip")).unwrap();
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(bytes(packed).await, b"packed");
        let refused = from(BUILT, path, &head(header::ACCEPT_ENCODING, "gzip;q=0")).unwrap();
        assert_eq!(bytes(refused).await, b"js");
        let known = from(BUILT, path, &head(header::IF_NONE_MATCH, "W/\"2\"")).unwrap();
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
        assert!(bytes(known).await.is_empty());
    }
}
