"""Training loop: one step, one epoch, the training state, and the scores on the tuning fold.

Everything random is a function of (seed, epoch, step or record) alone, so a run that was
interrupted and resumed ends with the same weights as an uninterrupted one.

Shape letters: B records of the batch, T texts, D embedding, F findings.
"""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ecg_siglip import config
from ecg_siglip.datasets.signal_rows import SignalRows
from ecg_siglip.inference.predictor import forward
from ecg_siglip.metrics.summary import epoch_scores
from ecg_siglip.models.dual_encoder import EcgTextModel
from ecg_siglip.training import state as states
from ecg_siglip.training.data import Batch, TextTerm, TrainingData
from ecg_siglip.training.initialization import initial_model, load_encoder, new_optimizer
from ecg_siglip.training.losses import gather_rows, pair_loss, ring_pair_loss
from ecg_siglip.training.run_log import RunLog, print_epoch
from ecg_siglip.training.state import clone_tensors, save_state, weights, weights_of
from ecg_siglip.training.text_cache import TextCache
from ecg_siglip.training.tracking import Tracking
from ecg_siglip.vocabulary.vocabulary import check_same_codes

N_AT_ONCE = 256  # records that a frozen ECG encoder encodes at a time
N_CHECK = 50  # steps between checks of the loss: each check makes the host wait for the GPU


def batch_loss(
    model: EcgTextModel,
    texts: TextCache,
    batch: Batch,
    autocast: contextlib.AbstractContextManager[Any] | None = None,
) -> Tensor:
    """Return this process's share of the loss; the shares of all processes add up to the loss.

    Parameters
    ----------
    model : EcgTextModel
    texts : TextCache
        Of the same model.
    batch : Batch
        The part of this process.
    autocast : context manager, optional
        Precision of the encoders; None: that of the weights. The loss is computed in float32.

    Notes
    -----
    Local ECG rows against all texts: each process encodes its own records and their texts, the
    texts are gathered with gradient, and the shares are divided by the B of the whole batch.
    """
    autocast = autocast or contextlib.nullcontext()
    with autocast:
        if batch.signals is not None:
            ecg_BD = model.encode_ecg(batch.signals)
        else:
            assert batch.features is not None
            ecg_BD = model.embed_ecg(batch.features)
    total = ecg_BD.new_zeros(())
    for each in batch.text_terms:
        with autocast:
            text_TD = texts.encode(each.texts)
        total = total + term_loss(model, ecg_BD, text_TD, each, batch.sizes)
    return total / sum(batch.sizes)


def term_loss(
    model: EcgTextModel, ecg_BD: Tensor, text_TD: Tensor, texts: TextTerm, ecg_sizes: list[int]
) -> Tensor:
    """Return this process's share of one term of the objective: weight times pair loss.

    Parameters
    ----------
    ecg_BD, text_TD : Tensor of shape (B, D) and (T, D), float32
        Embeddings of this process's ECGs and texts.
    texts : TextTerm
    ecg_sizes : list of int
        Number of ECGs per process.
    """
    objective = model.config["objective"]
    loss, n_chunk = objective["loss"], objective["n_chunk"]
    scale, bias, weight = model.log_scale, model.logit_bias, texts.term.weight
    if objective["across"] == "ring" and len(texts.sizes) > 1:
        return weight * ring_pair_loss(
            ecg_BD, text_TD, scale, bias, texts.targets, texts.sizes, n_chunk
        )
    text_TD = gather_rows(text_TD, texts.sizes)
    if loss == "softmax":
        # A softmax over ECGs needs all of them: every process computes the whole loss.
        ecg_BD = gather_rows(ecg_BD, ecg_sizes)
        weight /= len(ecg_sizes)
    return weight * pair_loss(ecg_BD, text_TD, scale, bias, texts.targets, loss, n_chunk)


def learning_rate(settings: config.OptimConfig, step: int, n_steps: int) -> float:
    """Return the rate of a step: linear warm-up, then half a cosine to ``final_lr`` of the peak."""
    n_warmup = max(1, round(settings.warmup * n_steps))
    if step < n_warmup:
        return settings.lr * (step + 1) / n_warmup
    done = (step - n_warmup) / max(1, n_steps - n_warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return settings.lr * (settings.final_lr + (1 - settings.final_lr) * cosine)


class Trainer:
    """Training of one run: model, optimizer, averaged weights and progress.

    Parameters
    ----------
    settings : config.TrainConfig
    data : TrainingData

    Attributes
    ----------
    epoch, step : int
        Completed epochs, and completed steps of the current epoch.
    averaged : dict of str to Tensor
        Exponential moving average of the weights.
    best : dict
        Averaged ``weights`` of the epoch with the best macro AUPRC on the tuning fold, that
        ``epoch``, and its scores.
    pretrained, teachers : dict, list of dict
        Provenance of the models that this run started from or was taught by.
    """

    def __init__(self, settings: config.TrainConfig, data: TrainingData):
        self.settings, self.data = settings, data
        self.distributed, self.terms = data.distributed, data.terms
        self.model, self.pretrained = initial_model(settings, data, self.terms)
        # A frozen ECG encoder at random has no statistics yet, and stays in training mode.
        self.ecg_is_finished = settings.ecg.locked and bool(settings.ecg.weights or settings.init)
        self.training_mode()
        self.texts = TextCache.for_run(self.model, data)
        self.optimizer = new_optimizer(settings, self.model)
        self.current = weights(self.model)
        self.averaged = clone_tensors(self.current)
        self.epoch = self.step = 0
        self.losses: list[Tensor] = []
        self.best: dict[str, Any] = {}
        self.teachers: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.log_bytes = 0
        self.counted_at = self.saved_at = time.monotonic()
        if settings.compile:
            # One graph for each of the two batch sizes: a graph for any size is slower.
            self.model.ecg.compile(dynamic=False)
        self.bfloat16 = settings.precision == "bfloat16" or (
            settings.precision == "auto" and data.device.type == "cuda"
        )
        # Some versions of PyTorch have no autocast for mps, not even a disabled one.
        self.autocast: contextlib.AbstractContextManager[Any] = (
            torch.autocast(data.device.type, torch.bfloat16)
            if self.bfloat16
            else contextlib.nullcontext()
        )

    def training_mode(self) -> None:
        """Set the model to training mode, except for frozen encoders.

        A frozen text encoder and a finished ECG encoder work as they do in prediction: without
        dropout, and with the statistics that they have.
        """
        self.model.train()  # a pretrained text encoder comes in evaluation mode
        if self.ecg_is_finished:
            self.model.ecg.eval()
        if self.settings.text.locked:
            self.model.text.eval()

    def start_from(self, name: str) -> None:
        """Start the ECG encoder from the weights of another model.

        Parameters
        ----------
        name : str
            See ``initialization.load_encoder``.
        """
        self.pretrained = load_encoder(self.model, name, self.settings, self.data)
        self.averaged = clone_tensors(self.current)

    def cache_ecg_features(self) -> None:
        """Encode every record once if the ECG encoder is finished and nothing is augmented.

        An augmented record differs from epoch to epoch, and has to be encoded again.
        """
        if not self.ecg_is_finished or self.data.is_augmented:
            return
        rows = np.arange(len(self.data.ecg_id))
        parts = np.array_split(rows, math.ceil(len(rows) / N_AT_ONCE))
        with torch.no_grad(), self.autocast:
            features = [self.model.ecg(self.data.reader.signals(part, None)) for part in parts]
        self.data.features = torch.cat(features).float()

    def fit(self, run: Path, tracking: Tracking | None = None) -> None:
        """Train to the last epoch; write ``state.pt`` and ``log.jsonl``.

        Parameters
        ----------
        run : Path
            Folder of the run.
        tracking : Tracking, optional
            Gets each epoch after its state is saved.

        Raises
        ------
        ValueError
            If the loss is not finite.
        """
        n_epochs, is_first = self.settings.optim.n_epochs, self.distributed.is_first
        log = RunLog(run, self.log_bytes) if is_first else None
        bar = tqdm(
            total=n_epochs, initial=self.epoch, unit="epoch", disable=None if is_first else True
        )
        self.saved_at = time.monotonic()
        while self.epoch < n_epochs:
            self.run_epoch(run, bar)
            line = self.end_epoch()
            if log is not None:
                log.write(line)
                self.log_bytes = log.n_bytes
                self.save(run)
                print_epoch(line, n_epochs)
            if tracking is not None:
                tracking.end_epoch(self.epoch)
        bar.close()

    def run_epoch(self, run: Path, bar: tqdm) -> None:
        """Run the remaining steps of the epoch, and save the state from time to time."""
        batches = self.data.batches(self.epoch)
        self.counted_at = time.monotonic()
        while self.step < len(batches):
            if self.step + 1 < len(batches):
                self.data.read_ahead(batches[self.step + 1], self.epoch)
            self.run_step(batches[self.step], len(batches))
            bar.set_postfix_str(f"step {self.step}/{len(batches)}", refresh=False)
            bar.update(1 / len(batches))
            if self.step % N_CHECK == 0:
                self.check_losses(batches)
            due = time.monotonic() - self.saved_at > self.settings.save_every_s
            if self.distributed.is_first and due and self.step < len(batches):
                self.check_losses(batches)
                self.count_seconds()
                self.save(run)
        self.check_losses(batches)
        self.count_seconds()

    def run_step(self, rows: np.ndarray, n_steps: int) -> None:
        """Run one step: forward, backward, update, average.

        Parameters
        ----------
        rows : ndarray of shape (n,), int64
            Rows of the whole batch, the same on every process.
        n_steps : int
            Steps per epoch.
        """
        settings = self.settings.optim
        n_done = self.epoch * n_steps + self.step
        self._seed(n_done)
        for group in self.optimizer.param_groups:
            rate = learning_rate(settings, n_done, n_steps * settings.n_epochs)
            group["lr"] = rate * group["factor"]
        # The augmentation has a matrix product, which is computed in the encoders' precision.
        with self.autocast:
            batch = self.data.batch(rows, self.epoch)
        loss = batch_loss(self.model, self.texts, batch, self.autocast)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        loss = self.distributed.all_reduce_gradients(self.model, loss.detach())
        if settings.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm)
        self.optimizer.step()
        self._average(n_done)
        self.losses.append(loss)
        self.step += 1

    def _seed(self, n_done: int) -> None:
        """Make dropout a function of seed, step and process."""
        sequence = np.random.SeedSequence([self.settings.seed, n_done, self.distributed.rank])
        torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))

    @torch.no_grad()
    def _average(self, n_done: int) -> None:
        """Bound the logit scale and update the averaged weights."""
        # CLIP's bound: a larger scale only sharpens pairs that are already separated.
        self.model.log_scale.clamp_(max=math.log(100.0))
        decay = min(self.settings.optim.ema, (1 + n_done) / (10 + n_done))
        averaged, current = list(self.averaged.values()), list(self.current.values())
        torch._foreach_lerp_(averaged, current, 1 - decay)

    def end_epoch(self) -> dict[str, float | str]:
        """Complete an epoch and return its numbers; the first process adds the scores.

        Returns
        -------
        dict of str to float or str
            ``epoch`` (from 1), ``loss`` (mean over the steps), ``lr``, ``logit_scale`` and
            ``logit_bias``; on the first process also the scores on the tuning fold, ``seconds``
            and the SHA-256 of the averaged weights.
        """
        line: dict[str, float | str] = {
            "epoch": self.epoch + 1,
            "loss": torch.stack(self.losses).mean().item(),
            "lr": self.optimizer.param_groups[0]["lr"],
            "logit_scale": self.model.log_scale.exp().item(),
            "logit_bias": self.model.logit_bias.item(),
        }
        if self.distributed.is_first:
            line |= self.tune_scores() | {"seconds": self.seconds}
            line["weights_sha256"] = states.hash_of_tensors(self.averaged)
        self.epoch, self.step, self.losses = self.epoch + 1, 0, []
        return line

    def check_losses(self, batches: list[np.ndarray]) -> None:
        """Check that all losses of the epoch are finite.

        Raises
        ------
        ValueError
            If one is not; the message gives the step and its records.
        """
        bad = (~torch.isfinite(torch.stack(self.losses))).nonzero()
        if len(bad):
            step = int(bad[0])
            ids = self.data.ecg_id[batches[step]]
            raise ValueError(
                f"loss is {self.losses[step].item()} at epoch {self.epoch + 1}, step {step + 1}; "
                f"ecg_id of its records: {', '.join(map(str, ids[:8]))} ... ({len(ids)}); "
                "a lower optim.lr or precision=float32 may help"
            )

    def forward(self, signals: np.ndarray | SignalRows) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities (not calibrated) and embeddings with the current weights.

        Parameters
        ----------
        signals : ndarray of shape (n_records, 12, n_samples), int16, uV
            Prepared records.

        Returns
        -------
        ndarray of shape (n_records, n_findings), float64 in [0, 1]
        ndarray of shape (n_records, D), float32
        """
        self.model.eval()
        # Not compiled, as in every later prediction of the model.
        with torch.compiler.set_stance("force_eager"):
            with torch.inference_mode():
                text_FD = self.texts.encode(self.data.prompts)
            outputs = forward(self.model, text_FD, signals)
        self.training_mode()
        return outputs

    def tune_probabilities(self, signals: np.ndarray | SignalRows) -> np.ndarray:
        """Return the probabilities of ``forward``."""
        return self.forward(signals)[0]

    def tune_scores(self) -> dict[str, float]:
        """Score the averaged weights on the tuning fold; keep the best of the run so far."""
        rows = self.data.tune_rows
        with weights_of(self.model, self.averaged):
            y_prob = self.tune_probabilities(SignalRows.of(self.data.reader.mapped, rows))
        scores = epoch_scores(self.data.tune_true, y_prob)
        # Without any known label there is no score: the last epoch is the best.
        if not scores["macro_auprc"] < self.best.get("macro_auprc", -1.0):
            best = clone_tensors(self.averaged)
            self.best = {**scores, "epoch": self.epoch + 1, "weights": best}
        return scores

    def count_seconds(self) -> None:
        """Add the time since the last call, or since the epoch began, to the training time."""
        now = time.monotonic()
        self.seconds, self.counted_at = self.seconds + now - self.counted_at, now

    def save(self, run: Path) -> None:
        """Write the training state to ``state.pt``."""
        save_state(run / "state.pt", self.state())
        self.saved_at = time.monotonic()

    def state(self) -> dict[str, Any]:
        """Return what ``resume`` needs."""
        return {
            "codes": list(self.data.codes),
            "data": self.data.version,
            "prompts": self.data.banks.prompts,
            "tokenizer": states.tokenizer_hash(self.model),
            "model": self.model.state_dict(),
            "averaged": self.averaged,
            "optimizer": self.optimizer.state_dict(),
            "losses": list(self.losses),
            "best": self.best,
            "pretrained": self.pretrained,
            "teachers": self.teachers,
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "log_bytes": self.log_bytes,
        }

    def resume(self, state: dict[str, Any], path: Path) -> None:
        """Continue from a saved state.

        Parameters
        ----------
        state : dict
            As ``state`` returned it.
        path : Path
            File that it was loaded from, for messages.

        Raises
        ------
        ValueError
            If the state is of other findings, data, teachers or another model.
        """
        states.check_content(path, state)
        check_same_codes(self.data.codes, state["codes"], where=str(path))
        if state["data"] != self.data.version:
            raise ValueError(
                f"{path}: begun on other data ({state['data']}); expected {self.data.version}; "
                "take another run.name"
            )
        if state.get("prompts", self.data.banks.prompts) != self.data.banks.prompts:
            raise ValueError(
                f"{path}: begun with other prompts; expected vocabulary={self.settings.vocabulary} "
                "as it was; take another run.name"
            )
        if state.get("teachers", []) != self.teachers:
            began = ", ".join(each["run"] for each in state.get("teachers", [])) or "none"
            raise ValueError(
                f"{path}: begun with other teachers ({began}, as they were); take another run.name"
            )
        states.load_into(path, state, self.model, self.optimizer, self.averaged)
        self.texts.refresh()
        device = self.data.device
        self.averaged = {name: w.to(device) for name, w in state["averaged"].items()}
        self.losses, self.best = [loss.to(device) for loss in state["losses"]], state["best"]
        self.pretrained = state.get("pretrained", {})
        self.epoch, self.step = state["epoch"], state["step"]
        self.seconds, self.log_bytes = state["seconds"], state["log_bytes"]
