//! `GET /v1/dead-letters`: letters, newest first, with stable paging.

use super::view::LetterView;
use crate::{App, Code, Problem, Verdicts, query};
use axum::{
    Json,
    extract::State,
    http::Uri,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use spine_log::EventLog;
use spine_schemas::check_tenant;
use spine_store::{LetterFilter, LetterStatus, RunStore};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    status: Option<String>,
    tenant: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct LettersPage<'a> {
    dead_letters: Vec<LetterView<'a>>,
    next: Option<String>,
}

const STATUSES: [LetterStatus; 4] =
    [LetterStatus::Open, LetterStatus::Redriven, LetterStatus::Resolved, LetterStatus::Discarded];

/// Lists letters.
pub(crate) async fn get<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query: ListQuery = query::read(&uri)?;
    let limit = query::page_rows(query.limit)?;
    let status = query.status.as_deref().map(status).transpose()?;
    if let Some(tenant) = &query.tenant {
        check_tenant(tenant)?;
    }
    let filter = LetterFilter { tasks: false, status, tenant: query.tenant };
    let page = app.store().list_letters(&filter, query.cursor.as_deref(), limit).await?;
    let dead_letters = page.rows.iter().map(|row| LetterView::of(&app, row)).collect();
    Ok(Json(LettersPage { dead_letters, next: page.next }).into_response())
}

fn status(name: &str) -> Result<LetterStatus, Problem> {
    let found = STATUSES.into_iter().find(|status| status.as_str() == name);
    found.ok_or_else(|| {
        let detail = format!("status: '{name}' is none of open, redriven, resolved, discarded");
        Problem::new(Code::BadQuery, detail)
    })
}
