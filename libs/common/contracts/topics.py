"""All topics: their names, partitions, cleanup, publishers, consumers and messages. Access rules and docs are made from this list."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from libs.common.contracts import alerts, billing, commands, instances, movements, sync
from libs.common.contracts.billing import Kind

INSTANCE_KEY: Final = "instance id"
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic. `messages` maps `ce_type` to the shape of the body; `config` is the configuration of the topic in Kafka."""

    name: str
    key: str
    messages: Mapping[str, type]
    publishers: tuple[str, ...]
    consumers: tuple[str, ...]
    config: Mapping[str, str]
    partitions: int = 12
    kinds: tuple[Kind, ...] = field(default=())


def _named(*models: type) -> dict[str, type]:
    return {model.__name__: model for model in models}


def _compact(**more: str) -> dict[str, str]:
    return {"cleanup.policy": "compact", **more}


def _keep(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * _DAY_MS)}


def _billing(subject: str, *kinds: Kind) -> Topic:
    return Topic(
        name=f"billing.{subject}",
        key="<instance>:<kind>:<id>",
        messages=_named(*dict.fromkeys(billing.SHAPES[kind] for kind in kinds)),
        publishers=("connector",),
        consumers=("metrics",),
        # A consumer that was stopped for up to 30 days still receives all tombstones, and all states of the last 7 days.
        config=_compact(
            **{"delete.retention.ms": str(30 * _DAY_MS), "min.compaction.lag.ms": str(7 * _DAY_MS)}
        ),
        kinds=kinds,
    )


INSTANCES: Final = Topic(
    name="instances",
    key=INSTANCE_KEY,
    messages=_named(instances.InstanceChanged),
    publishers=("gateway",),
    consumers=("scheduler", "connector", "metrics"),
    config=_compact(),
)
SYNC_COMMANDS: Final = Topic(
    name="sync.commands",
    key=INSTANCE_KEY,
    messages=_named(commands.CheckInstance, commands.RunSync, commands.CancelSync, commands.Republish),
    publishers=("gateway", "scheduler", "metrics"),
    consumers=("connector",),
    config=_keep(days=1),
)
SYNC_EVENTS: Final = Topic(
    name="sync.events",
    key=INSTANCE_KEY,
    messages=_named(
        sync.InstanceChecked,
        sync.SyncQueued,
        sync.SyncStarted,
        sync.SyncProgressed,
        sync.SyncSucceeded,
        sync.SyncFailed,
        sync.SyncCancelled,
        sync.DetailsProgressed,
        sync.InstancePurged,
    ),
    publishers=("connector",),
    consumers=("gateway", "metrics"),
    config=_keep(days=7),
)
CUSTOMERS: Final = _billing("customers", Kind.CUSTOMER, Kind.CUSTOMER_DETAIL)
SUBSCRIPTIONS: Final = _billing("subscriptions", Kind.SERVICE, Kind.ADDON, Kind.DOMAIN)
PRODUCTS: Final = _billing("products", Kind.PRODUCT)
INVOICES: Final = _billing("invoices", Kind.INVOICE, Kind.INVOICE_LINES)
TRANSACTIONS: Final = _billing("transactions", Kind.TRANSACTION)
CANCELLATIONS: Final = _billing("cancellations", Kind.CANCELLATION_REQUEST)
CURRENCIES: Final = _billing("currencies", Kind.CURRENCY)
PROMOTIONS: Final = _billing("promotions", Kind.PROMOTION)
MOVEMENTS: Final = Topic(
    name="metrics.movements",
    key="<instance>:<customer>:<day>",
    messages=_named(movements.MovementsChanged),
    publishers=("metrics",),
    consumers=(),
    config=_compact(),
)
ALERTS: Final = Topic(
    name="metrics.alerts",
    key="alert id",
    messages=_named(alerts.AlertRaised, alerts.AlertResolved),
    publishers=("metrics",),
    consumers=("gateway",),
    config=_keep(days=30),
)
DEAD_LETTER: Final = Topic(
    name="dead-letter",
    key="the record's own",
    messages={},
    publishers=("connector", "metrics", "gateway", "scheduler"),
    consumers=(),
    config=_keep(days=30),
    partitions=3,
)

BILLING: Final = (
    CUSTOMERS,
    SUBSCRIPTIONS,
    PRODUCTS,
    INVOICES,
    TRANSACTIONS,
    CANCELLATIONS,
    CURRENCIES,
    PROMOTIONS,
)
# These messages have a shape, but no service sends them yet.
NOT_SENT_YET: Final = (
    "AlertRaised",
    "AlertResolved",
)
TOPICS: Final = (INSTANCES, SYNC_COMMANDS, SYNC_EVENTS, *BILLING, MOVEMENTS, ALERTS, DEAD_LETTER)
BY_NAME: Final = {topic.name: topic for topic in TOPICS}
TOPIC_OF: Final = {kind: topic for topic in BILLING for kind in topic.kinds}
