"""Model card: what a model predicts, its training, scores, intended use and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ecg_siglip.metrics.decision_rules import HEADLINE_RULE
from ecg_siglip.metrics.summary import HEADLINE_F1
from ecg_siglip.models.provenance import Provenance
from ecg_siglip.vocabulary.vocabulary_file import PTBXL

Scores = Mapping[str, float | None]

SHOWN = {
    "macro_auroc_min5": "macro AUROC",
    "macro_auprc_min5": "macro AUPRC",
    "expected_f1/macro_f1_min5": "macro F1, thresholds `expected_f1`",
    HEADLINE_F1: f"macro F1, thresholds `{HEADLINE_RULE}`",
    "expected_f1/micro_f1": "micro F1, thresholds `expected_f1`",
    "fixed_0.5/micro_f1": "micro F1 at 0.5",
    "ece": "calibration error",
}
LAYOUT = ", in the layout of [PTB-XL](https://physionet.org/content/ptb-xl/1.0.3/)"
DERIVED = "Derived from {}, whose licence, {}, also applies. "
PERMISSIVE = ("", "Apache-2.0", "BSD-3-Clause", "MIT")
TEXT_LICENCE = "The text encoder was initialized from `{}`, whose licence also applies. "
CARD = """---
{head}---
# {run}: findings of a 12-lead ECG
{notice}
**For research, not for diagnosis.** This is not a medical device; it has not been tested on
patients.

Predicts calibrated probabilities of {n_findings} findings ({origin}, task
`{task}`) in a 12-lead ECG; a record may have several findings. An ECG encoder (`{ecg}`) and a text
encoder (`{text}`) were trained with the objective `{objective}` by ecg_siglip {version} (commit
{commit}).

## Use

```python
from ecg_siglip import EcgClassifier

classifier = EcgClassifier.from_pretrained("{name}")
probabilities = classifier.predict_proba("path/to/00001_lr")  # one column per finding
```

or `python -m ecg_siglip.predict model={name} 'records=[path/to/00001_lr]'`. Records with other
leads, sampling rates and lengths are converted to the model's input: 12 leads, {fs:g} Hz,
{duration_s:g} s.

Intended for research on ECGs: to compare methods, to sort and search records that are read by
people anyway, and as a starting point for other models. Not intended to decide about a patient, to
replace the reading of an ECG, or to rule out a finding. For data of another hospital, re-fit
calibration and thresholds (`EcgClassifier.fit`).

## Training

- data: {data}{layout}
- trained on folds {train_folds} ({n_train_records} records), seed {seed}
- ECG encoder initialized {start}
- thresholds, calibration and best epoch ({best_epoch}) from fold {tune_fold} ({n_tune_records}
  records){sources}

## Scores

Macro scores are over the findings with 5 or more positives in the fold, micro F1 is over all
findings. Brackets: 95 % intervals by bootstrap over the records. {bias}

{scores}

## Limits

The data are from one database of one country and two decades. The labels are the reading of one or
two cardiologists. Rare findings have few examples. Differences between groups of people have not
been evaluated. The probabilities are calibrated for records like those of the tuning fold, not for
others.

## Licence

{licences}{text_licence}PTB-XL, where the data above is PTB-XL: CC BY 4.0; cite Wagner, P. et al.
(2020), *Scientific Data* 7, 154, doi:10.1038/s41597-020-0495-6.

<details><summary>The findings</summary>

{findings}

</details>
"""


def model_card(
    provenance: Provenance,
    names: Mapping[str, str],
    waveform: Mapping[str, Any],
    vocabulary: str = PTBXL,
    name: str = "path/to/this/folder",
    folds: Mapping[int, Scores] | None = None,
    sources: Sequence[str] = (),
) -> str:
    """Return the text of the README.md of a model.

    Parameters
    ----------
    provenance, waveform
        As in ``artifact.Artifact``.
    names : mapping of str to str
        The findings of the model: name by code.
    vocabulary : str
        Name of the vocabulary.
    name : str
        The name to load it by: a folder, or ``owner/name`` on the hub.
    folds : mapping of fold to scores, optional
        Scores of the folds that the model was evaluated on, as in ``metrics.json``.
    sources : sequence of str
        Data sets of the training with calibration and thresholds of their own.
    """
    tuning_fold = f"tuning fold {provenance.tune_fold}"
    columns = {f"fold {fold}": scores for fold, scores in sorted((folds or {}).items())}
    columns[tuning_fold] = provenance.tune_scores
    before = provenance.pretrained
    # Data that are not in the layout of PTB-XL have a hash of their records as well.
    is_other = "records sha256" in provenance.data
    start = f"from that of {before.run}, trained on {before.data}" if before else "at random"
    bias = (
        f"Scores of the {tuning_fold} are optimistically biased, because thresholds and "
        "calibration were fitted on it."
    )
    return CARD.format(
        **vars(provenance),
        head=_head(provenance, columns, tuning_fold),
        name=name,
        notice=f"\n**{provenance.origin}.**\n" if provenance.origin else "",
        n_findings=len(names),
        origin=(
            "SCP-ECG statements of PTB-XL" if vocabulary == PTBXL else f"vocabulary `{vocabulary}`"
        ),
        fs=waveform["to_fs"],
        duration_s=waveform["duration_s"],
        start=start,
        bias=bias,
        licences=_licence_text(provenance),
        text_licence=(
            "" if provenance.text in ("small", "none") else TEXT_LICENCE.format(provenance.text)
        ),
        sources="".join(
            f"\n- `source={source}`: calibration and thresholds of this data set alone"
            for source in sources
        ),
        layout="" if is_other else LAYOUT,
        scores=_table(columns),
        findings="\n".join(f"- `{code}`: {words}" for code, words in names.items()),
    )


def _restricting(provenance: Provenance) -> set[str]:
    """Return the licences of earlier models that do not allow every use."""
    return {each.licence for each in provenance.lineage()} - {*PERMISSIVE}


def _licence_text(provenance: Provenance) -> str:
    """Return the licence of weights and code, and those of the models before."""
    own = "Code: Apache-2.0. " if _restricting(provenance) else "Weights and code: Apache-2.0. "
    before = [(each.run, each.licence) for each in provenance.lineage() if each.licence]
    return own + "".join(DERIVED.format(*each) for each in dict.fromkeys(before))


def _head(provenance: Provenance, columns: Mapping[str, Scores], tuning_fold: str) -> str:
    """Return the metadata for the hub: licence, tags, and scores of all but the tuning fold."""
    others = _restricting(provenance)
    licence = others.pop().lower() if len(others) == 1 else "other" if others else "apache-2.0"
    head: dict[str, Any] = {
        "library_name": "ecg_siglip",
        "license": licence,
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
        if fold != tuning_fold
    ]
    if results:
        head["model-index"] = [{"name": provenance.run, "results": results}]
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True)


def _table(columns: Mapping[str, Scores]) -> str:
    """Return the table of scores, with one column per fold."""
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    counts = [f"{scores['n_records']:.0f}" for scores in columns.values()]
    lines += ["| records | " + " | ".join(counts) + " |"]
    for key, words in SHOWN.items():
        cells = [_cell(scores, key) for scores in columns.values()]
        lines += [f"| {words} | " + " | ".join(cells) + " |"]
    return "\n".join(lines)


def _cell(scores: Scores, key: str) -> str:
    """Return a score with its interval, or a dash if there is none."""
    value, low, high = (scores.get(f"{key}{end}") for end in ("", "/low", "/high"))
    if value is None:
        return "–"
    return f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")
