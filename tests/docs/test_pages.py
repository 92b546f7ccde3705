"""What the pages say is so: commands compose, links lead somewhere."""

import ast
import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from ecg_siglip import config
from ecg_siglip.core.command_line import CONF_DIR
from ecg_siglip.core.settings import check_settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
COMMAND = re.compile(r"\S*(?:python3?|torchrun)\b[^\n`]* -m ecg_siglip\.[^\n`]*")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def commands(text: str) -> list[str]:
    """Every command that starts a verb, in a block of code or in a line of text."""
    return COMMAND.findall(text.replace("\\\n", " "))


def verb_and_overrides(command: str) -> tuple[str, list[str]]:
    words = shlex.split(command, comments=True)
    module = next(word for word in words if word.startswith("ecg_siglip."))
    after = words[words.index(module) + 1 :]
    flags = {"-m", "--cfg", "job"}  # a sweep, or only the settings
    return module.removeprefix("ecg_siglip."), [w for w in after if w not in flags and w != "..."]


COMMANDS = [
    pytest.param(command, id=f"{name_of(page)}:{i}")
    for page in PAGES
    for i, command in enumerate(commands(page.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_composes(command):
    verb, overrides = verb_and_overrides(command)
    assert importlib.util.find_spec(f"ecg_siglip.{verb}"), f"{verb} is no module"
    schema = getattr(config, f"{verb.capitalize()}Config")
    ConfigStore.instance().store(name=f"{verb}_schema", node=schema)
    # A sweep says `key=a,b,c`; each of its runs has one of the values.
    overrides = [re.sub(r"^([\w.]+=\w+),.*", r"\1", word) for word in overrides]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        check_settings(OmegaConf.to_object(compose(verb, overrides)))


def test_the_readme_shows_every_verb_and_the_scan_finds_them():
    shown = {verb_and_overrides(c)[0] for c in commands((ROOT / "README.md").read_text("utf-8"))}
    assert shown == {path.stem for path in CONF_DIR.glob("*.yaml")}


def test_the_readme_lists_every_objective_and_no_other():
    table = re.findall(r"^\| `(\w+)`(?: \(default\))? \|", (ROOT / "README.md").read_text(), re.M)
    assert sorted(table) == sorted(p.stem for p in (ROOT / "conf" / "objective").glob("*.yaml"))


def test_the_python_of_the_readme_runs(trained, simulated, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    code = code.replace("runs/r1", str(trained)).replace("data/ptbxl", str(simulated))
    exec(compile(code, "README.md", "exec"), {})
    assert len(ast.literal_eval(capsys.readouterr().out)) == 71


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    dead = [
        link
        for link in links
        if not re.match(r"[a-z]+:", link) and not (page.parent / link).exists()
    ]
    assert not dead


def test_the_decisions_are_all_on_their_list():
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"\]\((\d{4}-[^)]+\.md)\)", (folder / "README.md").read_text())
    assert listed == sorted(path.name for path in folder.glob("0*.md"))


def test_ci_runs_what_the_pages_tell_a_developer_to_run():
    ci = re.findall(r"^make [\w-]+$", (ROOT / ".ci" / "run").read_text(), re.M)
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {command.removeprefix("make ") for command in ci} <= targets
    assert "make test" in ci
    assert "make test" in (ROOT / "README.md").read_text()
    for command in ci:
        assert command in (ROOT / "CONTRIBUTING.md").read_text()
    # The plain commands without make are those of the Makefile.
    plain, make = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    torch = re.search(r"^torch==\S+$", (ROOT / "constraints.txt").read_text(), re.M)
    assert torch
    assert f"pip install {torch[0]}\n" in plain
    for both in ("pip install -c constraints.txt -e '.[dev]'", "python -m pytest"):
        assert both in plain
        assert both in make.replace("--quiet ", "")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_names_a_place_on_somebodys_machine(page):
    assert not re.search(r"(?<![\w.])(/home|/root|/tmp|/mnt|/Users|/work)/", page.read_text())
