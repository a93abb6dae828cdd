"""The pages in docs/ against what stands."""

import re
from pathlib import Path

from test_architecture import ALLOWED

DOCS = Path(__file__).parent.parent / "docs"


def test_the_table_of_rooms_is_that_of_the_imports_test():
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    described = set()
    for cells in re.findall(r"^\| (`.*?) \| .* \| .* \|$", page, re.MULTILINE):
        described |= {name.rstrip("/") for name in re.findall(r"`([a-z_/]+)`", cells)}
    assert described == set(ALLOWED) - {"__init__", "__main__"}


def test_what_a_room_may_import_is_what_the_imports_test_allows():
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"^\| `([a-z_]+)/?` \| .* \| ([^|]*) \|$", page, re.MULTILINE))
    assert {name: set(words.replace("–", "").replace(",", " ").split()) for name, words in said.items()} == {
        name: set(row.split()) for name, row in ALLOWED.items() if not name.startswith("__")
    }


def test_links_between_pages_lead_somewhere():
    for page in [*DOCS.glob("*.md"), DOCS.parent / "README.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
