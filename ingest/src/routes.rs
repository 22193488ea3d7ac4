//! Which route is answered where.

use crate::{
    App, Verdicts, events, guard, health, journal, letters, partitions, queues, runs, steering,
    tasks,
};
use axum::{
    Router, middleware,
    routing::{get, post},
};
use spine_log::EventLog;
use spine_store::RunStore;

/// The whole surface.
pub fn router<L: EventLog, S: RunStore, V: Verdicts>(app: App<L, S, V>) -> Router {
    Router::new()
        .route("/", get(health::index))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz::<L, S, V>))
        .route("/metrics", get(health::metrics::<L, S, V>))
        .route("/v1/events", post(events::post::<L, S, V>))
        .merge(of_runs())
        .merge(of_letters())
        .merge(of_tasks())
        .merge(of_steering())
        .merge(of_queues())
        .merge(of_partitions())
        .fallback(health::unknown_route)
        .layer(middleware::from_fn_with_state(app.clone(), guard::guard::<L, S, V>))
        .with_state(app)
}

/// What a process that only owns partitions answers: to its operators, and to the ways in.
pub fn owners_router<L: EventLog, S: RunStore, V: Verdicts>(app: App<L, S, V>) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz::<L, S, V>))
        .route("/metrics", get(health::metrics::<L, S, V>))
        .merge(of_partitions())
        .merge(of_streams())
        .route("/v1/queues/{name}/lease", post(queues::lease::<L, S, V>))
        .fallback(health::no_way_in)
        .layer(middleware::from_fn_with_state(app.clone(), guard::guard::<L, S, V>))
        .with_state(app)
}

fn of_partitions<L: EventLog, S: RunStore, V: Verdicts>() -> Router<App<L, S, V>> {
    Router::new()
        .route("/v1/partitions", get(partitions::list::<L, S, V>))
        .route("/v1/partitions/{partition}/resume", post(partitions::resume::<L, S, V>))
        .route("/v1/partitions/{partition}/verdicts/{offset}", get(partitions::verdict::<L, S, V>))
}

fn of_streams<L: EventLog, S: RunStore, V: Verdicts>() -> Router<App<L, S, V>> {
    let stream = get(runs::stream::get::<L, S, V>).post(runs::stream::post::<L, S, V>);
    Router::new().route("/v1/runs/{id}/stream", stream)
}

fn of_runs<L: EventLog, S: RunStore, V: Verdicts>() -> Router<App<L, S, V>> {
    Router::new()
        .route("/v1/runs", get(runs::list::get::<L, S, V>).post(runs::create::post::<L, S, V>))
        .route("/v1/failing", get(runs::failing::get::<L, S, V>))
        .route("/v1/runs/{id}", get(runs::show::get::<L, S, V>))
        .route("/v1/runs/{id}/steps", get(runs::steps::list::<L, S, V>))
        .route(
            "/v1/runs/{id}/steps/{*step}",
            get(runs::steps::get::<L, S, V>).post(runs::step_verbs::post::<L, S, V>),
        )
        .route("/v1/runs/{id}/events", get(runs::history::list::<L, S, V>))
        .route("/v1/runs/{id}/decisions", get(runs::decisions::list::<L, S, V>))
        .route("/v1/runs/{id}/why", get(runs::why::get::<L, S, V>))
        .route("/v1/runs/{id}/journal", post(journal::post::<L, S, V>))
        .merge(of_streams())
        .route("/v1/runs/{id}/signals/{name}", post(runs::signal::post::<L, S, V>))
        .route("/v1/runs/{id}/fork", post(runs::fork::post::<L, S, V>))
        .route("/v1/runs/{id}/diff/{other}", get(runs::diff::get::<L, S, V>))
        .route("/v1/runs/{id}/cancel", post(runs::steer::cancel::<L, S, V>))
        .route("/v1/runs/{id}/kill", post(runs::steer::kill::<L, S, V>))
        .route("/v1/runs/{id}/pause", post(runs::steer::pause::<L, S, V>))
        .route("/v1/runs/{id}/resume", post(runs::steer::resume::<L, S, V>))
}

fn of_steering<L: EventLog, S: RunStore, V: Verdicts>() -> Router<App<L, S, V>> {
    Router::new()
        .route("/v1/tools", get(steering::list::<L, S, V>))
        .route("/v1/tools/{verb}", post(steering::tool::<L, S, V>))
        .route("/v1/tenants/{tenant}/{verb}", post(steering::tenant::<L, S, V>))
}

fn of_queues<L: EventLog, S: RunStore, V: Verdicts>() -> Router<App<L, S, V>> {
    Router::new()
        .route("/v1/queues/{name}/lease", post(queues::lease::<L, S, V>))
        .route("/v1/queues/{name}/{verb}", post(queues::outcome::<L, S, V>))
}

fn of_tasks<L: EventLog, S: RunStore, V: Verdicts>() -> Router<App<L, S, V>> {
    Router::new()
        .route("/v1/tasks", get(tasks::list::<L, S, V>))
        .route("/v1/tasks/{id}", get(tasks::show::<L, S, V>))
        .route("/v1/tasks/{id}/decide", post(tasks::decide::<L, S, V>))
}

fn of_letters<L: EventLog, S: RunStore, V: Verdicts>() -> Router<App<L, S, V>> {
    Router::new()
        .route("/v1/dead-letters", get(letters::list::get::<L, S, V>))
        .route("/v1/dead-letters/{id}", get(letters::show::get::<L, S, V>))
        .route("/v1/dead-letters/{id}/redrive", post(letters::redrive::post::<L, S, V>))
        .route("/v1/dead-letters/{id}/discard", post(letters::discard::post::<L, S, V>))
}
