//! `device pictures` and `device picture`: what the cameras of this node took. Where no node runs the state directory is read.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use serde_json::json;

use super::context::Context;
use super::fail::{Done, Exit, Failure};
use super::{format, out};
use crate::domain::base::limits::CAMERA_BYTES_MAX;
use crate::domain::base::{Code, Digest};
use crate::operator::pictures::{PictureQuery, PictureView, picture_of};
use crate::surfaces::remote::RemoteError;

/// `device pictures`.
pub(super) async fn list(ctx: &Context, camera: Option<&str>) -> Done {
    let pictures = match ctx.running().await? {
        Some(node) => node.pictures(camera).await?,
        None => {
            let query = PictureQuery {
                camera: camera.map(str::to_owned),
                limit: None,
            };
            query
                .of(&ctx.dir)
                .map_err(|e| Failure::state(format!("the pictures: {e}")))?
        }
    };
    if ctx.json {
        return out::json(&pictures);
    }
    let rows: Vec<Vec<String>> = pictures.iter().map(|picture| row(ctx, picture)).collect();
    let head = ["CAMERA", "AGE", "SIZE", "KIND", "PICTURE"];
    out::table(&head, &rows, "no picture is kept here");
    Ok(())
}

fn row(ctx: &Context, picture: &PictureView) -> Vec<String> {
    let kind = picture.media_type.trim_start_matches("image/").to_owned();
    let id: String = picture.id.chars().take(16).collect();
    vec![
        picture.camera.clone(),
        format::age(ctx.now(), picture.taken_at),
        format::bytes(picture.bytes),
        kind,
        id,
    ]
}

/// `device picture`.
pub(super) async fn write(ctx: &Context, id: &str, path: &Path) -> Done {
    let bytes = match ctx.running().await? {
        Some(node) => {
            let mut bytes = Vec::new();
            let mut sink = |piece: &[u8]| {
                let all = u64::try_from(bytes.len() + piece.len()).unwrap_or(u64::MAX);
                if all > CAMERA_BYTES_MAX {
                    return Err(std::io::Error::other("more came than a picture may have"));
                }
                bytes.extend_from_slice(piece);
                Ok(())
            };
            let asked = node.picture(id, &mut sink).await;
            asked.map_err(|error| match &error {
                RemoteError::Refused { code, .. } if code == Code::NotFound.as_str() => {
                    Failure::new(Exit::NotFound, &error)
                }
                _ => error.into(),
            })?;
            bytes
        }
        None => {
            let found = picture_of(&ctx.dir, id);
            let found = found.map_err(|refusal| match refusal.code {
                Code::NotFound => Failure::new(Exit::NotFound, &refusal),
                _ => Failure::refused(&refusal),
            })?;
            found.1
        }
    };
    // Asked by its hash, so that what is written is what was told.
    let sha256 = Digest::of(&[&bytes]).to_hex();
    if !sha256.starts_with(id) {
        let why =
            "what came is another picture than the one that was asked for; nothing was written";
        return Err(Failure::new(Exit::Unverified, why));
    }
    let shown = path.display();
    let failed = |e: std::io::Error| Failure::failed(format!("{shown} cannot be written: {e}"));
    let mut file = File::create_new(path).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => Failure::failed(format!(
            "{shown} is there already and is left as it is; name another file, or move that one away"
        )),
        _ => failed(e),
    })?;
    file.write_all(&bytes).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    if ctx.json {
        return out::json(&json!({"id": sha256, "bytes": bytes.len(), "file": path}));
    }
    out::line(&format!("written to {shown}; its SHA-256 is {sha256}"));
    Ok(())
}
