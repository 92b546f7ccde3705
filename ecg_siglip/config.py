"""Every knob of every verb on one page, with its unit and range, and the door that checks them.

A verb's configuration is one YAML file of ``conf/`` on top of the dataclass here that bears the
verb's name. ``run`` composes both with the command line, checks every range, and hands the verb a
plain dataclass: from there on nothing of Hydra is left.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import re
import shlex
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE_DIR = Path(__file__).resolve().parent
# In a checkout conf/ stands beside the package, in an installed wheel inside it.
CONF_DIR = next(
    (path for path in (PACKAGE_DIR / "conf", PACKAGE_DIR.parent / "conf") if path.is_dir()),
    PACKAGE_DIR / "conf",
)

TASKS = ("all", "diagnostic", "subdiagnostic", "superdiagnostic", "form", "rhythm")
LANGUAGES = ("en", "de", "ja")
REPORTS = ("all", "validated", "written")
# Knobs of train that say where and how fast, not what: they may differ within one run or recipe.
FREE_KNOBS = ("data.n_workers", "data.cache_dir", "device", "n_threads", "save_every_s")
THRESHOLD_RULES = ("fixed_0.5", "f1", "prevalence", "global", "expected_f1")


def knob(
    default: Any,
    doc: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A configuration field that carries its own meaning, unit and range.

    Parameters
    ----------
    default : value, or a list (copied for each configuration)
    doc : str
        What it does, with the unit.
    low, high : float, optional
        Inclusive range of the number, or of every number in a list.
    choices : tuple of str, optional
        The words allowed.
    """
    metadata = {"doc": doc, "low": low, "high": high, "choices": choices}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def group(schema: type) -> Any:
    """A group of knobs with its defaults."""
    return dataclasses.field(default_factory=schema)


@dataclass
class RunConfig:
    name: str = knob("???", "name of the run: its folder is root/name; said again, it resumes")
    root: str = knob("runs", "folder of all runs")


@dataclass
class DataConfig:
    root: str = knob("???", "folder with ptbxl_database.csv, scp_statements.csv and records100/")
    fs: int = knob(100, "sampling rate of the files read, Hz: 100 (records100/) or 500", 100, 500)
    task: str = knob("all", "which PTB-XL statements are the findings", choices=TASKS)
    train_folds: list[int] = knob([1, 2, 3, 4, 5, 6, 7, 8], "strat_fold to learn from", 1, 10)
    train_share: float = knob(1.0, "share of the training records to learn from", 0.001, 1.0)
    held_out: list[str] = knob(
        [], "findings that training never hears of, to be asked for afterwards: [AFIB,IMI]"
    )
    reports: str = knob(
        "all",
        "which reports are read: all; validated: of records that a person has checked; written: "
        "not first by the recorder",
        choices=REPORTS,
    )
    tune_fold: int = knob(9, "strat_fold for thresholds, calibration, the best epoch", 1, 10)
    allow_missing: bool = knob(False, "go on when listed records are absent on disk")
    cache_dir: str | None = knob(None, "folder of the waveform cache; null: root/cache")
    n_workers: int | None = knob(None, "processes that read files; null: one per core", 1, 256)


@dataclass
class WaveformConfig:
    fs: int = knob(100, "sampling rate that the model sees, Hz", 50, 1000)
    duration_s: float = knob(10.0, "length that the model sees, s", 1.0, 60.0)
    low_hz: float | None = knob(None, "zero-phase high-pass corner, Hz; null: none", 0.01, 5.0)
    high_hz: float | None = knob(None, "zero-phase low-pass corner, Hz; null: none", 10.0, 250.0)
    allow_short: bool = knob(False, "pad shorter records with zeros instead of refusing them")
    allow_flat: bool = knob(False, "accept a lead without any signal instead of refusing it")


@dataclass
class AugmentConfig:
    shift_s: float = knob(1.0, "largest random shift in time, s", 0.0, 10.0)
    gain: float = knob(0.2, "largest random change of amplitude, as a fraction", 0.0, 0.9)
    wander_mv: float = knob(0.1, "largest random baseline wander, mV", 0.0, 2.0)
    lead_mask: float = knob(0.1, "chance that a lead is blanked", 0.0, 0.9)
    fewer_leads: float = knob(
        0.0, "chance that a record comes with limb leads, some of V1-V6, I or II alone", 0.0, 1.0
    )
    time_mask_s: float = knob(0.0, "longest stretch of time that is blanked, s", 0.0, 10.0)
    mixup: float = knob(
        0.4, "two records are blended, by shares from Beta(mixup, mixup); 0: none", 0.0, 10.0
    )


@dataclass
class EcgConfig:
    name: str = knob("resnet1d", "ECG encoder", choices=("resnet1d", "xresnet1d", "transformer"))
    width: int = knob(32, "channels of the first stage (resnet1d) or of a token", 8, 2048)
    depths: list[int] = knob([2, 2, 2, 2], "blocks per stage; the transformer has one", 1, 64)
    kernel_size: int = knob(5, "samples per convolution in a block, odd (resnet1d)", 3, 31)
    stem_size: int = knob(11, "samples per convolution in the stem, odd", 3, 63)
    stem_stride: int = knob(2, "samples per step of the stem", 1, 50)
    n_heads: int = knob(4, "attention heads (transformer)", 1, 32)
    dropout: float = knob(0.2, "dropout on the pooled features", 0.0, 0.9)
    weights: str | None = knob(
        None, "finished run or model whose ECG encoder this one starts from; null: at random"
    )
    locked: bool = knob(False, "keep the ECG encoder's weights as they start; only project")
    drop_path: float = knob(
        0.0, "chance that a block is skipped (resnet1d); dropout in it (transformer)", 0.0, 0.9
    )


@dataclass
class TextConfig:
    name: str = knob(
        "small",
        "`small`: the built-in encoder; `none`: a supervised head without words, for comparison; "
        "`minilm`: from its package; else a Hugging Face name or folder",
    )
    language: str = knob(
        "en",
        "language of the finding prompts; mixed: another one each step, asked in English",
        choices=(*LANGUAGES, "mixed"),
    )
    vocab_size: int = knob(2048, "tokens of the built-in tokenizer", 300, 65536)
    width: int = knob(128, "channels of a token (built-in encoder)", 16, 2048)
    depth: int = knob(2, "layers (built-in encoder)", 1, 24)
    n_heads: int = knob(4, "attention heads (built-in encoder)", 1, 32)
    max_tokens: int = knob(64, "longer texts are cut", 8, 512)
    locked: bool = knob(False, "keep the text encoder's weights as they are; only project")
    pool: str = knob("mean", "how tokens become one vector", choices=("mean", "first", "last"))
    lora_rank: int = knob(
        0, "LoRA: a Hugging Face encoder stays, matrices of this rank learn; 0: it learns", 0, 512
    )
    lora_alpha: int = knob(16, "LoRA: what they add counts lora_alpha / lora_rank", 1, 1024)


@dataclass
class ObjectiveConfig:
    terms: str = knob("bank", "text/targets:weight, joined by +; bank alone means bank/present")
    loss: str = knob(
        "sigmoid", "pair loss (sigmoid: SigLIP, softmax: CLIP)", choices=("sigmoid", "softmax")
    )
    exclude: list[str] = knob([], "findings that set-valued targets do not look at")
    teachers: list[str] = knob(
        [], "finished runs that share in the labels, each where it was not trained: [teacher_*]"
    )
    teacher_share: float = knob(0.3, "their part of a label", 0.0, 1.0)
    n_chunk: int | None = knob(None, "texts per chunk of the pair matrix; null: what fits", 1)
    across: str = knob(
        "gather",
        "how devices share texts: gather all, or pass them round in a ring",
        choices=("gather", "ring"),
    )
    logit_scale: float = knob(10.0, "scale at the start, exp(log_scale)", 0.1, 100.0)
    logit_bias: float | None = knob(
        None, "bias at the start; null: log-odds of the measured positive rate", -50.0, 50.0
    )


@dataclass
class OptimConfig:
    n_epochs: int = knob(60, "passes over the training folds", 1, 10000)
    batch_size: int = knob(128, "records per step, over all devices", 2, 1 << 20)
    lr: float = knob(2e-3, "peak learning rate of AdamW", 1e-8, 1.0)
    final_lr: float = knob(0.5, "rate at the last step, as a share of the peak", 0.0, 1.0)
    text_lr: float = knob(1.0, "factor on the learning rate of the text encoder", 0.0, 10.0)
    weight_decay: float = knob(0.05, "decoupled weight decay, matrices only", 0.0, 1.0)
    warmup: float = knob(0.1, "share of the steps in which the rate rises", 0.0, 1.0)
    clip_norm: float = knob(1.0, "largest norm of the gradient; 0: no clipping", 0.0, 1e6)
    ema: float = knob(0.999, "decay a step of the averaged weights; 0: none", 0.0, 1.0)


@dataclass
class TrainConfig:
    run: RunConfig = group(RunConfig)
    data: DataConfig = group(DataConfig)
    waveform: WaveformConfig = group(WaveformConfig)
    augment: AugmentConfig = group(AugmentConfig)
    ecg: EcgConfig = group(EcgConfig)
    text: TextConfig = group(TextConfig)
    objective: ObjectiveConfig = group(ObjectiveConfig)
    optim: OptimConfig = group(OptimConfig)
    embed_dim: int = knob(128, "length of the shared embedding", 2, 8192)
    seed: int = knob(0, "seed of weights, order, augmentation", 0, 2**31 - 1)
    device: str = knob("auto", "auto, cpu, cuda", choices=("auto", "cpu", "cuda"))
    precision: str = knob(
        "auto", "auto: bfloat16 on a GPU, float32 on a CPU", choices=("auto", "float32", "bfloat16")
    )
    n_threads: int | None = knob(None, "CPU threads; null: PyTorch's choice", 1, 1024)
    compile: bool = knob(False, "torch.compile the ECG encoder")
    keep_embeddings: bool = knob(
        True, "the model holds its training records' numbers and embeddings: similar ECGs, novelty"
    )
    save_every_s: float = knob(30.0, "time between saved states within an epoch, s", 0.0, 1e6)


@dataclass
class EvaluateData:
    root: str | None = knob(None, "folder of the data; null: where the run was trained")
    allow_missing: bool = knob(False, "go on when listed records are absent on disk")
    cache_dir: str | None = knob(None, "folder of the waveform cache; null: root/cache")
    n_workers: int | None = knob(None, "processes that read files; null: one per core", 1, 256)


@dataclass
class EvaluatedData(EvaluateData):
    kind: str = knob(
        "ptbxl",
        "what lies in root: PTB-XL, or with data=challenge a folder a hospital",
        choices=("ptbxl", "challenge"),
    )
    ptbxl: str | None = knob(
        None,
        "challenge: folder with the ptbxl_database.csv that has the folds of records HRnnnnn; "
        "null: where the run was trained",
    )
    min_positives: int = knob(
        5, "challenge: records of a set that a finding needs to be scored on it", 1
    )


@dataclass
class EvaluateConfig:
    run: RunConfig = group(RunConfig)
    data: EvaluatedData = group(EvaluatedData)
    fold: int = knob(10, "strat_fold to report on", 1, 10)
    labelled_only: bool = knob(False, "score only records with at least one finding of the task")
    n_bootstrap: int = knob(1000, "resamples of the records for the 95 % intervals", 0, 100000)
    batch_size: int = knob(256, "records per step", 1, 1 << 20)
    report: bool = knob(True, "write report.html as well")
    device: str = knob("auto", "auto, cpu, cuda", choices=("auto", "cpu", "cuda"))


@dataclass
class CompareConfig:
    runs: list[str] = knob([], "names of runs; * and ? stand for any: ['bank_s*','clip_s*']")
    root: str = knob("runs", "folder of all runs")
    baseline: str | None = knob(None, "recipe that the others are held against; null: the first")
    fold: int = knob(10, "strat_fold to compare on", 1, 10)
    x: str | None = knob(None, "also draw the scores along this knob, as optim.batch_size")
    n_resamples: int = knob(1000, "of the bootstrap and of the permutation test", 0, 100000)
    out: str = knob("comparison", "folder to write; replaced if it is there")
    data: EvaluateData = group(EvaluateData)
    device: str = knob("auto", "auto, cpu, cuda", choices=("auto", "cpu", "cuda"))


@dataclass
class EnsembleConfig:
    run: RunConfig = group(RunConfig)
    runs: list[str] = knob([], "names of finished runs; * and ? stand for any: ['bank_s*']")
    data: EvaluateData = group(EvaluateData)
    device: str = knob("auto", "auto, cpu, cuda", choices=("auto", "cpu", "cuda"))


@dataclass
class PredictWaveform:
    allow_short: bool = knob(False, "pad shorter records with zeros instead of refusing them")
    allow_flat: bool = knob(False, "accept a lead without any signal instead of refusing it")
    allow_missing_leads: bool = knob(
        False, "answer without some leads; needs a model trained with augment.fewer_leads"
    )


@dataclass
class ReadConfig:
    fs: float | None = knob(
        None, "sampling rate of files that state none, Hz (tables, .npy)", 50.0, 20000.0
    )
    units: str | None = knob(None, "units of files that state none", choices=("uV", "mV", "V"))
    leads: list[str] = knob([], "leads of files that name none, in their order: [I,II,...]")


@dataclass
class WindowsConfig:
    step_s: float | None = knob(
        None,
        "long records: from one window to the next, s; null: the model's length, no overlap",
        0.1,
        86400.0,
    )
    sustained_s: float = knob(
        30.0,
        "long records: for how long a finding has to be there, s; up to a window's: in any one",
        0.0,
        86400.0,
    )


@dataclass
class PredictConfig:
    run: RunConfig = group(RunConfig)
    records: list[str] = knob([], "files of any format; a folder: every record below it")
    read: ReadConfig = group(ReadConfig)
    model: str | None = knob(
        None, "folder of a model, or owner/name[@revision] on the hub; null: the run's"
    )
    threshold_rule: str = knob("expected_f1", "which thresholds decide", choices=THRESHOLD_RULES)
    operating_point: str = knob(
        "balanced",
        "screening: miss few (sensitivity); balanced: threshold_rule; confirm: be sure (precision)",
        choices=("screening", "balanced", "confirm"),
    )
    sensitivity: float = knob(0.9, "wanted of each finding: 0.8, 0.9, 0.95 or 0.98", 0.8, 0.98)
    precision: float = knob(0.8, "wanted of each finding: 0.5, 0.7, 0.8 or 0.9", 0.5, 0.9)
    report: str | None = knob(None, "also write a sheet a record: a name in .html or .pdf")
    n_reasons: int = knob(0, "findings of a sheet whose reasons are drawn", 0, 12)
    language: str | None = knob(
        None, "language to ask in; null: what the model was tuned with", choices=LANGUAGES
    )
    n_similar: int = knob(0, "training ECGs most like the record to name, with findings", 0, 100)
    ask: list[str] = knob([], "questions about each record, in English, German or Japanese")
    waveform: PredictWaveform = group(PredictWaveform)
    windows: WindowsConfig = group(WindowsConfig)
    batch_size: int = knob(64, "records, or windows of a long one, per step", 1, 1 << 20)
    device: str = knob("auto", "auto, cpu, cuda", choices=("auto", "cpu", "cuda"))


@dataclass
class ExportConfig:
    run: RunConfig = group(RunConfig)
    model: str | None = knob(
        None, "folder of a model, or owner/name[@revision] on the hub; null: the run's"
    )
    to: str = knob("onnx", "onnx: one file; hub: the Hugging Face hub", choices=("onnx", "hub"))
    out: str | None = knob(None, "file to write; null: model.onnx in the run's folder (onnx)")
    repo: str | None = knob(None, "owner/name, made if it is not there (hub)")
    revision: str | None = knob(None, "branch, made if it is not there; null: main (hub)")
    private: bool = knob(True, "a new repository is seen by its owner only (hub)")


@dataclass
class AppConfig:
    run: RunConfig = group(RunConfig)
    model: str | None = knob(
        None, "folder of a model, or owner/name[@revision] on the hub; null: the run's"
    )
    host: str = knob("127.0.0.1", "address to listen on; any other lets other machines ask")
    port: int = knob(7860, "port to listen on; 0: any that is free", 0, 65535)
    hosts: list[str] = knob([], "further names by which the page may be called; '*': any")
    max_mb: float = knob(32.0, "largest upload, all of its files together, MB", 0.001, 256.0)
    max_files: int = knob(200, "files of an upload", 1, 1000)
    max_waiting: int = knob(64, "who may wait for an answer; others shall come back", 1, 4096)
    timeout_s: float = knob(60.0, "longest wait for an answer, s", 0.1, 3600.0)
    threshold_rule: str = knob("expected_f1", "which thresholds decide", choices=THRESHOLD_RULES)
    operating_point: str = knob(
        "balanced",
        "screening: miss few (sensitivity); balanced: threshold_rule; confirm: be sure (precision)",
        choices=("screening", "balanced", "confirm"),
    )
    sensitivity: float = knob(0.9, "wanted of each finding: 0.8, 0.9, 0.95 or 0.98", 0.8, 0.98)
    precision: float = knob(0.8, "wanted of each finding: 0.5, 0.7, 0.8 or 0.9", 0.5, 0.9)
    language: str | None = knob(
        None, "language to ask in; null: what the model was tuned with", choices=LANGUAGES
    )
    n_similar: int = knob(3, "training ECGs most like the record that the page names", 0, 100)
    n_threads: int | None = knob(None, "CPU threads; null: PyTorch's choice", 1, 1024)
    device: str = knob("auto", "auto, cpu, cuda", choices=("auto", "cpu", "cuda"))


@dataclass
class PtbxlData:
    root: str = knob("???", "folder to download to and to cache from")
    fs: int = knob(100, "sampling rate of the files, Hz: 100 or 500", 100, 500)
    allow_missing: bool = knob(False, "go on when listed records are absent on disk")
    cache_dir: str | None = knob(None, "folder of the waveform cache; null: root/cache")
    n_workers: int | None = knob(None, "processes that read files; null: one per core", 1, 256)


@dataclass
class PtbxlConfig:
    data: PtbxlData = group(PtbxlData)
    waveform: WaveformConfig = group(WaveformConfig)
    url: str = knob("https://physionet.org/files/ptb-xl/1.0.3", "where PTB-XL lies")
    n_downloads: int = knob(8, "files fetched at the same time", 1, 64)
    timeout_s: float = knob(30.0, "a connection silent for longer is tried again, s", 0.1, 3600.0)
    n_retries: int = knob(5, "tries for each file", 1, 100)
    download: bool = knob(True, "fetch what is missing; false: only check and cache")


@dataclass
class SimulateData:
    root: str = knob("???", "folder to write to; must not exist or be empty")


@dataclass
class SimulateConfig:
    data: SimulateData = group(SimulateData)
    n_records: int = knob(2000, "records to simulate", 10, 1000000)
    seed: int = knob(0, "same seed, same bytes", 0, 2**31 - 1)
    records500: bool = knob(False, "write records500/ as well")
    n_workers: int | None = knob(None, "processes; null: one per core", 1, 256)


def check(config: Any, prefix: str = "") -> None:
    """Hold every field of a configuration to its range.

    Raises
    ------
    ValueError
        Names the knob, the value it has and the range it must lie in.
    """
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            check(value, f"{name}.")
            continue
        low, high = field.metadata.get("low"), field.metadata.get("high")
        choices = field.metadata.get("choices")
        for item in value if isinstance(value, list) else [value]:
            if item is None:
                continue
            if choices and item not in choices:
                raise ValueError(f"{name}={item}: expected one of {', '.join(choices)}")
            if low is not None and not item >= low:
                raise ValueError(f"{name}={item}: expected at least {low}")
            if high is not None and not item <= high:
                raise ValueError(f"{name}={item}: expected at most {high}")


def knobs(schema: type) -> list[str]:
    """All knobs of a configuration, dotted, in the order of the page."""
    return [name for name, _ in _fields(schema)]


def meaning(schema: type, name: str) -> str:
    """What a knob does, with its unit."""
    return str(dict(_fields(schema))[name].metadata["doc"])


def find_runs(root: Path, patterns: list[str], knob: str = "runs") -> list[str]:
    """Names of the runs meant, in the order they are named; ``*`` and ``?`` stand for any.

    Raises
    ------
    ValueError
        If nothing is named, or a name or pattern fits no run.
    """
    if not patterns:
        raise ValueError("no run named: expected runs=[bank_s0,bank_s1,...] or runs=['bank_s*']")
    known = sorted(path.parent.name for path in root.glob("*/config.yaml"))
    found: list[str] = []
    for pattern in patterns:
        names = fnmatch.filter(known, pattern)
        if not names:
            raise ValueError(
                f"{knob}: {pattern} fits no run in {root}; expected one of "
                f"{', '.join(known) or '(there is none)'}"
            )
        found += [name for name in names if name not in found]
    return found


def model_of(run: RunConfig, model: str | None) -> str | Path:
    """The model that a verb shall answer with: the one named, or else the run's.

    Raises
    ------
    ValueError
        If neither is named, or the run has left no model.
    """
    if model is not None:
        return model
    if not run.name:
        raise ValueError("no model named: expected run.name=... or model=...")
    folder = Path(run.root) / run.name / "model"
    if not folder.is_dir():
        raise ValueError(f"{folder}: no trained model there; expected the name of a finished run")
    return folder


def to_yaml(config: Any) -> str:
    """A configuration as YAML, as ``runs/<name>/config.yaml`` holds it."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.structured(config))


# What a configuration meant that was stored before the knob was there.
BEFORE = {"optim.final_lr": 0.0, "augment.mixup": 0.0}


def from_yaml(schema: type, path: Path) -> Any:
    """Read back what ``to_yaml`` wrote, be it by an earlier version.

    Raises
    ------
    ValueError
        If the file holds a knob that this version does not know, or a value of another type.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        stored = OmegaConf.load(path)
        for name, value in BEFORE.items():
            if schema is TrainConfig and OmegaConf.select(stored, name) is None:
                OmegaConf.update(stored, name, value)
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), stored))
    except OmegaConfBaseException as error:
        raise ValueError(
            f"{path}: not a configuration of this version: {one_line(error)}"
        ) from error


def one_line(error: BaseException) -> str:
    """The message of an error on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def help_page(verb: str, schema: type, summary: str) -> str:
    """What ``--help`` prints: every knob with its default, meaning, unit and range.

    Parameters
    ----------
    verb : str
    schema : type
        The configuration of the verb.
    summary : str
        What the verb does, in a line.
    """
    lines = [f"python -m ecg_siglip.{verb} KNOB=VALUE ...", "", summary, ""]
    hints = typing.get_type_hints(schema)
    if verb == "train":
        groups = (*hints, "tune", "experiment")
        lines += ["Sets of knobs by name, each a file of conf/; what is taken if nothing is said:"]
        taken = (CONF_DIR / "train.yaml").read_text("utf-8")
        for name in [name for name in groups if (CONF_DIR / name).is_dir()]:
            chosen = re.search(rf"^  - {name}: (\w+)", taken, re.MULTILINE)
            lines += [f"  {name}={chosen[1] if chosen else 'null'}"]
            for path in sorted((CONF_DIR / name).glob("*.yaml")):
                text = path.read_text("utf-8").removeprefix("# @package _global_\n")
                about = text.partition("\n")[0].removeprefix("# ")
                lines += [f"    {path.stem:18} {about}"]
        lines += [""]
    lines += ["Knobs, what they are if nothing is said, what they mean:"]
    defaults = _defaults(verb)
    for name, field in _fields(schema):
        made = field.default_factory
        default = field.default if made is dataclasses.MISSING else made()
        default = defaults.get(name, default)
        low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
        allowed = ", ".join(choices) if choices else ""
        if low is not None:
            allowed = f"{low} to {high}" if high is not None else f"{low} or more"
        shown = "null" if default is None else str(default).replace(" ", "")
        about = field.metadata["doc"] + (f" [{allowed}]" if allowed else "")
        lines += [f"  {f'{name}={shown}':34} {about}"]
    lines += [
        "",
        "???: has to be said. A list: 'data.train_folds=[1,2]'. Several runs: seed=0,1,2 -m.",
        "The configuration as composed: --cfg job. Hydra's own flags: --hydra-help.",
    ]
    return "\n".join(lines)


def _defaults(verb: str) -> dict[str, Any]:
    """What ``conf/<verb>.yaml`` and the sets that it takes say instead of the schema's defaults."""
    import yaml

    def said(path: Path) -> dict[str, Any]:
        return yaml.safe_load(path.read_text("utf-8")) or {}

    def flat(tree: dict[str, Any], prefix: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in tree.items():
            inner = isinstance(value, dict)
            found |= flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
        return found

    own = said(CONF_DIR / f"{verb}.yaml")
    found: dict[str, Any] = {}
    for entry in own.pop("defaults", []):
        for group_name, option in entry.items() if isinstance(entry, dict) else ():
            path = CONF_DIR / group_name / f"{option}.yaml"
            found |= flat(said(path), f"{group_name}.") if path.is_file() else {}
    return found | flat(own, "")


def _fields(schema: type, prefix: str = "") -> list[tuple[str, dataclasses.Field[Any]]]:
    hints = typing.get_type_hints(schema)
    found: list[tuple[str, dataclasses.Field[Any]]] = []
    for field in dataclasses.fields(schema):
        name, inner = f"{prefix}{field.name}", hints[field.name]
        is_group = isinstance(inner, type) and dataclasses.is_dataclass(inner)
        found += _fields(inner, f"{name}.") if is_group else [(name, field)]
    return found


def _no_list(schema: type, said: list[str]) -> str:
    """What is wrong with a list that Hydra would not take for one, and how to say it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    made, parser = dataclasses.MISSING, OverridesParser.create()
    lists = [name for name, field in _fields(schema) if field.default_factory is not made]
    for word in said:
        name, given, value = word.lstrip("+").partition("=")
        if not given or name not in lists or value.startswith("${"):
            continue
        try:
            override = parser.parse_override(word)
            if override.is_sweep_override() or isinstance(override.value(), list):
                continue
        except HydraException:  # letters that have to be in quotes
            pass
        # What has brackets already has more than one item where it has commas.
        items = value.strip("[]").split(",") if value.startswith("[") else [value]
        items = [item.strip(" '\"") for item in items if item not in ("", "null")]
        plain = r"[\w./*-]+"
        quoted = [
            item if re.fullmatch(plain, item, re.ASCII) else '"' + item.replace('"', "'") + '"'
            for item in items
        ]
        better = shlex.quote(f"{name}=[{','.join(quoted)}]")
        return f"{name}={value}: expected a list, with quotes for the shell: {better}"
    return ""


def run(verb: str, schema: type, function: Callable[[Any], int | None]) -> None:
    """Compose ``conf/<verb>.yaml`` with the command line, check it, call ``function(config)``.

    An error that the user can mend (``ValueError``, ``OSError``) becomes one line on stderr and
    exit code 1; anything else is our mistake and keeps its traceback. An integer that the
    function returns is the exit code. ``--help`` is ours, not Hydra's, which knows no units.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(help_page(verb, schema, (function.__doc__ or "").strip().splitlines()[0]))
        return
    if mistake := _no_list(schema, sys.argv[1:]):
        print(f"{verb}: {mistake}", file=sys.stderr)
        raise SystemExit(1)
    import hydra
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    ConfigStore.instance().store(name=f"{verb}_schema", node=schema)

    def guarded(composed: Any) -> None:
        try:
            config = OmegaConf.to_object(composed)
            check(config)
            code = function(config)
        except MissingMandatoryValue as error:
            print(f"{verb}: {error.full_key} is missing; say {error.full_key}=...", file=sys.stderr)
            raise SystemExit(1) from None
        except (ValueError, OSError, OmegaConfBaseException) as error:
            print(f"{verb}: {one_line(error)}", file=sys.stderr)
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            print(f"{verb}: interrupted", file=sys.stderr)
            raise SystemExit(130) from None
        if code:
            raise SystemExit(code)

    hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=verb)(guarded)()
