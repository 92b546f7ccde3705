"""The pages are correct: commands compose, Python runs, links lead somewhere, the site builds."""

import importlib.util
import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from ecg_siglip import config
from ecg_siglip.core.arguments import hydra_arguments
from ecg_siglip.core.command_line import CONF_DIR
from ecg_siglip.core.settings import check_settings

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import generate_reference  # noqa: E402

README = (ROOT / "README.md").read_text(encoding="utf-8")
OUTSIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md", "results/README.md")
PAGES = [*(ROOT / name for name in OUTSIDE), *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"\S*(?:python3?|torchrun)\b[^\n`]* -m ecg_siglip\.[a-z]+[^\n`]*")
MAX_README_WORDS = 1000


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(text: str, language: str = "") -> list[str]:
    """Return the blocks of code of a page in one language; "" means shell."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    return [code for name, code in found if name == language]


def commands(text: str) -> list[str]:
    """Return every command that starts a module of the package, in a block or in the text."""
    return COMMAND.findall(text.replace("\\\n", " "))


def module_and_overrides(command: str) -> tuple[str, list[str]]:
    words = shlex.split(command, comments=True)
    module = next(word for word in words if word.startswith("ecg_siglip."))
    after = words[words.index(module) + 1 :]
    after = after[: after.index(">")] if ">" in after else after
    flags = {"-m", "--cfg", "job"}  # a sweep, or only the settings
    return module.removeprefix("ecg_siglip."), [w for w in after if w not in flags and w != "..."]


COMMANDS = [
    pytest.param(command, id=f"{name_of(page)}:{i}")
    for page in PAGES
    for i, command in enumerate(commands(page.read_text(encoding="utf-8")))
]
PYTHON_PAGES = [page for page in PAGES if blocks(page.read_text(encoding="utf-8"), "python")]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_composes(command, tmp_path):
    module, overrides = module_and_overrides(command)
    if "--config-dir" in overrides:  # with the file that the page shows
        page = (ROOT / "docs" / "how-to" / "several-sources.md").read_text(encoding="utf-8")
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "hospitals.yaml").write_text(blocks(page, "yaml")[0])
        first = overrides.index("--config-dir")
        overrides[first : first + 2] = [f"hydra.searchpath=[file://{tmp_path}]"]
    assert importlib.util.find_spec(f"ecg_siglip.{module}"), f"{module} is no module"
    schema = getattr(config, f"{module.capitalize()}Config")
    ConfigStore.instance().store(name=f"{module}_schema", node=schema)
    # A sweep has `key=a,b,c`; each of its runs has one of the values.
    overrides = [re.sub(r"^([\w.]+=\w+),.*", r"\1", word) for word in overrides]
    overrides = hydra_arguments(module, schema, overrides)
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        check_settings(OmegaConf.to_object(compose(module, overrides)))


def test_the_pages_show_every_command_and_the_scan_finds_them():
    pages = [page for page in PAGES if page.parent.name == "how-to" or page.name == "README.md"]
    pages.append(ROOT / "docs" / "getting-started.md")
    shown = {
        module_and_overrides(command)[0]
        for page in pages
        for command in commands(page.read_text(encoding="utf-8"))
    }
    assert shown == {path.stem for path in CONF_DIR.glob("*.yaml")}
    assert len(COMMANDS) > 60


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=name_of)
def test_the_python_of_every_page_runs(
    page, trained, simulated, hospital, tmp_path, monkeypatch, capsys, request
):
    for folder in ("data", "runs"):
        (tmp_path / folder).mkdir()
    for name in ("demo", "ptbxl"):
        (tmp_path / "data" / name).symlink_to(simulated)
    for name in ("demo", "r1"):
        shutil.copytree(trained, tmp_path / "runs" / name)
    shutil.copytree(hospital, tmp_path / "data" / "hospital")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    shutil.copy(hospital / "findings.yaml", tmp_path)
    shutil.copy(hospital / "ecgs.csv", tmp_path / "data/hospital/with_folds.csv")
    text = page.read_text(encoding="utf-8")
    if "model.onnx" in text:
        for path in request.getfixturevalue("exported_file").parent.iterdir():
            shutil.copy(path, tmp_path / "runs/r1")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code in blocks(text, "python"):
        exec(compile(code, name_of(page), "exec"), names)
    if (tmp_path / "mydata").is_dir():
        from ecg_siglip.datasets.ptbxl import read_metadata

        assert len(read_metadata(tmp_path / "mydata")) == 100
    assert capsys.readouterr().out


def test_some_pages_have_python():
    assert ROOT / "README.md" in PYTHON_PAGES
    assert len(PYTHON_PAGES) > 2


def test_the_first_code_of_the_readme_is_the_way_to_a_prediction():
    lines = [line for block in blocks(README) for line in block.splitlines()][:10]
    targets = make_targets()
    for line in lines:
        first = shlex.split(line)[0]
        assert first in (".", "make") or commands(line) == [line], line
        assert first != "make" or line.split()[1] in targets
    # In this order: an environment, a prediction of the default model, a model, its prediction.
    predictions = [i for i, line in enumerate(lines) if "ecg_siglip.predict" in line]
    order = [lines.index("make setup"), predictions[0], lines.index("make demo"), predictions[1]]
    assert order == sorted(order)
    assert "run.name" not in lines[predictions[0]]


def test_the_readme_is_one_page():
    text = re.sub(r"```.*?```|<!--.*?-->", "", README, flags=re.S)
    text = "\n".join(line for line in text.splitlines() if not line.startswith("|"))
    text = re.sub(r"\]\([^)]*\)", "]", text)  # the words of a link, not its address
    assert 500 < len(text.split()) <= MAX_README_WORDS


def test_the_json_of_the_readme_has_the_fields_of_a_prediction():
    (example,) = blocks(README, "json")
    fields = {re.split(r"[.\[]", field.path)[0] for field in generate_reference.JSON_FIELDS}
    assert set(json.loads(example)) <= fields


def test_the_objectives_are_listed_and_no_other():
    page = (ROOT / "docs" / "reference" / "objectives.md").read_text("utf-8")
    listed = re.findall(r"^\| `(\w+)`(?: \(default\))? \|", page.partition("## Terms")[0], re.M)
    assert sorted(listed) == sorted(p.stem for p in (CONF_DIR / "objective").glob("*.yaml"))


def test_requests_use_settings_of_the_api():
    from ecg_siglip.serving.json_api import SETTINGS

    addresses = [
        address
        for page in PAGES
        for line in re.findall(r"^curl .*$", page.read_text(encoding="utf-8"), re.M)
        for address in re.findall(r"http://\S+?(?=['\s]|$)", line)
    ]
    names = {name for address in addresses for name, _ in parse_qsl(urlsplit(address).query)}
    assert names
    assert names <= set(SETTINGS)


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


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=name_of)
def test_every_relative_link_of_a_notebook_leads_somewhere(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    text = "".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    dead = [x for x in links if not re.match(r"[a-z]+:", x) and not (path.parent / x).exists()]
    assert not dead


def test_the_decisions_are_all_on_their_list():
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"\]\((\d{4}-[^)]+\.md)\)", (folder / "README.md").read_text())
    assert listed == sorted(path.name for path in folder.glob("0*.md"))


def make_targets() -> set[str]:
    return set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_make_target_exists(page):
    text = page.read_text(encoding="utf-8")
    code = [*blocks(text), *re.findall(r"`([^`\n]+)`", text)]
    named = {name for part in code for name in re.findall(r"^make ([a-z][\w-]*)", part, re.M)}
    assert named <= make_targets()


def test_ci_runs_what_the_pages_list():
    ci = re.findall(r"^make [\w-]+$", (ROOT / ".ci" / "run").read_text(), re.M)
    assert {command.removeprefix("make ") for command in ci} <= make_targets()
    assert {"make test", "make lint", "make docs"} <= set(ci)
    for command in ci:
        assert f"`{command}`" in (ROOT / "CONTRIBUTING.md").read_text()
    start = (ROOT / "docs" / "getting-started.md").read_text("utf-8")
    # The two commands after a clone.
    assert {"make demo", "make test"} <= set("".join(blocks(start)).splitlines())
    # The plain commands without make are those of the Makefile.
    make = (ROOT / "Makefile").read_text()
    torch = re.search(r"^torch==\S+$", (ROOT / "constraints.txt").read_text(), re.M)
    assert torch
    assert f"pip install {torch[0]}\n" in start
    for both in ("pip install -c constraints.txt -e '.[dev]'", "python -m pytest"):
        assert both in start
        assert both in make.replace("--quiet ", "")


def test_the_extras_are_those_of_the_package():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = {
        extra
        for page in PAGES
        for words in re.findall(r"(?:ecg_siglip|'\.)\[([\w,]+)\]", page.read_text("utf-8"))
        for extra in words.split(",")
    }
    assert named
    assert named <= set(project["optional-dependencies"])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_names_a_place_on_somebodys_machine(page):
    assert not re.search(r"(?<![\w.])(/home|/root|/tmp|/mnt|/Users|/work)/", page.read_text())


# The documentation site.


def navigation(entries: list) -> list[str]:
    """Return the pages of a navigation."""
    found: list[str] = []
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            found += navigation(value) if isinstance(value, list) else [value]
    return found


@pytest.fixture(scope="module")
def hooks():
    pytest.importorskip("mkdocs", reason="needs the extra [docs]")
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_navigation_once(hooks):
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    hooks.add_decisions(nav)
    listed = navigation(nav)
    pages = [
        page.relative_to(ROOT / "docs").as_posix()
        for page in PAGES
        if page.is_relative_to(ROOT / "docs")
    ]
    assert sorted(listed) == sorted([*pages, *hooks.OUTSIDE.values()])


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("how-to/train.md", "[a](../results.md#reports)", "[a](../results.md#reports)"),
        ("how-to/train.md", "[a](../../data/README.md)", "[a](../project/data-sets.md)"),
        ("index.md", "[a](../README.md)", "[a](index.md)"),
        ("performance.md", "in [benchmarks/](../benchmarks)", "in benchmarks/"),
        ("project/contributing.md", "[a](docs/decisions/)", "[a](../decisions/README.md)"),
        ("index.md", "[a](https://arxiv.org)", "[a](https://arxiv.org)"),
        ("index.md", "```\n[a](../README.md)\n```", "```\n[a](../README.md)\n```"),
    ],
)
def test_links_are_rewritten_for_the_site(hooks, page, link, expected):
    assert hooks.rewrite_links(link, page) == expected


@pytest.mark.slow
def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path, hooks):
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    pytest.importorskip("mkdocstrings", reason="needs the extra [docs]")
    pytest.importorskip("material", reason="needs the extra [docs]")
    site = tmp_path / "site"
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(site), strict=True))
    html = {path: path.read_text("utf-8") for path in site.rglob("*.html")}
    assert len(html) > 50
    for path, text in html.items():
        loaded = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*", text)
        assert not [
            tag for tag in loaded if re.search(r"(?:src|href)=[\"']?(?:https?:)?//", tag)
        ], path
    assert "from_pretrained" in html[site / "reference/api/inference.html"]
