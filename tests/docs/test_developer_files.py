"""The developer files agree with each other and with the package."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ecg_siglip import __version__

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "https://github.com/ecg-siglip/ecg_siglip"
HASH = r"sha256:[0-9a-f]{64}"
# The module of a package with another name.
MODULES = {"mlflow-skinny": "mlflow"}
# Packages that no module imports, with the reason.
USED_WITHOUT_IMPORT = {
    "torch": "export needs a newer one",
    "hydra-joblib-launcher": "Hydra loads it: hydra/launcher=joblib",
    "hydra-optuna-sweeper": "Hydra loads it: hydra/sweeper=optuna",
    "hydra-submitit-launcher": "Hydra loads it: hydra/launcher=submitit_slurm",
    "s3fs": "fsspec loads it for s3://",
}
CUDA = ("nvidia-", "cuda-", "triton")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


PYPROJECT = tomllib.loads(read("pyproject.toml"))
WORKFLOW = yaml.safe_load(read(".github/workflows/ci.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def make_targets(script: str) -> set[str]:
    """Return the targets of the lines that are `make <target>` and nothing else."""
    return set(re.findall(r"^\s*make ([\w-]+)\s*$", script, re.MULTILINE))


def workflow_targets() -> set[str]:
    steps = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
    return make_targets("\n".join(step.get("run", "") for step in steps))


def defined_targets() -> set[str]:
    return set(re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE))


def locked_versions() -> dict[str, str]:
    """Return the version of each package in uv.lock, without the project itself."""
    packages = tomllib.loads(read("uv.lock"))["package"]
    versions = {package["name"]: package["version"] for package in packages if "version" in package}
    assert len(versions) == len(packages) - 1, "several versions of a package, or no project"
    return versions


def constraints() -> list[tuple[str, str]]:
    lines = [line for line in read("constraints.txt").splitlines() if not line.startswith("#")]
    return [tuple(line.split("==")) for line in lines]


def test_the_workflow_runs_the_targets_of_the_ci_script():
    assert workflow_targets() == make_targets(read(".ci/run"))
    assert {"lint", "test", "test-app", "wheel-test", "docs"} <= workflow_targets()
    assert workflow_targets() <= defined_targets()


def test_contributing_names_every_target_of_the_ci_script_and_no_unknown_one():
    named = set(re.findall(r"\bmake ([a-z-]+)", read("CONTRIBUTING.md")))
    assert make_targets(read(".ci/run")) <= named
    assert named <= defined_targets()


def test_every_target_is_phony_and_has_a_help_text():
    makefile = read("Makefile").replace("\\\n", " ")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    with_help = re.findall(r"^([\w-]+):.*## \S", makefile, re.MULTILINE)
    assert phony
    assert sorted(phony[1].split()) == sorted(with_help)


def test_the_workflow_tests_every_python_that_the_package_supports():
    tested = WORKFLOW["jobs"]["test"]["strategy"]["matrix"]["python"]
    classifiers = PYPROJECT["project"]["classifiers"]
    prefix = "Programming Language :: Python :: "
    assert tested == [c.removeprefix(prefix) for c in classifiers if c.startswith(prefix)]


def test_the_workflow_runs_the_package_on_windows_and_macos():
    job = WORKFLOW["jobs"]["systems"]
    assert [name.partition("-")[0] for name in job["strategy"]["matrix"]["os"]] == [
        "windows",
        "macos",
    ]
    commands = "\n".join(step.get("run", "") for step in job["steps"])
    paths = re.findall(r"\btests/[\w/.]+", commands)
    assert len(paths) > 5 and all((ROOT / path).exists() for path in paths)
    for command in ("simulate", "train", "evaluate", "predict", "export"):
        assert f"-m ecg_siglip.{command} " in commands


def test_constraints_are_the_versions_of_the_lock_without_cuda():
    names = [name for name, _ in constraints()]
    assert names == list(dict.fromkeys(names))
    locked = {n: v for n, v in locked_versions().items() if not n.startswith(CUDA)}
    assert dict(constraints()) == locked, "run `make lock`"


def test_the_lock_covers_the_dependencies_of_pyproject():
    project = PYPROJECT["project"]
    required = [(line, None) for line in project["dependencies"]]
    for extra, lines in project["optional-dependencies"].items():
        required += [(line, extra) for line in lines]
    ours = {
        (canonicalize_name(r.name), str(r.specifier), frozenset(r.extras), extra)
        for r, extra in ((Requirement(line), extra) for line, extra in required)
    }
    packages = tomllib.loads(read("uv.lock"))["package"]
    (own,) = [package for package in packages if package["name"] == "ecg-siglip"]
    locked = {
        (
            entry["name"],
            str(Requirement(f"x{entry.get('specifier', '')}").specifier),
            frozenset(entry.get("extras", [])),
            (re.findall(r"extra == '([\w-]+)'", entry.get("marker", "")) or [None])[0],
        )
        for entry in own["metadata"]["requires-dist"]
    }
    # The lock lists ecg_siglip[hf,...] of the extra dev as the extras' own requirements.
    assert {entry for entry in ours if entry[0] != "ecg-siglip"} <= locked, "run `make lock`"


def test_the_lock_names_only_the_public_index():
    hosts = set(re.findall(r'(?:url|registry) = "(\w+://[^/"]+)', read("uv.lock")))
    assert hosts == {"https://pypi.org", "https://files.pythonhosted.org"}


def test_every_file_of_the_lock_has_a_hash():
    packages = tomllib.loads(read("uv.lock"))["package"]
    files = [
        (package["name"], file)
        for package in packages
        for file in [*package.get("wheels", []), package.get("sdist")]
        if file
    ]
    assert len(files) > len(packages)
    without = [name for name, file in files if not re.fullmatch(HASH, file.get("hash", ""))]
    assert not without
    # Nothing is installed from a repository or a folder, which have no hash.
    sources = {key for package in packages for key in package["source"]}
    assert sources == {"registry", "editable"}


@pytest.mark.parametrize("extra", [*PYPROJECT["project"]["optional-dependencies"]])
def test_each_package_of_an_extra_is_used(extra):
    lines = PYPROJECT["project"]["optional-dependencies"][extra]
    if extra in ("dev", "docs"):  # what the tests and the tools need
        return
    code = "".join(path.read_text("utf-8") for path in (ROOT / "ecg_siglip").rglob("*.py"))
    for requirement in map(Requirement, lines):
        name = MODULES.get(requirement.name, requirement.name.replace("-", "_"))
        used = re.search(rf'^ *(?:import|from) {name}\b|"{name}[."]', code, re.MULTILINE)
        assert used or requirement.name in USED_WITHOUT_IMPORT, f"{requirement.name} is not used"


def test_packages_that_are_used_without_an_import_are_in_an_extra():
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    assert {*USED_WITHOUT_IMPORT, *MODULES} <= {
        Requirement(x).name for each in extras for x in each
    }


def test_the_audit_runs_in_a_workflow_of_its_own():
    workflow = yaml.safe_load(read(".github/workflows/audit.yml"))
    runs = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert make_targets("\n".join(runs)) == {"audit", "sbom"}
    assert {"audit", "sbom"} <= defined_targets()
    assert not make_targets(read(".ci/run")) & {"audit"}, "it needs the network"
    assert "make audit" in read("CONTRIBUTING.md")


def test_precommit_uses_the_tools_of_the_environment_and_keeps_outputs():
    (repo,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    hooks = {hook["id"]: hook for hook in repo["hooks"]}
    assert list(hooks) == ["ruff", "ruff-format", "mypy", "nbstripout"]
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", read("Makefile"), re.MULTILINE)
    assert lint
    for name in ("ruff", "ruff-format", "mypy"):
        words = hooks[name]["entry"].split()
        assert words[0].startswith(".venv/bin/")
        assert words[0].replace(".venv/bin", "$(BIN)") in lint[1]
    assert {"--keep-output", "--keep-count"} <= set(hooks["nbstripout"]["entry"].split())
    assert re.fullmatch(r"nbstripout==[\d.]+", hooks["nbstripout"]["additional_dependencies"][0])


def test_one_version_everywhere():
    assert yaml.safe_load(read("CITATION.cff"))["version"] == __version__
    newest = re.search(r"^## (\S+)", read("CHANGELOG.md"), re.MULTILINE)
    assert newest
    assert newest[1] == __version__


def test_the_changelog_has_only_the_usual_sections():
    sections = re.findall(r"^### (.+)$", read("CHANGELOG.md"), re.MULTILINE)
    assert set(sections) <= {"Added", "Changed", "Fixed"}


def test_the_citation_refers_to_the_dataset_and_the_loss():
    text = read("CITATION.cff")
    assert "10.1038/s41597-020-0495-6" in text
    assert "arXiv:2303.15343" in text


@pytest.mark.parametrize(
    "name",
    ["pyproject.toml", "CITATION.cff", "SECURITY.md", ".github/ISSUE_TEMPLATE/config.yml"],
)
def test_the_repository_has_one_address(name):
    addresses = re.findall(r"https://github\.com/[\w.-]+/[\w.-]+", read(name))
    assert set(addresses) == {REPOSITORY}


def test_the_package_is_marked_as_typed():
    assert (ROOT / "ecg_siglip" / "py.typed").is_file()


def test_the_project_urls_are_complete():
    urls = PYPROJECT["project"]["urls"]
    assert list(urls) == ["Homepage", "Documentation", "Repository", "Issues", "Changelog"]
    assert all(url.startswith(REPOSITORY) for url in urls.values())


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_are_complete(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "config":
        assert set(form) == {"blank_issues_enabled", "contact_links"}
        return
    assert {"name", "description", "body"} <= set(form)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)


def test_the_image_is_built_from_pinned_bases_and_files_that_are_sent():
    text = read("Dockerfile").replace("\\\n", " ")
    bases = re.findall(r"BASE=(\S+)", text)
    assert len(bases) == 2
    assert all(re.search(r":\d[\w.-]+$", base) for base in bases)
    allowed = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    copied: set[str] = set()
    for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE):
        copied |= set(shlex.split(line)[:-1])
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)
    extras = re.search(r"^ARG EXTRAS=(\S+)$", text, re.MULTILINE)
    assert extras
    assert set(extras[1].split(",")) <= set(PYPROJECT["project"]["optional-dependencies"])
    assert re.search(r"^USER (?!root)\w+$", text, re.MULTILINE)
    # The command of the health check is JSON, and its program is Python.
    (check,) = re.findall(r"^HEALTHCHECK .*?CMD (\[.*\])$", text, re.MULTILINE)
    program, option, code = json.loads(check)
    assert (program, option) == ("python", "-c")
    compile(code, "Dockerfile", "exec")
    assert text.rstrip().endswith('ENTRYPOINT ["ecg-siglip"]')
    assert "ecg-siglip" in PYPROJECT["project"]["scripts"]


def test_the_dev_container_sets_up_the_environment_with_make():
    text = re.sub(r"^\s*//.*$", "", read(".devcontainer/devcontainer.json"), flags=re.MULTILINE)
    container = json.loads(text)
    assert container["updateContentCommand"].startswith("make setup ")
    assert re.search(r":\d[\w.-]+$", container["image"])
