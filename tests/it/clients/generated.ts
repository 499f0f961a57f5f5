// A program that uses the API by the types that openapi-typescript generates from docs/openapi.json. The strict
// compiler checks it: a status is one of the known words, what can be null is handled, and a problem has a code.

import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { argv: string[] };

type Execution = components["schemas"]["Execution"];
type Problem = components["schemas"]["Problem"];

const [baseUrl, key] = process.argv.slice(2);
if (baseUrl === undefined || key === undefined) throw new Error("usage: generated.js BASE_URL KEY");
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });

/** Every state is handled: a state that this switch lacks is an error of the compiler. */
function isFinished(status: Execution["status"]): boolean {
  switch (status) {
    case "pending":
    case "running":
      return false;
    case "success":
    case "failed":
    case "skipped":
    case "superseded":
    case "cancelled":
      return true;
    default: {
      const unknown: never = status;
      throw new Error(`unknown status: ${String(unknown)}`);
    }
  }
}

/** Fields that can be null need a default; fields that are always sent need none. */
function line(execution: Execution): string {
  const url: string = execution.remote_url ?? "(not written)";
  const created: string = execution.created_at;
  // @ts-expect-error: it can be null, so it is no string.
  const finished: string = execution.finished_at;
  return [execution.event_id, execution.status, url, created, finished].join(" ");
}

function failed(problem: Problem): never {
  throw new Error(`${problem.code}: ${problem.detail}`);
}

const events = await client.GET("/api/v1/events", { params: { query: { type: "invoice.*", limit: 10 } } });
if (events.error) failed(events.error);

const succeeded = await client.GET("/api/v1/executions", { params: { query: { status: "success" } } });
if (succeeded.error) failed(succeeded.error);
const first = succeeded.data.data[0];
if (first === undefined) throw new Error("no execution");

const shown = await client.GET("/api/v1/executions/{id}", { params: { path: { id: first.id } } });
if (shown.error) failed(shown.error);

const retried = await client.POST("/api/v1/executions/{id}/retry", { params: { path: { id: first.id } } });
if (retried.error) failed(retried.error);

// @ts-expect-error: no status has this name.
const refused = await client.GET("/api/v1/executions", { params: { query: { status: "done" } } });
if (refused.data) throw new Error("an unknown status was accepted");
const problem: Problem = refused.error;
const parameter: string | null = problem.param;

const missing = await client.GET("/api/v1/events/{id}", { params: { path: { id: "evt_none" } } });
if (missing.data) throw new Error("a missing event was found");

console.log(
  JSON.stringify({
    events: events.data.data.map((event) => event.event_id),
    next: events.data.next_cursor,
    window: succeeded.data.window.after !== null,
    finished: isFinished(first.status),
    line: line(first),
    outcomes: shown.data.attempts.map((attempt) => attempt.outcome),
    retried: [retried.response.status, retried.data.status, isFinished(retried.data.status)],
    problem: [problem.status, problem.code, parameter],
    missing: [missing.error.status, missing.error.code, missing.error.param],
  }),
);
