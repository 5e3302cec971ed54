"""Explanations know every reason for which a subscription is missing."""

import re
from pathlib import Path

from libs.common.contracts.issues import IssueReason
from libs.common.figures.explain import ISSUE_WORDS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"


def test_every_documented_reason_has_words() -> None:
    section = PAGE.read_text(encoding="utf-8").split("## What is missing in totals")[1].split("\n## ")[0]

    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(ISSUE_WORDS) == set(IssueReason)
