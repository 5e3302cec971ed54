"""Checks of our own for checkov, which imports all modules of this folder."""

from pathlib import Path

__all__ = [path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__"]
