//! What destination instances remember between runs, each as a JSON value of its own.

use super::{Store, StoreError};
use serde_json::Value;

impl Store {
    /// What the instance remembers.
    pub async fn recall(&self, instance: &str) -> Result<Option<Value>, StoreError> {
        let memory =
            sqlx::query_scalar!("select memory from eventbridge.destinations where name = $1", instance)
                .fetch_optional(&self.pool)
                .await?;
        Ok(memory)
    }

    /// Has the instance remember this, and nothing else.
    pub async fn remember(&self, instance: &str, memory: &Value) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            insert into eventbridge.destinations (name, memory) values ($1, $2)
            on conflict (name) do update set memory = excluded.memory
            "#,
            instance,
            memory
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
