package spine.bench;

import com.datastax.oss.driver.api.core.cql.AsyncResultSet;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/**
 * The loop: poll, write one row for each record, commit. A semaphore bounds the rows in flight. The next poll does not wait for the rows
 * of the last one; its offsets are committed once all its rows, and those of all polls before, are acknowledged. The first insert that
 * fails ends the run.
 */
final class Sink {
    private static final long STALL_NANOS = 30_000_000_000L;

    private final Reader reader;
    private final Table table;
    private final int events;
    private final int inFlight;
    private final Cpu cpu;
    private final BooleanSupplier stopping;

    private final Semaphore permits;
    private final Latencies latencies;
    private final Queue<Polled> unfinished = new ArrayDeque<>();
    private final AtomicReference<Throwable> failure = new AtomicReference<>();
    private int taken;
    private long valueBytes;

    Sink(Reader reader, Table table, Command command, Cpu cpu, BooleanSupplier stopping) {
        this.reader = reader;
        this.table = table;
        this.events = (int) Math.min(command.events(), reader.available());
        this.inFlight = command.inFlight();
        this.cpu = cpu;
        this.stopping = stopping;
        permits = new Semaphore(inFlight);
        latencies = new Latencies(events);
    }

    /** What one run came to. The clock runs from the first record received to the last row acknowledged. */
    record Result(double seconds, Latencies latencies, long valueBytes, Map<String, Double> cores) {}

    Result run() throws InterruptedException {
        long startedAt = 0;
        long receivedAt = System.nanoTime();
        while (taken < events && !reader.atEnd() && !mustEnd()) {
            List<ConsumerRecord<String, byte[]>> records = reader.poll();
            if (!records.isEmpty()) {
                receivedAt = System.nanoTime();
                if (taken == 0) {
                    startedAt = receivedAt;
                    cpu.start();
                }
                write(records.subList(0, Math.min(records.size(), events - taken)));
            } else if (System.nanoTime() - receivedAt > STALL_NANOS) {
                throw new IllegalStateException("Kafka sends no more records after " + taken + " of " + events);
            }
            reader.commit(finished());
        }
        permits.acquire(inFlight);
        double seconds = taken == 0 ? 0 : (System.nanoTime() - startedAt) / 1e9;
        Map<String, Double> cores = taken == 0 ? Map.of() : cpu.cores(seconds);
        reader.commitAndWait(finished());
        if (failure.get() != null) {
            throw new IllegalStateException("an insert failed: " + Main.rootMessage(failure.get()), failure.get());
        }
        if (stopping.getAsBoolean()) {
            throw new IllegalStateException("stopped");
        }
        return new Result(seconds, latencies, valueBytes, cores);
    }

    private boolean mustEnd() {
        return failure.get() != null || stopping.getAsBoolean();
    }

    private void write(List<ConsumerRecord<String, byte[]>> records) throws InterruptedException {
        Polled polled = new Polled(records);
        unfinished.add(polled);
        for (ConsumerRecord<String, byte[]> record : records) {
            permits.acquire();
            if (mustEnd()) {
                permits.release();
                return;
            }
            taken++;
            valueBytes += Math.max(0, record.serializedValueSize());
            long sentAt = System.nanoTime();
            table.write(record).whenComplete((AsyncResultSet done, Throwable error) -> {
                if (error == null) {
                    latencies.add(System.nanoTime() - sentAt);
                    polled.open.decrementAndGet();
                } else {
                    failure.compareAndSet(null, error);
                }
                permits.release();
            });
        }
    }

    /** The offsets behind all polls whose rows, and those before them, are acknowledged. */
    private Map<TopicPartition, OffsetAndMetadata> finished() {
        Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
        while (!unfinished.isEmpty() && unfinished.peek().open.get() == 0) {
            next.putAll(unfinished.remove().next);
        }
        return next;
    }

    /** The records of one poll: how many rows are not acknowledged yet, and the offsets behind them. */
    private static final class Polled {
        final AtomicInteger open;
        final Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();

        Polled(List<ConsumerRecord<String, byte[]>> records) {
            open = new AtomicInteger(records.size());
            for (ConsumerRecord<String, byte[]> record : records) {
                next.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
            }
        }
    }
}
