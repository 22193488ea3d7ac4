//! Every limit of the store, in one place.

/// Rows of one page of a list. A larger wish is cut to this.
pub const PAGE_ROWS: usize = 1000;
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
/// Bytes of the write-ahead log after which a commit also copies it into the file.
pub const CHECKPOINT_BYTES: i64 = 64 * 1024 * 1024;
/// Bytes of a database page. Rows with payloads spill less often than at SQLite's 4 KiB.
pub const SQLITE_PAGE_BYTES: i64 = 8192;
/// Buckets by which two stores are compared.
pub const COMPARE_BUCKETS: usize = 256;

const _: () = assert!(PAGE_ROWS <= SCAN_ROWS, "people never get more rows at once than owners");
const _: () = assert!(COMPARE_BUCKETS == 256, "a bucket is named by one byte of a hash");
