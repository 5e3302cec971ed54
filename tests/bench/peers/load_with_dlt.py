"""Load all WHMCS lists into PostgreSQL with dlt, in an environment of its own. Print the rows and seconds as JSON.

Each list is a resource over dlt's REST client. dlt extracts them in parallel, and normalises and loads in its default way.
"""

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import dlt
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.paginators import BasePaginator
from requests import Request, Response, Session


class FormPaginator(BasePaginator):
    """Pages by limitstart and limitnum, which WHMCS reads from the form of a POST."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._start = 0

    def init_request(self, request: Request) -> None:
        self.update_request(request)

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        self._start += len(data or ())
        self._has_next_page = bool(data) and self._start < int(response.json().get("totalresults", 0))

    def update_request(self, request: Request) -> None:
        request.data = {**(request.data or {}), "limitstart": self._start, "limitnum": self._size}


def _resource(client: RESTClient, secrets: dict[str, str], given: dict[str, Any]) -> Any:
    form = {**given["parameters"], **secrets, "action": given["action"], "responsetype": "json"}

    def rows() -> Iterator[list[dict[str, Any]]]:
        yield from client.paginate(
            "includes/api.php",
            method="POST",
            data=form,
            paginator=FormPaginator(given["size"]),
            data_selector=given["rows"],
        )

    return dlt.resource(rows, name=given["name"], parallelized=True, write_disposition="replace")


def main(job: dict[str, Any]) -> dict[str, Any]:
    """Load the lists of a job; return the rows that dlt has loaded and its seconds."""
    client = RESTClient(base_url=job["url"], session=Session())
    pipeline = dlt.pipeline(
        pipeline_name="whmcs",
        pipelines_dir=job["folder"],
        destination=dlt.destinations.postgres(job["database"]),
        dataset_name="whmcs",
    )
    began = time.perf_counter()
    pipeline.run([_resource(client, job["secrets"], given) for given in job["lists"]])
    seconds = time.perf_counter() - began
    counts = pipeline.last_trace.last_normalize_info.row_counts
    names = {given["name"] for given in job["lists"]}
    return {"rows": sum(count for name, count in counts.items() if name in names), "seconds": seconds}


if __name__ == "__main__":
    json.dump(main(json.load(sys.stdin)), sys.stdout)
