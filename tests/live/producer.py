"""A producer and reader that knows nothing of Spine but its documents: the schemas, the form of the schema book and the CQL tables.

Reads one JSON object from stdin, {"brokers", "prefix", "schema", "cql", "keyspace", "ops": [...]}, does the ops in order, and prints
the list of their results. Bytes are hexadecimal in both directions.
"""

import copy, hashlib, io, json, sys, time

import fastavro
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

PATIENCE = 60


def frame_of(schema):
    """C3 01 and the CRC-64-AVRO of the canonical form, little-endian."""
    return b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def small(schema):
    """What a producer of facts about finished runs may carry: a part of the event's fields, and one of its own."""
    kept = {"event_id", "tenant", "run_id", "kind", "occurred_at", "actor", "step", "attempt", "run", "spec", "output"}
    schema = copy.deepcopy(schema)
    schema["fields"] = [field for field in schema["fields"] if field["name"] in kept]
    schema["fields"].append({"name": "region", "type": "string", "default": "eu"})
    return schema


def late(schema, name):
    """A schema that nobody has seen before."""
    schema = small(schema)
    schema["fields"].append({"name": "of_" + name, "type": "long", "default": 0})
    return schema


def payload(value):
    text = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(text).digest()
    return {"content_type": "application/json", "bytes": text, "size_bytes": len(text), "digest": digest}


def events(run, steps):
    """A record run that has ended."""
    def event(at, kind, **more):
        head = {"event_id": f"{run}-{at}", "tenant": "default", "run_id": run, "kind": kind}
        return {**head, "occurred_at": int(time.time() * 1e6), "actor": "python", "attributes": {}, **more}

    retry = {"max_attempts": 1, "initial_ms": 1, "multiplier": 1.0, "max_ms": 1, "jitter": 0.0, "max_elapsed_ms": 0}
    limits = {"timeout_ms": 1000, "schedule_to_start_ms": 0, "deadline_ms": 0, "key_ttl_ms": 0}
    spec = {"tool": "t", "effect": "pure", "retry": retry, "on_exhausted": "dead_letter", "not_applied": [], **limits}
    begin = {"workflow": "python", "version": "1", "driver": "record", "input": payload({"n": 1}), "tags": {}}
    yield event(0, "run_created", run=begin)
    for at in range(steps):
        step = {"scope": "", "name": f"s{at}", "occurrence": 1}
        yield event(2 * at + 1, "step_started", step=step, attempt=1, spec={**spec, "input": payload({"at": at})})
        yield event(2 * at + 2, "step_completed", step=step, attempt=1, output={"data": payload({"at": at})})
    yield event(2 * steps + 1, "run_completed", output={"data": payload({"ok": True})})


class Outsider:
    def __init__(self, asked):
        self.asked = asked
        self.ours = json.load(open(asked["schema"]))
        self.topic = asked["prefix"] + ".steps"
        self.producer = None
        self.delivered = []

    def schema(self, name):
        schema = {"full": self.ours}.get(name) or (small(self.ours) if name == "small" else late(self.ours, name))
        return schema

    def framed(self, name, event):
        schema = self.schema(name)
        names = {field["name"] for field in schema["fields"]}
        event = {key: value for key, value in event.items() if key in names}
        out = io.BytesIO()
        out.write(frame_of(schema))
        fastavro.schemaless_writer(out, parse_schema(copy.deepcopy(schema)), event)
        return out.getvalue()

    # Writing ---------------------------------------------------------------------------------

    def open(self, **more):
        from confluent_kafka import Producer
        settings = {"bootstrap.servers": self.asked["brokers"], "partitioner": "murmur2_random", "linger.ms": 5}
        return Producer({**settings, "enable.idempotence": True, **more})

    def note(self, error, message):
        if error:
            raise SystemExit(f"not delivered: {error}")
        self.delivered.append({"partition": message.partition(), "offset": message.offset(),
                               "key": (message.key() or b"").decode("latin-1")})

    def send(self, producer, key, value, partition=None, headers=()):
        more = {} if partition is None else {"partition": partition}
        while True:
            try:
                producer.produce(self.topic, key=key, value=value, headers=list(headers), on_delivery=self.note, **more)
                return
            except BufferError:
                producer.poll(1)

    def flush(self, producer):
        left = producer.flush(PATIENCE)
        delivered, self.delivered = self.delivered, []
        if left:
            raise SystemExit(f"{left} records were not delivered")
        return delivered

    def plain(self):
        self.producer = self.producer or self.open()
        return self.producer

    def op_runs(self, runs, steps=2, schema="full"):
        for run in runs:
            for event in events(run, steps):
                self.send(self.plain(), f"default/{run}".encode(), self.framed(schema, event))
        return self.flush(self.plain())

    def op_event(self, run, at, schema="full", partition=None, key="", cut=0, steps=2, headers=()):
        """One event of a run, as it should be or not."""
        value = self.framed(schema, list(events(run, steps))[at])
        key = f"default/{run}" if key == "" else key
        headers = [(name, bytes.fromhex(value)) for name, value in headers]
        value = value[:len(value) - cut]
        self.send(self.plain(), key and key.encode(), value, partition, headers)
        return {**self.flush(self.plain())[0], "value": value.hex()}

    def op_raw(self, key, value, partition, headers=(), times=1):
        headers = [(name, bytes.fromhex(value)) for name, value in headers]
        value = None if value is None else bytes.fromhex(value)
        for _ in range(times):
            self.send(self.plain(), key and key.encode(), value, partition, headers)
        return {**self.flush(self.plain())[-1], "value": value and value.hex()}

    def op_transaction(self, runs, aborted, steps=2):
        """Runs in one transaction, and others in one that is given up. The log ends with a marker."""
        producer = self.open(**{"transactional.id": f"python-{time.time()}"})
        producer.init_transactions(PATIENCE)
        for group, end in ((runs, producer.commit_transaction), (aborted, producer.abort_transaction)):
            if not group:
                continue
            producer.begin_transaction()
            for run in group:
                for event in events(run, steps):
                    self.send(producer, f"default/{run}".encode(), self.framed("full", event))
            # On the brokers before the end is asked for: what an abort only drops here would prove nothing.
            producer.flush(PATIENCE)
            end(PATIENCE)
        delivered, self.delivered = self.delivered, []
        return delivered

    def op_publish(self, schema):
        producer, schema = self.plain(), self.schema(schema)
        key = frame_of(schema)[:1:-1].hex()
        page = json.dumps({"schema": json.dumps(schema), "subject": f"{schema['namespace']}.{schema['name']}"})
        failed = []
        producer.produce(self.asked["prefix"] + ".schemas", key=key, value=page, partition=0,
                         on_delivery=lambda error, _: failed.append(error))
        producer.flush(PATIENCE)
        if failed != [None]:
            raise SystemExit(f"not published: {failed}")
        return key

    # The cluster -----------------------------------------------------------------------------

    def admin(self):
        from confluent_kafka.admin import AdminClient
        return AdminClient({"bootstrap.servers": self.asked["brokers"]})

    def op_cluster(self):
        """The leader of each partition of the events, and how many partitions of the log lack a copy in sync."""
        topics = self.admin().list_topics(timeout=PATIENCE).topics
        ours = [topic for name, topic in topics.items() if name.startswith(self.asked["prefix"] + ".")]
        partitions = [partition for topic in ours for partition in topic.partitions.values()]
        lacking = sum(len(partition.isrs) < len(partition.replicas) or partition.leader < 0 for partition in partitions)
        leaders = [partition.leader for _, partition in sorted(topics[self.topic].partitions.items())]
        return {"leaders": leaders, "lacking": lacking}

    def op_delete(self, topics):
        """Returns when the broker knows it: the controller answers before that, and the old log still serves."""
        admin, names = self.admin(), {f"{self.asked['prefix']}.{topic}" for topic in topics}
        for future in admin.delete_topics(sorted(names)).values():
            future.result(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while names & set(admin.list_topics(timeout=PATIENCE).topics):
            if time.monotonic() > deadline:
                raise SystemExit(f"still there: {names}")
            time.sleep(0.05)

    def op_recreate(self):
        """The topic of the events once more, with the same settings and without a record."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import ConfigResource, ConfigSource, NewTopic
        admin = self.admin()
        of = ConfigResource("topic", self.topic)
        settings = admin.describe_configs([of])[of].result(PATIENCE).values()
        kept = {it.name: it.value for it in settings if it.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value}
        count = len(admin.list_topics(self.topic, PATIENCE).topics[self.topic].partitions)
        self.op_delete(["steps"])
        again, deadline = NewTopic(self.topic, count, 1, config=kept), time.monotonic() + PATIENCE
        while True:
            try:
                return admin.create_topics([again])[self.topic].result(PATIENCE)
            except KafkaException:
                # It goes in the background.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def op_pass(self, seconds):
        time.sleep(seconds)

    # Reading ---------------------------------------------------------------------------------

    def records(self, topic):
        from confluent_kafka import Consumer, TopicPartition
        consumer = Consumer({"bootstrap.servers": self.asked["brokers"], "group.id": "outsider", "enable.auto.commit": False})
        partitions = consumer.list_topics(topic, PATIENCE).topics[topic].partitions
        for partition in sorted(partitions):
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), PATIENCE)
            place = TopicPartition(topic, partition, 0)
            consumer.assign([place])
            deadline = time.monotonic() + PATIENCE
            while end and consumer.position([place])[0].offset < end:
                if time.monotonic() > deadline:
                    raise SystemExit(f"{topic}/{partition} could not be read to its end {end}")
                message = consumer.poll(0.2)
                if message is not None and not message.error():
                    yield message
        consumer.close()

    def op_letters(self):
        schema = json.load(open(self.asked["schema"].replace("step_event", "dead_letter")))
        frame, parsed = frame_of(schema), parse_schema(copy.deepcopy(schema))
        letters = []
        for message in self.records(self.asked["prefix"] + ".steps.dlq"):
            value = message.value()
            if not value.startswith(frame):
                raise SystemExit(f"a letter in another frame: {value[:10].hex()}")
            letter = fastavro.schemaless_reader(io.BytesIO(value[10:]), parsed, None)
            letters.append({
                "partition": message.partition(), "letter": value.hex(), "id": letter["letter_id"].hex(),
                "record_key": message.key() and message.key().decode("latin-1"),
                "spine": {name: value.decode() for name, value in message.headers() or []},
                "class": letter["class"], "topic": letter["topic"], "source_partition": letter["partition"],
                "offset": letter["offset"], "key": letter["key"] and letter["key"].decode("latin-1"),
                "value": letter["value"] and letter["value"].hex(),
                "headers": [[header["name"], header["value"].hex()] for header in letter["headers"]],
                "dead_at": int(letter["dead_at"].timestamp() * 1e6),
            })
        return letters

    def op_count(self):
        """How many letters there are, and of how many ids, without their bytes."""
        ids = [dict(message.headers())["spine.dlq.id"] for message in self.records(self.asked["prefix"] + ".steps.dlq")]
        return {"letters": len(ids), "ids": len(set(ids))}

    def op_places(self):
        """Which event ids lie where: every record of the topic that a schema of ours can read."""
        parsed, frame = parse_schema(copy.deepcopy(self.ours)), frame_of(self.ours)
        places = []
        for message in self.records(self.topic):
            value = message.value() or b""
            if value.startswith(frame):
                event = fastavro.schemaless_reader(io.BytesIO(value[10:]), parsed, None)
                places.append([message.partition(), message.offset(), event["run_id"], event["event_id"], event["kind"]])
        return places

    def op_rows(self, runs):
        """The rows of runs, as anybody with a CQL client reads them."""
        from cassandra.cluster import Cluster
        host, port = self.asked["cql"].split(",")[0].rsplit(":", 1)
        cluster = Cluster([host], port=int(port))
        session = cluster.connect(self.asked["keyspace"])
        found = {}
        for run in runs:
            where = "WHERE tenant = 'default' AND run_id = %s AND bucket = 0"
            head = session.execute(f"SELECT status, driver, workflow, partition, steps_completed FROM runs {where}", (run,)).one()
            steps = session.execute(f"SELECT step, status FROM steps {where}", (run,))
            blocks = session.execute(f"SELECT offsets, kinds, verdicts FROM events {where}", (run,))
            # Blocks may overlap, and what they hold of one offset is the same.
            events = {event[0]: list(event) for block in blocks for event in zip(*block)}
            found[run] = {
                "run": head and head._asdict(),
                "steps": [list(row) for row in steps],
                "events": [events[offset] for offset in sorted(events)],
            }
        cluster.shutdown()
        return found


def main():
    asked = json.load(sys.stdin)
    outsider = Outsider(asked)
    results = [getattr(outsider, "op_" + op.pop("op"))(**op) for op in asked["ops"]]
    json.dump(results, sys.stdout)


main()
