"""`python -m services.metrics`: read settings, build the service, serve."""

import uvloop

from libs.common.settings import load
from services.metrics.app import run
from services.metrics.settings import Settings

if __name__ == "__main__":
    uvloop.run(run(load(Settings)))
