"""Every setting of every command on one page, with its unit and range.

The configuration of a command is one YAML file in ``conf/`` on top of the dataclass here that has
the command's name. ``core.command_line`` composes both with the command line and checks every
range; the command gets a plain dataclass. Settings of several commands are defined once, in the
shared groups at the top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ecg_siglip.core.settings import group, same_setting, setting
from ecg_siglip.core.translation import LANGUAGE_NAMES
from ecg_siglip.metrics.decision_rules import (
    DEFAULT_RULE,
    OPERATING_POINTS,
    PRECISION,
    SENSITIVITY,
    THRESHOLD_RULES,
)
from ecg_siglip.readers.limits import MAX_HOURS

DEVICES = ("auto", "cpu", "cuda", "mps")
DATA_KINDS = ("ptbxl", "table", "challenge")
ROW_FORMATS = ("parquet", "csv", "jsonl", "fhir")
ENGINES = ("local", "ray")
REPORTS = ("all", "validated", "written")
TRACKERS = ("tensorboard", "mlflow", "wandb", "none")


@dataclass
class RunConfig:
    name: str = setting("???", "Name of the run; its folder is root/name.")
    root: str = setting("runs", "Folder of all runs.")


@dataclass
class ModelSettings:
    """The model that a command uses."""

    run: RunConfig = group(RunConfig)
    model: str | None = setting(
        None,
        "Folder of a model, owner/name[@revision] on the hub, or default: the package's model; "
        "null: the run's model, without run.name the default one.",
    )


@dataclass
class Machine:
    """Where a command runs."""

    device: str = setting(
        "auto", "Device; auto: a GPU if there is one; mps: that of a Mac.", choices=DEVICES
    )
    n_threads: int | None = setting(None, "CPU threads; null: PyTorch's default.", 1, 1024)


@dataclass
class Lock:
    """Commands that write to one folder, one at a time."""

    wait_s: float = setting(
        0.0,
        "Wait for another command that writes to the same folder, s; 0: stop at once and name it.",
        0.0,
        1e6,
    )


@dataclass
class DataAccess:
    """Where the records are and how they are read."""

    root: str | None = setting(None, "Folder of the data; null: the folder used in training.")
    allow_missing: bool = setting(False, "Continue if listed records are missing on disk.")
    cache_dir: str | None = setting(None, "Folder of the waveform cache; null: root/cache.")
    n_workers: int | None = setting(None, "Processes that read files; null: one per core.", 1, 256)


@dataclass
class DecisionRule:
    """Which findings are reported as present."""

    threshold_rule: str = setting(
        DEFAULT_RULE, "Rule that determines the thresholds.", choices=THRESHOLD_RULES
    )
    operating_point: str = setting(
        "balanced",
        "screening: thresholds by sensitivity; balanced: by threshold_rule; confirm: by precision.",
        choices=OPERATING_POINTS,
    )
    sensitivity: float = setting(
        SENSITIVITY, "Target sensitivity of each finding: 0.8, 0.9, 0.95 or 0.98.", 0.8, 0.98
    )
    precision: float = setting(
        PRECISION, "Target precision of each finding: 0.5, 0.7, 0.8 or 0.9.", 0.5, 0.9
    )


@dataclass
class ReadConfig:
    fs: float | None = setting(
        None, "Sampling rate of files that do not state one, Hz (tables, .npy).", 50.0, 20000.0
    )
    units: str | None = setting(
        None, "Units of files that do not state them.", choices=("nV", "uV", "mV", "V")
    )
    gain: float | None = setting(
        None, "Counts per mV of files with counts of the converter.", 1e-6, 1e9
    )
    leads: list[str] = setting(
        [],
        "Leads of files whose channels have no names or names without a meaning, in the order of "
        "the file: [I,II,...]; - for a channel to leave out.",
    )


@dataclass
class SourceConfig:
    """A data set for training: what it is, where it is, and how its files are read."""

    name: str = setting("data", "Name of the data set in reports.")
    kind: str = setting(
        "ptbxl",
        "What the data set is. ptbxl: PTB-XL or data in its layout; table: a table with one row "
        "per ECG; challenge: folders of PhysioNet/CinC 2020-2021 (data=table etc. sets this).",
        choices=DATA_KINDS,
    )
    root: str | None = setting(
        None,
        "Folder with ptbxl_database.csv and records100/ or records500/; table: folder where its "
        "paths begin, null: the folder of the table.",
    )
    fs: int = setting(
        100, "PTB-XL: sampling rate of the files to read, Hz: 100 (records100/) or 500.", 100, 500
    )
    table: str | None = setting(
        None,
        "Table with one row per ECG: .csv, .tsv or .parquet, the address of a database, or "
        "env:NAME for an address in an environment variable.",
    )
    query: str | None = setting(None, "SQL query that returns the table, for a database.")
    codes: str | None = setting(
        None,
        "CSV file with the columns code, findings and relation (exact, narrower, broader), if the "
        "codes of the table are not those of the vocabulary.",
    )
    read: ReadConfig = group(ReadConfig)
    patients: str | None = setting(
        None,
        "Name of the register that patient_id belongs to: data sets with the same name share "
        "patients; null: ptbxl for PTB-XL, otherwise its own.",
    )
    tune: bool = setting(
        True, "Several data sets: use its records of the tuning fold as well; false: of the others."
    )
    allow_missing: bool = same_setting(DataAccess, "allow_missing")
    allow_unreadable: bool = setting(
        False, "Leave out records that cannot be read (table), and list them."
    )


@dataclass
class DataConfig(SourceConfig):
    sources: list[SourceConfig] = setting(
        [],
        "Several data sets in place of one: [{name:a,kind:ptbxl,root:...},{name:b,kind:table,"
        "table:...}].",
        items=SourceConfig,
    )
    temperature: float = setting(
        1.0,
        "Several data sets: records per epoch are proportional to their number to the power of "
        "1 / temperature; 1: every record once.",
        1.0,
        100.0,
    )
    task: str = setting(
        "all",
        "Findings to learn, a task of the vocabulary: all, or a group; of PTB-XL also diagnostic, "
        "subdiagnostic, superdiagnostic, form, rhythm.",
    )
    train_folds: list[int] = setting(
        [1, 2, 3, 4, 5, 6, 7, 8], "Values of strat_fold to train on.", 1, 10
    )
    train_share: float = setting(1.0, "Fraction of the training records to use.", 0.001, 1.0)
    held_out: list[str] = setting(
        [], "Findings left out of training, for zero-shot evaluation: [AFIB,IMI]."
    )
    reports: str = setting(
        "all",
        "Reports to train on; validated: of records that a person has checked; written: not "
        "machine-generated.",
        choices=REPORTS,
    )
    tune_fold: int = setting(
        9, "strat_fold for calibration, thresholds and the choice of the best epoch.", 1, 10
    )
    tune_per_source: bool = setting(
        False,
        "Several data sets: also fit calibration and thresholds to each one's records of the "
        "tuning fold; predict and app use them with source=NAME.",
    )
    cache_dir: str | None = same_setting(DataAccess, "cache_dir")
    n_workers: int | None = same_setting(DataAccess, "n_workers")


@dataclass
class WaveformConfig:
    fs: int = setting(100, "Sampling rate of the model's input, Hz.", 50, 1000)
    duration_s: float = setting(10.0, "Length of the model's input, s.", 1.0, 60.0)
    low_hz: float | None = setting(
        0.5,
        "Corner frequency of a zero-phase high-pass filter, Hz, which takes off electrode offsets "
        "and baseline wander; null: none.",
        0.01,
        5.0,
    )
    high_hz: float | None = setting(
        None, "Corner frequency of a zero-phase low-pass filter, Hz; null: none.", 10.0, 250.0
    )
    allow_short: bool = setting(False, "Pad short records with zeros instead of rejecting them.")
    allow_flat: bool = setting(False, "Accept records with a flat lead instead of rejecting them.")
    allow_gaps: bool = setting(
        False, "Interpolate invalid samples: gaps of at most 0.1 s that are at most 5 % of a lead."
    )


@dataclass
class AugmentConfig:
    shift_s: float = setting(1.0, "Largest random shift in time, s.", 0.0, 10.0)
    gain: float = setting(0.2, "Largest random change of the amplitude, as a fraction.", 0.0, 0.9)
    wander_mv: float = setting(0.5, "Largest random baseline wander, mV.", 0.0, 2.0)
    lead_mask: float = setting(0.1, "Probability of masking each lead.", 0.0, 0.9)
    fewer_leads: float = setting(
        0.0,
        "Probability of masking leads down to a reduced set (limb; limb and some chest; I or II).",
        0.0,
        1.0,
    )
    time_mask_s: float = setting(0.0, "Longest segment in time to mask, s.", 0.0, 10.0)
    mixup: float = setting(
        0.4, "Mix pairs of records with weights from Beta(mixup, mixup); 0: off.", 0.0, 10.0
    )


@dataclass
class EcgConfig:
    name: str = setting(
        "resnet1d",
        "ECG encoder; hubert_ecg, ecgfounder: public ones, which need ecg.weights; or a class of "
        "your own, as my_package.MyEncoder, which Python can import.",
        choices=("resnet1d", "xresnet1d", "transformer", "hubert_ecg", "ecgfounder"),
        classes=True,
    )
    options: dict[str, Any] = setting(
        {}, "Keyword arguments of a class of your own: ecg.options.n_layers=4."
    )
    width: int = setting(
        32, "Channels of the first stage (residual networks) or of a token (transformer).", 8, 2048
    )
    depths: list[int] = setting(
        [2, 2, 2, 2], "Blocks per stage; the transformer has one stage.", 1, 64
    )
    kernel_size: int = setting(
        5, "Kernel of the convolutions in a block, samples, odd (residual networks).", 3, 31
    )
    stem_size: int = setting(11, "Kernel of the first convolution, samples, odd.", 3, 63)
    stem_stride: int = setting(2, "Stride of the first convolution, samples.", 1, 50)
    n_heads: int = setting(4, "Attention heads (transformer).", 1, 32)
    dropout: float = setting(0.2, "Dropout on the pooled features.", 0.0, 0.9)
    weights: str | None = setting(
        None,
        "Finished run or model whose ECG encoder is the initial one; default: the "
        "model of the package; null: random weights. hubert_ecg and ecgfounder: also the file or "
        "folder of the published weights, or owner/name on the hub.",
    )
    locked: bool = setting(False, "Freeze the ECG encoder; only its projection is trained.")
    drop_path: float = setting(
        0.0,
        "Probability of skipping a block (resnet1d); dropout within blocks (transformer, "
        "hubert_ecg).",
        0.0,
        0.9,
    )


@dataclass
class TextConfig:
    name: str = setting(
        "small",
        "Text encoder. small: the built-in one; none: a supervised linear head instead; minilm: "
        "all-MiniLM-L6-v2 from its package; else a Hugging Face name or folder.",
    )
    language: str | None = setting(
        None,
        "Language of the prompts, one of the vocabulary (of PTB-XL: en, de, ja); mixed: all of "
        "them, the first one for predictions; null: the vocabulary's own (PTB-XL: en).",
    )
    vocab_size: int = setting(2048, "Vocabulary size of the built-in tokenizer.", 300, 65536)
    width: int = setting(128, "Channels of a token (built-in encoder).", 16, 2048)
    depth: int = setting(2, "Layers (built-in encoder).", 1, 24)
    n_heads: int = setting(4, "Attention heads (built-in encoder).", 1, 32)
    max_tokens: int = setting(64, "Longest text, tokens; longer ones are truncated.", 8, 512)
    locked: bool = setting(False, "Freeze the text encoder; only its projection is trained.")
    pool: str = setting(
        "mean", "Pooling of the tokens of a text.", choices=("mean", "first", "last")
    )
    lora_rank: int = setting(
        0,
        "LoRA rank (Hugging Face encoders); only the LoRA matrices are trained; 0: off.",
        0,
        512,
    )
    lora_alpha: int = setting(
        16, "Scale of LoRA: its output is multiplied by lora_alpha / lora_rank.", 1, 1024
    )


@dataclass
class ObjectiveConfig:
    terms: str = setting(
        "bank", "Terms of the loss, text/targets:weight, joined by +; bank means bank/present."
    )
    loss: str = setting(
        "sigmoid", "Pair loss: sigmoid (SigLIP) or softmax (CLIP).", choices=("sigmoid", "softmax")
    )
    exclude: list[str] = setting([], "Findings to ignore in shared and Jaccard targets.")
    teachers: list[str] = setting(
        [], "Finished runs for distillation; each labels only folds it has not seen: [teacher_*]."
    )
    teacher_share: float = setting(0.3, "Weight of the teachers' predictions in a label.", 0.0, 1.0)
    n_chunk: int | None = setting(
        None, "Texts per chunk of the pair matrix; null: as many as fit in memory.", 1
    )
    across: str = setting(
        "gather",
        "How devices exchange texts; gather: all at once; ring: from one device to the next.",
        choices=("gather", "ring"),
    )
    logit_scale: float = setting(10.0, "Initial scale of the logits, exp(log_scale).", 0.1, 100.0)
    logit_bias: float | None = setting(
        None,
        "Initial bias of the logits; null: log-odds of the measured positive rate.",
        -50.0,
        50.0,
    )


@dataclass
class OptimConfig:
    n_epochs: int = setting(60, "Epochs.", 1, 10000)
    batch_size: int = setting(128, "Records per step, over all devices.", 2, 1 << 20)
    lr: float = setting(2e-3, "Peak learning rate of AdamW.", 1e-8, 1.0)
    final_lr: float = setting(
        0.5, "Learning rate of the last step, as a fraction of the peak.", 0.0, 1.0
    )
    ecg_lr: float = setting(
        1.0, "Learning rate of the ECG encoder, as a multiple of lr.", 0.0, 10.0
    )
    text_lr: float = setting(
        1.0, "Learning rate of the text encoder, as a multiple of lr.", 0.0, 10.0
    )
    weight_decay: float = setting(
        0.05, "Decoupled weight decay; applied to matrices only.", 0.0, 1.0
    )
    warmup: float = setting(
        0.1, "Fraction of the steps in which the learning rate rises.", 0.0, 1.0
    )
    clip_norm: float = setting(1.0, "Largest norm of the gradient; 0: no clipping.", 0.0, 1e6)
    ema: float = setting(
        0.999, "Decay per step of the moving average of the weights; 0: no average.", 0.0, 1.0
    )


@dataclass
class TrainConfig:
    # Settings that change where and how fast a run trains, not its result: they may differ within
    # one run or recipe.
    FREE: ClassVar[tuple[str, ...]] = (
        "run.root",
        "data.n_workers",
        "data.cache_dir",
        "device",
        "n_threads",
        "save_every_s",
        "tracker",
        "tracked_files",
        "wait_s",
    )
    # Places of the data, which may be moved while a run is interrupted: the state of a run knows
    # its data by a hash of their metadata.
    PLACES: ClassVar[tuple[str, ...]] = ("data.root", "data.table")
    # Old names with the new ones, for the error.
    RENAMED: ClassVar[dict[str, str]] = {
        "tune=both": "freeze=none",
        "tune=ecg_only": "freeze=text",
        "tune=text_only": "freeze=ecg",
        "tune": "freeze",
    }
    # Other words for an option.
    ALIASES: ClassVar[dict[str, str]] = {"objective=siglip": "objective=diagonal"}
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
    vocabulary: str = setting(
        "ptbxl", "Findings with their names and prompts: ptbxl, or a .yaml, .csv or .tsv file."
    )
    embed_dim: int = setting(128, "Dimension of the shared embedding.", 2, 8192)
    init: str | None = setting(
        None,
        "Finished run, folder of a model, or owner/name on the hub whose two encoders this run "
        "starts from, whatever its findings; default: the model of the package; null: new encoders "
        "(adapt: the default one).",
    )
    seed: int = setting(
        0,
        "Seed of the initial weights, the order of the records and the augmentation.",
        0,
        2**31 - 1,
    )
    device: str = same_setting(Machine, "device")
    wait_s: float = same_setting(Lock, "wait_s")
    precision: str = setting(
        "auto",
        "auto: bfloat16 on a GPU, float32 on a CPU.",
        choices=("auto", "float32", "bfloat16"),
    )
    n_threads: int | None = same_setting(Machine, "n_threads")
    compile: bool = setting(False, "Compile the ECG encoder with torch.compile.")
    keep_embeddings: bool = setting(
        True,
        "Store names, findings, embeddings and short descriptions of the signals of the training "
        "records in the model, to show similar ECGs, novelty, and that an ECG was in training.",
    )
    save_every_s: float = setting(30.0, "Time between saved states within an epoch, s.", 0.0, 1e6)
    tracker: str = setting(
        "tensorboard",
        "Where settings, curves and scores are sent besides the folder of the run.",
        choices=TRACKERS,
    )
    tracked_files: str = setting(
        "config",
        "mlflow and wandb: files that are sent. config: config.yaml and the model card; report: "
        "also the report of evaluate, which shows ECGs; model: also the model, which has names of "
        "training records unless keep_embeddings=false.",
        choices=("config", "report", "model"),
    )


AdaptConfig = TrainConfig  # the command adapt has other defaults, in conf/adapt.yaml


@dataclass
class CheckConfig:
    POSITIONAL: ClassVar[str] = "data.table"

    data: DataConfig = group(DataConfig)
    vocabulary: str = same_setting(TrainConfig, "vocabulary")
    waveform: WaveformConfig = group(WaveformConfig)
    files: bool = setting(True, "Open every file; false: check the table only.")
    out: str | None = setting(
        None, "Folder for check.json and the page check.html; null: print the summary only."
    )
    folds: str | None = setting(
        None,
        "CSV file to write the table to again with a column fold, so that folds stay as it grows; "
        "rows that have a fold keep it.",
    )


@dataclass
class EvaluateData(DataAccess):
    """Data of the training, elsewhere if need be."""


@dataclass
class ComparedData(EvaluateData):
    source: str | None = setting(
        None, "One data set of a training with several (data.sources), by its name; null: all."
    )


@dataclass
class EvaluatedData(ComparedData):
    kind: str | None = setting(
        None,
        "Another data set than that of the training: table, ptbxl, or challenge for one folder per "
        "hospital (data=table and data=challenge set this); null: the data of the training.",
        choices=DATA_KINDS,
    )
    name: str | None = setting(
        None, "Name of another data set in the results; null: that of its table or folder."
    )
    fs: int = same_setting(SourceConfig, "fs")
    table: str | None = same_setting(SourceConfig, "table")
    query: str | None = same_setting(SourceConfig, "query")
    codes: str | None = same_setting(SourceConfig, "codes")
    read: ReadConfig = group(ReadConfig)
    patients: str | None = setting(
        None,
        "Another data set: register that its patient_id belongs to, as data.patients in training; "
        "patients that the model has seen are then refused.",
    )
    allow_unreadable: bool = same_setting(SourceConfig, "allow_unreadable")
    ptbxl: str | None = setting(
        None,
        "challenge: folder of the ptbxl_database.csv with the folds of the records HRnnnnn; "
        "null: the folder used in training.",
    )
    min_positives: int = setting(
        5, "challenge: a finding is scored if a set has at least this many positive records.", 1
    )


@dataclass
class EvaluateConfig:
    run: RunConfig = group(RunConfig)
    model: str | None = setting(
        None,
        "default: the model of the package, results in root/default; null: the run's model, "
        "without run.name the default one.",
        choices=("default",),
    )
    data: EvaluatedData = group(EvaluatedData)
    fold: int | None = setting(
        None,
        "strat_fold to evaluate on; null: fold 10 of the data of the training, all records of "
        "another data set.",
        1,
        10,
    )
    labelled_only: bool = setting(
        False, "Score only records with at least one finding of the task."
    )
    n_bootstrap: int = setting(
        1000, "Bootstrap resamples of the records for the 95 % intervals.", 0, 100000
    )
    batch_size: int = setting(256, "Records per batch.", 1, 1 << 20)
    report: bool = setting(True, "Also write report.html.")
    device: str = same_setting(Machine, "device")
    wait_s: float = same_setting(Lock, "wait_s")


@dataclass
class CompareConfig:
    POSITIONAL: ClassVar[str] = "runs"

    runs: list[str] = setting([], "Names of runs; * and ? are wildcards: ['bank_s*','clip_s*'].")
    root: str = same_setting(RunConfig, "root")
    baseline: str | None = setting(
        None, "Recipe that the others are compared with; null: the first one."
    )
    fold: int = setting(10, "strat_fold to compare on.", 1, 10)
    x: str | None = setting(
        None, "Also plot the scores against this setting, for example optim.batch_size."
    )
    n_resamples: int = setting(
        1000, "Resamples of the bootstrap and of the permutation test.", 0, 100000
    )
    out: str = setting("comparison", "Folder to write; an existing one is replaced.")
    data: ComparedData = group(ComparedData)
    device: str = same_setting(Machine, "device")
    wait_s: float = same_setting(Lock, "wait_s")


@dataclass
class EnsembleConfig:
    POSITIONAL: ClassVar[str] = "runs"

    run: RunConfig = group(RunConfig)
    runs: list[str] = setting([], "Names of finished runs; * and ? are wildcards: ['bank_s*'].")
    average: str = setting(
        "logits",
        "What is averaged. logits: those of all models; weights: those of runs with the same init, "
        "to one model of the size of each.",
        choices=("logits", "weights"),
    )
    data: EvaluateData = group(EvaluateData)
    device: str = same_setting(Machine, "device")
    wait_s: float = same_setting(Lock, "wait_s")


@dataclass
class PredictWaveform:
    allow_short: bool = same_setting(WaveformConfig, "allow_short")
    allow_flat: bool = same_setting(WaveformConfig, "allow_flat")
    allow_gaps: bool = same_setting(WaveformConfig, "allow_gaps")
    allow_missing_leads: bool | None = setting(
        None,
        "Accept records with missing leads; needs a model trained with augment.fewer_leads, and "
        "null: with such a model. A model of 12 leads accepts those that two others give.",
    )


@dataclass
class WindowsConfig:
    step_s: float | None = setting(
        None,
        "Long records: step between windows, s; null: the length of a window, no overlap. With a "
        "longer step, stretches of sustained_s are predicted at each step.",
        0.1,
        86400.0,
    )
    sustained_s: float = setting(
        30.0,
        "Long records: shortest time for which a finding has to be present, s; with a value up to "
        "the length of a window, one window is enough.",
        0.0,
        86400.0,
    )
    max_hours: float = setting(MAX_HOURS, "Longest record, h; a longer one is refused.", 0.1, 744.0)


@dataclass
class PredictConfig(DecisionRule, ModelSettings):
    POSITIONAL: ClassVar[str] = "records"  # values that are words without a name of a setting
    # Old names with the new ones, for the error.
    RENAMED: ClassVar[dict[str, str]] = {"ask": "questions", "n_reasons": "n_attributions"}
    # Settings that do not change the rows of a job: they may differ when it continues.
    FREE: ClassVar[tuple[str, ...]] = (
        "run.name",
        "run.root",
        "model",
        "records",
        "records_column",
        "records_query",
        "out",
        "out_table",
        "overwrite",
        "engine",
        "ray_address",
        "n_workers",
        "report",
        "report_language",
        "n_attributions",
        "device",
    )

    source: str | None = setting(
        None,
        "Data set of the training whose calibration and thresholds are used; null: those of all "
        "its data together. Needs a model trained with data.tune_per_source=true.",
    )
    records: list[str] = setting(
        [],
        "Files of any supported format; a folder: every record below it; a pattern with * or **; "
        "@list.txt: a path per line; @table.csv, .tsv, .parquet or @ADDRESS of a database: a "
        "column of paths; -: paths from stdin. Files, folders and lists may be remote: s3://..., "
        "gs://..., sftp://... and others.",
    )
    records_column: str | None = setting(
        None, "Column of paths of the table or query; null: its only one, or path."
    )
    records_query: str | None = setting(
        None, "SQL query that returns the paths, for records=[@ADDRESS]."
    )
    read: ReadConfig = group(ReadConfig)
    out: str | None = setting(
        None,
        "File to write: .parquet, .csv, .jsonl or .ndjson (FHIR); another name: a folder of parts, "
        "also s3://bucket/name/ and others; a database: sqlite:///rows.db, "
        "postgresql+psycopg://..., env:NAME. The same command continues after an interruption. "
        "null: JSON lines on stdout.",
    )
    out_table: str = setting("predictions", "Table of a database.")
    format: str | None = setting(
        None,
        "Format of the files; fhir: HL7 FHIR R4 resources; null: by the suffix of out, of a folder "
        "parquet.",
        choices=ROW_FORMATS,
    )
    rows: str = setting(
        "record",
        "record: one row per record; window: one row per window of a long record. Needs out.",
        choices=("record", "window"),
    )
    overwrite: bool = setting(False, "Begin again, whatever out contains.")
    block_size: int = setting(256, "Records that are stored together.", 1, 1 << 20)
    engine: str = setting(
        "local", "What predicts: this machine, or the workers of a Ray cluster.", choices=ENGINES
    )
    ray_address: str | None = setting(
        None,
        "Ray cluster: ray://host:10001, host:6379 or auto; null: that of RAY_ADDRESS, or one that "
        "is started on this machine.",
    )
    n_workers: int | None = setting(
        None,
        "Processes that read files; null: one per core for many records; 0: none, the process "
        "with the model reads.",
        0,
        256,
    )
    report: str | None = setting(
        None,
        "Also write a report with one page per record to this .html or .pdf file; .png: "
        "the picture of one record.",
    )
    report_language: str | None = setting(
        None,
        "Language of the report: en, de or ja; null: that of language, if it is one of them, "
        "otherwise en.",
        choices=tuple(LANGUAGE_NAMES),
    )
    n_attributions: int = setting(
        0, "Number of findings in a record report for which attributions are plotted.", 0, 12
    )
    language: str | None = setting(
        None,
        "Language of the prompts, one of the model's vocabulary; null: the language used for "
        "calibration.",
    )
    not_excluded: str = setting(
        "short",
        "Findings listed as not excluded. short: from 5 % up, critical ones from 1 %; full: also "
        "what would be reported at the sensitivity.",
        choices=("short", "full"),
    )
    n_similar: int = setting(
        0, "Number of similar training ECGs to list, with their findings.", 0, 100
    )
    questions: list[str] = setting(
        [],
        "Questions about each record, in English, German or Japanese; a single one needs no "
        "brackets.",
        texts=True,
    )
    measurements: bool = setting(
        True,
        "Also measure heart rate, intervals, axes, amplitudes and ST levels. It takes about 0.1 s "
        "per record, and nothing at the start; false: for many records.",
    )
    show_ids: bool = setting(
        False,
        "Also show patient id, record id, age, sex and serial number of the device where the file "
        "states them, in the JSON and in the record report.",
    )
    waveform: PredictWaveform = group(PredictWaveform)
    windows: WindowsConfig = group(WindowsConfig)
    batch_size: int = setting(64, "Records, or windows of a long record, per batch.", 1, 1 << 20)
    device: str = same_setting(Machine, "device")


@dataclass
class ExportConfig(ModelSettings):
    to: str = setting(
        "onnx", "onnx: write a file; hub: upload to the Hugging Face hub.", choices=("onnx", "hub")
    )
    out: str | None = setting(
        None, "File to write; null: model.onnx in the folder of the run (onnx)."
    )
    input: str = setting(
        "recorded",
        "recorded: the file resamples, filters and checks signals in mV at any sampling rate; "
        "prepared: it expects the model's own input (onnx).",
        choices=("recorded", "prepared"),
    )
    precision: str = setting(
        "float32",
        "int8: weights and activations in 8 bits, a third of the size (onnx).",
        choices=("float32", "int8"),
    )
    repo: str | None = setting(None, "owner/name; created if it does not exist (hub).")
    revision: str | None = setting(None, "Branch; created if it does not exist; null: main (hub).")
    private: bool = setting(True, "Make a new repository visible to its owner only (hub).")


@dataclass
class AppConfig(DecisionRule, ModelSettings):
    source: str | None = same_setting(PredictConfig, "source")
    host: str = setting(
        "127.0.0.1", "Address to listen on; the default accepts connections from this machine only."
    )
    port: int = setting(7860, "Port to listen on; 0: any free port.", 0, 65535)
    hosts: list[str] = setting([], "Further host names that requests may use; '*': any.")
    max_mb: float = setting(32.0, "Largest upload, all of its files together, MB.", 0.001, 256.0)
    max_files: int = setting(200, "Largest number of files of an upload.", 1, 1000)
    max_waiting: int = setting(
        64, "Largest number of waiting requests; more get HTTP 503.", 1, 4096
    )
    timeout_s: float = setting(
        60.0,
        "Longest time from a request to its result, s; after it, the work is stopped.",
        0.1,
        3600.0,
    )
    max_connections: int = setting(
        2000,
        "Largest number of open connections; beyond it, the one that has been silent longest is "
        "closed for a new one.",
        16,
        65536,
    )
    max_sessions: int = setting(100, "Largest number of open pages.", 1, 10000)
    max_stored_mb: float = setting(
        500.0,
        "Largest size of all uploads that are arriving or stored, MB; the oldest that nobody uses "
        "are deleted first.",
        1.0,
        1e6,
    )
    requests_per_minute: int | None = setting(
        None,
        "Largest number of POST requests of a client per minute; more get HTTP 429. null: 600 for "
        "other machines, any number for this one; 0: any number.",
        0,
        1000000,
    )
    token_file: str | None = setting(
        None,
        "File with the token that clients need, readable by its owner only; one per line if "
        "several are accepted.",
    )
    tls_cert: str | None = setting(None, "File of the certificate, with its chain, for HTTPS.")
    tls_key: str | None = setting(None, "File of the key of tls_cert.")
    log_format: str = setting(
        "text",
        "Log on stderr. text: warnings and errors; json: these and each request, as JSON lines.",
        choices=("text", "json"),
    )
    language: str | None = same_setting(PredictConfig, "language")
    n_similar: int = setting(3, "Number of similar training ECGs to show.", 0, 100)
    similar_root: str | None = setting(
        None,
        "Folder of the training records, to show the similar ones as pictures to everyone who uses "
        "the page; null: names and findings only.",
    )
    show_ids: bool = same_setting(PredictConfig, "show_ids")
    n_threads: int | None = setting(
        None,
        "CPU threads of the model; null: a quarter of the cores, as other processes read.",
        1,
        1024,
    )
    device: str = same_setting(Machine, "device")


@dataclass
class PtbxlData(DataAccess):
    root: str = setting("???", "Folder to download to and to build the cache from.")
    fs: int = setting(100, "Sampling rate of the files, Hz: 100 or 500.", 100, 500)


@dataclass
class PtbxlConfig:
    data: PtbxlData = group(PtbxlData)
    waveform: WaveformConfig = group(WaveformConfig)
    url: str = setting("https://physionet.org/files/ptb-xl/1.0.3", "Address of PTB-XL.")
    n_downloads: int = setting(8, "Parallel downloads.", 1, 64)
    timeout_s: float = setting(
        30.0, "Time without data after which a download is tried again, s.", 0.1, 3600.0
    )
    n_retries: int = setting(5, "Attempts per file.", 1, 100)
    download: bool = setting(True, "Download missing files; false: only check and cache.")
    verify: bool = setting(
        False,
        "Compute the SHA-256 of every file again, also of those that were verified before.",
    )
    wait_s: float = same_setting(Lock, "wait_s")


@dataclass
class SimulateData:
    root: str = setting("???", "Folder to write; must be new or empty.")


@dataclass
class SimulateConfig:
    data: SimulateData = group(SimulateData)
    layout: str = setting(
        "ptbxl",
        "What is written. ptbxl: the files of PTB-XL; table: a hospital with MUSE XML, DICOM and "
        "CSV files, a table and a vocabulary of 98 findings with Japanese names.",
        choices=("ptbxl", "table"),
    )
    n_records: int = setting(2000, "Number of records to simulate.", 10, 1000000)
    seed: int = setting(0, "Seed; the same seed gives the same bytes.", 0, 2**31 - 1)
    records500: bool = setting(False, "ptbxl: also write records500/.")
    difficulty: str = setting(
        "plain",
        "ptbxl: plain: textbook findings with little noise; realistic: people, findings of any "
        "severity, electrode positions, noise and filters that vary as in recordings.",
        choices=("plain", "realistic"),
    )
    balance: float = setting(
        0.0,
        "difficulty=realistic: share of the records that have one finding drawn from all findings "
        "with equal probability, so that rare ones are more frequent; 0: as frequent as in PTB-XL.",
        0.0,
        1.0,
    )
    n_workers: int | None = setting(None, "Processes; null: one per core.", 1, 256)


@dataclass
class VocabularyConfig:
    POSITIONAL: ClassVar[str] = "table"

    table: str = setting(
        "???",
        "Table with one row per ECG, as data.table of train: its codes are in the column findings.",
    )
    query: str | None = same_setting(SourceConfig, "query")
    columns: list[str] = setting(
        [], "Columns that are named after codes, with 1, 0 or empty cells: [AF,LBBB]."
    )
    names: str | None = setting(
        None, "CSV file with the columns code and name; null: a name is the code."
    )
    language: str = setting("en", "Language of the names: en, de, ja, ...")
    out: str | None = setting("findings.yaml", "Vocabulary to write, a new .yaml file; null: none.")
    mapping: str | None = setting(
        None,
        "Also write a mapping of the codes to PTB-XL's findings, a new .csv file for data.codes.",
    )
