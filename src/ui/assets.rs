//! The style sheet, the script and the icon, compiled into the program. Browsers cache them for a year.
//!
//! Each path contains a part of the content's hash, so changed content has a new path.

use super::error_page::ErrorPage;
use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// A file that pages refer to.
pub(super) struct Asset {
    /// Its path.
    pub url: String,
    name: String,
    kind: &'static str,
    text: &'static str,
}

pub(super) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "style",
        "css",
        "text/css; charset=utf-8",
        concat!(include_str!("style.css"), include_str!("actions.css")),
    )
});

pub(super) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("script", "js", "text/javascript; charset=utf-8", include_str!("script.js")));

pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("icon.svg")));

impl Asset {
    fn new(stem: &str, extension: &str, kind: &'static str, text: &'static str) -> Self {
        let hash = hex::encode(Sha256::digest(text));
        let name = format!("{stem}.{}.{extension}", hash.get(..12).unwrap_or_default());
        Self { url: format!("/assets/{name}"), name, kind, text }
    }
}

/// Serves an asset by its name, which includes the hash.
pub(super) async fn asset(Path(name): Path<String>) -> Result<Response, ErrorPage> {
    let known: [&Asset; 3] = [&STYLE, &SCRIPT, &ICON];
    let asset = known
        .into_iter()
        .find(|asset| asset.name == name)
        .ok_or_else(|| ErrorPage::not_found("There is no such file; an older page may refer to it."))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
    ];
    Ok((headers, asset.text).into_response())
}
