"""Read all movements from Kafka and print the MRR of each currency: python movements_consumer.py 127.0.0.1:9092"""

import asyncio
import json
import sys
from collections import Counter

from aiokafka import AIOKafkaConsumer


async def main(bootstrap: str) -> None:
    days = {}
    async with AIOKafkaConsumer(
        "metrics.movements", bootstrap_servers=bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                # A record replaces the one before it with its key. Without a body, no movement is left on that day.
                days |= {record.key: json.loads(record.value) if record.value else None for record in records}
    mrr = Counter()
    for movement in (movement for day in days.values() if day for movement in day["movements"]):
        mrr[movement["currency"]] += movement["amount_micros"]
    sys.stdout.write(json.dumps({currency: micros / 1_000_000 for currency, micros in sorted(mrr.items())}))


asyncio.run(main(sys.argv[1]))
