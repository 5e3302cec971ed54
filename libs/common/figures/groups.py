"""The ways to split and limit figures, and how the views of `metrics_read` show them. Pure."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class Group(StrEnum):
    """A way to split or limit a figure."""

    KIND = "kind"
    PRODUCT = "product"
    PRODUCT_GROUP = "product_group"
    CYCLE = "cycle"
    CURRENCY = "currency"
    COUNTRY = "country"
    CUSTOMER_GROUP = "customer_group"
    PAYMENT_METHOD = "payment_method"
    PROMOTION = "promotion"
    INSTANCE = "instance"


# The value of a group for rows that have none, so that the parts sum to the whole.
UNKNOWN: Final = "unknown"


class Column(NamedTuple):
    """A column by which rows are grouped: its name in the statement, and the expression that reads it from a view."""

    name: str
    expression: str

    @property
    def selected(self) -> str:
        """Return the column as it stands behind SELECT."""
        return self.expression if self.expression == f"s.{self.name}" else f"{self.expression} AS {self.name}"


_INSTANCE: Final = Column("instance_id", "s.instance_id")
# Products, promotions and groups belong to one instance. A top-level domain is the same product in all of them.
COLUMNS: Final = {
    Group.KIND: (Column("kind", "s.kind"),),
    Group.PRODUCT: (_INSTANCE, Column("product", "s.product")),
    Group.PRODUCT_GROUP: (_INSTANCE, Column("product_group", f"coalesce(s.product_group, '{UNKNOWN}')")),
    Group.CYCLE: (Column("cycle", "s.cycle"),),
    Group.CURRENCY: (Column("currency", "s.currency"),),
    Group.COUNTRY: (Column("country", f"coalesce(s.country, '{UNKNOWN}')"),),
    Group.CUSTOMER_GROUP: (_INSTANCE, Column("customer_group", f"coalesce(s.customer_group, '{UNKNOWN}')")),
    Group.PAYMENT_METHOD: (Column("payment_method", f"coalesce(s.payment_method, '{UNKNOWN}')"),),
    Group.PROMOTION: (_INSTANCE, Column("promotion", f"coalesce(s.promotion_id::text, '{UNKNOWN}')")),
    Group.INSTANCE: (_INSTANCE,),
}
OF_INSTANCE: Final = frozenset(
    group for group, columns in COLUMNS.items() if len(columns) == 2 and columns[0] is _INSTANCE
)


# The key of each group as one value, as it stands in answers and filters.
KEYS: Final = {
    **{group: columns[-1].expression for group, columns in COLUMNS.items()},
    Group.PRODUCT: "CASE WHEN s.kind = 'domain' THEN s.product ELSE s.instance_id || ':' || s.product END",
    Group.PRODUCT_GROUP: f"coalesce(s.instance_id || ':' || s.product_group, '{UNKNOWN}')",
    Group.CUSTOMER_GROUP: f"coalesce(s.instance_id || ':' || s.customer_group, '{UNKNOWN}')",
    Group.PROMOTION: f"coalesce(s.instance_id || ':' || s.promotion_id, '{UNKNOWN}')",
    Group.INSTANCE: "s.instance_id::text",
}


# The values to which a figure is limited, by group. Hashable, so questions with the same limits can share a statement.
Limits = tuple[tuple[Group, tuple[str, ...]], ...]


def limits_of(values: Mapping[Group, Iterable[str]]) -> Limits:
    """Return limits in the order of the groups; a group without values does not limit."""
    given = {group: tuple(dict.fromkeys(values.get(group, ()))) for group in Group}
    return tuple((group, chosen) for group, chosen in given.items() if chosen)


def key_of(group: Group, value: str, instance_id: object) -> str:
    """Return the key of a value of a group among the values of all instances."""
    is_shared = value == UNKNOWN or (group is Group.PRODUCT and value.startswith("domain:"))
    return value if group not in OF_INSTANCE or is_shared else f"{instance_id}:{value}"
