"""Test that the docs name only what exists: paths, functions, links, commands, settings and topics."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from libs.common.contracts.topics import BY_NAME
from libs.common.settings import KNOWN_SETTINGS, PREFIX

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
ARCHITECTURE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
# A walk is a table under a heading; a step has a number, a file and, mostly, a name that the file defines.
WALKS = [
    part for part in re.split(r"^## ", ARCHITECTURE, flags=re.MULTILINE) if re.search(r"^\| 1 ", part, re.M)
]
STEPS = [
    step
    for walk in WALKS
    for step in re.findall(r"^\| (\d+) \| `([^`]+)` \| (?:`([^`]+)`)? *\| .+ \|$", walk, re.MULTILINE)
]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))


def names_defined_in(path: Path) -> set[str]:
    """Return functions, classes, and methods as Class.method."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}.{child.name}"
                for child in node.body
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return names


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in anchors_of(target))


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.splitlines()[0])
def test_steps_of_a_walk_are_numbered(walk: str) -> None:
    numbers = [int(number) for number in re.findall(r"^\| (\d+) ", walk, re.MULTILINE)]
    complete_rows = re.findall(r"^\| \d+ \| `[^`]+` \| (?:`[^`]+`)? *\| .+ \|$", walk, re.MULTILINE)

    assert numbers == list(range(1, len(complete_rows) + 1))


@pytest.mark.parametrize(("number", "path", "name"), STEPS)
def test_step_names_a_file_and_what_it_defines(number: str, path: str, name: str) -> None:
    assert (REPOSITORY / path).is_file(), f"step {number}"
    assert not name or name in names_defined_in(REPOSITORY / path), f"step {number}"


def test_architecture_page_names_topics_that_exist() -> None:
    named = set(re.findall(r"`((?:billing|sync)\.[a-z]+)`", ARCHITECTURE))

    assert named
    assert named <= set(BY_NAME)


@each_page
def test_paths_and_links_of_a_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    paths = re.findall(r"`((?:libs|services|tools|tests|docs)/[\w./-]+)`", text)
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]

    missing = [path for path in paths if not (REPOSITORY / path).exists()]
    missing += [link for link in links if not leads_somewhere(page, link)]
    assert missing == []


@each_page
def test_commands_of_a_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    modules = re.findall(r"python -m ([\w.]+\w)", text)
    targets = re.findall(r"(?:`|^ {4})make ([a-z][a-z0-9-]*)", text, re.MULTILINE)

    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    missing += [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)]
    assert missing == []


@each_page
def test_settings_of_a_page_exist(page: Path) -> None:
    names = re.findall(rf"{PREFIX}([A-Z_]+)", page.read_text(encoding="utf-8"))

    assert {name for name in names if not {name, name.removesuffix("_FILE")} & KNOWN_SETTINGS} == set()


def test_operations_lists_every_instrument() -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    table = page.partition("## Instruments and traces")[2].partition("\n## ")[0]
    listed = re.findall(r"`((?:mrrlytics|http|db|messaging)\.[\w.]+)`", table.partition("\n\nThose")[0])
    code = (REPOSITORY / "libs" / "common" / "telemetry.py").read_text(encoding="utf-8")

    assert sorted(listed) == sorted(re.findall(r'(?:create_\w+|_seconds)\("([\w.]+)"', code))


def test_logs_and_instruments_of_operations_exist() -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    modules = [path for folder in ("libs", "services") for path in (REPOSITORY / folder).rglob("*.py")]
    code = "".join(path.read_text(encoding="utf-8") for path in modules)
    logs = [text for line in re.findall(r"^\| log .*", page, re.M) for text in re.findall(r'"([^"]+)"', line)]
    instruments = re.findall(r"`(mrrlytics\.[\w.]+)`", page)

    assert logs
    assert instruments
    assert [text for text in [*logs, *instruments] if f'"{text}' not in code] == []
