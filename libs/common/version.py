"""The version of MRRlytics."""

from typing import Final

VERSION: Final = "0.1.0"
