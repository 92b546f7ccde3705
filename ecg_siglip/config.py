"""Every setting of every command on one page, with its unit and range.

The configuration of a command is one YAML file in ``conf/`` on top of the dataclass here that has
the command's name. ``core.command_line`` composes both with the command line and checks every
range; the command gets a plain dataclass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ecg_siglip.core.settings import group, setting
from ecg_siglip.metrics.decision_rules import THRESHOLD_RULES
from ecg_siglip.vocabulary import findings

REPORTS = ("all", "validated", "written")


@dataclass
class RunConfig:
    name: str = setting("???", "name of the run: its folder is root/name; said again, it resumes")
    root: str = setting("runs", "folder of all runs")


@dataclass
class DataConfig:
    root: str = setting("???", "folder with ptbxl_database.csv, scp_statements.csv and records100/")
    fs: int = setting(
        100, "sampling rate of the files read, Hz: 100 (records100/) or 500", 100, 500
    )
    task: str = setting("all", "which PTB-XL statements are the findings", choices=findings.TASKS)
    train_folds: list[int] = setting([1, 2, 3, 4, 5, 6, 7, 8], "strat_fold to learn from", 1, 10)
    train_share: float = setting(1.0, "share of the training records to learn from", 0.001, 1.0)
    held_out: list[str] = setting(
        [], "findings that training never hears of, to be asked for afterwards: [AFIB,IMI]"
    )
    reports: str = setting(
        "all",
        "which reports are read: all; validated: of records that a person has checked; written: "
        "not first by the recorder",
        choices=REPORTS,
    )
    tune_fold: int = setting(9, "strat_fold for thresholds, calibration, the best epoch", 1, 10)
    allow_missing: bool = setting(False, "go on when listed records are absent on disk")
    cache_dir: str | None = setting(None, "folder of the waveform cache; null: root/cache")
    n_workers: int | None = setting(None, "processes that read files; null: one per core", 1, 256)


@dataclass
class WaveformConfig:
    fs: int = setting(100, "sampling rate that the model sees, Hz", 50, 1000)
    duration_s: float = setting(10.0, "length that the model sees, s", 1.0, 60.0)
    low_hz: float | None = setting(None, "zero-phase high-pass corner, Hz; null: none", 0.01, 5.0)
    high_hz: float | None = setting(None, "zero-phase low-pass corner, Hz; null: none", 10.0, 250.0)
    allow_short: bool = setting(False, "pad shorter records with zeros instead of refusing them")
    allow_flat: bool = setting(False, "accept a lead without any signal instead of refusing it")


@dataclass
class AugmentConfig:
    shift_s: float = setting(1.0, "largest random shift in time, s", 0.0, 10.0)
    gain: float = setting(0.2, "largest random change of amplitude, as a fraction", 0.0, 0.9)
    wander_mv: float = setting(0.1, "largest random baseline wander, mV", 0.0, 2.0)
    lead_mask: float = setting(0.1, "chance that a lead is blanked", 0.0, 0.9)
    fewer_leads: float = setting(
        0.0, "chance that a record comes with limb leads, some of V1-V6, I or II alone", 0.0, 1.0
    )
    time_mask_s: float = setting(0.0, "longest stretch of time that is blanked, s", 0.0, 10.0)
    mixup: float = setting(
        0.4, "two records are blended, by shares from Beta(mixup, mixup); 0: none", 0.0, 10.0
    )


@dataclass
class EcgConfig:
    name: str = setting("resnet1d", "ECG encoder", choices=("resnet1d", "xresnet1d", "transformer"))
    width: int = setting(32, "channels of the first stage (resnet1d) or of a token", 8, 2048)
    depths: list[int] = setting([2, 2, 2, 2], "blocks per stage; the transformer has one", 1, 64)
    kernel_size: int = setting(5, "samples per convolution in a block, odd (resnet1d)", 3, 31)
    stem_size: int = setting(11, "samples per convolution in the stem, odd", 3, 63)
    stem_stride: int = setting(2, "samples per step of the stem", 1, 50)
    n_heads: int = setting(4, "attention heads (transformer)", 1, 32)
    dropout: float = setting(0.2, "dropout on the pooled features", 0.0, 0.9)
    weights: str | None = setting(
        None, "finished run or model whose ECG encoder this one starts from; null: at random"
    )
    locked: bool = setting(False, "keep the ECG encoder's weights as they start; only project")
    drop_path: float = setting(
        0.0, "chance that a block is skipped (resnet1d); dropout in it (transformer)", 0.0, 0.9
    )


@dataclass
class TextConfig:
    name: str = setting(
        "small",
        "`small`: the built-in encoder; `none`: a supervised head without words, for comparison; "
        "`minilm`: from its package; else a Hugging Face name or folder",
    )
    language: str = setting(
        "en",
        "language of the finding prompts; mixed: another one each step, asked in English",
        choices=(*findings.LANGUAGES, "mixed"),
    )
    vocab_size: int = setting(2048, "tokens of the built-in tokenizer", 300, 65536)
    width: int = setting(128, "channels of a token (built-in encoder)", 16, 2048)
    depth: int = setting(2, "layers (built-in encoder)", 1, 24)
    n_heads: int = setting(4, "attention heads (built-in encoder)", 1, 32)
    max_tokens: int = setting(64, "longer texts are cut", 8, 512)
    locked: bool = setting(False, "keep the text encoder's weights as they are; only project")
    pool: str = setting("mean", "how tokens become one vector", choices=("mean", "first", "last"))
    lora_rank: int = setting(
        0, "LoRA: a Hugging Face encoder stays, matrices of this rank learn; 0: it learns", 0, 512
    )
    lora_alpha: int = setting(16, "LoRA: what they add counts lora_alpha / lora_rank", 1, 1024)


@dataclass
class ObjectiveConfig:
    terms: str = setting("bank", "text/targets:weight, joined by +; bank alone means bank/present")
    loss: str = setting(
        "sigmoid", "pair loss (sigmoid: SigLIP, softmax: CLIP)", choices=("sigmoid", "softmax")
    )
    exclude: list[str] = setting([], "findings that set-valued targets do not look at")
    teachers: list[str] = setting(
        [], "finished runs that share in the labels, each where it was not trained: [teacher_*]"
    )
    teacher_share: float = setting(0.3, "their part of a label", 0.0, 1.0)
    n_chunk: int | None = setting(None, "texts per chunk of the pair matrix; null: what fits", 1)
    across: str = setting(
        "gather",
        "how devices share texts: gather all, or pass them round in a ring",
        choices=("gather", "ring"),
    )
    logit_scale: float = setting(10.0, "scale at the start, exp(log_scale)", 0.1, 100.0)
    logit_bias: float | None = setting(
        None, "bias at the start; null: log-odds of the measured positive rate", -50.0, 50.0
    )


@dataclass
class OptimConfig:
    n_epochs: int = setting(60, "passes over the training folds", 1, 10000)
    batch_size: int = setting(128, "records per step, over all devices", 2, 1 << 20)
    lr: float = setting(2e-3, "peak learning rate of AdamW", 1e-8, 1.0)
    final_lr: float = setting(0.5, "rate at the last step, as a share of the peak", 0.0, 1.0)
    text_lr: float = setting(1.0, "factor on the learning rate of the text encoder", 0.0, 10.0)
    weight_decay: float = setting(0.05, "decoupled weight decay, matrices only", 0.0, 1.0)
    warmup: float = setting(0.1, "share of the steps in which the rate rises", 0.0, 1.0)
    clip_norm: float = setting(1.0, "largest norm of the gradient; 0: no clipping", 0.0, 1e6)
    ema: float = setting(0.999, "decay a step of the averaged weights; 0: none", 0.0, 1.0)


@dataclass
class TrainConfig:
    # Settings of where and how fast, not what: they may differ within one run or recipe.
    FREE: ClassVar[tuple[str, ...]] = (
        "data.n_workers",
        "data.cache_dir",
        "device",
        "n_threads",
        "save_every_s",
    )
    # Old names, with the new ones, for an error that helps.
    RENAMED: ClassVar[dict[str, str]] = {
        "tune=both": "freeze=none",
        "tune=ecg_only": "freeze=text",
        "tune=text_only": "freeze=ecg",
        "tune": "freeze",
    }
    # Values of settings that a stored configuration of an earlier version does not have.
    BEFORE: ClassVar[dict[str, Any]] = {"optim.final_lr": 0.0, "augment.mixup": 0.0}

    run: RunConfig = group(RunConfig)
    data: DataConfig = group(DataConfig)
    waveform: WaveformConfig = group(WaveformConfig)
    augment: AugmentConfig = group(AugmentConfig)
    ecg: EcgConfig = group(EcgConfig)
    text: TextConfig = group(TextConfig)
    objective: ObjectiveConfig = group(ObjectiveConfig)
    optim: OptimConfig = group(OptimConfig)
    embed_dim: int = setting(128, "length of the shared embedding", 2, 8192)
    seed: int = setting(0, "seed of weights, order, augmentation", 0, 2**31 - 1)
    device: str = setting("auto", "auto, cpu, cuda", choices=("auto", "cpu", "cuda"))
    precision: str = setting(
        "auto", "auto: bfloat16 on a GPU, float32 on a CPU", choices=("auto", "float32", "bfloat16")
    )
    n_threads: int | None = setting(None, "CPU threads; null: PyTorch's choice", 1, 1024)
    compile: bool = setting(False, "torch.compile the ECG encoder")
    keep_embeddings: bool = setting(
        True, "the model holds its training records' numbers and embeddings: similar ECGs, novelty"
    )
    save_every_s: float = setting(30.0, "time between saved states within an epoch, s", 0.0, 1e6)


@dataclass
class EvaluateData:
    root: str | None = setting(None, "folder of the data; null: where the run was trained")
    allow_missing: bool = setting(False, "go on when listed records are absent on disk")
    cache_dir: str | None = setting(None, "folder of the waveform cache; null: root/cache")
    n_workers: int | None = setting(None, "processes that read files; null: one per core", 1, 256)


@dataclass
class EvaluatedData(EvaluateData):
    kind: str = setting(
        "ptbxl",
        "what lies in root: PTB-XL, or with data=challenge a folder a hospital",
        choices=("ptbxl", "challenge"),
    )
    ptbxl: str | None = setting(
        None,
        "challenge: folder with the ptbxl_database.csv that has the folds of records HRnnnnn; "
        "null: where the run was trained",
    )
    min_positives: int = setting(
        5, "challenge: records of a set that a finding needs to be scored on it", 1
    )


@dataclass
class EvaluateConfig:
    run: RunConfig = group(RunConfig)
    data: EvaluatedData = group(EvaluatedData)
    fold: int = setting(10, "strat_fold to report on", 1, 10)
    labelled_only: bool = setting(False, "score only records with at least one finding of the task")
    n_bootstrap: int = setting(1000, "resamples of the records for the 95 % intervals", 0, 100000)
    batch_size: int = setting(256, "records per step", 1, 1 << 20)
    report: bool = setting(True, "write report.html as well")
    device: str = setting("auto", "auto, cpu, cuda", choices=("auto", "cpu", "cuda"))


@dataclass
class CompareConfig:
    runs: list[str] = setting([], "names of runs; * and ? stand for any: ['bank_s*','clip_s*']")
    root: str = setting("runs", "folder of all runs")
    baseline: str | None = setting(None, "recipe that the others are held against; null: the first")
    fold: int = setting(10, "strat_fold to compare on", 1, 10)
    x: str | None = setting(None, "also draw the scores along this knob, as optim.batch_size")
    n_resamples: int = setting(1000, "of the bootstrap and of the permutation test", 0, 100000)
    out: str = setting("comparison", "folder to write; replaced if it is there")
    data: EvaluateData = group(EvaluateData)
    device: str = setting("auto", "auto, cpu, cuda", choices=("auto", "cpu", "cuda"))


@dataclass
class EnsembleConfig:
    run: RunConfig = group(RunConfig)
    runs: list[str] = setting([], "names of finished runs; * and ? stand for any: ['bank_s*']")
    data: EvaluateData = group(EvaluateData)
    device: str = setting("auto", "auto, cpu, cuda", choices=("auto", "cpu", "cuda"))


@dataclass
class PredictWaveform:
    allow_short: bool = setting(False, "pad shorter records with zeros instead of refusing them")
    allow_flat: bool = setting(False, "accept a lead without any signal instead of refusing it")
    allow_missing_leads: bool = setting(
        False, "answer without some leads; needs a model trained with augment.fewer_leads"
    )


@dataclass
class ReadConfig:
    fs: float | None = setting(
        None, "sampling rate of files that state none, Hz (tables, .npy)", 50.0, 20000.0
    )
    units: str | None = setting(None, "units of files that state none", choices=("uV", "mV", "V"))
    leads: list[str] = setting([], "leads of files that name none, in their order: [I,II,...]")


@dataclass
class WindowsConfig:
    step_s: float | None = setting(
        None,
        "long records: from one window to the next, s; null: the model's length, no overlap",
        0.1,
        86400.0,
    )
    sustained_s: float = setting(
        30.0,
        "long records: for how long a finding has to be there, s; up to a window's: in any one",
        0.0,
        86400.0,
    )


@dataclass
class PredictConfig:
    # Old names, with the new ones, for an error that helps.
    RENAMED: ClassVar[dict[str, str]] = {"ask": "questions", "n_reasons": "n_attributions"}

    run: RunConfig = group(RunConfig)
    records: list[str] = setting([], "files of any format; a folder: every record below it")
    read: ReadConfig = group(ReadConfig)
    model: str | None = setting(
        None, "folder of a model, or owner/name[@revision] on the hub; null: the run's"
    )
    threshold_rule: str = setting("expected_f1", "which thresholds decide", choices=THRESHOLD_RULES)
    operating_point: str = setting(
        "balanced",
        "screening: miss few (sensitivity); balanced: threshold_rule; confirm: be sure (precision)",
        choices=("screening", "balanced", "confirm"),
    )
    sensitivity: float = setting(0.9, "wanted of each finding: 0.8, 0.9, 0.95 or 0.98", 0.8, 0.98)
    precision: float = setting(0.8, "wanted of each finding: 0.5, 0.7, 0.8 or 0.9", 0.5, 0.9)
    report: str | None = setting(None, "also write a sheet a record: a name in .html or .pdf")
    n_attributions: int = setting(0, "findings of a sheet whose reasons are drawn", 0, 12)
    language: str | None = setting(
        None, "language to ask in; null: what the model was tuned with", choices=findings.LANGUAGES
    )
    n_similar: int = setting(0, "training ECGs most like the record to name, with findings", 0, 100)
    questions: list[str] = setting(
        [], "questions about each record, in English, German or Japanese"
    )
    waveform: PredictWaveform = group(PredictWaveform)
    windows: WindowsConfig = group(WindowsConfig)
    batch_size: int = setting(64, "records, or windows of a long one, per step", 1, 1 << 20)
    device: str = setting("auto", "auto, cpu, cuda", choices=("auto", "cpu", "cuda"))


@dataclass
class ExportConfig:
    run: RunConfig = group(RunConfig)
    model: str | None = setting(
        None, "folder of a model, or owner/name[@revision] on the hub; null: the run's"
    )
    to: str = setting("onnx", "onnx: one file; hub: the Hugging Face hub", choices=("onnx", "hub"))
    out: str | None = setting(None, "file to write; null: model.onnx in the run's folder (onnx)")
    repo: str | None = setting(None, "owner/name, made if it is not there (hub)")
    revision: str | None = setting(None, "branch, made if it is not there; null: main (hub)")
    private: bool = setting(True, "a new repository is seen by its owner only (hub)")


@dataclass
class AppConfig:
    run: RunConfig = group(RunConfig)
    model: str | None = setting(
        None, "folder of a model, or owner/name[@revision] on the hub; null: the run's"
    )
    host: str = setting("127.0.0.1", "address to listen on; any other lets other machines ask")
    port: int = setting(7860, "port to listen on; 0: any that is free", 0, 65535)
    hosts: list[str] = setting([], "further names by which the page may be called; '*': any")
    max_mb: float = setting(32.0, "largest upload, all of its files together, MB", 0.001, 256.0)
    max_files: int = setting(200, "files of an upload", 1, 1000)
    max_waiting: int = setting(64, "who may wait for an answer; others shall come back", 1, 4096)
    timeout_s: float = setting(60.0, "longest wait for an answer, s", 0.1, 3600.0)
    threshold_rule: str = setting("expected_f1", "which thresholds decide", choices=THRESHOLD_RULES)
    operating_point: str = setting(
        "balanced",
        "screening: miss few (sensitivity); balanced: threshold_rule; confirm: be sure (precision)",
        choices=("screening", "balanced", "confirm"),
    )
    sensitivity: float = setting(0.9, "wanted of each finding: 0.8, 0.9, 0.95 or 0.98", 0.8, 0.98)
    precision: float = setting(0.8, "wanted of each finding: 0.5, 0.7, 0.8 or 0.9", 0.5, 0.9)
    language: str | None = setting(
        None, "language to ask in; null: what the model was tuned with", choices=findings.LANGUAGES
    )
    n_similar: int = setting(3, "training ECGs most like the record that the page names", 0, 100)
    n_threads: int | None = setting(None, "CPU threads; null: PyTorch's choice", 1, 1024)
    device: str = setting("auto", "auto, cpu, cuda", choices=("auto", "cpu", "cuda"))


@dataclass
class PtbxlData:
    root: str = setting("???", "folder to download to and to cache from")
    fs: int = setting(100, "sampling rate of the files, Hz: 100 or 500", 100, 500)
    allow_missing: bool = setting(False, "go on when listed records are absent on disk")
    cache_dir: str | None = setting(None, "folder of the waveform cache; null: root/cache")
    n_workers: int | None = setting(None, "processes that read files; null: one per core", 1, 256)


@dataclass
class PtbxlConfig:
    data: PtbxlData = group(PtbxlData)
    waveform: WaveformConfig = group(WaveformConfig)
    url: str = setting("https://physionet.org/files/ptb-xl/1.0.3", "where PTB-XL lies")
    n_downloads: int = setting(8, "files fetched at the same time", 1, 64)
    timeout_s: float = setting(
        30.0, "a connection silent for longer is tried again, s", 0.1, 3600.0
    )
    n_retries: int = setting(5, "tries for each file", 1, 100)
    download: bool = setting(True, "fetch what is missing; false: only check and cache")


@dataclass
class SimulateData:
    root: str = setting("???", "folder to write to; must not exist or be empty")


@dataclass
class SimulateConfig:
    data: SimulateData = group(SimulateData)
    n_records: int = setting(2000, "records to simulate", 10, 1000000)
    seed: int = setting(0, "same seed, same bytes", 0, 2**31 - 1)
    records500: bool = setting(False, "write records500/ as well")
    n_workers: int | None = setting(None, "processes; null: one per core", 1, 256)
