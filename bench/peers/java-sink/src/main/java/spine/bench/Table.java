package spine.bench;

import com.datastax.oss.driver.api.core.CqlSession;
import com.datastax.oss.driver.api.core.DefaultConsistencyLevel;
import com.datastax.oss.driver.api.core.cql.AsyncResultSet;
import com.datastax.oss.driver.api.core.cql.BoundStatementBuilder;
import com.datastax.oss.driver.api.core.cql.PreparedStatement;
import com.datastax.oss.driver.api.core.cql.SimpleStatement;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.CompletionStage;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/** The table of plain rows, one for each record, and the prepared statement that writes them. */
final class Table {
    private static final int OFFSETS_PER_BUCKET = 1000;
    private static final Duration SCHEMA_TIMEOUT = Duration.ofSeconds(60);

    private final CqlSession session;
    private final DefaultConsistencyLevel consistency;
    private final PreparedStatement insert;

    /** Creates keyspace and table if they are missing, and empties the table. */
    Table(CqlSession session, String keyspace, String consistency) {
        this.session = session;
        this.consistency = DefaultConsistencyLevel.valueOf(consistency);
        String table = keyspace + ".plain_events";
        change("CREATE KEYSPACE IF NOT EXISTS " + keyspace
                + " WITH replication = {'class': 'NetworkTopologyStrategy', 'replication_factor': 1}");
        change("CREATE TABLE IF NOT EXISTS " + table
                + " (topic_partition int, bucket bigint, offset bigint, key text, value blob, at timestamp,"
                + " PRIMARY KEY ((topic_partition, bucket), offset))");
        change("TRUNCATE " + table);
        insert = session.prepare("INSERT INTO " + table + " (topic_partition, bucket, offset, key, value, at) VALUES (?, ?, ?, ?, ?, ?)");
    }

    private void change(String cql) {
        session.execute(SimpleStatement.newInstance(cql).setTimeout(SCHEMA_TIMEOUT));
    }

    /** The same record gives the same row, so the driver may repeat an insert. A key or value that is null stays unset: no tombstones. */
    CompletionStage<AsyncResultSet> write(ConsumerRecord<String, byte[]> record) {
        BoundStatementBuilder row = insert.boundStatementBuilder()
                .setInt(0, record.partition())
                .setLong(1, record.offset() / OFFSETS_PER_BUCKET)
                .setLong(2, record.offset())
                .setInstant(5, Instant.ofEpochMilli(record.timestamp()))
                .setConsistencyLevel(consistency)
                .setIdempotence(true);
        if (record.key() != null) {
            row = row.setString(3, record.key());
        }
        if (record.value() != null) {
            row = row.setByteBuffer(4, ByteBuffer.wrap(record.value()));
        }
        return session.executeAsync(row.build());
    }
}
