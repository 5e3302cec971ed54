"""docs/architecture.md speaks of what is there: every path exists, every name is defined where the page says."""

import ast
import re
from pathlib import Path

import pytest

from libs.common.contracts.topics import BY_NAME

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
PAGE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
STEPS = re.findall(r"^\| (\d+) \| `([^`]+)` \| (?:`([^`]+)`)? *\| .+ \|$", PAGE, re.MULTILINE)


def defined_in(path: Path) -> set[str]:
    """Functions, classes, methods as Class.method, and in a migration the schemas that its text names."""
    source = path.read_text(encoding="utf-8")
    names = set(re.findall(r"CREATE VIEW (\w+)\.", source))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}.{child.name}"
                for child in node.body
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return names


def test_the_way_of_a_price_is_told_step_by_step() -> None:
    assert [int(number) for number, _, _ in STEPS] == list(
        range(1, len(re.findall(r"^\| \d+ ", PAGE, re.M)) + 1)
    )


@pytest.mark.parametrize(("number", "path", "name"), STEPS)
def test_every_step_names_a_file_that_is_there_and_what_is_defined_in_it(
    number: str, path: str, name: str
) -> None:
    assert (REPOSITORY / path).is_file(), f"step {number}"
    assert not name or name in defined_in(REPOSITORY / path), f"step {number}"


def test_the_topics_that_it_names_exist() -> None:
    named = set(re.findall(r"`((?:billing|sync)\.[a-z]+)`", PAGE))

    assert named
    assert named <= set(BY_NAME)


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_every_path_and_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    paths = re.findall(r"`((?:libs|services|tools|tests|docs)/[\w./-]+)`", text)
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)

    missing = [path for path in paths if not (REPOSITORY / path).exists()]
    missing += [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []
