//! The migrations, built into the program.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Each by its number and name, as its file is called in `migrations/`.
const MIGRATIONS: &[(i64, &str, &str)] =
    &[(1, "events and executions", include_str!("../../migrations/0001_events_and_executions.sql"))];

/// Applies the migrations, and keeps its record of them in our own schema.
pub(super) fn migrator() -> Migrator {
    let migrations = MIGRATIONS.iter().map(|(version, description, sql)| {
        Migration::new(*version, (*description).into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name("eventbridge._sqlx_migrations");
    migrator.create_schema("eventbridge");
    migrator.set_ignore_missing(true);
    migrator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_a_migration_here() {
        let folder =
            std::fs::read_dir(concat!(env!("EVENTBRIDGE_CHECKOUT"), "/migrations")).expect("the folder");
        let mut files: Vec<_> =
            folder.map(|file| file.expect("a file").file_name().into_string().expect("a name")).collect();
        files.sort();
        let named: Vec<_> = MIGRATIONS
            .iter()
            .map(|(version, description, _)| format!("{version:04}_{}.sql", description.replace(' ', "_")))
            .collect();
        assert_eq!(files, named);
    }
}
