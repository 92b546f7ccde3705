"""Plain language: the words that the project does not use are in none of its files.

CONTRIBUTING.md has the list with what to write instead. Names are split at underscores and capital
letters, so that ``n_said`` and ``AskedOf`` count as well.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Words, and what to write instead.
WORDS = {
    r"answer(s|ed|ing)?": "prediction, result, response",
    r"say|says|saying|said|tell|tells|told": "set, given, state, report, show",
    r"ask|asks|asked|asking": "query, question, request",
    r"knobs?": "setting",
    r"verbs?": "command",
    r"sheets?": "record report",
    r"anew|once more": "again, re-fitted",
    r"beside": "alongside, next to",
    r"(speak|speaks) for": "support",
    r"flatters?|flattering": "is optimistically biased",
    r"unheard|never hears?|never heard": "held out, unseen",
    r"lies? in|lies? at|lies? beside|lies? there": "is in",
    r"rooms?|houses?|doors?|desks?|floors?": "module, package, entry point, layer",
    r"(?<!ground )truths?": "ground truth, label, y_true",
    r"called (present|positive|negative)|findings? (is |are )?called|(is|are) called (in|if|at)": (
        "predicted positive, present"
    ),
}
FORBIDDEN = re.compile(rf"\b(?:{'|'.join(WORDS)})\b", re.IGNORECASE)
# What is not prose or a name of ours: functions of libraries, the field's words, quoted data.
ALLOWED_TEXT = re.compile(
    r"(np|math|torch)\.floor|file\.tell\(\)|spreadsheet|stylesheet|create_sheet|sheetData|sheet1|"
    r"cheat ?sheet",
    re.IGNORECASE,
)
# Files whose words are data, or that have to name the words; and single words of other files.
EXCEPTIONS: dict[str, tuple[str, ...]] = {
    "tests/docs/test_language.py": (".*",),
    "CONTRIBUTING.md": (r"^\| ", "opens with a verb"),  # the list of the words
    "CHANGELOG.md": (
        r"\| `ask=|\| `asked`|\| `answers`|`n_answered`|was `asked`|was `ask\.ask`|answer\.json",
        r"predict ask=|04_ask|`truth\.masks`",
    ),
    # A key of published files.
    "results/words.py": ("n_above_floor",),
    "tests/docs/test_results.py": ("n_above_floor",),
    # Old names of settings, for errors that name the new ones.
    "ecg_siglip/config.py": (r'"ask": "questions"',),
    "tests/core/test_command_line.py": (r'"ask=\[',),
    "tests/core/test_word_mistakes.py": (r"predict ask=",),
    # A name of ONNX.
    "ecg_siglip/models/onnx_preparation.py": (r"\bop\.Floor\(",),
    "tests/serving/test_json_api.py": (r"ask=AFIB|ask: renamed",),
}
SUFFIXES = {".py", ".md", ".j2", ".yaml", ".yml", ".toml", ".ipynb", ".cff", ".sh", ""}
LEFT_OUT = re.compile(r"^(LICENSE|uv\.lock|constraints\.txt|results/(?!.*\.(py|md)$)|.*\.csv$)")


def files() -> list[str]:
    """Return the text files of the repository, as git lists them."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\n")
    return [
        name
        for name in listed
        if name and Path(name).suffix in SUFFIXES and not LEFT_OUT.match(name)
    ]


def text_of(name: str) -> str:
    """Return the text of a file; of a notebook its cells without their outputs."""
    text = (ROOT / name).read_text(encoding="utf-8")
    if name.endswith(".ipynb"):
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return text


def hits(name: str) -> list[str]:
    """Return the forbidden words of a file with their lines, without the exceptions."""
    found = []
    allowed = [re.compile(pattern, re.IGNORECASE) for pattern in EXCEPTIONS.get(name, ())]
    for number, line in enumerate(text_of(name).split("\n"), 1):
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", ALLOWED_TEXT.sub(" ", line)).replace("_", " ")
        for match in FORBIDDEN.finditer(words):
            if not any(pattern.search(line) for pattern in allowed):
                found.append(f"{number}: {match[0]}: {line.strip()[:100]}")
    return found


@pytest.mark.skipif(not files(), reason="needs a git checkout")
@pytest.mark.parametrize("name", files())
def test_the_words_are_plain(name):
    assert not hits(name)


def test_the_scan_finds_words_in_names_and_in_prose(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "a.py").write_text('n_said = AskedOf()  # the ground truth is "y_true"\n')
    assert [hit.split(": ")[1] for hit in hits("a.py")] == ["said", "Asked"]
