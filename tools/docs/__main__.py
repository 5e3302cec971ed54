"""Write the generated pages: `python -m tools.docs`. Refuse when a changed schema would break its readers."""

import sys
from pathlib import Path

from tools.docs.pages import broken_promises, generated

REPOSITORY = Path(__file__).resolve().parents[2]

if __name__ == "__main__":
    broken = broken_promises(REPOSITORY)
    if broken:
        sys.stderr.write(
            "These changes would break readers of the topics. Undo them, or publish a new topic:\n"
        )
        sys.stderr.writelines(f"  {line}\n" for line in broken)
        raise SystemExit(1)
    for path, text in generated(REPOSITORY).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
