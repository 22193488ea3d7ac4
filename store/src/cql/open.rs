//! Opening a keyspace: making its tables, or proving that it is ours and of this version.

use super::{
    Options, data_centre, fault,
    link::{self, Link},
    options::check_name,
};
use crate::{Error, Result, limits};
use scylla::{
    client::{
        execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder,
    },
    policies::{load_balancing::DefaultPolicy, retry::FallthroughRetryPolicy},
    response::query_result::QueryRowsResult,
    serialize::row::SerializeRow,
    statement::{Consistency, SerialConsistency, unprepared::Statement},
};
use spine_runs::FOLD_VERSION;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;

const SCHEMA: &str = include_str!("schema.cql");
/// The form of tables and columns. Raise it with any change of `schema.cql` or of `form`.
const FORM: i32 = 2;
/// The table that is made first.
const META: &str = "meta";
/// The table of the pointer.
const LIVE: &str = "live";

/// A session, and the data centre whose nodes it asks.
struct Connected {
    session: Session,
    data_centre: String,
}

/// A session of the nodes of one data centre, for this keyspace only.
async fn connect(options: &Options, keyspace: &str) -> Result<Connected> {
    let session = contact(options, keyspace).await?;
    let asked = options.local_dc.as_deref();
    let data_centre = data_centre::choose(&session, &options.nodes, asked).await?;
    let mut profile = session.get_default_execution_profile_handle().clone();
    profile.map_to_another_profile(profile_of(Some(&data_centre)));
    Ok(Connected { session, data_centre })
}

fn profile_of(data_centre: Option<&str>) -> ExecutionProfile {
    let mut balancing = DefaultPolicy::builder();
    if let Some(name) = data_centre {
        balancing = balancing.prefer_datacenter(name.to_owned());
    }
    ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .request_timeout(Some(Duration::from_millis(limits::CQL_REQUEST_MS)))
        .load_balancing_policy(balancing.build())
        // Repeating is `Link`'s business.
        .retry_policy(Arc::new(FallthroughRetryPolicy))
        .build()
}

/// A session that asks whichever node there is.
async fn contact(options: &Options, keyspace: &str) -> Result<Session> {
    let mut builder = SessionBuilder::new()
        .known_nodes(&options.nodes)
        .default_execution_profile_handle(profile_of(None).into_handle())
        .keyspaces_to_fetch([keyspace])
        .fetch_full_schema_metadata(false)
        // One wait for all tables is enough.
        .auto_await_schema_agreement(false)
        .schema_agreement_interval(Duration::from_millis(limits::CQL_AGREEMENT_PAUSE_MS))
        .schema_agreement_timeout(Duration::from_millis(limits::CQL_AGREEMENT_MS));
    if let Some((user, password)) = &options.credentials {
        builder = builder.user(user, password);
    }
    builder.build().await.map_err(|error| fault::of_session(&options.name(), &error))
}

/// An open keyspace.
pub(super) struct Opened {
    pub(super) link: Link,
    pub(super) keyspace: String,
    pub(super) store_id: String,
}

/// Opens the keyspace of the options, or the one that its pointer names. The pointer comes first: the
/// keyspace that holds it may have been folded by the rules of an earlier version.
pub(super) async fn open(options: &Options) -> Result<Opened> {
    options.check()?;
    let connected = connect(options, &options.keyspace).await?;
    let session = &connected.session;
    if options.follow_live
        && let Some(live) = pointer(session, &options.keyspace).await?
        && live.keyspace != options.keyspace
    {
        let local_dc = Some(connected.data_centre);
        let existing = Options { create: false, local_dc, ..options.clone() };
        let connected = connect(&existing, &live.keyspace).await?;
        return open_one(&existing, connected, &live.keyspace).await;
    }
    open_one(options, connected, &options.keyspace).await
}

/// The pointer of a keyspace, if it has the table. A node lists a table a moment before it can be asked for its
/// rows, which is seen where another process makes the store right now: it is waited for.
async fn pointer(session: &Session, keyspace: &str) -> Result<Option<Live>> {
    let begun = Instant::now();
    while tables(session, keyspace).await?.contains(LIVE) {
        match live(session, keyspace).await {
            Err(Error::Refused(_))
                if begun.elapsed() < Duration::from_millis(limits::CQL_MAKING_MS) => {}
            found => return found,
        }
        tokio::time::sleep(Duration::from_millis(limits::CQL_MAKING_PAUSE_MS)).await;
    }
    Ok(None)
}

/// A session of a keyspace that holds a pointer, of whatever version its rows are.
pub(super) async fn pointing(options: &Options) -> Result<Session> {
    options.check()?;
    let Connected { session, .. } = connect(options, &options.keyspace).await?;
    if !tables(&session, &options.keyspace).await?.contains(LIVE) {
        let keyspace = &options.keyspace;
        return Err(Error::Refused(format!("open keyspace {keyspace}: there is no store")));
    }
    Ok(session)
}

/// How far a keyspace is, of whatever version its rows are: partition, log id, offset.
pub(super) async fn positions(
    session: &Session,
    keyspace: &str,
) -> Result<Vec<(u32, String, u64)>> {
    check_name(keyspace)?;
    let select = format!("SELECT partition, log_id, log_offset FROM {keyspace}.progress");
    let found = ask(session, select.as_str(), ()).await?;
    let rows = found.rows::<(i32, String, i64)>();
    let rows = rows.map_err(|error| fault::of_rows("read progress", error))?;
    rows.map(|row| {
        let (partition, log_id, offset) =
            row.map_err(|error| fault::of_rows("read progress", error))?;
        let damaged = |_| Error::Damaged(format!("progress of {keyspace}: {partition} {offset}"));
        let partition = u32::try_from(partition).map_err(damaged)?;
        Ok((partition, log_id, u64::try_from(offset).map_err(damaged)?))
    })
    .collect()
}

async fn open_one(options: &Options, connected: Connected, keyspace: &str) -> Result<Opened> {
    check_name(keyspace)?;
    let Connected { session, data_centre } = connected;
    if !is_whole(options, &session, keyspace).await? {
        create(options, &session, keyspace, &data_centre).await?;
    }
    data_centre::check_copies(&session, keyspace, &data_centre).await?;
    data_centre::remember(&session, keyspace, &data_centre, !options.read_only).await?;
    let store_id = identity(options, &session, keyspace).await?;
    Ok(Opened {
        link: Link::new(session, options.in_flight),
        keyspace: keyspace.to_owned(),
        store_id,
    })
}

/// Whether all tables are there. A keyspace with some of them may be in the making by another
/// process, and this node may have heard of a later table before an earlier one: it is waited for.
async fn is_whole(options: &Options, session: &Session, keyspace: &str) -> Result<bool> {
    let statements = statements();
    let ours: BTreeSet<&str> = statements.iter().map(|statement| table_of(statement)).collect();
    let begun = Instant::now();
    loop {
        let found = tables(session, keyspace).await?;
        if ours.iter().all(|table| found.contains(*table)) {
            return Ok(true);
        }
        let is_started = found.contains(META);
        if options.create && (is_started || found.is_empty()) {
            return Ok(false);
        }
        let is_foreign = !is_started && found.iter().any(|table| !ours.contains(table.as_str()));
        let is_making = !is_foreign && !found.is_empty();
        if is_making && begun.elapsed() < Duration::from_millis(limits::CQL_MAKING_MS) {
            tokio::time::sleep(Duration::from_millis(limits::CQL_MAKING_PAUSE_MS)).await;
            continue;
        }
        let why = if !found.is_empty() && !is_started {
            "it is not a Spine store; choose another name"
        } else {
            "there is no store; let the owner make it first"
        };
        return Err(Error::Refused(format!("open keyspace {keyspace}: {why}")));
    }
}

/// The names of the keyspace's tables.
async fn tables(session: &Session, keyspace: &str) -> Result<BTreeSet<String>> {
    let text = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";
    let found = ask(session, text, (keyspace,)).await?;
    let rows =
        found.rows::<(String,)>().map_err(|error| fault::of_rows("read the schema", error))?;
    rows.map(|row| row.map(|(name,)| name))
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| fault::of_rows("read the schema", error))
}

/// The statements of the schema without their comments.
fn statements() -> Vec<String> {
    let code = |line: &'static str| line.split_once("--").map_or(line, |(code, _)| code);
    let text: Vec<&str> = SCHEMA.lines().map(code).collect();
    let text = text.join("\n");
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

/// The table that a statement makes.
fn table_of(statement: &str) -> &str {
    let name = statement.trim_start_matches("CREATE TABLE IF NOT EXISTS ");
    name.split([' ', '(']).next().unwrap_or_default()
}

/// Makes keyspace and tables where they are not there yet. Others may do the same at once.
async fn create(options: &Options, session: &Session, keyspace: &str, dc: &str) -> Result<()> {
    if options.replication_factor == 1 {
        tracing::warn!(keyspace, "made with one copy of each row: a lost node loses the store");
    }
    if dc.contains('\'') {
        return Err(Error::Refused(format!("open keyspace {keyspace}: data centre {dc}?")));
    }
    let copies = options.replication_factor;
    change(
        session,
        &format!(
            "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = \
             {{'class': 'NetworkTopologyStrategy', '{dc}': {copies}}}"
        ),
    )
    .await?;
    // A node that did not make the keyspace must know it before it makes tables in it.
    agree(session).await?;
    for statement in statements() {
        let qualified =
            statement.replacen("IF NOT EXISTS ", &format!("IF NOT EXISTS {keyspace}."), 1);
        change(session, &qualified).await?;
    }
    agree(session).await?;
    let refreshed = session.refresh_metadata().await;
    refreshed.map_err(|error| Error::Unavailable(format!("read the cluster's state: {error}")))
}

/// A change of the schema, which another process may make at the same time.
async fn change(session: &Session, text: &str) -> Result<()> {
    let made = || async {
        Ok(match session.query_unpaged(text, ()).await {
            Err(error) if fault::exists_already(&error) => Ok(()),
            outcome => outcome.map(drop),
        })
    };
    link::patiently("make the store", made).await
}

async fn agree(session: &Session) -> Result<()> {
    let agreed = session.await_schema_agreement().await;
    let unavailable = |error| Error::Unavailable(format!("agree on the schema: {error}"));
    agreed.map(|_| ()).map_err(unavailable)
}

/// Gives the keyspace its identity once, and refuses one of another version.
async fn identity(options: &Options, session: &Session, keyspace: &str) -> Result<String> {
    if options.create {
        let insert = format!(
            "INSERT INTO {keyspace}.meta (name, store_id, form, fold_version) \
             VALUES ('store', ?, ?, ?) IF NOT EXISTS"
        );
        let fold_version = i32::try_from(FOLD_VERSION).expect("fold versions are small");
        // May be repeated after a time-out: what counts is read afterwards.
        ask(session, insert.as_str(), (random_id(session).await?, FORM, fold_version)).await?;
    }
    let begun = Instant::now();
    let (store_id, form, fold_version) = loop {
        if let Some(meta) = meta(session, keyspace).await? {
            break meta;
        }
        // Tables are made first, and the process that makes them may be at this line.
        if begun.elapsed() >= Duration::from_millis(limits::CQL_MAKING_MS) {
            return Err(Error::Refused(format!(
                "open keyspace {keyspace}: its making was not finished; let the owner open it first"
            )));
        }
        tokio::time::sleep(Duration::from_millis(limits::CQL_MAKING_PAUSE_MS)).await;
    };
    if form != FORM || i64::from(fold_version) != i64::from(FOLD_VERSION) {
        return Err(Error::Refused(format!(
            "open keyspace {keyspace}: it has form {form} and was folded by rules {fold_version}, \
             this version uses {FORM} and {FOLD_VERSION}; replay the log into a fresh \
             keyspace, and switch to it"
        )));
    }
    Ok(store_id)
}

/// Store id, form and fold version, once the keyspace has them.
async fn meta(session: &Session, keyspace: &str) -> Result<Option<(String, i32, i32)>> {
    let select =
        format!("SELECT store_id, form, fold_version FROM {keyspace}.meta WHERE name = 'store'");
    let mut select = Statement::new(select);
    select.set_consistency(Consistency::LocalSerial);
    let found = ask(session, select, ()).await?;
    let row = found.maybe_first_row::<(String, i32, i32)>();
    row.map_err(|error| fault::of_rows("read meta", error))
}

/// 128 random bits from the server, as hexadecimal digits.
async fn random_id(session: &Session) -> Result<String> {
    let found = ask(session, "SELECT uuid() FROM system.local", ()).await?;
    let row = found.first_row::<(scylla::value::CqlValue,)>();
    let (id,) = row.map_err(|error| fault::of_rows("make an id", error))?;
    let id = id.as_uuid().ok_or_else(|| Error::Unavailable("make an id: no uuid".into()))?;
    Ok(id.simple().to_string())
}

/// Where the store of a keyspace's name lies.
pub(super) struct Live {
    pub(super) keyspace: String,
    pub(super) version: i64,
}

pub(super) async fn live(session: &Session, keyspace: &str) -> Result<Option<Live>> {
    let select = format!("SELECT keyspace_name, version FROM {keyspace}.live WHERE name = 'live'");
    let mut select = Statement::new(select);
    select.set_consistency(Consistency::LocalSerial);
    let found = ask(session, select, ()).await?;
    let row = found.maybe_first_row::<(String, i64)>();
    let row = row.map_err(|error| fault::of_rows("read the live pointer", error))?;
    Ok(row.map(|(keyspace, version)| Live { keyspace, version }))
}

/// Moves the pointer if nobody else did since it was read.
pub(super) async fn point(
    session: &Session,
    keyspace: &str,
    before: Option<&Live>,
    to: &str,
    reason: &str,
) -> Result<bool> {
    match before {
        None => {
            let insert = format!(
                "INSERT INTO {keyspace}.live (name, keyspace_name, version, reason) \
                 VALUES ('live', ?, ?, ?) IF NOT EXISTS"
            );
            decide(session, &insert, (to, 1_i64, reason)).await
        }
        Some(before) => {
            let update = format!(
                "UPDATE {keyspace}.live SET keyspace_name = ?, version = ?, reason = ? \
                 WHERE name = 'live' IF version = ?"
            );
            decide(session, &update, (to, before.version + 1, reason, before.version)).await
        }
    }
}

/// A conditional write; gives whether it was applied. Not repeated: the answer would be lost.
async fn decide(session: &Session, text: &str, values: impl SerializeRow) -> Result<bool> {
    let found = session.query_unpaged(text, values).await;
    let found = found.map_err(|error| fault::of_request("open the store", &error))?;
    let found =
        found.into_rows_result().map_err(|error| fault::of_rows("open the store", error))?;
    let at = found.column_specs().get_by_name("[applied]").map(|(at, _)| at);
    let row = found.first_row::<scylla::value::Row>();
    let row = row.map_err(|error| fault::of_rows("read the outcome", error))?;
    let applied = at.and_then(|at| row.columns.get(at).cloned().flatten());
    Ok(applied.and_then(|value| value.as_boolean()) == Some(true))
}

/// A question, or a write that may be repeated.
pub(super) async fn ask(
    session: &Session,
    statement: impl Into<Statement>,
    values: impl SerializeRow + Sync,
) -> Result<QueryRowsResult> {
    let (statement, values) = (statement.into(), &values);
    let asked = || async { Ok(session.query_unpaged(statement.clone(), values).await) };
    let found = link::patiently("open the store", asked).await?;
    found.into_rows_result().map_err(|error| fault::of_rows("open the store", error))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_schema_is_whole_statements_for_tables_that_may_exist() {
        let statements = super::statements();
        assert_eq!(statements.len(), 14);
        for statement in &statements {
            assert!(statement.starts_with("CREATE TABLE IF NOT EXISTS "), "{statement}");
            assert!(!statement.contains("--"), "{statement}");
        }
        assert_eq!(super::table_of(&statements[0]), "meta", "it is made first");
    }
}
