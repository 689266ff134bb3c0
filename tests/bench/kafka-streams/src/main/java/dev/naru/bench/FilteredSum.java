package dev.naru.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Properties;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The sum of the prices up to a limit, per input partition, exactly once: what a filtered-sum worker does, as it would be
 * written with Kafka Streams. Every 100 ms each partition's total goes out as the text "count,sum" under the key
 * "partition-N".
 *
 * <p>Arguments: bootstrap servers, input topic, output topic, file of the input's schema, application id, folder for
 * state, threads.
 */
public final class FilteredSum {
    private static final long LIMIT = 1_000_000;
    /** Confluent's framing: a zero and the schema's id. */
    private static final int FRAME = 5;
    private static final Duration INTERVAL = Duration.ofMillis(100);
    private static final String STORE = "totals";

    private FilteredSum() {}

    public static void main(String[] arguments) throws IOException {
        Schema schema = new Schema.Parser().parse(Files.readString(Path.of(arguments[3])));
        Properties properties = new Properties();
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[4]);
        properties.put(StreamsConfig.STATE_DIR_CONFIG, arguments[5]);
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, arguments[6]);
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, INTERVAL.toMillis());
        properties.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        properties.put("auto.offset.reset", "earliest");

        Topology topology = new Topology();
        topology.addSource("items", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(), arguments[1]);
        topology.addProcessor("sum", () -> new Sum(schema), "items");
        topology.addStateStore(
                Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore(STORE), Serdes.String(), Serdes.String())
                        .withCachingEnabled(),
                "sum");
        topology.addSink("totals", arguments[2], Serdes.String().serializer(), Serdes.String().serializer(), "sum");

        KafkaStreams streams = new KafkaStreams(topology, properties);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse
                    .SHUTDOWN_APPLICATION;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
        streams.start();
    }

    /** One partition's sum, written to the store for each record that changes it: any commit may be the last one. */
    private static final class Sum implements Processor<byte[], byte[], String, String> {
        private final GenericDatumReader<GenericRecord> reader;
        private ProcessorContext<String, String> context;
        private KeyValueStore<String, String> store;
        private BinaryDecoder decoder;
        private GenericRecord item;
        private String key;
        private long count;
        private long sum;

        Sum(Schema schema) {
            reader = new GenericDatumReader<>(schema);
        }

        @Override
        public void init(ProcessorContext<String, String> context) {
            this.context = context;
            store = context.getStateStore(STORE);
            key = "partition-" + context.taskId().partition();
            String before = store.get(key);
            if (before != null) {
                String[] parts = before.split(",");
                count = Long.parseLong(parts[0]);
                sum = Long.parseLong(parts[1]);
            }
            context.schedule(INTERVAL, PunctuationType.WALL_CLOCK_TIME, this::publish);
        }

        @Override
        public void process(Record<byte[], byte[]> message) {
            byte[] value = message.value();
            try {
                decoder = DecoderFactory.get().binaryDecoder(value, FRAME, value.length - FRAME, decoder);
                item = reader.read(item, decoder);
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
            long price = (Long) item.get("price");
            if (price <= LIMIT) {
                count += 1;
                sum += price;
                store.put(key, count + "," + sum);
            }
        }

        private void publish(long now) {
            String total = store.get(key);
            if (total != null) {
                context.forward(new Record<>(key, total, now));
            }
        }
    }
}
