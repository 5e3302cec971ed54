"""Test the style rules that no linter checks: the size of files, and the names of tests and variables."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
# Released migrations are never edited.
FILES = sorted(
    path
    for folder in ("libs", "services", "tools", "tests")
    for path in (REPOSITORY / folder).rglob("*.py")
    if not {"node_modules", "versions"} & set(path.relative_to(REPOSITORY).parts)
)
MAX_LINES = 350
MAX_TEST_NAME = 60
# Names that say nothing, or say it in a riddle: use the noun, such as row, instance, matches, fingerprints, limit.
BANNED = {
    *("one", "there", "here", "Here", "this", "every", "each", "own", "news"),
    *("found", "known", "told", "heard", "wanted", "gone"),
    *("remember", "forget", "moved_up", "_take", "_turn", "_hold", "_Memory", "_List", "Shell"),
}


class Definition(NamedTuple):
    """A name that the code gives to something, and its place."""

    place: str
    name: str


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def definitions() -> list[Definition]:
    """Return every name that the code gives to something."""
    return [
        Definition(f"{path.relative_to(REPOSITORY)}:{line}", name)
        for path in FILES
        for name, line in names_defined_in(tree_of(path))
    ]


def names_defined_in(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield names with their lines."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node.lineno
            case ast.Name(ctx=ast.Store()):
                yield node.id, node.lineno
            case ast.Attribute(ctx=ast.Store()):
                yield node.attr, node.lineno
            case ast.arg():
                yield node.arg, node.lineno
            case (
                ast.alias(asname=str(name)) | ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name))
            ):
                yield name, node.lineno


def test_long_file_says_why_it_is_one_file() -> None:
    silent = [
        str(path.relative_to(REPOSITORY))
        for path in FILES
        if len(path.read_text(encoding="utf-8").splitlines()) > MAX_LINES
        and "One file because" not in (ast.get_docstring(tree_of(path)) or "")
    ]

    assert FILES
    assert silent == [], (
        f"over {MAX_LINES} lines: split by subject, or write 'One file because ...' in the docstring"
    )


def test_names_of_tests_are_short() -> None:
    long = [
        definition
        for definition in definitions()
        if definition.name.startswith("test_") and len(definition.name) > MAX_TEST_NAME
    ]

    assert long == [], f"a test name is a subject and a verb, in at most {MAX_TEST_NAME} characters"


def test_names_are_nouns_and_verbs_of_the_domain() -> None:
    assert [definition for definition in definitions() if definition.name in BANNED] == []
