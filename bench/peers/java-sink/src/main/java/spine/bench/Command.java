package spine.bench;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.util.List;

/** What one line on stdin asks for. Throws IllegalArgumentException where it asks for something that cannot be done. */
record Command(String topic, String keyspace, int events, Integer inFlight, String consistency) {
    static final int DEFAULT_IN_FLIGHT = 256;
    static final int MAX_IN_FLIGHT = 4096;
    private static final int MAX_EVENTS = 20_000_000;
    private static final String DEFAULT_CONSISTENCY = "LOCAL_QUORUM";
    private static final List<String> CONSISTENCIES = List.of("LOCAL_ONE", DEFAULT_CONSISTENCY);
    private static final String KEYSPACE_NAME = "[a-z][a-z0-9_]{0,47}";
    private static final JsonMapper MAPPER = JsonMapper.builder().propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE).build();

    Command {
        inFlight = inFlight == null ? DEFAULT_IN_FLIGHT : inFlight;
        consistency = consistency == null ? DEFAULT_CONSISTENCY : consistency;
    }

    static Command parse(String line) {
        Command command;
        try {
            command = MAPPER.readValue(line, Command.class);
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException("this is no command: " + e.getOriginalMessage(), e);
        }
        command.check();
        return command;
    }

    private void check() {
        require(topic != null && !topic.isEmpty(), "topic is missing");
        require(keyspace != null && keyspace.matches(KEYSPACE_NAME), "keyspace must match " + KEYSPACE_NAME);
        require(events >= 1 && events <= MAX_EVENTS, "events must be 1 to " + MAX_EVENTS);
        require(inFlight >= 1 && inFlight <= MAX_IN_FLIGHT, "in_flight must be 1 to " + MAX_IN_FLIGHT);
        require(CONSISTENCIES.contains(consistency), "consistency must be one of " + CONSISTENCIES);
    }

    private static void require(boolean holds, String otherwise) {
        if (!holds) {
            throw new IllegalArgumentException(otherwise);
        }
    }
}
