"""The engine of a cluster: Ray workers that each read and predict blocks, as ``LocalEngine`` does.

Without a cluster, Ray is started on this machine for the time of the job: on the loopback interface
alone, without its dashboard and without usage statistics.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecg_siglip import __version__, config
from ecg_siglip.archive.engine import Block, BlockPredictor
from ecg_siglip.archive.local_engine import LocalEngine
from ecg_siglip.archive.reading import Reading
from ecg_siglip.archive.rows import Row
from ecg_siglip.core.files import one_line

N_AHEAD = 3  # blocks that a worker has at a time: one is predicted, the next ones are read
MAX_TRIES = 5  # of a block whose worker ends, and of starting a worker
OBJECT_STORE_BYTES = 1 << 28  # of a Ray that is started here: only models and rows are in it
# Read before Ray is imported. The last one: on Linux, too, a Ray of one machine uses 127.0.0.1.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@dataclass(frozen=True)
class Share:
    """What a worker has of a node.

    Attributes
    ----------
    n_cpus, n_gpus : int
    """

    n_cpus: int
    n_gpus: int


class Worker:
    """A process of a Ray cluster that holds a model and predicts blocks.

    Parameters
    ----------
    version : str
        Of the package that started the job.
    model : mapping of str to bytes
        Files of the model by their path in its folder.
    reading : str
        ``Reading.to_json``.
    settings : PredictConfig
    n_workers : int
        Processes that read.

    Raises
    ------
    ValueError
        If the node has another version of the package.
    """

    def __init__(
        self,
        version: str,
        model: Mapping[str, bytes],
        reading: str,
        settings: config.PredictConfig,
        n_workers: int,
    ):
        from ecg_siglip.inference.predictor import Predictor

        if version != __version__:
            raise ValueError(
                f"engine=ray: the node has ecg_siglip {__version__}, expected {version} as here"
            )
        with tempfile.TemporaryDirectory(prefix="ecg-model-") as name:
            for path, content in model.items():
                target = Path(name, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            predictor = Predictor.load(name, settings.device, settings.language, settings.source)
        predictors = [BlockPredictor(predictor, settings)]
        engine = LocalEngine(Reading.from_json(reading), predictors, n_workers)
        self._threads = contextlib.ExitStack()
        self._predict = self._threads.enter_context(engine.started())

    def is_ready(self) -> bool:
        """Return True, when the model is loaded."""
        return True

    def rows(self, block: Block) -> bytes:
        """Return the rows of a block as JSON."""
        return json.dumps(self._predict(block)()).encode()


@dataclass
class _Job:
    """Calls that workers are busy with, and blocks that wait.

    Attributes
    ----------
    blocks : iterator of Block
    again : deque of Block
        Whose worker ended.
    calls : dict
        Worker and block of each call; no block: the worker is starting.
    tries : Counter
        Number of times that the worker of a block ended.
    n_failed_starts : int
        In sequence.
    """

    blocks: Iterator[Block]
    again: deque[Block] = field(default_factory=deque)
    calls: dict[Any, tuple[int, Block | None]] = field(default_factory=dict)
    tries: Counter[int] = field(default_factory=Counter)
    n_failed_starts: int = 0

    def next_block(self) -> Block | None:
        """Return the next block to predict; None if there is none."""
        return self.again.popleft() if self.again else next(self.blocks, None)


class RayEngine:
    """Predicts the blocks of a job in the workers of a Ray cluster, in any order.

    Parameters
    ----------
    reading : Reading
    model : Path
        Folder of the model; its files are sent to the workers.
    settings : PredictConfig
    address : str, optional
        ``ray://host:10001``, ``host:6379`` or ``auto``; None: that of the variable RAY_ADDRESS, or
        a Ray that is started on this machine.
    n_workers : int, optional
        Processes that read, of each worker; None: one per core.

    Notes
    -----
    The files of the records are read by the workers: on a cluster, paths have to lead to the same
    files on every node, or be addresses (``s3://...``).
    """

    def __init__(
        self,
        reading: Reading,
        model: Path,
        settings: config.PredictConfig,
        address: str | None = None,
        n_workers: int | None = None,
    ):
        self.reading = reading
        self.model = model
        self.settings = settings
        self.address = address or os.environ.get("RAY_ADDRESS")
        self.n_workers = n_workers

    def run(self, blocks: Iterable[Block]) -> Iterator[tuple[int, list[Row]]]:
        """Yield the number and the rows of each block.

        If a worker ends, another one takes its place and its blocks.

        Raises
        ------
        ValueError
            If Ray is missing, there is no such cluster, or the workers cannot be started.
        OSError
            If workers end again and again at the same block.
        """
        job = _Job(iter(blocks))
        with _ray(self.address, self.n_workers) as ray:
            arguments = self._arguments(ray)
            shares = _shares(ray.nodes(), self.settings.device)
            workers = [self._start(ray, share, arguments) for share in shares]
            for number, worker in enumerate(workers):
                job.calls[worker.is_ready.remote()] = (number, None)
            while job.calls:
                [call], _ = ray.wait(list(job.calls), num_returns=1)
                number, block = job.calls.pop(call)
                try:
                    result = ray.get(call)
                except ray.exceptions.RayTaskError as error:
                    raise ValueError(f"engine=ray: {one_line(error.cause or error)}") from None
                except ray.exceptions.RayError as error:
                    _put_back(job, number, block, error)
                    workers[number] = self._start(ray, shares[number], arguments)
                    job.calls[workers[number].is_ready.remote()] = (number, None)
                    continue
                if block is not None:
                    yield block.index, json.loads(result)
                else:
                    job.n_failed_starts = 0
                _fill(job, number, workers[number])

    def _arguments(self, ray: Any) -> list[Any]:
        """Return the arguments of ``Worker``, the files of the model stored in the cluster."""
        files = {
            path.relative_to(self.model).as_posix(): path.read_bytes()
            for path in sorted(self.model.rglob("*"))
            if path.is_file()
        }
        return [__version__, ray.put(files), self.reading.to_json(), ray.put(self.settings)]

    def _start(self, ray: Any, share: Share, arguments: list[Any]) -> Any:
        """Start a worker."""
        n_workers = max(1, share.n_cpus if self.n_workers is None else self.n_workers)
        worker = ray.remote(
            num_cpus=share.n_cpus,
            num_gpus=share.n_gpus,
            max_concurrency=N_AHEAD,
            max_restarts=0,  # the driver starts another one and repeats what it had not finished
        )(Worker)
        return worker.remote(*arguments, n_workers)


def _fill(job: _Job, number: int, worker: Any) -> None:
    """Give a worker as many blocks as it takes."""
    n_busy = sum(each == number for each, _ in job.calls.values())
    for _ in range(n_busy, N_AHEAD):
        block = job.next_block()
        if block is None:
            return
        job.calls[worker.rows.remote(block)] = (number, block)


def _put_back(job: _Job, number: int, block: Block | None, error: Exception) -> None:
    """Put back all blocks of a worker that ended.

    Raises
    ------
    ValueError
        If workers cannot be started.
    OSError
        If workers ended too often at the same block.
    """
    if block is None:
        job.n_failed_starts += 1
        is_final = getattr(error, "actor_init_failed", False) or job.n_failed_starts >= MAX_TRIES
        if is_final:
            reason = str(error).strip().splitlines()[-1]  # below the traceback of the worker
            raise ValueError(f"engine=ray: a worker cannot be started: {reason}")
        return
    lost = [block]
    for call in [call for call, (each, _) in job.calls.items() if each == number]:
        _, other = job.calls.pop(call)
        lost += [other] if other is not None else []
    lost.sort(key=lambda each: each.index)
    job.again.extendleft(reversed(lost))
    job.tries.update(each.index for each in lost)
    if job.tries[lost[0].index] >= MAX_TRIES:
        raise OSError(
            f"engine=ray: {MAX_TRIES} workers ended at the records from {lost[0].paths[0]}: "
            f"{one_line(error)}"
        )


def _shares(nodes: Iterable[Mapping[str, Any]], device: str) -> list[Share]:
    """Return what each worker has: of a node with GPUs one worker per GPU, of others one per node.

    If any node has a GPU and the device is not the CPU, nodes without one are not used.

    Raises
    ------
    ValueError
        If no node has a core.
    """
    shares: list[Share] = []
    for node in nodes:
        resources = node["Resources"]
        n_cpus, n_gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        if not node["Alive"] or n_cpus == 0:
            continue
        if n_gpus and device != "cpu":
            shares += [Share(max(1, n_cpus // n_gpus), 1)] * min(n_gpus, n_cpus)
        else:
            shares.append(Share(n_cpus, 0))
    if not shares:
        raise ValueError("engine=ray: no node of the cluster has a core for a worker")
    return [share for share in shares if share.n_gpus] or shares


@contextlib.contextmanager
def _ray(address: str | None, n_workers: int | None) -> Iterator[Any]:
    """Yield Ray, connected to a cluster or started here.

    Raises
    ------
    ValueError
        If it is not installed or cannot be reached.
    """
    os.environ.update(ENVIRONMENT if address else ENVIRONMENT | LOOPBACK)
    try:
        import ray
    except ImportError:
        raise ValueError("engine=ray needs Ray: pip install 'ecg_siglip[ray]'") from None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        options |= {"num_cpus": n_workers or None, "include_dashboard": False}
        options |= {"object_store_memory": OBJECT_STORE_BYTES}
    if address and address.startswith("ray://"):
        options.pop("log_to_driver")
    try:
        ray.init(address=address or "local", **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = address or "on this machine"
        raise ValueError(f"ray_address={where}: cannot be used: {one_line(error)}") from None
    try:
        yield ray
    finally:
        ray.shutdown()
