//! The structure of the source: it matches ARCHITECTURE.md.
//! Also: every setting is in `.env-model` and docs/settings.md, every link in the documents is valid, and
//! docs/openapi.json is current.

use eventbridge::app::DEFAULT_KINDS;
use eventbridge::config::InstanceName;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("EVENTBRIDGE_CHECKOUT"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The top-level module of the crate to which a file belongs.
fn module_of(file: &Path) -> String {
    let within = file.strip_prefix(root().join("src")).unwrap();
    let first = within.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The table with the header `| module | may import |`: for each module its allowed imports.
fn allowed_imports() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with("| module | may import |")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .flat_map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(|cell| cell.replace('`', "")).collect();
            let may = cells[1].trim().to_owned();
            let modules: Vec<_> = cells[0].split(',').map(|module| module.trim().to_owned()).collect();
            modules.into_iter().map(move |module| (module, may.clone()))
        })
        .collect()
}

/// Our modules that a source text names with `crate::`, including in its tests.
fn imported(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (start, _) in text.match_indices("crate::") {
        let rest = &text[start + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap().to_owned(),
            None => rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect(),
        };
        found.extend(names.split(',').map(|name| name.trim().split("::").next().unwrap().to_owned()));
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn every_module_imports_only_what_the_architecture_allows() {
    let allowed = allowed_imports();
    let mut seen = BTreeSet::new();
    for file in rust_files(&root().join("src")) {
        let module = module_of(&file);
        if module == "lib" || module == "main" {
            continue;
        }
        let may = allowed
            .get(&module)
            .unwrap_or_else(|| panic!("{module} is not in ARCHITECTURE.md's import table"));
        seen.insert(module.clone());
        if may == "everything" {
            continue;
        }
        let may: BTreeSet<_> = may.split(',').map(|name| name.trim().to_owned()).collect();
        for import in imported(&fs::read_to_string(&file).unwrap()) {
            assert!(
                import == module || may.contains(&import),
                "{} imports {import}, which ARCHITECTURE.md does not allow to {module}",
                file.display()
            );
        }
    }
    let listed: BTreeSet<_> = allowed.keys().filter(|module| *module != "main").cloned().collect();
    assert_eq!(listed, seen, "the import table names modules that do not exist");
}

#[test]
fn the_import_check_finds_groups_and_single_names() {
    let found = imported("use crate::store::{Store};\nuse crate::{api, auth::Key};\ncrate::app::x();");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["api", "app", "auth", "store"]);
}

#[test]
fn every_file_has_a_header() {
    for folder in ["src", "crates", "tests", "benches"] {
        for file in rust_files(&root().join(folder)) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(
                text.starts_with("//! "),
                "{} does not begin with a `//!` line that describes it",
                file.display()
            );
        }
    }
}

/// What the program itself says in a file: its text up to the unit tests.
fn program_text(file: &Path) -> String {
    fs::read_to_string(file).unwrap().split("#[cfg(test)]").next().unwrap().to_owned()
}

/// The quoted texts that follow these words.
fn quoted_after(text: &str, words: &[&str]) -> BTreeSet<String> {
    let quoted = words.iter().flat_map(|word| {
        let after = text.split(word).skip(1);
        after.map(|rest| rest.split('"').next().unwrap().to_owned())
    });
    quoted.collect()
}

/// The settings that the kinds in a folder read, for instances that have the names of their kinds.
fn settings_of_kinds(folder: &str) -> BTreeSet<String> {
    let folder = root().join("src").join(folder);
    let files = rust_files(&folder).into_iter().flat_map(|file| {
        // A kind is a folder or a single file.
        let within = file.strip_prefix(&folder).unwrap().components().next().unwrap();
        let kind = Path::new(&within).file_stem().unwrap().to_str().unwrap().to_uppercase();
        let suffixes = quoted_after(&program_text(&file), &["setting(\""]);
        suffixes.into_iter().map(move |suffix| format!("{}_{suffix}", kind.replace('-', "_")))
    });
    files.collect()
}

/// The settings of the core. Those that every destination instance has are read for the default one.
fn settings_of_the_core() -> BTreeSet<String> {
    let mut settings = BTreeSet::new();
    for file in [
        "config/database.rs",
        "config/instances.rs",
        "config/secrets.rs",
        "config/settings.rs",
        "alerts/settings.rs",
        "cli/environment.rs",
        "cli/setup.rs",
    ] {
        let text = program_text(&root().join("src").join(file));
        let calls =
            [".text(\"", ".number(\"", ".parsed(\"", ".secret(\"", ".switch(\"", ".get(\"", "is_given(\""];
        settings.extend(quoted_after(&text, &calls));
        let default = InstanceName::of_kind(DEFAULT_KINDS.destination);
        settings.extend(quoted_after(&text, &["setting(\""]).iter().map(|suffix| default.setting(suffix)));
    }
    settings.remove("RUST_LOG");
    settings
}

#[test]
fn every_setting_is_in_the_env_model_and_the_documents() {
    let model = fs::read_to_string(root().join(".env-model")).unwrap();
    let documented = fs::read_to_string(root().join("docs/settings.md")).unwrap();
    let (sources, destinations) = (settings_of_kinds("sources"), settings_of_kinds("destinations"));
    assert!(sources.contains("STRIPE_WEBHOOK_SECRET"), "{sources:?}");
    assert!(destinations.contains("NOTION_API_KEY") && destinations.len() > 5, "{destinations:?}");
    let core = settings_of_the_core();
    assert!(core.contains("NOTION_EVENT_TYPES") && core.len() > 15, "{core:?}");
    for setting in [sources, destinations, core].into_iter().flatten() {
        assert!(model.contains(&setting), "{setting} is not in .env-model");
        assert!(documented.contains(&setting), "{setting} is not in docs/settings.md");
    }
}

#[test]
fn the_committed_api_description_is_current() {
    let committed = fs::read_to_string(root().join("docs/openapi.json")).unwrap();
    let current = eventbridge::app::openapi().to_pretty_json().unwrap();
    assert!(
        committed.trim() == current.trim(),
        "docs/openapi.json is out of date: cargo run -- openapi > docs/openapi.json"
    );
}

fn pages() -> Vec<PathBuf> {
    let of = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let all = [root(), root().join("docs"), root().join("docs/adr")].into_iter().flat_map(of);
    all.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The anchor of a heading, as GitHub generates it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

#[test]
fn every_link_in_the_documents_is_valid() {
    let mut followed = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let targets = ["](", "src=\"", "srcset=\""].into_iter().flat_map(|before| {
            text.split(before).skip(1).filter_map(|rest| rest.split([')', '"', ' ']).next())
        });
        for target in targets.filter(|target| !target.contains("://") && !target.contains('…')) {
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(file.exists(), "{} links to {target}, which does not exist", page.display());
            if !heading.is_empty() {
                let headings = fs::read_to_string(&file).unwrap();
                assert!(
                    headings
                        .lines()
                        .any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#')) == heading),
                    "{} links to {target}, and there is no such heading",
                    page.display()
                );
            }
            followed += 1;
        }
    }
    assert!(followed > 50, "only {followed} links were found");
}

/// The access tests use the API description and the list of the dashboard's pages: no other route may
/// exist, except those listed here.
#[test]
fn every_route_is_covered_by_the_access_tests() {
    let mut beside = BTreeSet::new();
    for file in rust_files(&root().join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        let within = file.strip_prefix(root().join("src")).unwrap().display().to_string();
        for (start, _) in text.match_indices(".route(") {
            let what = text[start + ".route(".len()..].trim_start();
            let path = what.split([',', ')']).next().unwrap();
            beside.insert(format!("{within}: {path}"));
        }
    }
    let expected = [
        // While settings are missing, or the database is unavailable at startup, and before anything else
        // is served.
        "cli/setup.rs: \"/\"",
        "cli/setup.rs: \"/livez\"",
        "cli/startup_responder.rs: \"/livez\"",
        "ui/mod.rs: \"/assets/{name}\"",
        "ui/mod.rs: \"/login\"",
        // The pages, which `protected_paths` lists.
        "ui/mod.rs: path",
    ];
    assert_eq!(beside.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn every_api_operation_has_a_unique_name() {
    let described = serde_json::to_value(eventbridge::app::openapi()).unwrap();
    let paths = described["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|path| path.as_object().unwrap().values());
    let names: Vec<_> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    let distinct: BTreeSet<_> = names.iter().collect();
    // Client generators name functions after them.
    assert_eq!(distinct.len(), names.len(), "{names:?}");
}

/// Whether a text names a table of the store, or runs a statement of its own.
fn has_sql(text: &str) -> bool {
    let words: Vec<_> = text.split_whitespace().collect();
    let names_a_table = words.windows(2).any(|pair| {
        ["from", "into", "update", "join", "table"].contains(&pair[0].trim_start_matches(['"', '(']))
            && pair[1].starts_with("eventbridge.")
    });
    names_a_table || ["sqlx::query", "sqlx::raw_sql", ".execute("].iter().any(|call| text.contains(call))
}

#[test]
fn only_the_harness_contains_sql() {
    // These files test SQL itself, or another database.
    let beside = ["upgrades.rs", "private_postgres.rs", "structure.rs"];
    let folder = root().join("tests/it");
    for file in rust_files(&folder) {
        let within = file.strip_prefix(&folder).unwrap();
        let is_allowed = within.starts_with("harness") || beside.iter().any(|name| within == Path::new(name));
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            is_allowed || !has_sql(&text),
            "{} has SQL of its own: tests/it/harness/rows is the place for it",
            file.display()
        );
    }
    assert!(has_sql("\"select count(*) from eventbridge.events\"") && has_sql("database.execute(x)"));
    assert!(!has_sql("rows::events() // of eventbridge.example.com"));
}

/// Every test that ARCHITECTURE.md names for a promise exists.
#[test]
fn the_tests_of_every_promise_exist() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let promises = text.split("## Promises").nth(1).unwrap().split("\n## ").next().unwrap();
    let is_name =
        |word: &&str| word.contains('_') && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let rows = promises.lines().filter(|line| line.starts_with("| ") && !line.contains("---")).skip(1);
    let named: Vec<_> = rows
        .flat_map(|row| row.trim_end_matches('|').rsplit('|').next().unwrap().split('`').filter(is_name))
        .collect();
    assert!(named.len() > 40, "only {} tests are named", named.len());
    let sources: Vec<_> = ["src", "tests", "crates"]
        .into_iter()
        .flat_map(|folder| rust_files(&root().join(folder)))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    for test in named {
        let signature = format!("fn {test}(");
        assert!(sources.iter().any(|text| text.contains(&signature)), "there is no test {test}");
    }
}

/// A reader finishes README.md in a few minutes and ARCHITECTURE.md in ten.
#[test]
fn the_first_documents_are_short() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let lines = read("README.md").lines().count();
    assert!(lines <= 150, "README.md has {lines} lines");
    let architecture = read("ARCHITECTURE.md");
    let words = architecture.split_whitespace().count();
    assert!(words <= 3_000, "ARCHITECTURE.md has {words} words");
    // Each paragraph and each list item is one line.
    for line in architecture.lines().filter(|line| !line.starts_with('|')) {
        let words = line.split_whitespace().count();
        assert!(words <= 80, "a paragraph of ARCHITECTURE.md has {words} words: {line}");
    }
}
