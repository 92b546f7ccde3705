"""Where uploaded ECGs are answered: files under safe names, one model, one thread for all.

Whoever asks, over the JSON interface or on the page, is served one after the other by one thread:
the model is never used twice at a time, and the one that listens stays free to listen.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TypeVar

from ecg_siglip import answers, ask, config, plots, records, report, sheet
from ecg_siglip.predictor import Predictor

T = TypeVar("T")
PREFIX = "ecg_siglip_"  # of every folder made here
MAX_NAME = 150  # bytes of a file's name
MIN_STEP_S = 2.0  # from window to window


class Busy(Exception):
    """More is waiting than the desk takes."""


@dataclass(frozen=True)
class Read:
    """What became of an upload.

    Attributes
    ----------
    answers : list of answers.Answer
        Named as the files were, without a folder.
    refused : list of (record, error)
        What could not be read, and why, in a line that names no folder of this machine.
    """

    answers: list[answers.Answer]
    refused: list[tuple[str, str]]


class Desk:
    """Answers for uploaded ECGs.

    Parameters
    ----------
    predictor : Predictor
    settings : AppConfig

    Attributes
    ----------
    model : str
        Which model answers, with its version.
    """

    def __init__(self, predictor: Predictor, settings: config.AppConfig):
        self.predictor, self.settings = predictor, settings
        about = predictor.artifact.about
        self.model = f"{about['run']} ({about['version']})"
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="desk")
        self._lock, self._n_waiting = threading.Lock(), 0

    @property
    def n_waiting(self) -> int:
        """How many wait for their answer, the one that is worked on included."""
        return self._n_waiting

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have a piece of work done when its turn comes.

        Raises
        ------
        Busy
            If ``settings.max_waiting`` others are waiting.
        """
        with self._lock:
            if self._n_waiting >= self.settings.max_waiting:
                raise Busy(f"{self._n_waiting} others are waiting; please ask again in a moment")
            self._n_waiting += 1
        future = self._worker.submit(work)
        future.add_done_callback(self._done)
        return future

    def _done(self, _: Future[T]) -> None:
        with self._lock:
            self._n_waiting -= 1

    def close(self) -> None:
        """Finish what is being worked on and take nothing more."""
        self._worker.shutdown(cancel_futures=True)

    def knobs(self, given: dict[str, object]) -> config.PredictConfig:
        """The settings of ``predict`` that a request means, by their names there.

        Parameters
        ----------
        given : dict of str to value
            ``read.fs`` and the like; what is None or empty was not said.

        Raises
        ------
        ValueError
            If a value is out of its range, naming the knob; as ``ask.checked``.
        """
        ours = self.settings
        asked = config.PredictConfig(
            threshold_rule=ours.threshold_rule,
            operating_point=ours.operating_point,
            sensitivity=ours.sensitivity,
            precision=ours.precision,
            n_similar=ours.n_similar,
        )
        for name, value in given.items():
            if value is None or value == "" or value == []:
                continue
            group, _, leaf = name.rpartition(".")
            setattr(getattr(asked, group) if group else asked, leaf, value)
        config.check(asked)
        asked.ask = [ask.checked(question) for question in asked.ask]
        step_s = asked.windows.step_s
        if step_s is not None and step_s < MIN_STEP_S:
            # One record of an hour in steps of a tenth of a second would keep all others waiting.
            raise ValueError(f"windows.step_s={step_s:g}: expected {MIN_STEP_S:g} s or more here")
        return asked

    def read(self, folder: Path, asked: config.PredictConfig) -> Read:
        """Answer for every record of a folder; to be submitted, not called.

        Parameters
        ----------
        folder : Path
            Holds what was uploaded and nothing else.
        asked : PredictConfig
            As ``knobs`` makes it.

        Raises
        ------
        ValueError
            If the model has no thresholds as they are asked for.
        """
        refused: list[tuple[str, str]] = []

        def keep(path: Path, error: Exception) -> None:
            refused.append((_name(path), without(folder, error)))

        paths = records_among(folder)
        found: list[answers.Answer] = []
        # In parts, so that the memory needed does not grow with the upload.
        for start in range(0, len(paths), asked.batch_size):
            part = paths[start : start + asked.batch_size]
            found += answers.answered(self.predictor, part, asked, keep)
        named = [replace(answer, record=_name(Path(answer.record))) for answer in found]
        return Read(named, refused)

    def decide(self, answer: answers.Answer, asked: config.PredictConfig) -> answers.Answer:
        """The same answer by other thresholds (errors as ``Predictor.findings``)."""
        return answers.decided(self.predictor, answer, asked)

    def ask(self, answer: answers.Answer, question: str) -> ask.Asked:
        """What a question means, and the model's answer; errors as ``ask.ask``."""
        return ask.ask(self.predictor, answer.signal, question)

    def sheet(self, answer: answers.Answer, codes: Sequence[str] = ()) -> sheet.Sheet:
        """An answer as a sheet, with reasons; errors as ``Predictor.attribute``."""
        return answers.sheet_of(self.predictor, answer, codes)

    def drawn(self, answer: answers.Answer, code: str | None) -> dict[str, str]:
        """The ECG on its paper as an inline image, with what speaks for a finding marked."""
        drawn = self.sheet(answer, [code] if code else [])
        marked = drawn.marks[code] if code else None
        figure = plots.ecg_figure(drawn.signal, drawn.fs, marked=marked)
        return report.inline(figure, "png", f"12-lead ECG of {answer.record}")

    def written(
        self, answer: answers.Answer, codes: Sequence[str], suffix: str, rule: str
    ) -> bytes:
        """The sheet of an answer as a file, ``.html`` or ``.pdf``; errors as ``sheet``."""
        with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
            path = Path(folder) / f"sheet{suffix}"
            sheet.write(path, [self.sheet(answer, codes)], self.model, rule)
            return path.read_bytes()


# ------------------------------------------------------------------------------ uploaded files


def keep(files: Iterable[tuple[str, IO[bytes]]], folder: Path) -> None:
    """Write uploaded files to a folder, under the last part of their names.

    Parameters
    ----------
    files : iterable of (name, file open for reading)
    folder : Path

    Raises
    ------
    ValueError
        If a name is none, or two are the same.
    """
    for given, source in files:
        path = folder / safe_name(given)
        if path.exists():
            raise ValueError(f"two files are named {path.name}; expected each name once")
        with path.open("xb") as target:
            shutil.copyfileobj(source, target)


def safe_name(given: str) -> str:
    """A file's name without any folder, fit to be written and to be shown.

    Raises
    ------
    ValueError
        If nothing is left of it, or it is too long.

    Examples
    --------
    >>> safe_name("..\\\\..\\\\etc/00001_lr.hea")
    '00001_lr.hea'
    """
    name = re.split(r"[/\\]", given)[-1]
    # What a WFDB header writes of its files is kept as it is.
    name = re.sub(r"[^\w .,+()@~=-]", "_", name).strip()
    if not name.strip("."):
        raise ValueError(f"a file without a name: {given[-60:]!r}")
    if len(name.encode()) > MAX_NAME:
        raise ValueError(f"a name of {len(name.encode())} bytes; expected {MAX_NAME} at most")
    return name


def records_among(folder: Path) -> list[Path]:
    """The records in a folder of uploads; whatever is no part of another is one by itself.

    Notes
    -----
    Other than ``records.find`` it passes over nothing: who uploads a file is told what became of
    it.
    """
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    parts = set()
    for header in paths:
        if header.suffix.lower() == ".hea":
            stems = {header.with_suffix(suffix).name for suffix in (".dat", ".mat")}
            said = header.read_bytes()[: 1 << 20].decode("latin-1").splitlines()
            parts |= stems | {line.split()[0] for line in said[1:] if line.strip()}
    return [path for path in paths if path.suffix.lower() == ".hea" or path.name not in parts]


def without(folder: Path, error: BaseException) -> str:
    """The message of an error on one line, without the folder that the upload lies in."""
    message = config.one_line(error)
    for path in {str(folder), str(folder.resolve())}:
        message = message.replace(f"{path}/", "").replace(path, "the upload")
    return message


def _name(path: Path) -> str:
    return path.stem if path.suffix.lower() in records.WFDB_SUFFIXES else path.name


# ------------------------------------------------------------------------------------ as a table


def table(read: Read) -> str:
    """What became of an upload as CSV: one row a record, one column a finding.

    Notes
    -----
    Text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    codes = [finding.code for finding in read.answers[0].findings] if read.answers else []
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["record", "findings", "not_excluded", "cannot_be_seen", "warnings", "error"]
    writer.writerow([*head, *(f"probability/{code}" for code in codes)])
    for answer in read.answers:
        said = [
            answer.record,
            " ".join(f.code for f in answer.findings if f.present),
            " ".join(f.code for f in answer.findings if f.certainty == "possible"),
            " ".join(f.code for f in answer.findings if not f.seen),
            "; ".join(answer.warnings),
            "",
        ]
        row = [f"{f.probability:.6f}" if f.seen else "" for f in answer.findings]
        writer.writerow([*map(_no_formula, said), *row])
    for record, error in read.refused:
        said = [record, "", "", "", "", error]
        writer.writerow([*map(_no_formula, said), *[""] * len(codes)])
    return out.getvalue()


def _no_formula(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text
