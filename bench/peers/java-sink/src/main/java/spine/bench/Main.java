package spine.bench;

import com.datastax.oss.driver.api.core.session.Session;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import org.apache.kafka.common.utils.AppInfoParser;

/** Says that it is ready, then answers each command on stdin with one line on stdout, until EOF or SIGTERM. */
final class Main {
    private static final int EXIT_NO_ANSWER = 1;
    private static final int EXIT_WRONG_CALL = 2;
    private static final int EXIT_MISSING = 3;
    private static final long STOP_WAIT_SECONDS = 5;
    private static final double ROUND = 1000;
    private static final Map<String, String> ENVIRONMENT = Map.of(
            "--kafka", "SPINE_TEST_KAFKA", "--cql", "SPINE_TEST_CQL", "--servers-dir", "SPINE_TEST_SERVERS_DIR");
    private static final JsonMapper MAPPER = new JsonMapper();
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private final Servers servers;
    private final Path serversDir;
    private final ReentrantLock busy = new ReentrantLock();
    private volatile boolean stopping;
    private volatile int exitCode;

    private Main(Servers servers, Path serversDir) {
        this.servers = servers;
        this.serversDir = serversDir;
    }

    public static void main(String[] arguments) throws InterruptedException {
        Map<String, String> options = options(arguments);
        String kafka = needed(options, "--kafka");
        String cql = needed(options, "--cql");
        Path serversDir = options.containsKey("--servers-dir") ? Path.of(options.get("--servers-dir")) : null;
        if (serversDir != null && !Files.isDirectory(serversDir)) {
            throw end(EXIT_MISSING, "there is no folder " + serversDir + ", which --servers-dir or SPINE_TEST_SERVERS_DIR names");
        }
        Servers servers;
        try {
            servers = Servers.connect(kafka, cql);
        } catch (IllegalStateException e) {
            throw end(EXIT_NO_ANSWER, e.getMessage());
        }
        Main main = new Main(servers, serversDir);
        Runtime.getRuntime().addShutdownHook(new Thread(main::stop));
        try {
            main.answerAll();
        } catch (Throwable e) {
            System.err.println("java-sink: " + rootMessage(e));
            main.exitCode = EXIT_NO_ANSWER;
        }
        System.exit(main.exitCode);
    }

    private static Map<String, String> options(String[] arguments) {
        Map<String, String> options = new HashMap<>();
        ENVIRONMENT.forEach((option, variable) -> {
            String value = System.getenv(variable);
            if (value != null && !value.isEmpty()) {
                options.put(option, value);
            }
        });
        for (int i = 0; i < arguments.length; i += 2) {
            if (!ENVIRONMENT.containsKey(arguments[i]) || i + 1 == arguments.length) {
                throw end(EXIT_WRONG_CALL, "there is no " + arguments[i] + ", or its value is missing");
            }
            options.put(arguments[i], arguments[i + 1]);
        }
        return options;
    }

    private static String needed(Map<String, String> options, String option) {
        String value = options.get(option);
        if (value == null) {
            throw end(EXIT_MISSING, "there is no server to talk to: neither " + option + " nor " + ENVIRONMENT.get(option) + " is given");
        }
        return value;
    }

    /** Never returns; the type lets callers write `throw end(…)`, so that the compiler knows too. */
    private static IllegalStateException end(int code, String why) {
        System.err.println("java-sink: " + why);
        Runtime.getRuntime().halt(code);
        return new IllegalStateException(why);
    }

    /** At the end of the process, however it comes: lets a running command end, closes the connections, and gives the exit code. */
    private void stop() {
        stopping = true;
        try {
            if (busy.tryLock(STOP_WAIT_SECONDS, TimeUnit.SECONDS)) {
                servers.close();
            }
        } catch (InterruptedException e) {
            System.err.println("java-sink: interrupted while it stopped");
        } finally {
            Runtime.getRuntime().halt(exitCode);
        }
    }

    private void answerAll() throws IOException {
        OUT.println(MAPPER.writeValueAsString(ready()));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            if (!line.isBlank()) {
                busy.lock();
                try {
                    OUT.println(MAPPER.writeValueAsString(answer(line)));
                } finally {
                    busy.unlock();
                }
            }
        }
    }

    private Map<String, Object> ready() {
        Map<String, Object> ready = new LinkedHashMap<>();
        ready.put("ready", true);
        ready.put("peer", "java-sink");
        ready.put("version", "kafka-clients " + AppInfoParser.getVersion()
                + ", java-driver-core " + Session.OSS_DRIVER_COORDINATES.getVersion());
        ready.put("durability", servers.durability());
        ready.put("settings", "Java " + Runtime.version().feature() + ", Cassandra " + servers.cassandraVersion()
                + ", one consumer with polls of at most " + Reader.MAX_POLL_RECORDS
                + " records, one CQL connection, prepared asynchronous inserts, offsets committed behind the acknowledged rows");
        return ready;
    }

    private Map<String, Object> answer(String line) {
        try {
            return run(Command.parse(line));
        } catch (Exception e) {
            return Map.of("error", e instanceof RuntimeException && e.getMessage() != null ? e.getMessage() : rootMessage(e));
        }
    }

    private Map<String, Object> run(Command command) throws IOException, InterruptedException {
        try (Reader reader = new Reader(servers, command.topic(), command.keyspace() + "_sink")) {
            Table table = new Table(servers.cassandra(), command.keyspace(), command.consistency());
            Sink.Result result = new Sink(reader, table, command, new Cpu(serversDir), () -> stopping).run();
            return report(command, reader, result);
        }
    }

    private static Map<String, Object> report(Command command, Reader reader, Sink.Result result) {
        int rows = result.latencies().count();
        Latencies.Summary latencies = result.latencies().summary();
        Map<String, Double> cores = new LinkedHashMap<>();
        result.cores().forEach((process, used) -> cores.put(process, rounded(used)));

        Map<String, Object> parameters = new LinkedHashMap<>();
        parameters.put("topic", command.topic());
        parameters.put("keyspace", command.keyspace());
        parameters.put("events", command.events());
        parameters.put("in_flight", command.inFlight());
        parameters.put("consistency", command.consistency());
        parameters.put("partitions", reader.partitions());
        parameters.put("mean_value_bytes", rows == 0 ? 0 : result.valueBytes() / rows);

        Map<String, Object> report = new LinkedHashMap<>();
        report.put("value", rows == 0 ? 0 : rounded(rows / result.seconds()));
        report.put("unit", "rows/s");
        report.put("p50_ms", rounded(latencies.p50Millis()));
        report.put("p99_ms", rounded(latencies.p99Millis()));
        report.put("max_ms", rounded(latencies.maxMillis()));
        report.put("count", rows);
        report.put("seconds", rounded(result.seconds()));
        report.put("cpu", cores);
        report.put("bottleneck", Cpu.bottleneck(cores));
        report.put("parameters", parameters);
        if (rows < command.events()) {
            report.put("note", "the topic ended after " + rows + " of " + command.events() + " events");
        }
        return report;
    }

    private static double rounded(double number) {
        return Math.round(number * ROUND) / ROUND;
    }

    /** The message of the exception at the bottom, where the reason is. */
    static String rootMessage(Throwable error) {
        Throwable root = error;
        while (root.getCause() != null) {
            root = root.getCause();
        }
        return root.getMessage() == null ? root.toString() : root.getMessage();
    }
}
