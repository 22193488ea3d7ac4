package spine.bench;

import java.util.Arrays;
import java.util.concurrent.atomic.AtomicInteger;

/** How long single inserts took. Any thread adds; whoever reads must have waited for the last insert. */
final class Latencies {
    private static final double NANOS_PER_MILLI = 1e6;

    private final long[] nanos;
    private final AtomicInteger count = new AtomicInteger();

    Latencies(int atMost) {
        nanos = new long[atMost];
    }

    void add(long nanosOfOne) {
        nanos[count.getAndIncrement()] = nanosOfOne;
    }

    int count() {
        return count.get();
    }

    Summary summary() {
        long[] sorted = Arrays.copyOf(nanos, count());
        Arrays.sort(sorted);
        return new Summary(millis(sorted, 0.5), millis(sorted, 0.99), millis(sorted, 1));
    }

    /** The smallest time that at least this share of the inserts did not exceed; 0 if there was none. */
    private static double millis(long[] sorted, double share) {
        return sorted.length == 0 ? 0 : sorted[(int) Math.ceil(share * sorted.length) - 1] / NANOS_PER_MILLI;
    }

    record Summary(double p50Millis, double p99Millis, double maxMillis) {}
}
