package spine.bench;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Reads a topic from its beginning to the end that it has at the start. All partitions are assigned by hand; the group only holds the
 * committed offsets, and is deleted at the end.
 */
final class Reader implements AutoCloseable {
    static final int MAX_POLL_RECORDS = 2000;
    private static final Duration POLL_WAIT = Duration.ofMillis(100);
    private static final Duration CLOSE_WAIT = Duration.ofSeconds(2);

    private final Servers servers;
    private final String group;
    private final KafkaConsumer<String, byte[]> consumer;
    private final Map<TopicPartition, Long> ends;
    private final long available;

    Reader(Servers servers, String topic, String group) throws InterruptedException {
        this.servers = servers;
        this.group = group;
        List<TopicPartition> partitions = partitions(servers, topic);
        consumer = new KafkaConsumer<>(
                Map.of(
                        ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, servers.kafkaAddresses(),
                        ConsumerConfig.GROUP_ID_CONFIG, group,
                        ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false,
                        ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "none",
                        ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed",
                        ConsumerConfig.ALLOW_AUTO_CREATE_TOPICS_CONFIG, false,
                        ConsumerConfig.MAX_POLL_RECORDS_CONFIG, MAX_POLL_RECORDS),
                new StringDeserializer(),
                new ByteArrayDeserializer());
        try {
            consumer.assign(partitions);
            ends = consumer.endOffsets(partitions);
            available = seekToStart(partitions);
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    private static List<TopicPartition> partitions(Servers servers, String topic) throws InterruptedException {
        try {
            TopicDescription description = servers.kafka().describeTopics(Set.of(topic)).topicNameValues().get(topic).get();
            return description.partitions().stream().map(partition -> new TopicPartition(topic, partition.partition())).toList();
        } catch (ExecutionException e) {
            if (e.getCause() instanceof UnknownTopicOrPartitionException) {
                throw new IllegalArgumentException("there is no topic " + topic, e);
            }
            throw new IllegalStateException("Kafka does not describe topic " + topic + ": " + e.getCause().getMessage(), e);
        }
    }

    /** Commits the start, so that the first real commit need not look for the coordinator. Returns how many offsets there are to read. */
    private long seekToStart(List<TopicPartition> partitions) {
        Map<TopicPartition, OffsetAndMetadata> starts = new HashMap<>();
        long offsets = 0;
        for (Map.Entry<TopicPartition, Long> start : consumer.beginningOffsets(partitions).entrySet()) {
            consumer.seek(start.getKey(), start.getValue());
            starts.put(start.getKey(), new OffsetAndMetadata(start.getValue()));
            offsets += ends.get(start.getKey()) - start.getValue();
        }
        consumer.commitSync(starts);
        return offsets;
    }

    int partitions() {
        return ends.size();
    }

    /** How many offsets the topic had at the start: no fewer than it has records. */
    long available() {
        return available;
    }

    boolean atEnd() {
        return ends.entrySet().stream().allMatch(end -> consumer.position(end.getKey()) >= end.getValue());
    }

    /** What has come meanwhile, without what lies behind the end. */
    List<ConsumerRecord<String, byte[]>> poll() {
        ConsumerRecords<String, byte[]> records = consumer.poll(POLL_WAIT);
        List<ConsumerRecord<String, byte[]>> inside = new ArrayList<>(records.count());
        for (TopicPartition partition : records.partitions()) {
            long end = ends.get(partition);
            records.records(partition).stream().filter(record -> record.offset() < end).forEach(inside::add);
        }
        return inside;
    }

    void commit(Map<TopicPartition, OffsetAndMetadata> next) {
        consumer.commitAsync(next, null);
    }

    void commitAndWait(Map<TopicPartition, OffsetAndMetadata> next) {
        consumer.commitSync(next);
    }

    @Override
    public void close() {
        consumer.close(CloseOptions.timeout(CLOSE_WAIT));
        try {
            servers.kafka().deleteConsumerGroups(Set.of(group)).all().get();
        } catch (ExecutionException | InterruptedException e) {
            System.err.println("java-sink: the group " + group + " is left behind: " + e.getMessage());
        }
    }
}
