"""The API of figures: its shape, ETags, and what it refuses."""

from datetime import date
from uuid import UUID

import pytest
from pydantic import TypeAdapter

from libs.common.figures.answers import Figure
from libs.common.figures.catalogue import METRICS
from libs.common.figures.groups import Group
from tests.integration.gateway.books import Segment, add_segments, add_site
from tests.integration.gateway.conftest import Gateway


async def test_answer_has_the_described_shape(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(gateway, owner.organization_id, [Segment(site.id, mrr_micros=1_234_560_000)])

    answer = await owner.client.get("/api/v1/metrics/mrr?group_by=kind")

    assert answer.json() == {
        "metric": "mrr",
        "unit": "money",
        "interval": "day",
        "currency": "native",
        "lens": "contract",
        "as_of": "2026-03-01T06:15:00Z",
        "additive": True,
        "series": [
            {
                "group": {"kind": "service", "currency": "EUR"},
                "names": {},
                "points": [{"on": "2026-03-01", "value": "1234.560000", "reason": None, "complete": False}],
            }
        ],
        "notes": [],
        "compared": None,
        "fx": None,
    }
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    described = (await owner.client.get("/api/v1/openapi.json")).json()
    schema = described["paths"]["/api/v1/metrics/{slug}"]["get"]["responses"]["200"]["content"][
        "application/json"
    ]
    figure_schema = described["components"]["schemas"][schema["schema"]["$ref"].rpartition("/")[2]]
    assert figure_schema["properties"].keys() == answer.json().keys()
    TypeAdapter(Figure).validate_json(answer.content)


async def test_groups_are_repeated_or_separated_by_commas(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(gateway, owner.organization_id, [Segment(site.id)])

    commas = await owner.client.get("/api/v1/metrics/subscriptions?group_by=kind,cycle")
    repeated = await owner.client.get("/api/v1/metrics/subscriptions?group_by=kind&group_by=cycle")

    assert commas.json()["series"][0]["group"] == {"kind": "service", "cycle": "monthly"}
    assert commas.json() == repeated.json()


async def test_closed_days_have_an_etag_and_are_sent_once(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(gateway, owner.organization_id, [Segment(site.id)])
    path = "/api/v1/metrics/mrr?start=2026-02-01&end=2026-02-28"

    first = await owner.client.get(path)
    again = await owner.client.get(path, headers={"if-none-match": first.headers["etag"]})
    await add_segments(gateway, owner.organization_id, [Segment(site.id, id=2)])
    changed = await owner.client.get(path, headers={"if-none-match": first.headers["etag"]})

    assert len(first.json()["series"][0]["points"]) == 28
    assert first.headers["cache-control"] == "private, no-cache"
    assert not first.headers["etag"].startswith("W/")
    assert (again.status_code, again.content) == (304, b"")
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


async def test_catalogue_lists_every_metric(gateway: Gateway) -> None:
    owner = await gateway.owner()

    answer = (await owner.client.get("/api/v1/metrics")).json()

    assert [metric["slug"] for metric in answer["metrics"]] == [metric.slug for metric in METRICS]
    assert answer["metrics"][2] == {
        "slug": "customers",
        "title": "Customers",
        "unit": "count",
        "good": "up",
        "additive": False,
        "description": "Customers whose live subscriptions add up to more than 0.",
        "groups": list(Group),
        "filters": list(Group),
        "lenses": ["contract", "active", "status", "paid"],
    }


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ("nothing", 404, "metric_unknown", None),
        ("mrr?group_by=colour", 422, "group_unknown", "group_by"),
        ("mrr?currency=EUR", 422, "currency_unknown", "currency"),
        ("mrr?start=2026-02-02&end=2026-02-01", 422, "range_invalid", "start"),
        ("mrr?start=2016-02-21&end=2026-02-28", 422, "range_invalid", "start"),
        ("mrr?among=country", 422, "among_invalid", "among"),
        ("mrr?among=colour%3Dred", 422, "among_invalid", "among"),
        ("mrr?among=country%3DXX", 422, "filter_unknown", "filter[country]"),
        ("mrr?compare=decade", 422, "input_invalid", "compare"),
        ("mrr?compare=year&start=0001-02-01&end=0001-02-02", 422, "range_invalid", "compare"),
        ("mrr?interval=hour", 422, "input_invalid", "interval"),
        ("mrr?filter[country]=XX", 422, "filter_unknown", "filter[country]"),
        ("mrr?filter[kind]=house", 422, "filter_unknown", "filter[kind]"),
        ("mrr?filter[promotion]=1", 422, "filter_unknown", "filter[promotion]"),
        ("mrr?filter[colour]=red", 422, "parameter_unknown", "filter[colour]"),
        (f"mrr?filter[instance]={UUID(int=7)}", 404, "instance_not_found", "filter[instance]"),
    ],
)
async def test_refusal_names_the_code_and_the_field(
    gateway: Gateway, query: str, status: int, code: str, field: str | None
) -> None:
    owner = await gateway.owner()
    await add_site(gateway, owner.organization_id)

    answer = await owner.client.get(f"/api/v1/metrics/{query}")

    assert (answer.status_code, answer.json()["code"], answer.json().get("field")) == (status, code, field)


async def test_token_without_the_scope_reads_no_figure(gateway: Gateway) -> None:
    owner = await gateway.owner()
    token = await owner.token("instances:read")
    program = gateway.client(authorization=f"Bearer {token}")

    for path in ("/api/v1/metrics", "/api/v1/metrics/mrr"):
        assert (await program.get(path)).status_code == 403
    assert (await gateway.client().get("/api/v1/metrics/mrr")).status_code == 401


async def test_csv_has_the_points_of_the_answer(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(
        gateway, owner.organization_id, [Segment(site.id, id=id, product_name="=Small") for id in (1, 2)]
    )
    path = "/api/v1/metrics/mrr?start=2026-02-27&group_by=product"

    answer = await owner.client.get(path)
    table = await owner.client.get(f"{path}&format=csv")

    [series] = answer.json()["series"]
    group = f"{series['group']['product']},EUR,'=Small"
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert table.text.splitlines() == [
        "on,product,currency,product_name,mrr,reason,complete",
        *(
            f"{point['on']},{group},{point['value']},,{str(point['complete']).lower()}"
            for point in series["points"]
        ),
    ]


async def test_earlier_range_stands_beside_the_figure(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    on = date(2026, 2, 10)
    await add_segments(
        gateway,
        owner.organization_id,
        [Segment(site.id, to_on=on), Segment(site.id, id=2, from_on=on, mrr_micros=1)],
    )

    answer = (
        await owner.client.get(
            "/api/v1/metrics/mrr?start=2026-02-01&end=2026-02-28&interval=month&compare=previous"
        )
    ).json()

    compared = answer["compared"]
    assert (compared["start"], compared["end"]) == ("2026-01-01", "2026-01-31")
    [now], [before] = answer["series"], compared["series"]
    assert [(point["on"], point["value"]) for point in now["points"]] == [("2026-02-28", "0.000001")]
    assert [(point["on"], point["value"]) for point in before["points"]] == [("2026-01-31", "10.000000")]


async def test_several_filters_stand_side_by_side(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(site.id, id=1, country="PT"),
            Segment(site.id, id=2, country="PT", cycle="annually"),
            Segment(site.id, id=3, country="DE"),
        ],
    )
    among = ["country=PT", "country=DE&country=PT&cycle=monthly"]

    answer = await owner.client.get(
        "/api/v1/metrics/subscriptions", params={"among": among, "filter[kind]": "service"}
    )

    assert [(series["group"], series["points"][0]["value"]) for series in answer.json()["series"]] == [
        ({"among": among[0]}, 2),
        ({"among": among[1]}, 2),
    ]
