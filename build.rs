//! Keeps the build apart from whatever `.env` lies in the checkout or above it.
//!
//! sqlx's macros look for a `.env` from the manifest's folder upwards, also where the queries are
//! checked from committed data, and a line that is no setting breaks the build. So the compiler gets
//! another manifest folder, above which there is no `.env`, and the path of the committed data.

use std::path::Path;

fn main() {
    let checkout = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SQLX_OFFLINE_DIR");
    println!("cargo::rustc-env=EVENTBRIDGE_CHECKOUT={checkout}");
    println!("cargo::rustc-env=CARGO_MANIFEST_DIR=/");
    // Clippy looks for its settings by the same folder.
    println!("cargo::rustc-env=CLIPPY_CONF_DIR={checkout}");
    if std::env::var_os("SQLX_OFFLINE_DIR").is_none() {
        println!("cargo::rustc-env=SQLX_OFFLINE_DIR={}", Path::new(&checkout).join(".sqlx").display());
    }
}
