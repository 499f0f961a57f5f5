//! `POST /api/v1/dev/trigger`, only in `dev`: sends signed samples from Swagger UI.

use super::sender::{self, SampleDelivery, Sender};
use crate::api;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The most events that one request sends.
const COUNT_MAX: u32 = 100;

/// Which samples to send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TriggerRequest {
    /// The type of event, or `invoice:life` for one invoice from draft to paid.
    #[serde(rename = "type")]
    #[schema(example = "invoice.paid")]
    event_type: String,
    /// How many, each about other objects.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 100, default = 1)]
    count: u32,
}

fn one() -> u32 {
    1
}

/// The routes. They send samples with this sender.
pub(super) fn routes(sender: Sender) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(trigger)).with_state(sender)
}

/// Sends signed sample events to this service's own webhook, as Stripe would.
#[utoipa::path(
    post,
    path = "/api/v1/dev/trigger",
    operation_id = "trigger_sample",
    tag = "dev",
    request_body = TriggerRequest,
    responses(
        (status = 200, description = "What the webhook answered to each", body = Vec<SampleDelivery>),
        (status = 400, description = "No such sample, or too many", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The Host or Origin is not this machine's", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The content type of the body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The service did not answer", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn trigger(
    State(sender): State<Sender>,
    api::Json(request): api::Json<TriggerRequest>,
) -> Result<Json<Vec<SampleDelivery>>, Problem> {
    if !(1..=COUNT_MAX).contains(&request.count) {
        return Err(Problem::invalid("count", format_args!("must be from 1 to {COUNT_MAX}")));
    }
    let mut answers = Vec::new();
    for _ in 0..request.count {
        let samples = sender::samples_of(&request.event_type, rand::random())
            .map_err(|unknown| Problem::bad_request(unknown.to_string()).with_param("type"))?;
        for sample in samples {
            let sent = sender.send(sample).await;
            answers.push(sent.map_err(|error| Problem::unavailable(format!("{error:#}"), 1))?);
        }
    }
    Ok(Json(answers))
}
