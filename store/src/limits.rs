//! Every limit of the store, in one place.

/// Rows of one page of a list. A larger wish is cut to this.
pub const PAGE_ROWS: usize = 1000;
/// Rows of an SQLite index that are looked at for one page. A filter that few rows pass gives short pages, and a cursor.
pub const LIST_ROWS: usize = 20_000;
/// Rows that an owner may ask for at once: open runs, due runs, events, decisions.
pub const SCAN_ROWS: usize = 10_000;
/// Batches that wait for the writer thread. A full queue makes the callers of `apply` wait.
pub const WRITER_QUEUE: usize = 16;
/// Queries that wait for the reader threads. A full queue makes their callers wait.
pub const READER_QUEUE: usize = 256;
/// Reader threads unless the caller says otherwise.
pub const READERS: usize = 2;
/// How long a statement waits for a lock that another process holds.
pub const BUSY_TIMEOUT_MS: u64 = 5000;
/// Prepared statements that a connection keeps.
pub const STATEMENTS: usize = 128;
/// Page cache of the writer, and of each reader, in KiB.
pub const WRITER_CACHE_KIB: i64 = 32 * 1024;
/// See [`WRITER_CACHE_KIB`].
pub const READER_CACHE_KIB: i64 = 8 * 1024;
/// Page cache of a store that is being filled, which has no readers.
pub const FILLER_CACHE_KIB: i64 = 64 * 1024;
/// Bytes of the write-ahead log after which a commit also copies it into the file. Small, because the syncs of
/// the event log wait on the same disk until what was copied lies there.
pub const CHECKPOINT_BYTES: i64 = 512 * 1024;
/// Bytes to which the write-ahead log is cut when it has been copied. Above what batches take, so that its
/// blocks are written over and not taken from the file system anew.
pub const WAL_BYTES: i64 = 64 * 1024 * 1024;
/// Bytes by which such a file grows until they are brought to the disk.
pub const SYNC_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of a database page. Rows with payloads spill less often than at SQLite's 4 KiB.
pub const SQLITE_PAGE_BYTES: i64 = 8192;
/// Buckets by which two stores are compared.
pub const COMPARE_BUCKETS: usize = 256;
/// Characters of a keyspace's name.
pub const KEYSPACE_BYTES: usize = 48;
/// Requests of a CQL store that are on their way at once. Beyond it only latency grows.
pub const CQL_IN_FLIGHT: usize = 128;
/// Rows of one batch of a CQL partition.
pub const CQL_BATCH_ROWS: usize = 100;
/// Bytes of one batch: half of what ScyllaDB takes for several tables at once.
pub const CQL_BATCH_BYTES: usize = 512 * 1024;
/// Events of one row of a run's history.
pub const CQL_BLOCK_EVENTS: usize = 64;
/// Their bytes; a larger event has a row of its own.
pub const CQL_BLOCK_BYTES: usize = 64 * 1024;
/// Rows of one page of a CQL query.
pub const CQL_PAGE_ROWS: i32 = 500;
/// The same for rows that hold payloads of up to 512 KiB or events of up to 1 MiB.
pub const CQL_LARGE_PAGE_ROWS: i32 = 64;
/// Tries of one CQL request before the store counts as unavailable.
pub const CQL_TRIES: u32 = 6;
/// Pause before the second try; each later one is twice as long.
pub const CQL_PAUSE_MS: u64 = 50;
/// How long one CQL request may take. Longer than the servers' own write timeout of 2 s.
pub const CQL_REQUEST_MS: u64 = 10_000;
/// How long nodes may take to agree on the tables.
pub const CQL_AGREEMENT_MS: u64 = 30_000;
/// Pause between two looks whether they agree.
pub const CQL_AGREEMENT_PAUSE_MS: u64 = 20;
/// How long a keyspace that another process makes is waited for.
pub const CQL_MAKING_MS: u64 = 5000;
/// Pause between two looks at it.
pub const CQL_MAKING_PAUSE_MS: u64 = 100;
/// Buckets of open runs that are read at once.
pub const CQL_SCAN_BUCKETS: usize = 32;
/// Rows of an index that one page of a filtered list looks at; then it ends early, with a cursor.
pub const CQL_LIST_ROWS: usize = 50_000;
/// Looks at a run that is ahead of progress before it is folded again from its events.
pub const CQL_LOOKS: u32 = 4;
/// Pause before the second look; each later one is twice as long.
pub const CQL_LOOK_PAUSE_MS: u64 = 10;

const _: () = assert!(PAGE_ROWS <= SCAN_ROWS, "people never get more rows at once than owners");
const _: () = assert!(COMPARE_BUCKETS == 256, "a bucket is named by one byte of a hash");
