//! Programs that speak the Model Context Protocol with this node, such as assistants: who they are, and what they may read and
//! ask for. Each has a name and a token of its own, which opens `/mcp` and nothing else. They see nothing private. What they
//! ask for is a model's wish: a draft with the taint `llm`, which a person decides.

mod clients;
mod reading;

pub use self::clients::{Client, Clients, McpAdd, McpAdded, McpCallView, McpClientView};
pub use self::reading::McpPropose;
