"""The package works where there is no Unix: Windows has neither these modules nor these names."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ecg_siglip"
UNIX_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
UNIX_NAMES = {
    "os": {
        "fork", "forkpty", "geteuid", "getgid", "getuid", "killpg", "mkfifo", "nice", "pread",
        "sched_getaffinity", "setsid", "statvfs", "sysconf", "uname", "O_DIRECTORY", "O_NOFOLLOW",
        "O_CLOEXEC", "O_NONBLOCK",
    },
    "signal": {"SIGALRM", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGUSR1", "SIGUSR2", "SIGSTOP", "alarm"},
    "select": {"poll", "epoll"},
}  # fmt: skip
# Imports all modules, and predicts, without them. Other packages may use what their system has.
WITHOUT_UNIX = """
import builtins, importlib, os, pkgutil, select, signal, sys, types
MODULES, NAMES = {modules!r}, {names!r}
def is_ours(depth):
    return sys._getframe(depth).f_globals.get("__name__", "").startswith("ecg_siglip")
original = builtins.__import__
def without_unix(name, *args, **kwargs):
    if name.partition(".")[0] in MODULES and is_ours(2):
        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
    return original(name, *args, **kwargs)
builtins.__import__ = without_unix
class Portable(types.ModuleType):
    def __init__(self, module):
        super().__init__(module.__name__)
        self.__dict__["module"] = module
    def __getattr__(self, name):
        if name in NAMES[self.module.__name__] and is_ours(2):
            raise AttributeError(f"module {{self.module.__name__!r}} has no attribute {{name!r}}")
        return getattr(self.module, name)
for name in NAMES:
    sys.modules[name] = Portable(sys.modules[name])
import ecg_siglip
for module in pkgutil.walk_packages(ecg_siglip.__path__, "ecg_siglip."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print("imported")
import ecg_siglip.predict as predict
sys.argv = ["predict", "records=[examples/simulated_ecg.csv]"]
predict.main()
"""


def guarded_lines(tree: ast.AST) -> set[int]:
    """Return the lines in a try, an if or a with, which may check what the system has."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.Try | ast.If | ast.With)]
    return {line for node in blocks for line in range(node.lineno, (node.end_lineno or 0) + 1)}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_what_only_unix_has_is_used_only_where_it_may_be_missing(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = guarded_lines(tree)
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name in UNIX_MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module in UNIX_MODULES:
            names = [node.module]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [node.attr] if node.attr in UNIX_NAMES.get(node.value.id, ()) else []
        found += [f"{name} in line {node.lineno}" for name in names if node.lineno not in guarded]
    # After `if not hasattr(select, "poll"): return`.
    if path.name in ("command_line.py", "connections.py"):
        found = [each for each in found if not each.startswith("poll")]
    assert not found


def test_everything_is_imported_and_predicts_without_what_only_unix_has():
    pytest.importorskip("gradio", reason="imports the modules of all extras")
    script = WITHOUT_UNIX.format(modules=UNIX_MODULES, names=UNIX_NAMES)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("imported") and '"probabilities"' in done.stdout


def test_every_file_of_the_repository_has_a_name_that_windows_allows():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8"
    )
    if listed.returncode:
        pytest.skip("no git checkout")
    assert_allowed(listed.stdout.splitlines())


def test_every_file_of_a_run_has_a_name_that_windows_allows(trained, evaluated, exported_file):
    for folder in (trained, evaluated.parents[1], exported_file.parent):
        assert_allowed([path.relative_to(folder).as_posix() for path in folder.rglob("*")])


def assert_allowed(names):
    from ecg_siglip.core.run_folder import DEVICE_NAME

    assert names
    for name in names:
        assert not set(name) & set('<>:"|?*\\'), name
        for part in name.split("/"):
            assert not part.endswith((" ", ".")) and not DEVICE_NAME.fullmatch(part), name
    assert len({name.lower() for name in names}) == len(names)


def test_text_files_name_their_encoding():
    # Windows reads and writes the code page of its language otherwise.
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--preview", "--select", "PLW1514", "ecg_siglip"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
