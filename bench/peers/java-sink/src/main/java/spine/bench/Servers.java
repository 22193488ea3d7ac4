package spine.bench;

import com.datastax.oss.driver.api.core.CqlSession;
import com.datastax.oss.driver.api.core.DriverException;
import com.datastax.oss.driver.api.core.config.DefaultDriverOption;
import com.datastax.oss.driver.api.core.config.DriverConfigLoader;
import com.datastax.oss.driver.api.core.cql.Row;
import com.datastax.oss.driver.internal.core.loadbalancing.DcInferringLoadBalancingPolicy;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.CommonClientConfigs;
import org.apache.kafka.clients.admin.Admin;

/** The connections that stay open between commands: one CQL session, and Kafka's admin client. */
record Servers(String kafkaAddresses, Admin kafka, CqlSession cassandra) implements AutoCloseable {
    static final Duration REQUEST_TIMEOUT = Duration.ofSeconds(10);
    private static final int KAFKA_TIMEOUT_MILLIS = 10_000;

    /** Throws IllegalStateException, which says which of the two does not answer. */
    static Servers connect(String kafkaAddresses, String cqlAddresses) throws InterruptedException {
        Admin kafka = connectKafka(kafkaAddresses);
        try {
            return new Servers(kafkaAddresses, kafka, connectCassandra(cqlAddresses));
        } catch (RuntimeException e) {
            kafka.close(Duration.ZERO);
            throw new IllegalStateException("Cassandra does not answer at " + cqlAddresses + ": " + e.getMessage(), e);
        }
    }

    private static Admin connectKafka(String addresses) throws InterruptedException {
        Admin kafka = null;
        try {
            kafka = Admin.create(Map.of(
                    CommonClientConfigs.BOOTSTRAP_SERVERS_CONFIG, addresses,
                    CommonClientConfigs.DEFAULT_API_TIMEOUT_MS_CONFIG, KAFKA_TIMEOUT_MILLIS,
                    CommonClientConfigs.REQUEST_TIMEOUT_MS_CONFIG, KAFKA_TIMEOUT_MILLIS));
            kafka.describeCluster().nodes().get();
            return kafka;
        } catch (ExecutionException | RuntimeException e) {
            if (kafka != null) {
                kafka.close(Duration.ZERO);
            }
            throw new IllegalStateException("Kafka does not answer at " + addresses + ": " + Main.rootMessage(e), e);
        }
    }

    private static CqlSession connectCassandra(String addresses) {
        DriverConfigLoader config = DriverConfigLoader.programmaticBuilder()
                .withClass(DefaultDriverOption.LOAD_BALANCING_POLICY_CLASS, DcInferringLoadBalancingPolicy.class)
                .withDuration(DefaultDriverOption.REQUEST_TIMEOUT, REQUEST_TIMEOUT)
                .withInt(DefaultDriverOption.CONNECTION_MAX_REQUESTS, Command.MAX_IN_FLIGHT)
                .build();
        List<InetSocketAddress> contactPoints = Arrays.stream(addresses.split(",")).map(Servers::address).toList();
        return CqlSession.builder().withConfigLoader(config).addContactPoints(contactPoints).build();
    }

    private static InetSocketAddress address(String hostAndPort) {
        int colon = hostAndPort.lastIndexOf(':');
        if (colon < 1) {
            throw new IllegalArgumentException("'" + hostAndPort + "' is not HOST:PORT");
        }
        return new InetSocketAddress(hostAndPort.substring(0, colon), Integer.parseInt(hostAndPort.substring(colon + 1)));
    }

    String cassandraVersion() {
        return cassandra.execute("SELECT release_version FROM system.local").one().getString("release_version");
    }

    /** What an acknowledged row rests on, as Cassandra's own settings say. */
    String durability() {
        String acknowledged = "a row is acknowledged when its one replica (RF 1) has written it to memory and commit log";
        return switch (setting("commitlog_sync")) {
            case "periodic" -> acknowledged + ", which is synced every " + setting("commitlog_sync_period")
                    + ": no fsync before the answer";
            case "batch", "group" -> acknowledged + " and the commit log is synced: fsync before the answer";
            default -> acknowledged + "; when that is synced is not known";
        };
    }

    private String setting(String name) {
        try {
            Row row = cassandra.execute("SELECT value FROM system_views.settings WHERE name = ?", name).one();
            return row == null ? "" : row.getString("value");
        } catch (DriverException e) {
            return "";
        }
    }

    @Override
    public void close() {
        kafka.close(Duration.ZERO);
        cassandra.close();
    }
}
