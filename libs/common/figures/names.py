"""Reads the names of products, product groups, promotions and instances, as people know them."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from libs.common.figures.groups import Group, key_of
from libs.common.figures.questions import Scope
from libs.common.figures.relations import NAMES, PROMOTIONS

# By the keys of a group.
Names = Mapping[Group, Mapping[str, str]]


async def read_names(
    connection: Any, scope: Scope, groups: Collection[Group], product_groups: Iterable[str]
) -> Names:
    """Return the names for an answer that is split by these groups. `product_groups` are its keys of product groups.

    WHMCS identifies a product group by its name, which is in the key.
    """
    names = {
        Group.INSTANCE: {str(instance.instance_id): instance.name for instance in scope.instances},
        Group.PRODUCT_GROUP: {key: key.partition(":")[2] for key in product_groups if ":" in key},
    }
    if Group.PRODUCT in groups:
        rows = await connection.fetch(NAMES, scope.lens)
        names[Group.PRODUCT] = {
            key_of(Group.PRODUCT, row["product"], row["instance_id"]): row["product_name"] for row in rows
        }
    if Group.PROMOTION in groups:
        rows = await connection.fetch(PROMOTIONS)
        names[Group.PROMOTION] = {
            key_of(Group.PROMOTION, str(row["id"]), row["instance_id"]): row["code"] for row in rows
        }
    return names
