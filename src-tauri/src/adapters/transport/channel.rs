//! The in-memory twin of a link: two connected sockets without a network, for tests and the
//! simulator. They are real `Socket`s over a byte pipe, so limits and closing behave as on TCP.

use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

use super::socket::{Protection, Socket};

/// Bytes in flight in each direction before the writer has to wait.
pub const PIPE_BYTES: usize = 64 * 1024;

/// Two connected sockets: the dialing side and the accepting side.
pub async fn pair() -> (Socket, Socket) {
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let never = CancellationToken::new();
    (
        Socket::new(
            Box::new(near),
            Role::Client,
            Protection::PLAIN,
            &never,
            None,
        )
        .await,
        Socket::new(Box::new(far), Role::Server, Protection::PLAIN, &never, None).await,
    )
}
