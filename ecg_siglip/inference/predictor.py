"""A loaded model that predicts the findings of records, each with its probability.

The same ``forward`` is used for one patient, for a fold in ``evaluate`` and for the tuning fold in
``train``: published scores and single predictions are computed by the same lines.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from tqdm import tqdm

from ecg_siglip.core.distributed import pick_device
from ecg_siglip.datasets.signal_rows import SignalRows
from ecg_siglip.inference.attribution import attribute
from ecg_siglip.inference.decision import Decision, make_decision
from ecg_siglip.inference.ecg_input import Ecgs, iterate_records
from ecg_siglip.inference.embeddings import cosines, embed_signals, embed_texts
from ecg_siglip.inference.prediction import Finding
from ecg_siglip.inference.preparation import Preparation
from ecg_siglip.metrics import multilabel
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE
from ecg_siglip.models.artifact import Artifact, Tuning, load_artifact
from ecg_siglip.models.dual_encoder import Model
from ecg_siglip.readers.preparation import PreparedRecord
from ecg_siglip.readers.record import Record
from ecg_siglip.signals.leads import LEADS, available_leads, nearest_lead_set
from ecg_siglip.signals.preprocessing import from_int16

# Records in the smallest batch: free places are filled with zeros. The last bits of a sum depend on
# the size of a small batch, and of a single record also on the threads, so that a record has the
# same result alone and with up to three others. With a larger number, each record of several takes
# less time, but a single one takes more.
MIN_BATCH = 4


@torch.inference_mode()
def forward(
    model: Model,
    text_FD: Tensor,
    signals: np.ndarray | SignalRows,
    batch_size: int = 256,
    progress: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the probability of each text for each record, not calibrated.

    Parameters
    ----------
    model : EcgTextModel or Ensemble
    text_FD : Tensor of shape (n_findings, D)
        Embeddings of the prompts, from ``model.encode_text``.
    signals : ndarray of shape (n_records, 12, n_samples), int16, uV
        Prepared records, at the model's sampling rate; may be a memory map.
    batch_size : int
        Records at one time.
    progress : bool
        Show a progress bar on stderr if that is a terminal.

    Returns
    -------
    ndarray of shape (n_records, n_findings), float64 in [0, 1]
        As the pair loss trained them.
    ndarray of shape (n_records, D), float32
        Embeddings of the records.
    """
    was_training = model.training
    model.eval()
    n_findings, n_features = text_FD.shape
    y_prob = np.empty((len(signals), n_findings))
    embedding_BD = np.empty((len(signals), n_features), np.float32)
    starts = range(0, len(signals), batch_size)
    for start in tqdm(starts, "records", disable=None if progress else True, leave=False):
        rows = slice(start, start + batch_size)
        batch = from_int16(np.asarray(signals[rows]))
        n_records = len(batch)
        if n_records < MIN_BATCH:
            batch = np.pad(batch, ((0, MIN_BATCH - n_records), (0, 0), (0, 0)))
        ecg_BD = model.encode_ecg(torch.from_numpy(batch).to(model.device))
        # In float64 on the CPU, which every device has: mps has no float64.
        logit_BF = model.logits(ecg_BD, text_FD)[:n_records]
        y_prob[rows] = torch.sigmoid(logit_BF.cpu().double()).numpy()
        embedding_BD[rows] = ecg_BD[:n_records].float().cpu().numpy()
    model.train(was_training)
    return y_prob, embedding_BD


def probabilities(
    model: Model,
    text_FD: Tensor,
    signals: np.ndarray | SignalRows,
    batch_size: int = 256,
    progress: bool = False,
) -> np.ndarray:
    """Compute the probabilities of ``forward`` without the embeddings, (n_records, n_findings)."""
    return forward(model, text_FD, signals, batch_size, progress)[0]


class Predictor:
    """A loaded model that predicts the findings of records.

    Parameters
    ----------
    artifact : Artifact
    device : torch.device or str
    language : str, optional
        Language of the prompts; null: as the model was tuned.

    Attributes
    ----------
    text_FD : Tensor of shape (n_findings, D)
        Embeddings of the prompts.

    Examples
    --------
    ::

        predictor = Predictor.load("runs/r1/model")
        signal = predictor.prepare(record.read_record("data/ptbxl/records100/00000/00001_lr"))
        for finding in predictor.decide(predictor.probabilities(signal[None])[0]):
            print(finding.name, finding.probability)
    """

    def __init__(
        self,
        artifact: Artifact,
        device: torch.device | str = "cpu",
        language: str | None = None,
    ):
        self.artifact = replace(artifact, model=artifact.model.to(device).eval())
        self.text_FD = self.encode_prompts(language)

    def __repr__(self) -> str:
        return f"<Predictor {self.artifact.title}>"

    def __sklearn_clone__(self) -> Predictor:
        return self  # never changed: the clones of an estimator share its weights

    @torch.inference_mode()
    def encode_prompts(self, language: str | None = None) -> Tensor:
        """Encode the prompts, (n_findings, D), as the model was tuned or in another language.

        Raises
        ------
        ValueError
            If the model has no text tower, was not trained with that language, or the language has
            no prompts.
        """
        model, prompts = self.artifact.model, self.artifact.prompts
        if language is not None:
            prompts = self.artifact.vocabulary.prompts(self.artifact.codes, language)
            if not self.artifact.provenance.has_text:
                raise ValueError(
                    f"language={language}: {self.artifact.provenance.run} is a supervised head "
                    "without text; expected a model with a text tower"
                )
            trained = self.artifact.provenance.language
            if trained not in (language, "mixed"):
                raise ValueError(
                    f"language={language}: {self.artifact.provenance.run} was trained with "
                    f"text.language={trained} only; expected a model of text.language=mixed"
                )
        return model.encode_text(prompts)

    @classmethod
    def load(
        cls,
        name: str | Path,
        device: str = "auto",
        language: str | None = None,
        source: str | None = None,
    ) -> Predictor:
        """Load a model from a folder (``runs/<name>/model``) or the hub.

        Parameters
        ----------
        name : str or Path
        device : str
        language : str, optional
            See ``encode_prompts``.
        source : str, optional
            Data set of the training whose calibration and thresholds are used, see
            ``Artifact.for_source``; None: those of all data sets together.

        Raises
        ------
        ValueError
            If the model does not exist, is incomplete, has another vocabulary, or has no
            calibration and thresholds of the data set.
        """
        artifact = load_artifact(name)
        if source is not None:
            artifact = artifact.for_source(source)
        return cls(artifact, pick_device(device), language)

    def on(self, device: torch.device | str) -> Predictor:
        """Return a copy of this predictor on another device."""
        other = copy.copy(self)
        model = copy.deepcopy(self.artifact.model).to(device)
        other.artifact = replace(self.artifact, model=model)
        other.text_FD = self.text_FD.to(device)
        return other

    def for_source(self, name: str) -> Predictor:
        """Return this predictor with the tuning of one data set, see ``Artifact.for_source``."""
        other = copy.copy(self)
        other.artifact = self.artifact.for_source(name)
        return other

    def prepare(self, record: Record, **allowed: Any) -> np.ndarray:
        """Return the signal of ``prepare_record``, (12, n_samples) int16, uV."""
        return self.prepare_record(record, **allowed).signal

    def prepare_record(
        self,
        record: Record,
        allow_short: bool = False,
        allow_flat: bool = False,
        allow_gaps: bool = False,
        allow_missing_leads: bool | None = False,
    ) -> PreparedRecord:
        """Prepare a record for this model.

        Parameters
        ----------
        record : Record
        allow_short, allow_flat, allow_gaps : bool
            See ``preprocessing.prepare_signal``.
        allow_missing_leads : bool, optional
            The same; null: if the model was trained with fewer leads.

        Raises
        ------
        ValueError
            As ``preprocessing.prepare_signal``; or if leads are missing and the model was not
            trained with fewer leads.
        """
        allowed = (allow_short, allow_flat, allow_gaps, allow_missing_leads)
        return self.preparation.prepare(record, *allowed)

    @property
    def preparation(self) -> Preparation:
        """How the model wants its records, for processes that read them without the model."""
        artifact = self.artifact
        return Preparation(
            artifact.waveform,
            artifact.provenance.run,
            tuple(artifact.fewer_leads),
            artifact.vocabulary.states_leads,
        )

    def prepare_records(self, records: Iterable[Record]) -> np.ndarray:
        """Prepare records of twelve leads, or of leads that give the others (I, II, V1 to V6).

        Returns
        -------
        ndarray of shape (n_records, 12, n_samples), int16, uV

        Raises
        ------
        ValueError
            As ``prepare_record``.
        """
        return np.stack(
            [
                self.prepare(r, allow_missing_leads=bool(available_leads(r.leads).all()))
                for r in records
            ]
        )

    def tuning(self, available: np.ndarray) -> Tuning:
        """Return calibration and thresholds for records with these leads.

        A model that was trained with twelve leads only has one tuning for all records.

        Parameters
        ----------
        available : ndarray of shape (12,), bool
            See ``leads.available_leads``.
        """
        if not self.artifact.fewer_leads:
            return self.artifact.tuning()
        return self.artifact.tuning(nearest_lead_set(available))

    def probabilities(
        self,
        signals: np.ndarray | SignalRows,
        batch_size: int = 256,
        progress: bool = False,
        lead_set: str = "12",
    ) -> np.ndarray:
        """Compute calibrated probabilities of prepared records.

        Parameters
        ----------
        signals : ndarray of shape (n_records, 12, n_samples), int16, uV
        lead_set : str
            Leads of the records, see ``leads.nearest_lead_set``.

        Returns
        -------
        ndarray of shape (n_records, n_findings), float64 in [0, 1]
        """
        raw, _ = self.forward(signals, batch_size, progress)
        return multilabel.calibrate(raw, self.artifact.tuning(lead_set).calibration)

    def forward(
        self, signals: np.ndarray | SignalRows, batch_size: int = 256, progress: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute uncalibrated probabilities and embeddings, see ``predictor.forward``."""
        return forward(self.artifact.model, self.text_FD, signals, batch_size, progress)

    @property
    def n_dims(self) -> int:
        """D of the embeddings of ``encode_ecg`` and ``encode_text``."""
        return self.artifact.model.n_dims

    def encode_ecg(
        self, ecgs: Ecgs, fs: float | None = None, leads: Sequence[str] | None = None
    ) -> np.ndarray:
        """Embed ECGs.

        Parameters
        ----------
        ecgs : str, Path, Record, an iterable of them, or array (n_records, n_leads, n_samples), mV
        fs : float, Hz, optional
            Sampling rate of an array; files and records have their own.
        leads : sequence of str, optional
            Leads of an array, in its order; ``leads.LEADS`` by default.

        Returns
        -------
        ndarray of shape (n_records, n_dims), float32, unit norm
            Of a supervised head: the features of the ECG encoder.

        Raises
        ------
        ValueError
            If a record cannot be read or used, naming it; if an array has another shape, or no
            sampling rate.
        """
        return self.embed(self.prepare_records(iterate_records(ecgs, fs, leads)))

    def embed(self, signals: np.ndarray | SignalRows, batch_size: int = 256) -> np.ndarray:
        """Embed prepared records (n_records, 12, n_samples), int16, uV, as ``encode_ecg``."""
        return embed_signals(self.artifact.model, signals, batch_size)

    def encode_text(self, texts: str | Sequence[str], batch_size: int = 256) -> np.ndarray:
        """Embed texts of any words, (n_texts, n_dims) float32, see ``embeddings.embed_texts``."""
        return embed_texts(self.artifact.model, texts, batch_size)

    def similarity(self, one_ND: ArrayLike, other_TD: ArrayLike) -> np.ndarray:
        """Compute the cosine of each pair of embeddings, (N, T), see ``embeddings.cosines``.

        Both are from ``encode_ecg`` or ``encode_text``: ECGs and texts, or two sets of either.
        """
        return cosines(one_ND, other_TD)

    def decision(
        self,
        rule: str = DEFAULT_RULE,
        available: np.ndarray | None = None,
        sensitivity: float | None = None,
    ) -> Decision:
        """Return the rule that decides on findings, see ``decision.make_decision``.

        Parameters
        ----------
        rule : str
        available : ndarray of shape (12,), bool, optional
            Leads that the record has, see ``leads.available_leads``; null: all.
        sensitivity : float, optional

        Raises
        ------
        ValueError
            If the model was saved without thresholds of that rule or sensitivity.
        """
        if available is None:
            available = np.ones(len(LEADS), bool)
        return make_decision(self.artifact, self.tuning(available), available, rule, sensitivity)

    def decide(
        self,
        probabilities: np.ndarray,
        rule: str = DEFAULT_RULE,
        available: np.ndarray | None = None,
        sensitivity: float | None = None,
    ) -> list[Finding]:
        """Decide which findings are present, from the probabilities of one record.

        Parameters
        ----------
        probabilities : ndarray of shape (n_findings,), float in [0, 1]
        rule, available, sensitivity
            As ``decision``; errors as there.
        """
        return self.decision(rule, available, sensitivity).findings(probabilities)

    def attribute(self, signal: np.ndarray, codes: Sequence[str]) -> np.ndarray:
        """Attribute findings to the samples of a prepared record, see ``attribution.attribute``.

        Parameters
        ----------
        signal : ndarray of shape (12, n_samples), int16, uV
        codes : sequence of str, K of them

        Returns
        -------
        ndarray of shape (K, 12, n_samples), float32, log-odds before calibration

        Raises
        ------
        ValueError
            If the model has no finding of that code, or captum is not installed.
        """
        known = self.artifact.codes
        for code in codes:
            if code not in known:
                raise ValueError(
                    f"{code}: no finding of this model; expected one of {', '.join(known)}"
                )
        columns = [known.index(code) for code in codes]
        return attribute(self.artifact.model, self.text_FD, signal, columns)
