"""Faults of storage: killed processes, errors, full disks and power cuts, for each command.

A command is run undisturbed, then with a fault, then again without. The last run has to leave the
same files, bit by bit, as the undisturbed one, and nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path

import torch
from faults.injection import Fault, Outcome, error, kill, run
from torch import Tensor

from ecg_siglip.training.state import load_state

TINY = [
    *("ecg.width=8", "ecg.depths=[1,1]", "ecg.stem_stride=4", "text.width=16", "text.depth=1"),
    *("text.n_heads=2", "text.vocab_size=300", "embed_dim=16", "optim.n_epochs=2"),
    *("optim.batch_size=32", "augment.mixup=0", "data.n_workers=1", "device=cpu"),
]
RECORDS = ["records=[data/records100/00000/00001_lr]", "measurements=false"]
# What commands import on use.
IMPORTS = {
    "evaluate": ["ecg_siglip.evaluation.fold"],
    "export": ["ecg_siglip.models.onnx_export", "torch.onnx", "onnxruntime", "onnxscript"],
    "predict": ["ecg_siglip.reporting.record_report"],
}
# Date and time of a report; the only content that differs between two runs of a command.
TIMES = re.compile(rb"20\d\d-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?")
VERIFIED = re.compile(rb"^(.*\t[0-9a-f]{64} \d+)", re.M)  # name, hash and size, without times
IGNORED = ("tensorboard", "tmp", "__pycache__", ".lock")  # .lock: for versions that keep it
GROWING = ("log.jsonl", "state.pt", ".verified")
MOVES = ("rename", "unlink", "rmdir")
ERRORS = (errno.EIO, errno.ENOSPC, errno.EACCES)
IMAGE_MB = 48


@dataclass
class Case:
    """A command with what it needs.

    Attributes
    ----------
    name : str
    words : list of str
        The command and its settings.
    needs : tuple of str
        Names of the cases whose results it needs.
    before : list of str
        Further settings of an earlier run whose results it replaces; empty: there is none.
    """

    name: str
    words: list[str]
    needs: tuple[str, ...] = ()
    before: list[str] = field(default_factory=list)

    def main(self) -> Callable[[], object]:
        """Return the main function of the command."""
        return importlib.import_module(f"ecg_siglip.{self.words[0]}").main

    def run(self, folder: Path, fault: Fault | None = None, words: list[str] | None = None):
        """Run the command in a folder."""
        return run(self.main(), [*self.words, *(words or [])], folder, fault)


def cases(url: str) -> list[Case]:
    """Return the commands that write, each after those that it needs."""
    fast = ["fold=10", "n_bootstrap=4", "report=false", "device=cpu"]
    return [
        Case("simulate", ["simulate", "data.root=data", "n_records=60", "n_workers=1"]),
        Case("train", ["train", "run.name=a", "data.root=data", *TINY], ("simulate",)),
        Case("train b", ["train", "run.name=b", "seed=1", "data.root=data", *TINY], ("train",)),
        Case("evaluate", ["evaluate", "run.name=a", *fast], ("train",), ["n_bootstrap=3"]),
        Case("ensemble", ["ensemble", "run.name=e", "runs=[a,b]", "device=cpu"], ("train b",)),
        Case(
            "compare",
            ["compare", "runs=[a,b]", "fold=10", "n_resamples=4", "device=cpu"],
            ("train b",),
            ["n_resamples=3"],
        ),
        Case("export", ["export", "run.name=a"], ("train",)),
        Case(
            "adapt",
            ["adapt", "run.name=c", "init=runs/a/model", "data.root=data", *TINY],
            ("train",),
        ),
        Case(
            "predict",
            ["predict", "run.name=a", *RECORDS, "device=cpu", "report=out/report.html"],
            ("train",),
        ),
        Case("check", ["check", "data=ptbxl", "data.root=data", "out=check"], ("simulate",)),
        Case("ptbxl", ["ptbxl", "data.root=copy", f"url={url}", "n_downloads=1"]),
    ]


def contents(folder: Path, ignored: Sequence[str] = IGNORED) -> dict[str, str]:
    """Return the hash of every file in a folder, without dates and TensorBoard's files."""
    hashes: dict[str, str] = {}
    caches: dict[str, int] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_dir() or not {*name.parts}.isdisjoint(ignored):
            continue
        content = TIMES.sub(b"", path.read_bytes())
        # The key of a cache and .verified depend on the times of the files.
        if name.name == ".verified":
            content = b"".join(sorted(VERIFIED.findall(content)))
        if "cache" in name.parts:
            key = str(name.parent)
            name = Path(f"cache{caches.setdefault(key, len(caches))}") / name.name
            content = b"" if name.name == "index.json" else content
        if name.name == "state.pt":
            with contextlib.suppress(ValueError):  # damaged: compared as it is
                content = b"".join(pieces(load_state(path)))
        hashes[str(name)] = hashlib.sha256(content).hexdigest()
    return hashes


def pieces(value: object) -> Iterator[bytes]:
    """Yield the content of a training state, which PyTorch may store as different bytes.

    In the state of a resumed run, tensors and texts that are equal may be stored one time or twice.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield repr(key).encode()
            yield from pieces(item)
    elif isinstance(value, list | tuple):
        yield str(len(value)).encode()
        for item in value:
            yield from pieces(item)
    elif isinstance(value, Tensor):
        yield f"{value.dtype} {tuple(value.shape)}".encode()
        yield value.reshape(-1).view(torch.uint8).numpy().tobytes()
    else:
        yield repr(value).encode()


@dataclass
class Row:
    """Counts of the runs of a command with one kind of fault."""

    fault: str
    command: str
    runs: int = 0
    whole: int = 0  # every old file as it was, or every new one complete
    one_line: int = 0  # no traceback
    repeated: int = 0  # the same command gives the same files
    clean: int = 0  # nothing else is left
    failures: list[str] = field(default_factory=list)


class Bench:
    """Prepared folders, one per case, and the results of an undisturbed run in each.

    Parameters
    ----------
    folder : Path
        To work in.
    url : str
        Of a data set in the layout of PTB-XL.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.cases = {case.name: case for case in cases(url)}

    @functools.cache  # noqa: B019
    def prepared(self, name: str) -> Path:
        """Return a folder with all that a case needs, and results that it replaces."""
        case, folder = self.cases[name], self.folder / "prepared" / name
        if case.needs:
            shutil.copytree(self.finished(case.needs[-1]), folder, symlinks=True)
        else:
            folder.mkdir(parents=True)
        (folder / "tmp").mkdir(exist_ok=True)
        if case.before:
            self.must(case.run(folder, words=case.before), name)
        return folder

    @functools.cache  # noqa: B019
    def finished(self, name: str) -> Path:
        """Return a folder in which a case has run undisturbed."""
        folder = self.folder / "finished" / name
        shutil.copytree(self.prepared(name), folder, symlinks=True)
        self.must(self.cases[name].run(folder), name)
        return folder

    @functools.cache  # noqa: B019
    def operations(self, name: str) -> list[tuple[str, str]]:
        """Return the file operations of the undisturbed run."""
        self.finished(name)
        lines = (self.folder / "finished" / f"{name}.streams" / "operations").read_text()
        return [tuple(line.split("\t", 1)) for line in lines.splitlines()]  # type: ignore[misc]

    @staticmethod
    def must(outcome: Outcome, name: str) -> None:
        """Raise if an undisturbed run has failed."""
        if outcome.code:
            raise RuntimeError(f"{name} failed without a fault: {outcome.errors[-2000:]}")

    @contextlib.contextmanager
    def copy(self, name: str) -> Iterator[Path]:
        """Yield a copy of the prepared folder of a case."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            shutil.copytree(self.prepared(name), Path(folder) / name, symlinks=True)
            yield Path(folder) / name

    def judge(
        self, row: Row, outcome: Outcome, folder: Path, where: str, is_reported: bool = False
    ) -> None:
        """Count a run with a fault, and repeat the command.

        If the run has reported what it wrote, all of it has to be there.
        """
        case = self.cases[row.command]
        old, new = contents(self.prepared(case.name)), contents(self.finished(case.name))
        # The deletion of a lock is not flushed: after a power cut its files may be there, unlocked.
        ignored = (*IGNORED, ".lock.json") if row.fault == "power cut" else IGNORED
        found = contents(folder, ignored)
        row.runs += 1
        # Results that were there are all there, either as they were or as they will be.
        changed = {name for name in old if old[name] != new.get(name)}
        changed |= {name for name in new if name not in old and case.before}
        is_old = all(found.get(name) == old.get(name) for name in changed)
        is_new = all(found.get(name) == new.get(name) for name in changed)
        kept = all(found.get(name) == old[name] for name in old if name not in changed)
        # No part of a new file has its name, except of those that grow.
        added = all(
            found.get(name, new[name]) == new[name]
            for name in {*new} - {*old} - changed
            if Path(name).name not in GROWING
        )
        is_whole = (is_old or is_new) and kept and added
        if is_reported:
            is_whole = all(found.get(name) == new[name] for name in new)
        lines = outcome.errors.strip().splitlines()
        is_line = outcome.code in (0, -9) or not any(line.startswith("Traceback") for line in lines)
        row.whole += is_whole
        row.one_line += is_line
        problems = [] if is_whole else ["an old result is lost, or a part of a new one is there"]
        problems += [] if is_line else [f"traceback: {lines[-1]}"]
        again = case.run(folder)
        after = contents(folder, ignored)
        is_same = again.code == 0 and all(after.get(name) == new[name] for name in new)
        rest = sorted({*after} - {*new})
        row.repeated += is_same
        row.clean += not rest
        if not is_same:
            differs = [name for name in new if after.get(name) != new[name]]
            message = again.errors.strip().splitlines()[-1:] or ["exit code 0"]
            problems.append(f"repeated: {message[0]} {differs[:3]}")
        problems += [f"left: {rest[:3]}"] if rest else []
        row.failures += [f"{where}: {problem}" for problem in problems]

    def numbers(self, name: str, n: int, kinds: tuple[str, ...] = ()) -> list[int]:
        """Return the numbers of n operations of these kinds, spread over a run, and of the last."""
        total = sum(not kinds or kind in kinds for kind, _ in self.operations(name))
        steps = range(min(n, total))
        return sorted({total - round(i * (total - 1) / max(n - 1, 1)) for i in steps})

    def moments(self, name: str, n: int) -> list[int]:
        """Return the numbers of n operations of any kind, half of them renames and deletions."""
        moves = [i for i, (kind, _) in enumerate(self.operations(name), 1) if kind in MOVES]
        chosen = {moves[i - 1] for i in self.numbers(name, n - n // 2, MOVES)}
        others = [i for i in self.numbers(name, n) if i not in chosen]
        return sorted({*chosen, *others[:: max(1, len(others) // max(n // 2, 1))][: n // 2]})

    def killed(self, name: str, n: int) -> Row:
        """Kill a command at n of its file operations."""
        row = Row("killed", name)
        for number in self.moments(name, n):
            with self.copy(name) as folder:
                outcome = self.cases[name].run(folder, Fault(number, kill))
                at = " ".join(outcome.operations[-1]) if outcome.operations else ""
                self.judge(row, outcome, folder, f"operation {number} ({at})")
        return row

    def failing(self, name: str, n: int, kinds: tuple[str, ...], lasting: bool) -> Row:
        """Let file operations fail."""
        what = {"open": "write", "rmdir": "delete", "unlink": "delete", "fsync": "flush"}
        names = dict.fromkeys(what.get(kind, kind) for kind in kinds)
        row = Row(f"{' or '.join(names)} fails" + (" from then on" if lasting else ""), name)
        for i, number in enumerate(self.numbers(name, n, kinds)):
            code = ERRORS[i % len(ERRORS)]
            with self.copy(name) as folder:
                fault = Fault(number, error(code), kinds, lasting)
                outcome = self.cases[name].run(folder, fault)
                where = f"{errno.errorcode[code]} at {'/'.join(kinds)} {number}"
                self.judge(row, outcome, folder, where)
        return row

    def full_disk(self, name: str, n: int) -> Row | None:
        """Run a command on disks (tmpfs) that are too small by various amounts."""
        row = Row("disk full", name)
        used, needed = (_size(each) for each in (self.prepared(name), self.finished(name)))
        for i in range(n):
            size = used + (needed - used) * (2 * i + 1) // (2 * n)
            with tempfile.TemporaryDirectory(dir=self.folder) as mount:
                if _call("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", mount):
                    return None
                try:
                    folder = Path(mount) / "w"
                    shutil.copytree(self.prepared(name), folder, symlinks=True)
                    outcome = self.cases[name].run(folder)
                    _call("mount", "-o", "remount,size=1g", mount)
                    self.judge(row, outcome, folder, f"{size >> 10} KiB")
                finally:
                    _call("umount", "-l", mount)
        return row

    def power_cut(self, name: str, n: int) -> Row | None:
        """Cut the power of a disk (an ext4 image) at n operations, and after the end.

        The image is copied at these times: it has what the kernel has written by then.
        """
        row = Row("power cut", name)
        with tempfile.TemporaryDirectory(dir=self.folder) as work:
            image, mount = Path(work) / "image", Path(work) / "mount"
            mount.mkdir()
            with open(image, "wb") as file:
                file.truncate(IMAGE_MB << 20)
            # With inodes of 128 bytes, times are whole seconds after the disk is mounted again.
            make = _call("mkfs.ext4", "-q", "-I", "256", str(image))
            if make or _call("mount", str(image), str(mount)):
                return None
            try:
                folder = mount / "w"
                shutil.copytree(self.prepared(name), folder, symlinks=True)
                os.sync()
                outcomes = self._cut(name, folder, image, self.moments(name, n), Path(work))
            finally:
                _call("umount", "-l", str(mount))
            for number, outcome in outcomes:
                cut = Path(work) / f"cut{number}"
                if _call("mount", str(cut), str(mount)):
                    row.runs += 1
                    row.failures.append(f"operation {number}: the disk cannot be mounted")
                    continue
                try:
                    where = f"operation {number}" if number else "after the end"
                    self.judge(row, outcome, folder, where, is_reported=not number)
                finally:
                    _call("umount", "-l", str(mount))
        return row

    def _cut(
        self, name: str, folder: Path, image: Path, numbers: list[int], work: Path
    ) -> list[tuple[int, Outcome]]:
        """Run a command once; copy the image at some operations, and at the end as number 0."""
        count = iter(range(1, 1 << 30))

        def act(_: str) -> None:
            if (number := next(count)) in numbers:
                _copy_sparse(image, work / f"cut{number}")

        outcome = self.cases[name].run(folder, Fault(1, act, is_lasting=True))
        _copy_sparse(image, work / "cut0")
        self.must(outcome, name)
        return [(number, Outcome(-9, "", [])) for number in numbers] + [(0, outcome)]


def _copy_sparse(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--sparse=always", source, target], check=True)


def _size(folder: Path) -> int:
    """Return the size of a folder on a tmpfs, in pages of 4 KiB."""
    sizes = [path.stat().st_size if path.is_file() else 0 for path in folder.rglob("*")]
    return sum(-(-size // 4096) * 4096 for size in sizes) + 65536


def _call(*words: str) -> int:
    return subprocess.run(words, capture_output=True).returncode


def _serve(folder: str, connection) -> None:
    """Serve a folder by HTTP, in a process of its own."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    connection.send(server.server_port)
    server.serve_forever()


@contextlib.contextmanager
def bench(commands: Sequence[str]) -> Iterator[Bench]:
    """Yield a bench in a temporary folder, with a small PTB-XL on a local server.

    Each command and what it imports on use is imported before processes are forked.
    """
    for name in commands:
        for module in (f"ecg_siglip.{name}", *IMPORTS.get(name, ())):
            importlib.import_module(module)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from helpers import write_ptbxl

    with tempfile.TemporaryDirectory() as folder:
        source = write_ptbxl(Path(folder) / "source")
        files = [path for path in source.rglob("*") if path.is_file()]
        sums = (
            f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(source)}\n"
            for path in files
        )
        (source / "SHA256SUMS.txt").write_text("".join(sums))
        context = get_context("fork")
        ours, theirs = context.Pipe()
        server = context.Process(target=_serve, args=(str(source), theirs), daemon=True)
        server.start()
        try:
            yield Bench(Path(folder), f"http://127.0.0.1:{ours.recv()}")
        finally:
            server.terminate()
