"""docs/benchmarks.md is of the code as it is, or says what has changed since."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def run():
    """benchmarks/run.py, which is a script and no part of the package."""
    spec = importlib.util.spec_from_file_location("benchmarks_run", HERE / "benchmarks" / "run.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def kept(run):
    return json.loads(run.KEPT.read_text(encoding="utf-8"))


def test_the_page_is_of_the_measured_code_or_says_what_changed(run, kept):
    changed = run.unsaid(kept)
    assert not changed, (
        f"{', '.join(changed)}: not as when docs/benchmarks.md was measured. Run `python benchmarks/run.py` on an idle"
        ' machine, or `python benchmarks/run.py --changed "SENTENCE"`, which says on the page how it has changed.'
    )


def test_a_file_that_changes_is_found_until_a_sentence_says_so(run, kept):
    path = run.MEASURED[0]
    kept["code"], kept["changed"] = {**run.digests(), path: "0123456789abcdef"}, []
    assert run.unsaid(kept) == [path]
    kept["changed"] = [{"what": "It is faster.", "code": {path: run.digest(path)}, "date": "2026-11-29"}]
    assert run.unsaid(kept) == []
    assert f"It is faster. (`{path}`, 2026-11-29)" in run.page(kept, "")


def test_the_page_is_written_from_what_is_kept(run, kept):
    assert run.PAGE.read_text(encoding="utf-8") == run.page(kept, run.NOTES.read_text(encoding="utf-8"))


def test_a_script_that_fails_keeps_its_rows_and_says_why(run, tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text(
        "import json, os\n"
        'row = {"work": "w", "values": [1.5], "met": True}\n'
        'open(os.environ["FMAP_BENCHMARK_RESULTS"], "a").write(json.dumps(row))\n'
        'raise SystemExit("no such thing")\n'
    )
    monkeypatch.setattr(run, "HERE", tmp_path)
    found = run.measured(run.Script("broken"), ())
    assert [row["work"] for row in found["rows"]] == ["w"]
    assert found["failure"] == "no such thing"


def test_every_script_of_the_run_exists(run):
    assert [each.name for each in run.SCRIPTS if not (run.HERE / f"{each.name}.py").exists()] == []
