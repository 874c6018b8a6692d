//! Pictures of the running node.

use hyper::Method;

use super::{Asked, Remote, Sink, escaped};
use crate::operator::pictures::PictureView;
use crate::operator::routes;

impl Remote {
    /// The pictures that the node has, newest first; of one camera or of all.
    ///
    /// # Errors
    /// As [`Remote::status`].
    pub async fn pictures(&self, camera: Option<&str>) -> Asked<Vec<PictureView>> {
        self.find(routes::PICTURES, &[("camera", camera)]).await
    }

    /// A picture as it was taken, which goes to `sink` piece by piece.
    ///
    /// # Errors
    /// As [`Remote::status`], or whatever the sink says.
    pub async fn picture(&self, id: &str, sink: &mut Sink<'_>) -> Asked<()> {
        let route = routes::PICTURE;
        let path = route.path.replace("{id}", &escaped(id));
        let asking = self.exchange(route.scope, (Method::GET, &path, &[]), None, Some(sink));
        let (status, bytes) = asking.await?;
        match status.is_success() {
            true => Ok(()),
            false => Err(self.refused(status, &bytes)),
        }
    }
}
