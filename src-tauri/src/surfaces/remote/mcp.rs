//! What the commands ask a running node about programs that speak MCP, and the messages of one such program.

use hyper::{Method, StatusCode};

use super::{Asked, Remote};
use crate::operator::access::{MCP_CLIENT_HEADER, Scope};
use crate::operator::mcp::{McpAdd, McpAdded, McpClientView};
use crate::operator::routes;

impl Remote {
    /// The programs that speak MCP with the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn mcp_clients(&self) -> Asked<Vec<McpClientView>> {
        self.read(routes::MCP_CLIENTS).await
    }

    /// Lets a program speak MCP with the node.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn mcp_add(&self, add: &McpAdd) -> Asked<McpAdded> {
        self.send(routes::MCP_ADD, add).await
    }

    /// Ends the token of a program.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn mcp_remove(&self, name: &str) -> Asked<Vec<McpClientView>> {
        self.of(routes::MCP_REMOVE, name).await
    }

    /// Takes a message of a program to the node; the answer, `None` where the message wants none. `version` is that of the protocol,
    /// once it was agreed.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn mcp(
        &self,
        program: &str,
        version: Option<&str>,
        message: &str,
    ) -> Asked<Option<String>> {
        let mut headers = vec![
            ("accept", "application/json, text/event-stream"),
            (MCP_CLIENT_HEADER, program),
        ];
        headers.extend(version.map(|version| ("mcp-protocol-version", version)));
        let body = Some(message.as_bytes().to_vec());
        let asking = self.exchange(Scope::Operate, (Method::POST, "/mcp", &headers), body, None);
        let (status, bytes) = self.in_time(Box::pin(asking)).await?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match status {
            StatusCode::ACCEPTED => Ok(None),
            _ if status.is_success() => Ok(Some(text)),
            // Faults of the protocol come with a message of their own.
            _ if text.contains("\"jsonrpc\"") => Ok(Some(text)),
            _ => Err(self.refused(status, &bytes)),
        }
    }
}
