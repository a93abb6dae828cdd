"""The pages in docs/ against what stands."""

import re
from pathlib import Path

import fmap_cli

DOCS = Path(__file__).parent.parent / "docs"


def test_links_between_pages_lead_somewhere():
    for page in [*DOCS.glob("*.md"), DOCS.parent / "README.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_page_on_python_lists_every_public_name_and_every_error():
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `([a-z_]+)\(", page, re.MULTILINE))
    assert listed == set(fmap_cli.__all__) - {"FmapError", "__version__", "errors"}
    kinds = {name for name, each in vars(fmap_cli.errors).items() if isinstance(each, type)}
    assert {name for name in kinds if issubclass(getattr(fmap_cli.errors, name), fmap_cli.FmapError)} == set(
        re.findall(r"^\| `(\w+Error)`", page, re.MULTILINE)
    )
