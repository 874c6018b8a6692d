//! Calls about browsers: one-time links to the console, and the sessions that are open.

use super::{Asked, Remote};
use crate::operator::access::Scope;
use crate::operator::access::listed::OpenSession;
use crate::operator::access::sessions::{LinkRequest, LinkView};
use crate::operator::routes;

impl Remote {
    /// A one-time link that opens the console with `scope`, in the name of a person.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn console_link(&self, scope: Scope, name: &str) -> Asked<LinkView> {
        let asked = LinkRequest {
            scope: Some(scope),
            name: Some(name.to_owned()),
            away: false,
            host: None,
        };
        self.send(routes::CONSOLE_LINK.as_scope(scope), &asked)
            .await
    }

    /// A one-time link to the console for a browser of another machine, by one of its names there.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn console_link_away(
        &self,
        scope: Scope,
        name: &str,
        host: Option<&str>,
    ) -> Asked<LinkView> {
        let asked = LinkRequest {
            scope: Some(scope),
            name: Some(name.to_owned()),
            away: true,
            host: host.map(str::to_owned),
        };
        self.send(routes::CONSOLE_LINK.as_scope(scope), &asked)
            .await
    }

    /// The sessions of browsers that are open.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn console_sessions(&self) -> Asked<Vec<OpenSession>> {
        self.read(routes::SESSIONS).await
    }

    /// Ends one of them.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn console_session_end(&self, id: &str) -> Asked<Vec<OpenSession>> {
        self.of(routes::SESSION_END_ONE.as_scope(Scope::Admin), id)
            .await
    }
}
