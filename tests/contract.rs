//! The operator API's description is a contract: it is generated from the types, committed, and any
//! difference is a decision that shows up in a review.

use std::path::Path;

#[test]
fn the_committed_description_is_the_generated_one() -> Result<(), Box<dyn std::error::Error>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("contract/operator.openapi.json");
    let generated = clawmesh::surfaces::http::openapi::text();
    if std::env::var_os("UPDATE_CONTRACT").is_some() {
        if let Some(dir) = file.parent() {
            std::fs::create_dir_all(dir)?;
        }
        std::fs::write(&file, &generated)?;
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    if committed == generated {
        return Ok(());
    }
    let line = committed.lines().zip(generated.lines()).position(|(a, b)| a != b);
    Err(format!(
        "contract/operator.openapi.json differs from the types, first at line {}; if the change is meant, run \
         UPDATE_CONTRACT=1 cargo test --test contract and commit the file",
        line.map_or_else(|| "the end".to_owned(), |n| (n + 1).to_string())
    )
    .into())
}
