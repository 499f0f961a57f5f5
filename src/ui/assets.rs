//! The style sheet, the script and the icon, compiled into the program. Browsers cache them for a year.
//!
//! Each path contains a part of the content's hash, so changed content has a new path.

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

/// The asset of this name, which includes the hash.
pub(super) fn asset(name: &str) -> Option<&'static Asset> {
    let all: [&'static Asset; 3] = [&STYLE, &SCRIPT, &ICON];
    all.into_iter().find(|asset| asset.name == name)
}

impl IntoResponse for &'static Asset {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(self.kind)),
            (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
        ];
        (headers, self.text).into_response()
    }
}
