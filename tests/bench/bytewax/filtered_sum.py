"""The sum of the prices up to a limit, per input partition: what a filtered-sum worker does, as it would be written with
Bytewax, but for exactly once, which Bytewax does not have. Every 100 ms each partition's total goes out as the text
"count,sum" under the key "partition-N". It waits for more at the end of the input.

Arguments: bootstrap servers, input topic, output topic, file of the input's schema.
"""

import io
import json
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import bytewax.operators as op
import fastavro
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.testing import run_main

LIMIT = 1_000_000
# Confluent's framing: a zero and the schema's id.
FRAME = 5
INTERVAL = timedelta(milliseconds=100)


class Sum(StatefulBatchLogic):
    """The total of one partition, published at the end of each interval in which it changed."""

    def __init__(self, before):
        self.count, self.sum = before or (0, 0)
        self.due = None

    def on_batch(self, prices):
        self.count += len(prices)
        self.sum += sum(prices)
        if self.due is None:
            self.due = datetime.now(timezone.utc) + INTERVAL
        return [], StatefulBatchLogic.RETAIN

    def on_notify(self):
        self.due = None
        return [(self.count, self.sum)], StatefulBatchLogic.RETAIN

    def notify_at(self):
        return self.due

    def snapshot(self):
        return (self.count, self.sum)


def main(servers, items, totals, schema_file):
    schema = fastavro.parse_schema(json.loads(Path(schema_file).read_text()))
    read = fastavro.schemaless_reader

    def kept(messages):
        """The prices up to the limit in a batch of messages, each with its partition."""
        for message in messages:
            price = read(io.BytesIO(message.value[FRAME:]), schema)["price"]
            if price <= LIMIT:
                yield str(message.partition), price

    def message(total):
        partition, (count, sum_) = total
        return KafkaSinkMessage(f"partition-{partition}".encode(), f"{count},{sum_}".encode())

    flow = Dataflow("filtered_sum")
    source = KafkaSource([servers], [items], batch_size=1000)
    prices = op.flat_map_batch("kept", op.input("items", flow, source), kept)
    sums = op.stateful_batch("sum", prices, Sum)
    op.output("totals", op.map("message", sums, message), KafkaSink([servers], totals))
    run_main(flow)


if __name__ == "__main__":
    main(*sys.argv[1:])
