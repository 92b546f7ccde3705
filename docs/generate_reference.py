"""Write the generated pages of docs/reference/ from the code.

    python docs/generate_reference.py

The pages are stored in the repository, so that they can be read without building the site;
``tests/docs/test_reference.py`` fails if they differ from what this script makes, and holds the
tables below against a real prediction and a real run folder.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import itertools
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ecg_siglip import config
from ecg_siglip.archive.rows import IDS as ID_COLUMNS
from ecg_siglip.archive.rows import SCHEMA_VERSION, table_columns
from ecg_siglip.core.command_schema import CONF_DIR, PACKAGE_DIR
from ecg_siglip.core.help_page import yaml_defaults
from ecg_siglip.core.settings import setting_fields
from ecg_siglip.metrics.decision_rules import THRESHOLD_RULES

REFERENCE = Path(__file__).resolve().parent / "reference"
COLUMN_TYPES = {
    "int": "integer", "float": "number", "bool": "boolean", "text": "text", "texts": "list of text",
}  # fmt: skip
NOTE = "<!-- Written by docs/generate_reference.py; do not edit. -->"
# In the order in which a user meets them.
COMMANDS = {
    "simulate": "Simulate ECGs with known findings: a PTB-XL, or a hospital with a table.",
    "ptbxl": "Download PTB-XL, check every file, and build the waveform cache.",
    "vocabulary": "Write a starter vocabulary from the codes of a table, for a person to edit.",
    "check": "Check a table or another data set before training: what is wrong, what is there.",
    "train": "Train a model on PTB-XL or on other data.",
    "adapt": "Adapt a trained model to other records or findings: train from its encoders.",
    "evaluate": "Score a trained model on one fold, or on external data.",
    "predict": "Print the findings of records as JSON, one line per record.",
    "compare": "Compare runs on the same records, with intervals and p-values.",
    "ensemble": "Join finished runs into one model.",
    "export": "Write a model as an ONNX file, or put it on the Hugging Face hub.",
    "app": "Serve a model as a web page and a JSON API.",
}


class Field(NamedTuple):
    """A value of a JSON output: its path, its type, when it is present, what it means."""

    path: str
    type: str
    present: str
    meaning: str


class Output(NamedTuple):
    """A file of a run folder: its path, when it is written, what it holds."""

    path: str
    present: str
    content: str


class Key(NamedTuple):
    """A key of metrics.json or a column of a table, and its meaning."""

    name: str
    meaning: str


ALWAYS, LONG = "always", "long records"
MEASURED = "unless `measurements=false`"
STATED, IDS = "if the file states it", "with `show_ids=true`, if the file states it"
RESULTS = "if the file states results"
SIMILAR, QUESTIONS = "with `n_similar=`", "with `questions=`"
# `[]`: an item of a list; `<code>`: the SCP-ECG code of a finding.
JSON_FIELDS = (
    Field("record", "string", ALWAYS, "Path of the record."),
    Field(
        "findings[]",
        "object",
        ALWAYS,
        "The findings that are reported, the most probable first. No two of them exclude each "
        "other. The list may be empty.",
    ),
    Field("findings[].code", "string", ALWAYS, "SCP-ECG code."),
    Field("findings[].name", "string", ALWAYS, "English name."),
    Field("findings[].probability", "number", ALWAYS, "Calibrated probability, 0 to 1."),
    Field(
        "findings[].threshold",
        "number",
        ALWAYS,
        "The finding is reported if its probability reaches this value, unless another reported "
        "finding excludes it.",
    ),
    Field(
        "findings[].likelihood",
        "string",
        ALWAYS,
        "Word for the probability alone: `very likely`, `likely`, `possible`, `unlikely` or "
        "`very unlikely`.",
    ),
    Field(
        "findings[].alternatives[]",
        "object",
        "if there are any",
        "Findings that reach their thresholds as well and are not very unlikely, but this one "
        "excludes them.",
    ),
    Field("findings[].alternatives[].code", "string", "if there are any", "SCP-ECG code."),
    Field("findings[].alternatives[].name", "string", "if there are any", "English name."),
    Field(
        "findings[].alternatives[].probability",
        "number",
        "if there are any",
        "Calibrated probability, 0 to 1.",
    ),
    Field(
        "findings[].alternatives[].likelihood",
        "string",
        "if there are any",
        "Word for its probability.",
    ),
    Field(
        "findings[].at_s",
        "number",
        LONG,
        "Start of the window that supports the finding most, in s from the start of the record.",
    ),
    Field(
        "not_excluded[]",
        "string",
        ALWAYS,
        "Codes of findings that are neither reported nor an alternative, the most probable first: "
        "from 5 % up, time-critical ones from 1 %; with `not_excluded=full` also what would be "
        "reported at the wanted `sensitivity`.",
    ),
    Field(
        "not_assessable[]",
        "string",
        ALWAYS,
        "Codes of findings whose criteria need leads that the record does not have. They are "
        "neither present nor absent.",
    ),
    Field(
        "probabilities.<code>",
        "number or null",
        ALWAYS,
        "Calibrated probability of every finding of the model; null if it is not assessable. In a "
        "long record: of the stretch of `windows.sustained_s` that supports the finding most.",
    ),
    Field("model", "string", ALWAYS, "Run and version of the model."),
    Field(
        "model_simulated",
        "boolean or null",
        ALWAYS,
        "True if the model was trained on simulated ECGs only: its results mean nothing for real "
        "ones. Null for models of earlier versions that did not note it.",
    ),
    Field(
        "warnings[]",
        "string",
        ALWAYS,
        "One sentence each: noise, baseline drift, electrodes, leads that are computed or "
        "missing, what was padded or left out, unlike all training records.",
    ),
    Field(
        "novelty",
        "number or null",
        ALWAYS,
        "Share of the tuning fold that is more like the training ECGs than this record is "
        "([what it finds](../how-to/similar-ecgs.md)); null with fewer than 12 leads, or if the "
        "model holds no training records.",
    ),
    Field(
        "novelty_parts.<part>",
        "number",
        "with `novelty`",
        "The same in each part alone: `embedding`, `frequencies`, `leads`; `embedding` only for "
        "models of earlier versions.",
    ),
    Field(
        "recording.recorded_at",
        "string",
        STATED,
        "Begin of the recording in ISO 8601, to the day or the second; with a time zone only "
        "where the file states it ([by "
        "format](../how-to/file-formats.md#identity-of-a-recording-and-results-of-the-device)).",
    ),
    Field(
        "recording.device.<field>",
        "string",
        STATED,
        "`manufacturer`, `model` and `software`; with `show_ids=true` also `serial_number`.",
    ),
    Field(
        "recording.filters.<field>",
        "string",
        STATED,
        "`high_pass`, `low_pass` and `notch` of the device, as `0.05 Hz`.",
    ),
    Field(
        "recording.patient_id",
        "string",
        IDS,
        "Number of the patient.",
    ),
    Field(
        "recording.record_id",
        "string",
        IDS,
        "Number of the examination or the record.",
    ),
    Field(
        "recording.age",
        "string",
        IDS,
        "Age with its unit, as `56 years`.",
    ),
    Field(
        "recording.sex",
        "string",
        IDS,
        "`male`, `female` or `other`.",
    ),
    Field("device.measurements[]", "object", RESULTS, "Measurements of the device."),
    Field(
        "device.measurements[].name",
        "string",
        RESULTS,
        "`rate`, `pr`, `qrs`, `qt`, `qtc_bazett`, `qtc_fridericia`, `p_axis`, `qrs_axis`, "
        "`t_axis`, `rr_sd`, `rr`, or `qtc` where the file does not state the formula.",
    ),
    Field(
        "device.measurements[].value",
        "number",
        RESULTS,
        "As the device measured it.",
    ),
    Field(
        "device.measurements[].unit",
        "string",
        RESULTS,
        "`1/min`, `ms` or `degrees`.",
    ),
    Field(
        "device.statements[]",
        "string",
        RESULTS,
        "Statements of the file in its order, each at most 300 characters; names of persons "
        "are replaced by `[name]`.",
    ),
    Field(
        "device.confirmed",
        "boolean",
        RESULTS,
        "Whether the file states that a person confirmed or edited the statements.",
    ),
    Field(
        "measurements.n_beats",
        "integer",
        MEASURED,
        "Beats in the median beat that was measured "
        "([all measurements](../how-to/measurements.md)).",
    ),
    Field(
        "measurements.<name>.value",
        "number or null",
        MEASURED,
        "`rate`, `rr_sd`, `pr`, `qrs`, `qt`, `qtc_bazett`, `qtc_fridericia`, `p_axis`, `qrs_axis`, "
        "`t_axis`; null if it is not measurable.",
    ),
    Field("measurements.<name>.unit", "string", MEASURED, "`1/min`, `ms` or `degrees`."),
    Field(
        "measurements.<name>.spread",
        "number",
        MEASURED,
        "Interquartile range over the beats (`rate`), or standard error; only with a value, and "
        "for `rate` with three intervals or more.",
    ),
    Field(
        "measurements.<name>.reason",
        "string",
        MEASURED,
        "Why it is not measurable; only without a value.",
    ),
    Field(
        "measurements.<name>.<lead>.value",
        "number or null",
        MEASURED,
        "`r`, `s` and `st` of each lead with a signal: highest R, deepest Q or S, level 60 ms "
        "after the end of QRS; null if it is not measurable.",
    ),
    Field("measurements.<name>.<lead>.unit", "string", MEASURED, "`mV`."),
    Field(
        "measurements.<name>.<lead>.spread",
        "number",
        MEASURED,
        "Standard error; only with a value.",
    ),
    Field(
        "measurements.<name>.<lead>.reason",
        "string",
        MEASURED,
        "Why it is not measurable; only without a value.",
    ),
    Field("similar[]", "object", SIMILAR, "The most similar training ECGs, the nearest first."),
    Field(
        "similar[].ecg_id",
        "integer",
        SIMILAR,
        "Number of the training record, or a hash of its name.",
    ),
    Field("similar[].record", "string", SIMILAR, "Name of the training record in its data set."),
    Field("similar[].cosine", "number", SIMILAR, "Cosine similarity of the two embeddings."),
    Field("similar[].findings[]", "string", SIMILAR, "Codes of the findings in its label."),
    Field("questions[]", "object", QUESTIONS, "One result per question, in the given order."),
    Field("questions[].question", "string", QUESTIONS, "The question."),
    Field(
        "questions[].language",
        "string",
        QUESTIONS,
        "Language of the question, and of the names and sentences of its result: en, de, ja.",
    ),
    Field(
        "questions[].matches[]",
        "object",
        QUESTIONS,
        "The findings that the question names, the closest first, then findings about the same as "
        "its measurements.",
    ),
    Field("questions[].matches[].code", "string", QUESTIONS, "SCP-ECG code."),
    Field(
        "questions[].matches[].name",
        "string",
        QUESTIONS,
        "Name in the language of the question.",
    ),
    Field(
        "questions[].matches[].closeness",
        "number",
        QUESTIONS,
        "How similar the words are to the finding's own, 0 to 1.",
    ),
    Field(
        "questions[].matches[].probability",
        "number or null",
        QUESTIONS,
        "Calibrated probability of the finding; null if it is not assessable.",
    ),
    Field(
        "questions[].matches[].present",
        "boolean",
        QUESTIONS,
        "Whether the finding is reported.",
    ),
    Field(
        "questions[].matches[].likelihood",
        "string or null",
        QUESTIONS,
        "Word for the probability; null if it is not assessable.",
    ),
    Field(
        "questions[].measurements[]",
        "object",
        QUESTIONS,
        "The measurements that the question is about, with its comparison.",
    ),
    *(
        Field(f"questions[].measurements[].{name}", kind, QUESTIONS, meaning)
        for name, kind, meaning in (
            ("text", "string", "Values and comparison, as a sentence or two."),
            ("values[]", "object", "The measurements that the question is about."),
            ("values[].measurement", "string", "Name, as under `measurements` of the record."),
            ("values[].name", "string", "Name in the language of the question."),
            ("values[].lead", "string", "Lead of an amplitude."),
            ("values[].value", "number or null", "Value; null if it is not measurable."),
            ("values[].unit", "string", "Unit."),
            ("values[].spread", "number", "Spread, as under `measurements` of the record."),
            ("values[].reason", "string", "Why it is not measurable."),
            ("limits[]", "object", "Limits of a question for a comparison."),
            ("limits[].operator", "string", "`>`, `>=`, `<` or `<=`."),
            ("limits[].value", "number", "Limit."),
            ("limits[].unit", "string", "Unit."),
            ("limits[].who", "string", "men or women, if the limit is not for all."),
            ("limits[].source", "string", "Source of a usual limit; absent if it was stated."),
            ("comparison", "string", "beyond: beyond each limit; within: beyond none."),
            (
                "result",
                "string or null",
                "yes, no or unclear (it depends on formula or sex); null if nothing is measurable.",
            ),
        )
    ),
    Field(
        "questions[].lacking[]",
        "object",
        QUESTIONS,
        "Terms of the question that the vocabulary has no finding for.",
    ),
    Field("questions[].lacking[].name", "string", QUESTIONS, "The term."),
    Field("questions[].lacking[].text", "string", QUESTIONS, "The same, as a sentence or two."),
    Field(
        "questions[].lacking[].nearest[]",
        "object",
        QUESTIONS,
        "Findings that are related, but not the same.",
    ),
    *(
        Field(f"questions[].lacking[].nearest[].{name}", kind, QUESTIONS, "As of `matches`.")
        for name, kind in (
            ("code", "string"),
            ("name", "string"),
            ("probability", "number or null"),
            ("present", "boolean"),
            ("likelihood", "string or null"),
        )
    ),
    Field(
        "questions[].no_match",
        "boolean",
        QUESTIONS,
        "True if the question names nothing that is known.",
    ),
    Field(
        "questions[].nearest_prompts[]",
        "object",
        QUESTIONS,
        "The prompts that are nearest to the question in the embedding of the text encoder.",
    ),
    Field("questions[].nearest_prompts[].code", "string", QUESTIONS, "SCP-ECG code."),
    Field("questions[].nearest_prompts[].name", "string", QUESTIONS, "English name."),
    Field(
        "questions[].nearest_prompts[].closeness", "number", QUESTIONS, "Cosine similarity, 0 to 1."
    ),
    Field(
        "questions[].misread",
        "boolean",
        QUESTIONS,
        "True if the nearest prompt is not one of the matches: `uncalibrated` then means nothing.",
    ),
    Field(
        "questions[].uncalibrated",
        "number or null",
        QUESTIONS,
        "Probability that the two encoders give to the question as it is written, not calibrated; "
        "null for a model without a text encoder.",
    ),
    Field("questions[].notes[]", "string", QUESTIONS, "What limits the result, one sentence each."),
    Field("windows[]", "object", LONG, "The windows of the record, in the order of time."),
    Field("windows[].start_s", "number", LONG, "Start of the window, s."),
    Field("windows[].end_s", "number", LONG, "End of the window, s."),
    Field(
        "windows[].findings.<code>",
        "number",
        LONG,
        "Probability of each finding that is present in the window.",
    ),
    Field(
        "windows[].skipped",
        "string",
        "unusable windows",
        "Why the window could not be used; it then has no `findings`.",
    ),
)

TRAIN, FEW = "train", "train with `augment.fewer_leads=`"
EVALUATE, WORDS = "evaluate", "evaluate, models with a text encoder"
SEVERAL = "evaluate, models trained on several data sets"
# `<n>`: a fold.
RUN_FILES = (
    Output("config.yaml", TRAIN, "Every setting of the run."),
    Output(
        "log.jsonl",
        TRAIN,
        "One JSON object per epoch: loss, learning rate, scores on the tuning fold, and the "
        "SHA-256 of the averaged weights.",
    ),
    Output("tensorboard/", TRAIN, "The same for TensorBoard: `tensorboard --logdir runs`."),
    Output("state.pt", TRAIN, "Training state, to resume an interrupted run, with its SHA-256."),
    Output("model/", TRAIN, "The model with all that a prediction needs."),
    Output("model/model.safetensors", TRAIN, "Weights of both encoders, logit scale and bias."),
    Output(
        "model/config.json",
        TRAIN,
        "Format number, SHA-256 of each file, architecture, findings and prompts in order, "
        "preparation of the signals, calibration, thresholds of every rule, and provenance "
        "(`about`): run, data, folds, scores on the tuning fold.",
    ),
    Output(
        "model/text/", TRAIN, "Tokenizer of the text encoder, and its configuration if it has one."
    ),
    Output("model/vocabulary.json", TRAIN, "The vocabulary: all that is known about its findings."),
    Output("model/README.md", TRAIN, "Model card."),
    Output(
        "model/neighbours.safetensors",
        "train, unless `keep_embeddings=false`",
        "Names, findings, embeddings and short descriptions of the training records, for similar "
        "ECGs and novelty.",
    ),
    Output("model.onnx", "export", "The model as one ONNX file."),
    Output("model.json", "export", "Metadata of `model.onnx`, and probabilities to test with."),
    Output("model.golden.csv", "export", "The ECG that has these probabilities."),
    Output("evaluate/fold<n>/metrics.json", EVALUATE, "Scores of the fold (keys below)."),
    Output("evaluate/fold<n>/findings.csv", EVALUATE, "One row per finding (columns below)."),
    Output("evaluate/fold<n>/predictions.parquet", EVALUATE, "One row per record (columns below)."),
    Output(
        "evaluate/fold<n>/report.html",
        "evaluate, unless `report=false`",
        "One self-contained page: figures (reliability and decision curves among them), the "
        "curves, errors and example records of each finding, and the records with the largest "
        "error.",
    ),
    Output(
        "evaluate/fold<n>/about.json",
        EVALUATE,
        "Provenance of the model that was scored: training data, folds, machine, time.",
    ),
    Output(
        "evaluate/fold<n>/sources.csv",
        SEVERAL,
        "Scores of the records of each data set (also `.json`, and keys of `metrics.json`).",
    ),
    Output(
        "evaluate/fold<n>/findings_by_source.csv",
        SEVERAL,
        "`findings.csv` of each data set, which the column `source` names.",
    ),
    Output(
        "evaluate/fold<n>-<source>/",
        "evaluate with `data.source=`",
        "The same files for one data set of the training: see [several data sets]"
        "(../how-to/several-sources.md).",
    ),
    Output(
        "evaluate/table-<name>/",
        "evaluate with `data=table`",
        "The same files for another data set: see [external validation]"
        "(../how-to/external-validation.md#another-table); `table-<name>-fold<n>/` for one of its "
        "folds, `ptbxl-<name>/` for one in the layout of PTB-XL.",
    ),
    Output(
        "evaluate/fold<n>/retrieval.csv",
        WORDS,
        "How well ECGs and reports find each other (also `.json`).",
    ),
    Output(
        "evaluate/fold<n>/entailment.csv",
        WORDS,
        "How well reports match the prompts of the findings that they state (also `.json`).",
    ),
    Output(
        "evaluate/fold<n>/leads.csv",
        "evaluate, models trained with `augment.fewer_leads=`",
        "Scores of each set of leads (also `.json`).",
    ),
    Output(
        "evaluate/fold<n>/languages.csv",
        "evaluate, models trained with `text.language=mixed`",
        "Scores of each language (also `.json`).",
    ),
    Output(
        "evaluate/fold<n>/held_out.csv",
        "evaluate, models trained with `data.held_out=`",
        "Scores of the findings that were held out (also `.json`).",
    ),
    Output(
        "evaluate/challenge/",
        "evaluate with `data=challenge`",
        "Scores on external data: see [external validation](../how-to/external-validation.md).",
    ),
)

# `R`: a threshold rule.
METRICS = (
    Key("R/macro_f1", "Mean over the findings of F1 = 2 TP / (2 TP + FP + FN)."),
    Key("R/micro_f1", "F1 over all record-finding pairs together."),
    Key("R/samples_f1", "Mean over the records of the F1 of their sets of findings."),
    Key("R/macro_f1_min5", "`R/macro_f1` over findings with 5 or more positives in the fold."),
    Key("consistent/macro_f1", "As `R/macro_f1`, of the consistent sets that are reported."),
    Key("consistent/micro_f1", "As `R/micro_f1`, of the consistent sets."),
    Key("consistent/samples_f1", "As `R/samples_f1`, of the consistent sets."),
    Key("consistent/macro_f1_min5", "As `R/macro_f1_min5`, of the consistent sets."),
    Key("macro_auroc", "Mean area under the ROC curve; it needs no threshold."),
    Key("macro_auroc_min5", "The same over findings with 5 or more positives."),
    Key("macro_auprc", "Mean average precision (area under the precision-recall curve)."),
    Key("macro_auprc_min5", "The same over findings with 5 or more positives."),
    Key("micro_auprc", "Average precision over all record-finding pairs together."),
    Key("ece", "Expected calibration error over all record-finding pairs, 15 bins."),
    Key("n_contradictory", "Records of which two excluding findings reach their thresholds."),
    Key("n_records", "Records of the fold."),
    Key("n_findings", "Findings with a positive in the fold."),
    Key("n_findings_min5", "Findings with 5 or more positives in the fold."),
)
# Also in metrics.json, if the records are from several data sets.
SOURCE_METRICS = (
    Key(
        "source/<name>/...",
        "Every key above for the records of one data set, with its own calibration and thresholds "
        "if the model has them.",
    ),
    Key("source/<name>/n_known", "Pairs of its records and a finding whose label is known."),
)
FINDING_COLUMNS = (
    Key("code", "SCP-ECG code."),
    Key("name", "English name."),
    Key("n_positive", "Records of the fold that have the finding."),
    Key("n_known", "Records whose label is known; only these count (if a label is unknown)."),
    Key("prevalence", "`n_positive` / records whose label is known."),
    Key("auroc", "Area under the ROC curve."),
    Key("auprc", "Average precision."),
    Key("ece", "Expected calibration error of the finding."),
    Key("brier", "Mean squared difference of probability and label."),
    Key("R/threshold", "Threshold of the rule, from the tuning fold."),
    Key("R/precision", "Precision at that threshold; empty if the finding is never predicted."),
    Key("R/recall", "Recall (sensitivity) at that threshold."),
    Key("R/specificity", "Specificity at that threshold."),
    Key("R/f1", "F1 at that threshold; `R/f1/low` and `R/f1/high`: its 95 % interval."),
    Key("calibration/slope", "Slope of the calibration, on the logit."),
    Key("calibration/intercept", "Intercept of the calibration, on the logit."),
)
PREDICTION_COLUMNS = (
    Key("ecg_id", "Number of the record in PTB-XL; of other data a number made from its name."),
    Key("source", "Name of its data set."),
    Key(
        "record", "Name of the record in its data set: `ecg_id`, or `record` or `path` of a table."
    ),
    Key("strat_fold", "Its fold."),
    Key("probability/<code>", "Calibrated probability of the finding."),
    Key("true/<code>", "Whether the label states the finding; null where that is unknown."),
)
RULES = {
    "fixed_0.5": "0.5 for every finding.",
    "f1": "Per finding, the threshold with the best F1 on the tuning fold.",
    "prevalence": "Per finding, the threshold at which as many records of the tuning fold are "
    "predicted positive as have the finding.",
    "global": "One threshold for all findings, from the tuning fold.",
    "expected_f1": "Per finding, half the best F1 that its calibrated probabilities lead one to "
    "expect, at least 0.1 ([why](../decisions/0007-thresholds-from-the-expected-f1.md)). The "
    "default of `predict`.",
}

FILES, EXAMPLE = "unless `files=false`", "depends on the kind"
# `<value>`: a format, a rate, a length, a lead or a language.
CHECK_FIELDS = (
    Field("ok", "boolean", ALWAYS, "Whether there is no error; the exit code is then 0, else 1."),
    Field("n_errors", "integer", ALWAYS, "Errors: training stops at each of them."),
    Field("n_warnings", "integer", ALWAYS, "Warnings."),
    Field("issues[].level", "string", ALWAYS, "`error` or `warning`; errors come first."),
    Field("issues[].kind", "string", ALWAYS, "What is wrong, in a few words."),
    Field("issues[].n", "integer", ALWAYS, "Number of cells, records, files or findings."),
    Field("issues[].message", "string", ALWAYS, "The first cases, and what helps."),
    Field("issues[].source", "string", ALWAYS, "Name of the data set; empty for all together."),
    Field("issues[].examples[].message", "string", EXAMPLE, "What is wrong in this case."),
    Field(
        "issues[].examples[].row",
        "integer or null",
        EXAMPLE,
        "Row of the table, the header is row 1.",
    ),
    Field("issues[].examples[].column", "string", EXAMPLE, "Column of the table."),
    Field("issues[].examples[].path", "string", EXAMPLE, "File."),
    Field("issues[].examples[].copy_of", "string", EXAMPLE, "File with the same ECG."),
    Field("issues[].examples[].code", "string", EXAMPLE, "Code of a finding."),
    Field("issues[].examples[].n", "integer", EXAMPLE, "Records with this code."),
    Field("sources[].name", "string", ALWAYS, "Name of the data set."),
    Field("sources[].kind", "string", ALWAYS, "`ptbxl`, `table` or `challenge`."),
    Field("sources[].where", "string", ALWAYS, "Its table or folder."),
    Field("sources[].n_records", "integer", ALWAYS, "Its records."),
    Field("sources[].columns[]", "string", ALWAYS, "Columns of the table that are used."),
    Field("sources[].ignored_columns[]", "string", ALWAYS, "Columns that are not used."),
    Field("sources[].has_folds", "boolean", ALWAYS, "Whether it states folds; else they are made."),
    Field("sources[].has_patients", "boolean", ALWAYS, "Whether it states patients."),
    Field("sources[].languages.<value>", "integer", "column `language`", "Records by language."),
    Field("records.n_records", "integer", ALWAYS, "Records."),
    Field("records.n_patients", "integer", ALWAYS, "Patients."),
    Field("records.n_with_finding", "integer", ALWAYS, "Records with a finding."),
    Field(
        "records.n_without_finding",
        "integer",
        ALWAYS,
        "Records without one, of those with known labels.",
    ),
    Field("records.n_unlabelled", "integer", ALWAYS, "Records in which no label is known."),
    Field("records.n_with_report", "integer", ALWAYS, "Records with a report."),
    Field("folds[].fold", "integer", ALWAYS, "1 to 10."),
    Field("folds[].n_records", "integer", ALWAYS, "Records of the fold."),
    Field("folds[].n_patients", "integer", ALWAYS, "Patients of the fold."),
    Field("folds[].use", "string", ALWAYS, "`training`, `tuning` or `other`."),
    Field("findings[].code", "string", ALWAYS, "Code; every finding of the vocabulary is listed."),
    Field("findings[].name", "string", ALWAYS, "Name."),
    Field("findings[].n_positive", "integer", ALWAYS, "Records in which it is present."),
    Field(
        "findings[].n_known",
        "integer",
        ALWAYS,
        "Records in which it is known to be present or absent.",
    ),
    Field("findings[].n_unknown", "integer", ALWAYS, "All others."),
    Field("findings[].prevalence", "number or null", ALWAYS, "`n_positive` / `n_known`."),
    Field("findings[].n_patients", "integer", ALWAYS, "Patients with it."),
    Field("findings[].n_patients_train", "integer", ALWAYS, "In the folds for training."),
    Field("findings[].n_patients_tune", "integer", ALWAYS, "In the fold for tuning."),
    Field("findings[].by_fold[]", "integer", ALWAYS, "Records with it in folds 1 to 10."),
    Field(
        "co_occurrence.codes[]",
        "string",
        ALWAYS,
        "Findings that are present, in the order of the matrix.",
    ),
    Field("co_occurrence.n[][]", "integer", ALWAYS, "Records with both findings."),
    Field("pairs[].codes[]", "string", ALWAYS, "The most frequent pairs of findings."),
    Field("pairs[].n", "integer", ALWAYS, "Records with both."),
    Field("pairs[].jaccard", "number", ALWAYS, "Records with both / records with one or both."),
    Field("files", "null", "`files=false`", "The files were not opened."),
    Field("files.n_opened", "integer", FILES, "Files."),
    Field("files.n_usable", "integer", FILES, "Files that training can use."),
    Field("files.n_missing", "integer", FILES, "Files that are not there."),
    Field("files.n_unreadable", "integer", FILES, "Files that cannot be read."),
    Field(
        "files.n_unusable",
        "integer",
        FILES,
        "Files that can be read but not used: too short, a flat lead.",
    ),
    Field(
        "files.n_copies",
        "integer",
        FILES,
        "ECGs that are a copy of another, found by their signals.",
    ),
    Field("files.formats.<value>", "integer", FILES, "Files by format."),
    Field(
        "files.fs.<value>",
        "integer",
        FILES,
        "Files by sampling rate, Hz; at most 50 values, as below.",
    ),
    Field("files.duration_s.<value>", "integer", FILES, "Files by length, s."),
    Field("files.flat_leads.<value>", "integer", FILES, "Files in which a lead has no signal."),
    Field("files.missing_leads.<value>", "integer", FILES, "Files without a lead."),
    Field(
        "files.amplitude_mv.<value>",
        "number",
        FILES,
        "Percentiles `p1` to `p99` of the amplitude of a typical lead (the 99th percentile of the "
        "distance from its median), mV.",
    ),
    Field("files.amplitude_histogram.edges_mv[]", "number", FILES, "Edges of the bins, mV."),
    Field("files.amplitude_histogram.n[]", "integer", FILES, "Files in each bin."),
    Field("folds_written", "string or null", ALWAYS, "The table that `folds=` has written."),
)


def escape(text: str) -> str:
    """Return a cell of a table with the characters escaped that Markdown would interpret."""
    parts = re.split(r"(`[^`]*`)", text.replace("|", "\\|"))
    plain = [part.replace("<", "&lt;").replace("*", "\\*") for part in parts[::2]]
    code = [*parts[1::2], ""]
    return "".join(pair for both in zip(plain, code, strict=True) for pair in both)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *([escape(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def value_text(value: Any) -> str:
    """Return a default as it is written on the command line."""
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value == "":
        return "empty"
    return "required" if value == "???" else f"`{str(value).replace(' ', '')}`"


def allowed_values(field: dataclasses.Field[Any]) -> str:
    """Return the range or the choices of a setting."""
    low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    if low is None:
        return "`true`, `false`" if field.type in (bool, "bool") else ""
    return f"{low:,} or more" if high is None else f"{low:,} to {high:,}"


def option_groups(command: str) -> list[tuple[str, str | None]]:
    """Return the groups of settings that a command takes by name, each with its default."""
    entries = yaml.safe_load((CONF_DIR / f"{command}.yaml").read_text("utf-8"))["defaults"]
    pairs = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
    return [(name, option) for name, option in pairs if (CONF_DIR / name).is_dir()]


def option_summary(path: Path) -> str:
    """Return what the first comment of a file of conf/ states."""
    text = path.read_text("utf-8").removeprefix("# @package _global_\n")
    lines = itertools.takewhile(lambda line: line.startswith("# "), text.splitlines())
    summary = " ".join(line.removeprefix("# ") for line in lines).rstrip(".") + "."
    return re.sub(r"(\w) ((?:MIT|Apache-2\.0)\b)", r"\1. \2", summary)


def settings_page() -> str:
    """Return the page of all commands and settings."""
    rules = [
        "A setting is given as `name=value`. A list needs quotes for the shell: "
        "`'data.train_folds=[1,2]'`. `null` means no value. Files of `predict`, `check` and "
        "`vocabulary` and runs of `compare` and `ensemble` need no name of a setting "
        "([more](../how-to/command-line.md)).",
        "`-m` with several values starts one run per value: `-m seed=0,1,2`.",
        "`--help` prints this list for one command; `--cfg job` prints the composed settings and "
        "starts nothing.",
        "A value outside its range, or a name that does not exist, is an error before any work "
        "starts.",
    ]
    parts = [
        "# Commands and settings",
        NOTE,
        "A command is run as `python -m ecg_siglip.COMMAND name=value ...` or, in short, "
        "`ecg-siglip COMMAND name=value ...`. The settings come from "
        "`ecg_siglip/config.py`, their defaults also from `conf/`.",
        "\n".join(f"- {rule}" for rule in rules),
        table(
            ("command", "purpose"),
            ((f"[`{name}`](#{name})", purpose) for name, purpose in COMMANDS.items()),
        ),
    ]
    for command, purpose in COMMANDS.items():
        schema = getattr(config, f"{command.capitalize()}Config")
        defaults = yaml_defaults(command)
        rows = []
        for name, field in setting_fields(schema):
            made = field.default_factory
            default = field.default if made is dataclasses.MISSING else made()
            default = defaults.get(name, default)
            meaning = field.metadata["doc"]
            rows.append((f"`{name}`", value_text(default), allowed_values(field), meaning))
        parts += [f"## {command}", purpose]
        parts += [table(("setting", "default", "values", "meaning"), rows)]
        for group, chosen in option_groups(command):
            paths = sorted((CONF_DIR / group).glob("*.yaml"))
            if command == "evaluate":
                paths = [path for path in paths if path.stem == "challenge"]
            default = f"default `{chosen}`" if chosen else "no default"
            parts += [
                f"### {command}: `{group}=`",
                f"A set of settings by name, a file of `conf/{group}/`; {default}.",
                table(
                    ("name", "meaning"),
                    ((f"`{path.stem}`", option_summary(path)) for path in paths),
                ),
            ]
    return "\n\n".join(parts) + "\n"


def json_page() -> str:
    """Return the page of the JSON that ``predict`` prints."""
    parts = [
        "# JSON output of predict",
        NOTE,
        "`predict` prints one JSON object per record and line, in the order of the records. A "
        "record that cannot be read is named on stderr; the others are still predicted, and the "
        "exit code is 3. `POST /predict` of the [JSON API](../how-to/web-page-and-api.md) returns "
        "the same objects in the list `predictions`.",
        "`[]` marks an item of a list, `<code>` an SCP-ECG code. *Long records* are those that are "
        "[cut into windows](../how-to/long-records.md).",
        table(
            ("field", "type", "present", "meaning"),
            ((f"`{f.path}`", f.type, f.present, f.meaning) for f in JSON_FIELDS),
        ),
        "A probability is rounded to six decimals, in `windows` to four.",
    ]
    return "\n\n".join(parts) + "\n"


def rows_page() -> str:
    """Return the page of the columns that ``predict out=`` writes."""
    columns = table_columns(["<code>"], "window", show_ids=True)
    parts = [
        "# Rows of an archive",
        NOTE,
        "The columns that [`predict out=`](../how-to/predict-an-archive.md) writes to Parquet and "
        f"CSV, version {SCHEMA_VERSION}: a row per record, or with `rows=window` per window. "
        "There is a column `probability/<code>` for each finding of the model.",
        table(
            ("column", "type", "meaning"),
            ((f"`{c.name}`", COLUMN_TYPES[c.kind], c.doc) for c in columns),
        ),
        "`window`, `start_s` and `end_s` are there with `rows=window`; measurements with "
        f"`measurements=true`; {', '.join(f'`{name}`' for name in ID_COLUMNS)} with "
        "`show_ids=true`. "
        "Of a long record, measurements, novelty and similar ECGs are those of one window, which "
        "represents it. In CSV an empty cell is a missing value, and several texts of one cell are "
        "separated by `; `.",
        "JSON lines have the [objects that `predict` prints](json-output.md), with "
        "`schema_version`, `status` and `reason`.",
        "The version changes when a column is renamed, removed or gets another meaning.",
    ]
    return "\n\n".join(parts) + "\n"


def check_page() -> str:
    """Return the page of the JSON that ``check`` writes."""
    parts = [
        "# JSON output of check",
        NOTE,
        "`check out=FOLDER` writes `check.json` and the page `check.html`, which shows the same. "
        "See [how to use your own data](../how-to/own-data.md#check-the-table).",
        "`[]` marks an item of a list, `<value>` a format, a rate, a length, a lead or a language. "
        "An issue has at most 20 examples, and findings all of theirs.",
        table(
            ("field", "type", "present", "meaning"),
            ((f"`{f.path}`", f.type, f.present, f.meaning) for f in CHECK_FIELDS),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def run_folder_page() -> str:
    """Return the page of the files of a run and their columns."""
    parts = [
        "# Run folder and scores",
        NOTE,
        "A run is the folder `runs/<name>/`; `run.name=` names it, `run.root=` moves it.",
        table(
            ("file", "written by", "content"),
            ((f"`{o.path}`", o.present, o.content) for o in RUN_FILES),
        ),
        "`ensemble` writes `config.yaml` and `model/`. Files appear whole or not at all "
        "([reliability](../reliability.md)).",
        "## Threshold rules",
        "A threshold rule turns probabilities into findings: a finding is present if its "
        "probability reaches its threshold. An F1 score means little without its rule, so scores "
        "name it. All thresholds come from the tuning fold, none from the fold that is scored.",
        table(("rule `R`", "threshold"), ((f"`{rule}`", RULES[rule]) for rule in THRESHOLD_RULES)),
        "## metrics.json",
        "Every score but the counts also has a 95 % interval, `.../low` and `.../high` (percentile "
        "bootstrap over the records; `n_bootstrap=0` leaves them out). A value is null if it is "
        "not defined.",
        table(("key", "meaning"), ((f"`{k.name}`", k.meaning) for k in METRICS)),
        "If the records are from several data sets:",
        table(("key", "meaning"), ((f"`{k.name}`", k.meaning) for k in SOURCE_METRICS)),
        "## findings.csv",
        table(("column", "meaning"), ((f"`{k.name}`", k.meaning) for k in FINDING_COLUMNS)),
        "## predictions.parquet",
        table(("column", "meaning"), ((f"`{k.name}`", k.meaning) for k in PREDICTION_COLUMNS)),
    ]
    return "\n\n".join(parts) + "\n"


def public_names(package: str) -> dict[str, str]:
    """Return the public names of a package of the package folder, each with its module.

    ``package`` is "" for ``ecg_siglip`` itself; a sub-package has the module "".
    """
    name = f"ecg_siglip.{package}".rstrip(".")
    return dict(importlib.import_module(name)._MODULE_OF)


def package_summary(package: str) -> str:
    """Return the first line of a sub-package's docstring."""
    path = PACKAGE_DIR / package / "__init__.py"
    doc = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return doc.partition("\n\n")[0].replace("\n", " ")


def packages() -> list[str]:
    """Return the sub-packages, from the lowest layer to the highest."""
    doc = (PACKAGE_DIR / "__init__.py").read_text("utf-8")
    listed = re.findall(r"``(\w+)``", doc)
    folders = {path.parent.name for path in PACKAGE_DIR.glob("*/__init__.py")}
    order = list(dict.fromkeys(name for name in listed if name in folders))
    return order + sorted(folders - set(order))


def api_index() -> str:
    """Return the index of the Python API."""
    top = [
        (f"`{name}`", f"[{module.partition('.')[0]}]({module.partition('.')[0]}.md)")
        for name, module in public_names("").items()
        if module
    ]
    layers = [(f"[`{name}`]({name}.md)", package_summary(name)) for name in packages()]
    parts = [
        "# Python API",
        NOTE,
        "These names can be imported from `ecg_siglip` itself. They are loaded on first use, so "
        "`import ecg_siglip` does not load PyTorch.",
        table(("name", "documented in"), top),
        "The sub-packages, from the lowest layer to the highest; each imports only from lower "
        "layers.",
        table(("package", "purpose"), layers),
    ]
    return "\n\n".join(parts) + "\n"


def api_page(package: str) -> str:
    """Return the page of a sub-package: its public names, which mkdocstrings documents."""
    names = public_names(package)
    rows = [
        (f"`{name}`", f"[`{module}.py`](../../../ecg_siglip/{package}/{module}.py)")
        for name, module in names.items()
    ]
    parts = [
        f"# {package}",
        NOTE,
        package_summary(package),
        table(("name", "module"), rows),
        *(f"::: ecg_siglip.{package}.{module}.{name}" for name, module in names.items()),
    ]
    return "\n\n".join(parts) + "\n"


def pages() -> dict[str, str]:
    """Return the text of every generated page by its path below docs/reference/."""
    found = {
        "settings.md": settings_page(),
        "json-output.md": json_page(),
        "archive-rows.md": rows_page(),
        "check-output.md": check_page(),
        "run-folder.md": run_folder_page(),
        "api/index.md": api_index(),
    }
    return found | {f"api/{name}.md": api_page(name) for name in packages()}


def main() -> None:
    for name, text in pages().items():
        path = REFERENCE / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
