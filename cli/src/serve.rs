//! `spine serve`: the log, the store, the owners and the HTTP surface of one process, from start to stop.

mod breaker;
mod identity;
mod listen;
mod push;
mod roles;
mod schemas;
mod settings;
mod stop;
mod surface;
mod telemetry;
mod welcome;

pub(crate) use identity::fresh_id;
#[cfg(test)]
pub(crate) use listen::check as check_listen;
pub(crate) use settings::Args;

use crate::{
    adapters::{self, AnyLog, AnyStore, LogSettings, LogUrl},
    exit::{Exit, Failure},
    leases::WiredLeases,
    streams::WiredStreams,
    verdicts::Wired,
};
use spine_ingest::{App, MetricsText, Parts, Settings, Steering};
use spine_log::{EventLog, TopicPartition};
use spine_schemas::codec::SchemaBook;
use spine_workers::{
    Clock, Config, Control, Health, Memos, Node, Polls, Streams, SystemClock, VerdictHub, group,
    tools::{Allowed, HttpTools},
    webhook::Webhook,
};
use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};
use stop::Stopping;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

/// Requests get this long to end before the owners stop, since some wait for a verdict.
const REQUESTS_FIRST: Duration = Duration::from_secs(2);

/// Runs the server until it is told to stop, or cannot go on.
///
/// # Errors
/// When the set-up does not allow it, or an owner met what starting again cannot cure.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    telemetry::log_to_stderr(args)?;
    listen::check(args.listen)?;
    args.check()?;
    let allowed = Allowed::parse(&args.allow_tool_host)
        .map_err(|wrong| Failure::new(Exit::Usage, format!("--allow-tool-host: {wrong}")))?;
    let metrics_text = telemetry::record_metrics()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads())
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(Exit::Failed, format!("could not start a runtime: {error}"))
        })?;
    runtime.block_on(async {
        let mut stopping = Stopping::listen()?;
        let served = tokio::select! {
            biased;
            served = open(args, allowed, metrics_text) => served?,
            () = stopping.told() => return Ok(()),
        };
        served.serve(stopping).await
    })
}

/// Opens the log and the store.
async fn open(
    args: &Args,
    allowed: Allowed,
    metrics_text: MetricsText,
) -> Result<Served<'_>, Failure> {
    // Reading the schemas takes about as long as opening a log with little to recover.
    let book = tokio::task::spawn_blocking(SchemaBook::compiled_in);
    // The log asks for its lock first: who holds it is the clearest answer to a second server.
    let log = adapters::open_log(&args.log, &log_settings(args)).await?;
    let book = Arc::new(book.await.expect("compiled-in schemas can be read"));
    adapters::learn_schemas(&log, &book).await?;
    let client = args.store_config.clone().unwrap_or_default();
    let store = adapters::open_store(&args.store, &client, &book).await?;
    Ok(Served { args, log, store, book, allowed, metrics_text })
}

fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).max(2)
}

fn log_settings(args: &Args) -> LogSettings {
    let process = std::process::id();
    LogSettings {
        partitions: args.partitions,
        headroom_bytes: args.commit_headroom_bytes,
        owner: format!("process {process} (spine serve --listen {})", args.listen),
        shared: args.is_shared(),
        lifecycle: args.push.is_on(),
        client: args.log_config.clone().unwrap_or_default(),
    }
}

/// What the owners of a server share.
type ServedNode = Node<AnyLog, AnyStore, HttpTools, SystemClock>;

/// What a server is made of before its loops run.
struct Served<'a> {
    args: &'a Args,
    log: AnyLog,
    store: AnyStore,
    book: Arc<SchemaBook>,
    allowed: Allowed,
    metrics_text: MetricsText,
}

/// The surface and the owners of a running server, and how to stop them. What is said of tools is followed beside
/// them: without it they go on.
struct Loops {
    surface: JoinHandle<std::io::Result<()>>,
    owners: JoinHandle<spine_workers::Result<()>>,
    polls: Polls,
    streams: Streams,
    stop_surface: watch::Sender<bool>,
    stop_owners: watch::Sender<bool>,
    webhooks: JoinSet<()>,
    stop_webhooks: watch::Sender<bool>,
}

impl Served<'_> {
    async fn serve(self, mut stopping: Stopping) -> Result<(), Failure> {
        let listener = listen::bind(self.args.listen).await?;
        let listen = listener.local_addr().map_err(|error| {
            Failure::new(Exit::Failed, format!("could not read the address: {error}"))
        })?;
        let installation_id = self.installation_id().await?;
        let url = &self.args.log;
        let partitions = self.log.partitions(&url.steps()).await?;
        let hub = match self.args.roles().workers {
            true => VerdictHub::new(partitions),
            false => VerdictHub::without_owners(partitions),
        };
        let address = self.args.advertise.clone().unwrap_or_else(|| listen.to_string());
        let mut allowed_hosts = self.args.allow_host.clone();
        allowed_hosts.push(address.clone());
        let settings = Settings {
            topic: url.steps(),
            letters_topic: url.letters(),
            control_topic: url.control(),
            lifecycle_topic: self.args.push.is_on().then(|| url.lifecycle()),
            stall_after: Duration::from_secs(self.args.stall_after),
            test_tenants: BTreeSet::from_iter(self.args.test_tenant.iter().cloned()),
            allowed_hosts,
            ..Settings::new(listen, &installation_id)
        };
        let worker = identity::worker()?;
        let breaker = &self.args.breaker;
        let (health, said) = Health::new(&worker, breaker.rules(), breaker.release_per_second);
        let (log, topic) = (self.log.clone(), url.control());
        // What operators hold back is known before anything starts.
        let control = Control::open(log, &topic, (health.clone(), said), SystemClock).await?;
        let config = self.args.config(worker, address, &settings.installation_id);
        // Before anything can happen that they are to hear of.
        let webhooks = self.webhooks().await?;
        let mut loops = self.start(listener, settings, (&hub, health), config);
        loops.post_to(webhooks);
        let control = tokio::spawn(control.run());
        let ready = async {
            hub.wait_ready().await;
            welcome::print(self.args, listen)
        };
        // Until all partitions are ready the same may happen as after.
        let ended = loops.run(&mut stopping, ready).await;
        let ended = match ended {
            None => loops.stop(&mut stopping).await,
            Some(ended) => ended,
        };
        control.abort();
        self.log.close().await;
        ended
    }

    async fn webhooks(&self) -> Result<Vec<Webhook<AnyLog>>, Failure> {
        let url = &self.args.log;
        let mut webhooks = Vec::new();
        for settings in self.args.push.webhooks(&self.allowed) {
            let (log, topic, groups) = (self.log.clone(), url.lifecycle(), url.webhooks());
            webhooks.push(Webhook::open(log, &topic, &groups, settings).await?);
        }
        Ok(webhooks)
    }

    async fn installation_id(&self) -> Result<String, Failure> {
        let (home, log) = match (&self.args.log, &self.log) {
            (LogUrl::Embedded(home), log) => (home, log),
            (LogUrl::Kafka(_), log) => return adapters::installation_id(log),
        };
        let steps = self.args.log.steps();
        let mut is_new = true;
        for partition in 0..log.partitions(&steps).await? {
            let bounds = log.bounds(&TopicPartition::new(steps.clone(), partition)).await?;
            is_new &= bounds.end == 0;
        }
        identity::installation(home, is_new)
    }

    fn node(&self, (hub, health): (&VerdictHub, Health), config: Config) -> ServedNode {
        let partitions = hub.partitions();
        Node {
            log: self.log.clone(),
            store: self.store.clone(),
            tools: HttpTools::new(self.allowed.clone()),
            clock: SystemClock,
            hub: hub.clone(),
            book: self.book.clone(),
            schemas: schemas::source(&self.log),
            health,
            memos: Memos::default(),
            polls: Polls::new(partitions),
            streams: Streams::new(partitions),
            config: Arc::new(config),
        }
    }

    /// The surface, which meets the owners of this process where they tell and are asked.
    fn app(
        &self,
        node: &ServedNode,
        settings: Settings,
    ) -> App<AnyLog, AnyStore, Wired<HttpTools, AnyStore>> {
        let (hub, store, address) =
            (node.hub.clone(), self.store.clone(), node.config.address.clone());
        let leases =
            WiredLeases::new(node.polls.clone(), hub.clone(), store.clone(), address.clone());
        let streams =
            WiredStreams::new(node.streams.clone(), hub.clone(), store.clone(), address.clone());
        App::new(Parts {
            log: self.log.clone(),
            store: store.clone(),
            verdicts: Wired::new(hub, node.tools.clone(), store, address),
            book: self.book.clone(),
            clock: Arc::new(|| SystemClock.now()),
            random: identity::random(),
            metrics_text: self.metrics_text.clone(),
            steering: steering(node.health.clone()),
            leases: Arc::new(leases),
            streams: Arc::new(streams),
            settings,
        })
    }

    fn start(
        &self,
        listener: TcpListener,
        settings: Settings,
        owners: (&VerdictHub, Health),
        config: Config,
    ) -> Loops {
        let roles = self.args.roles();
        let node = self.node(owners, config);
        let app = self.app(&node, settings);
        let (polls, streams) = (node.polls.clone(), node.streams.clone());
        let (stop_surface, surface_stops) = watch::channel(false);
        let (stop_owners, owners_stop) = watch::channel(false);
        let surface = surface::serve(app, roles, listener, surface_stops);
        let group = self.args.log.group();
        let owners = async move {
            match roles.workers {
                true => group::run(node, &group, owners_stop).await,
                false => {
                    stop::told(owners_stop).await;
                    Ok(())
                }
            }
        };
        Loops {
            surface: tokio::spawn(surface),
            owners: tokio::spawn(owners),
            polls,
            streams,
            stop_surface,
            stop_owners,
            webhooks: JoinSet::new(),
            stop_webhooks: watch::Sender::new(false),
        }
    }
}

impl Loops {
    fn post_to(&mut self, webhooks: Vec<Webhook<AnyLog>>) {
        for webhook in webhooks {
            self.webhooks.spawn(webhook.run(self.stop_webhooks.subscribe()));
        }
    }

    /// Runs until told to stop (`None`), or until one of the loops ends by itself.
    async fn run(
        &mut self,
        stopping: &mut Stopping,
        ready: impl Future<Output = Result<(), Failure>>,
    ) -> Option<Result<(), Failure>> {
        let mut ready = std::pin::pin!(ready);
        let mut is_ready = false;
        loop {
            tokio::select! {
                biased;
                () = stopping.told() => return None,
                ended = &mut self.owners => return Some(Err(owners_ended(ended))),
                ended = &mut self.surface => return Some(surface_ended(ended).and(Err(
                    Failure::new(Exit::Failed, "the HTTP surface ended by itself"),
                ))),
                said = &mut ready, if !is_ready => match said {
                    Ok(()) => is_ready = true,
                    // Nobody reads our greeting: no reason to stop serving.
                    Err(_) => is_ready = true,
                },
            }
        }
    }

    /// Stops taking requests, then lets attempts end, within the drain time.
    async fn stop(mut self, stopping: &mut Stopping) -> Result<(), Failure> {
        tracing::info!("stopping; a second signal ends the process at once");
        self.stop_surface.send_replace(true);
        // Those who wait for work are told that there is none here any more.
        self.polls.close();
        self.streams.close();
        let drained = async {
            let early = timeout(REQUESTS_FIRST, &mut self.surface).await;
            self.stop_owners.send_replace(true);
            let owners = (&mut self.owners).await;
            // What they have not posted by now they post when the server is started again.
            self.stop_webhooks.send_replace(true);
            while self.webhooks.join_next().await.is_some() {}
            let surface = match early {
                Ok(surface) => surface,
                Err(_) => (&mut self.surface).await,
            };
            owners.map_err(|error| broken(&error))?.map_err(Failure::from)?;
            surface_ended(surface)
        };
        tokio::select! {
            biased;
            ended = drained => ended,
            () = stopping.told() => {
                Err(Failure::new(Exit::Failed, "stopped by a second signal before it was drained"))
            }
        }
    }
}

/// The health of tools as the surface shows and sets it.
fn steering(health: Health) -> Steering {
    let (heard, asked) = (health.clone(), health.clone());
    Steering {
        now: Arc::new(move || health.controls()),
        pause_of: Arc::new(move |tenant, tool| asked.pause_of(tenant, tool)),
        hear: Arc::new(move |record| heard.hear(record, SystemClock.now())),
    }
}

fn owners_ended(ended: Result<spine_workers::Result<()>, tokio::task::JoinError>) -> Failure {
    match ended {
        Ok(Ok(())) => Failure::new(Exit::Failed, "the owners ended by themselves"),
        Ok(Err(error)) => error.into(),
        Err(error) => broken(&error),
    }
}

fn surface_ended(
    ended: Result<std::io::Result<()>, tokio::task::JoinError>,
) -> Result<(), Failure> {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::new(Exit::Failed, format!("HTTP surface: {error}"))),
        Err(error) => Err(broken(&error)),
    }
}

/// A loop panicked: a mistake in Spine, whose trace stands above.
fn broken(error: &tokio::task::JoinError) -> Failure {
    Failure::new(Exit::Failed, format!("a loop of the server broke: {error}"))
        .remedy("report it with the server's log; starting again goes on from the log")
}
