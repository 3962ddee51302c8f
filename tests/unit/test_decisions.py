"""Each why in docs/decisions.md is linked from the code that it explains."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACES = ["app.py", *("core", "pages", "bench", "scripts", "tests")]
LINK = re.compile(r'# Why: docs/decisions\.md, "([^"\n]+)"$', re.MULTILINE)


def titles() -> list[str]:
    """The bold words that each paragraph begins with, quotes in them as links write them."""
    text = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    return [found.replace('"', "'") for found in re.findall(r"^\*\*(.+?)\*\*", text, re.MULTILINE)]


def linked() -> dict[str, list[str]]:
    """Title -> the files that name it beside a line of code."""
    found: dict[str, list[str]] = {}
    for place in PLACES:
        path = ROOT / place
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            for title in LINK.findall(file.read_text(encoding="utf-8")):
                found.setdefault(title, []).append(str(file.relative_to(ROOT)))
    return found


def test_every_link_to_a_decision_finds_its_paragraph():
    assert {title: at for title, at in linked().items() if title not in titles()} == {}


def test_every_decision_is_linked_from_the_code_it_explains():
    assert len(titles()) > 50
    assert set(titles()) - set(linked()) == set()


def test_no_two_decisions_have_one_title():
    assert len(set(titles())) == len(titles())
