"""The type, product and billing cycle to which an address limits a list, and how people read them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from fastapi import Depends, Query
from pydantic import Field

from libs.common.figures.answers import Figure
from libs.common.figures.groups import Group
from services.gateway.pages.splits import group_in_words

_Values = Annotated[
    list[Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=600)]] | None, Query(max_length=100)
]
# By the name of a group, which is also that of the parameter.
Limited = Mapping[str, Sequence[str]]


def _limited(kind: _Values = None, product: _Values = None, cycle: _Values = None) -> Limited:
    given = {Group.KIND: kind, Group.PRODUCT: product, Group.CYCLE: cycle}
    return {group.value: values for group, values in given.items() if values}


AddressLimits = Annotated[Limited, Depends(_limited)]


def words_of(limited: Limited, by_product: Iterable[Figure]) -> list[str]:
    """Return what a list is limited to, each value once, in words. The series of `by_product` name the products."""
    names = {
        series.group["product"]: series.names.get("product", "")
        for figure in by_product
        for series in figure.series
    }
    words = [
        names.get(value) or value if name == Group.PRODUCT else group_in_words(Group(name), value)
        for name, values in limited.items()
        for value in values
    ]
    return list(dict.fromkeys(words))
