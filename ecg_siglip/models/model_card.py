"""The model card: what a model is, from what, how good, what it is for and what not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ecg_siglip.models.provenance import Provenance
from ecg_siglip.vocabulary import findings

Scores = Mapping[str, float | None]

SHOWN = {
    "macro_auroc_min5": "macro AUROC",
    "macro_auprc_min5": "macro AUPRC",
    "expected_f1/macro_f1_min5": "macro F1, thresholds `expected_f1`",
    "prevalence/macro_f1_min5": "macro F1, thresholds `prevalence`",
    "expected_f1/micro_f1": "micro F1, thresholds `expected_f1`",
    "fixed_0.5/micro_f1": "micro F1 at 0.5",
    "ece": "calibration error",
}
WORDS = "The text encoder began as `{}`, whose own licence holds for what comes from it. "
CARD = """---
{head}---
# {run}: findings of a 12-lead ECG

**For research, not for diagnosis.** This is no medical device; nobody has tested it on patients.

Names {n_findings} findings (SCP-ECG statements of PTB-XL, task `{task}`) in a 12-lead ECG,
several at once, each with a calibrated probability. Two towers, `{ecg}` for the signal and
`{text}` for the words, trained with the objective `{objective}` by ecg_siglip {version} (commit
{commit}).

## Use

```python
from ecg_siglip import EcgClassifier

classifier = EcgClassifier.from_pretrained("{name}")
probabilities = classifier.predict_proba("path/to/00001_lr")  # one column a finding
```

or `python -m ecg_siglip.predict model={name} 'records=[path/to/00001_lr]'`. Records of other
leads, rates and lengths are brought to what the model sees: 12 leads, {fs:g} Hz, {duration_s:g}
s.

Meant for research on ECGs: to compare methods, to sort and search records that people read
anyway, to start another model from. Not meant to decide about a patient, to replace a reading,
or to rule anything out. At another hospital, calibration and thresholds have to be found anew
(`EcgClassifier.fit`).

## Training

- data: {data}, in the layout of [PTB-XL](https://physionet.org/content/ptb-xl/1.0.3/)
- trained on folds {train_folds} ({n_train_records} records), seed {seed}
- ECG encoder started {start}
- thresholds, calibration and best epoch ({best_epoch}) from fold {tune_fold} ({n_tune_records}
  records)

## Scores

Over the findings with 5 or more positives in the fold, micro F1 over all; in brackets 95 %
intervals by bootstrap over the records. {flatters}

{scores}

## Limits

One database of one country and two decades; labels are one or two cardiologists' reading of the
record; rare findings have few examples; nobody has looked at differences between groups of
people. A probability is right on average over records like those of the tuning fold, and only
there.

## Licence

Weights and code: Apache-2.0. {words}PTB-XL, where the data above is PTB-XL: CC BY 4.0; cite
Wagner, P. et al. (2020), *Scientific Data* 7, 154, doi:10.1038/s41597-020-0495-6.

<details><summary>The findings</summary>

{findings}

</details>
"""


def model_card(
    provenance: Provenance,
    codes: Sequence[str],
    waveform: Mapping[str, Any],
    name: str = "path/to/this/folder",
    folds: Mapping[int, Scores] | None = None,
) -> str:
    """The README.md of a model.

    Parameters
    ----------
    provenance, codes, waveform
        As in ``artifact.Artifact``.
    name : str
        What loads it: a folder, or ``owner/name`` on the hub.
    folds : mapping of fold to scores, optional
        ``metrics.json`` of the folds that the model was evaluated on.
    """
    tuned = f"tuning fold {provenance.tune_fold}"
    columns = {f"fold {fold}": scores for fold, scores in sorted((folds or {}).items())}
    columns[tuned] = provenance.tune_scores
    before = provenance.pretrained
    start = f"as that of {before.run}, trained on {before.data}" if before else "at random"
    flatters = f"Those of the {tuned} flatter: thresholds and calibration come from it."
    return CARD.format(
        **vars(provenance),
        head=_head(provenance.run, columns, tuned),
        name=name,
        n_findings=len(codes),
        fs=waveform["to_fs"],
        duration_s=waveform["duration_s"],
        start=start,
        flatters=flatters,
        words="" if provenance.text in ("small", "none") else WORDS.format(provenance.text),
        scores=_table(columns),
        findings="\n".join(
            f"- `{code}`: {words}" for code, words in zip(codes, findings.names(codes), strict=True)
        ),
    )


def _head(run: str, columns: Mapping[str, Scores], tuned: str) -> str:
    """What the hub reads: licence, tags, and the scores that do not flatter."""
    head: dict[str, Any] = {
        "library_name": "ecg_siglip",
        "license": "apache-2.0",
        "tags": ["ecg", "12-lead", "electrocardiogram", "cardiology", "siglip", "multi-label"],
    }
    results = [
        {
            "task": {"type": "ecg-classification", "name": "findings of a 12-lead ECG"},
            "dataset": {"type": "ptb-xl", "name": f"layout of PTB-XL, {fold}"},
            "metrics": [
                {"type": key, "name": SHOWN[key], "value": round(value, 4)}
                for key in SHOWN
                if (value := scores.get(key)) is not None
            ],
        }
        for fold, scores in columns.items()
        if fold != tuned
    ]
    if results:
        head["model-index"] = [{"name": run, "results": results}]
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True)


def _table(columns: Mapping[str, Scores]) -> str:
    """One column a fold."""
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    counts = [f"{scores['n_records']:.0f}" for scores in columns.values()]
    lines += ["| records | " + " | ".join(counts) + " |"]
    for key, words in SHOWN.items():
        cells = [_cell(scores, key) for scores in columns.values()]
        lines += [f"| {words} | " + " | ".join(cells) + " |"]
    return "\n".join(lines)


def _cell(scores: Scores, key: str) -> str:
    value, low, high = (scores.get(f"{key}{end}") for end in ("", "/low", "/high"))
    if value is None:
        return "–"
    return f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")
