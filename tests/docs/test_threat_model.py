"""The threat model names tests that exist, and SECURITY.md is its short form."""

import re
import stat
import tempfile
from pathlib import Path

from ecg_siglip.serving.uploads import PREFIX

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "explanation" / "threat-model.md").read_text(encoding="utf-8")
SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")][1:]


def test_each_promise_names_tests_that_exist():
    assert len(ROWS) > 10
    for row in ROWS:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row[-1])
        assert named, row
        assert len(named) == row[-1].count("`") / 2, row
        for path, test in named:
            text = (ROOT / path).read_text(encoding="utf-8")
            assert re.search(rf"^(?:async )?def {test}\(", text, re.M), (path, test)


def test_uploads_are_readable_by_their_owner_only():
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700


def test_the_short_form_refers_to_the_page():
    assert "docs/explanation/threat-model.md" in SECURITY
