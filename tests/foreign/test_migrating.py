"""Every row of docs/migrating.md with a guarantee names a test, and the test exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "migrating.md").read_text()
# Tests of the TypeScript SDK are named by their titles.
TITLED = sorted(set(re.findall(r"`([\w.]+\.test\.ts)::([^`]+)`", PAGE)))
NAMED = sorted(set(re.findall(r"`([\w/.]+\.(?:rs|py))::(\w+)(?:\[(\w+)\])?`", PAGE)))


def source(file: str) -> str:
    """The text of a file that the page names by its path, or by its name in its usual folder."""
    if "/" not in file:
        file = f"tests/{'foreign' if file.endswith('.py') else 'tests/e2e'}/{file}"
    return (ROOT / file).read_text()


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 40
    # In any form: an entry that begins with a file names a test.
    meant = set(re.findall(r"`[^`\s]+\.\w+::\w[^`\s]*`", PAGE.split("## Compatibility")[1]))
    assert len(NAMED) == len(meant)


@pytest.mark.parametrize(("file", "test", "case"), NAMED, ids=lambda part: part or "all")
def test_named_tests_exist(file: str, test: str, case: str) -> None:
    assert re.search(rf"\b(def|fn) {test}\(", source(file)), f"no {test} in {file}"
    if case:
        scenarios = source("scenarios.py") + source("resume_scenarios.py")
        assert re.search(rf"\bdef {case}\(", scenarios), f"no scenario {case}"


def test_the_page_names_titles() -> None:
    assert len(TITLED) > 20


@pytest.mark.parametrize(("file", "title"), TITLED)
def test_named_titles_exist(file: str, title: str) -> None:
    """As it is, or as a template with `${}` in place of what differs between its cases."""
    text = (ROOT / "clients" / "typescript" / "test" / "opentok" / file).read_text()
    patterns = [
        re.sub(r"\\\$\\\{[^}]*\}", ".+", re.escape(written))
        for _, written in re.findall(r"\btest\((['`])(.*?)\1,", text)
    ]
    assert any(re.fullmatch(pattern, title) for pattern in patterns), f"no test of this title in {file}"
