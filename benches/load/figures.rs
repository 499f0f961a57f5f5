//! Figures, and the file with the latest ones of each scenario.

use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// The figures of a scenario: numbers by name.
pub type Figures = BTreeMap<String, f64>;

/// The latest figures of each scenario.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results(pub BTreeMap<String, Figures>);

impl Results {
    /// The figures of earlier runs.
    pub fn load() -> anyhow::Result<Self> {
        let path = path();
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))
            }
            Err(_) => Ok(Self::default()),
        }
    }

    /// Stores the figures of a scenario.
    pub fn keep(&mut self, scenario: &str, figures: Figures) -> anyhow::Result<()> {
        self.0.insert(scenario.to_owned(), figures);
        fs::write(path(), serde_json::to_vec_pretty(self)?).context("keeping the figures")
    }

    /// A figure.
    pub fn get(&self, scenario: &str, name: &str) -> Option<f64> {
        self.0.get(scenario)?.get(name).copied()
    }
}

fn path() -> PathBuf {
    folder().join("results.json")
}

/// The benchmark's own folder.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench")
}
