"""A collector of OpenTelemetry traces: it takes what the services send, and keeps their spans."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Span(NamedTuple):
    """The service and the name of a finished span."""

    service: str
    name: str


@dataclass
class Collector:
    """The spans of each trace, by the id of the trace."""

    endpoint: str
    traces: defaultdict[bytes, list[Span]] = field(default_factory=lambda: defaultdict(list))

    def take(self, body: bytes) -> None:
        """Keep the spans of one export."""
        for of_process in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {item.key: item.value.string_value for item in of_process.resource.attributes}
            for of_library in of_process.scope_spans:
                for span in of_library.spans:
                    self.traces[span.trace_id].append(Span(names["service.name"], span.name))

    def trace_with(self, span: Span) -> list[Span]:
        """Return the newest trace that has this span; an empty one when there is none yet."""
        return next((spans for spans in reversed(list(self.traces.values())) if span in spans), [])


@contextmanager
def collecting() -> Iterator[Collector]:
    """Serve a collector on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/v1/traces":
                collector.take(body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing for each export."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
