package spine.bench;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;

/**
 * How many cores this process and the servers use, from /proc/PID/stat, children that have ended included. The servers are those of a
 * folder of compose/servers, with a file NAME.pid for each; without a folder only this process is measured.
 */
final class Cpu {
    private static final String OWN_NAME = "java-sink";
    /** USER_HZ, which is 100 on every Linux that runs JDK 17. */
    private static final double TICKS_PER_SECOND = 100;
    /** utime, stime, cutime and cstime, counted from the field behind the command name. */
    private static final int FIRST_TIME_FIELD = 11;
    private static final int TIME_FIELDS = 4;
    /** A process that uses less than this many cores has waited for something else. */
    private static final double BUSY_CORES = 0.8;

    private final Map<String, Path> stats = new TreeMap<>();
    private Map<String, Long> ticksAtStart = Map.of();

    Cpu(Path serversDir) throws IOException {
        stats.put(OWN_NAME, Path.of("/proc/self/stat"));
        if (serversDir == null) {
            return;
        }
        try (DirectoryStream<Path> pidFiles = Files.newDirectoryStream(serversDir, "{kafka,cassandra}[0-9].pid")) {
            for (Path file : pidFiles) {
                String name = file.getFileName().toString().replace(".pid", "");
                Path process = Path.of("/proc", Files.readString(file).strip());
                if (runs(process, name)) {
                    stats.put(name, process.resolve("stat"));
                }
            }
        }
    }

    /** A pid file alone proves nothing, for the kernel uses numbers again: the command line must name the server. */
    private static boolean runs(Path process, String name) {
        try {
            return Files.readString(process.resolve("cmdline")).contains("/" + name + "\0");
        } catch (IOException e) {
            return false;
        }
    }

    void start() {
        ticksAtStart = ticks();
    }

    /** Cores by process since the start; a server that has ended meanwhile is left out. */
    Map<String, Double> cores(double seconds) {
        Map<String, Double> cores = new TreeMap<>();
        ticks().forEach((name, ticks) -> {
            Long before = ticksAtStart.get(name);
            if (before != null) {
                cores.put(name, (ticks - before) / TICKS_PER_SECOND / seconds);
            }
        });
        return cores;
    }

    /** The process that uses most, if it uses so much that it may be the limit. */
    static String bottleneck(Map<String, Double> cores) {
        return cores.entrySet().stream()
                .filter(process -> process.getValue() >= BUSY_CORES)
                .max(Map.Entry.comparingByValue())
                .map(Map.Entry::getKey)
                .orElse("waiting");
    }

    private Map<String, Long> ticks() {
        Map<String, Long> ticks = new TreeMap<>();
        stats.forEach((name, stat) -> {
            try {
                String line = Files.readString(stat);
                String[] fields = line.substring(line.lastIndexOf(')') + 2).split(" ");
                long sum = 0;
                for (int field = FIRST_TIME_FIELD; field < FIRST_TIME_FIELD + TIME_FIELDS; field++) {
                    sum += Long.parseLong(fields[field]);
                }
                ticks.put(name, sum);
            } catch (IOException e) {
                System.err.println("java-sink: no CPU time of " + name + ": " + e.getMessage());
            }
        });
        return ticks;
    }
}
