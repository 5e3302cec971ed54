"""`python -m tests.integration.pipeline.shifted_connector FILE`: the connector, its clock shifted by the days that FILE holds now."""

import sys
from datetime import datetime, timedelta
from pathlib import Path

import uvloop

from libs.common.clock import utc_now
from libs.common.settings import load
from services.connector.app import run
from services.connector.settings import Settings


def main(file: Path) -> None:
    def clock() -> datetime:
        return utc_now() + timedelta(days=int(file.read_text()))

    uvloop.run(run(load(Settings), clock))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
