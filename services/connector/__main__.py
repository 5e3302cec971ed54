"""Starts the connector: `python -m services.connector`."""

import uvloop

from libs.common.settings import load
from services.connector.app import run
from services.connector.settings import Settings

if __name__ == "__main__":
    uvloop.run(run(load(Settings)))
