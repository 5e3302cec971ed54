"""Run a service with a shifted clock: `python -m tests.integration.pipeline.shifted SERVICE FILE`. FILE contains a number of days."""

import sys
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path

import uvloop

from libs.common.clock import utc_now
from libs.common.settings import load


def main(service: str, file: Path) -> None:
    def clock() -> datetime:
        return utc_now() + timedelta(days=int(file.read_text()))

    app, settings = (import_module(f"services.{service}.{room}") for room in ("app", "settings"))
    uvloop.run(app.run(load(settings.Settings), clock))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
