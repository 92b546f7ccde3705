"""Training: from the configuration to a model that names findings, one plain loop.

Everything random is a pure function of (seed, epoch, step or record), so a run that was killed
and started again ends with the weights of one that was not.

Shape letters: B records of the batch, T texts, D embedding, F findings.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ecg_siglip import config
from ecg_siglip.core.distributed import Distributed
from ecg_siglip.core.files import one_line
from ecg_siglip.inference.predictor import forward
from ecg_siglip.metrics.multilabel import without_nan
from ecg_siglip.metrics.summary import epoch_scores
from ecg_siglip.models.dual_encoder import EcgTextModel
from ecg_siglip.models.neighbors import Neighbors
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.initialization import load_encoder, new_model, new_optimizer
from ecg_siglip.training.losses import gather_rows, pair_loss, ring_pair_loss
from ecg_siglip.training.state import clone_tensors, save_state
from ecg_siglip.training.targets import NO_RECORDS, Term, parse_terms
from ecg_siglip.vocabulary.findings import check_same_codes

N_AT_ONCE = 256  # records that a locked ECG encoder reads at a time
N_CHECK = 50  # steps between looks at the loss: each look makes a GPU wait


# --------------------------------------------------------------------------------------- the loss


def batch_loss(
    model: EcgTextModel,
    data: TrainingData,
    terms: list[Term],
    batch: np.ndarray,
    epoch: int,
    ranks: Distributed,
    autocast: torch.autocast | None = None,
) -> Tensor:
    """This rank's share of the batch's loss; the shares of all ranks add up to the loss.

    Parameters
    ----------
    batch : ndarray of shape (B,), int64
        The rows of the whole batch, the same on every rank.

    Notes
    -----
    Local ECG rows against all texts: each rank encodes its own records and their texts, the
    texts are gathered with gradient, and the shares are divided by the B of the whole batch.
    """
    parts = ranks.parts(batch)
    rows = parts[ranks.rank]
    objective = model.config["objective"]
    blend = data.blend(batch, epoch)
    before = sum(len(part) for part in parts[: ranks.rank])
    own_blend = blend.part(slice(before, before + len(rows))) if blend else None
    with autocast or torch.autocast("cpu", enabled=False):
        if data.features is None:
            ecg_BD = model.encode_ecg(data.blended_signals(rows, own_blend, epoch))
        else:
            ecg_BD = model.embed_ecg(data.features[data.here(rows)])
    total = ecg_BD.new_zeros(())
    for term in terms:
        texts, own, named = data.texts(term.text, batch, epoch)
        if not texts:
            continue
        sizes = [len(texts)]
        mine = slice(None)
        if term.text not in NO_RECORDS and ranks.n > 1:
            sizes = [int(np.isin(own, part).sum()) for part in parts]
            start = sum(sizes[: ranks.rank])
            mine = slice(start, start + sizes[ranks.rank])
        with autocast or torch.autocast("cpu", enabled=False):
            text_TD = encode_texts(model, texts[mine])
        in_ring = objective["across"] == "ring" and len(sizes) > 1
        if not in_ring:
            text_TD = gather_rows(text_TD, sizes)
        ecg_rows, ecg_blend, ecg_all, share = rows, own_blend, ecg_BD, 1.0
        if objective["loss"] == "softmax":
            # A softmax over ECGs needs all of them: every rank computes the whole loss.
            ecg_all = gather_rows(ecg_BD, [len(part) for part in parts])
            ecg_rows, ecg_blend, share = batch, blend, 1.0 / ranks.n
        targets = data.blended_targets(term, ecg_rows, ecg_blend, own, named)
        pairs = (ecg_all, text_TD, model.log_scale, model.logit_bias, targets)
        if in_ring:
            loss = ring_pair_loss(*pairs, sizes, objective["n_chunk"])
        else:
            loss = pair_loss(*pairs, objective["loss"], objective["n_chunk"])
        total = total + term.weight * share * loss
    return total / len(batch)


def encode_texts(model: EcgTextModel, texts: list[str]) -> Tensor:
    """Embeddings of the texts; a rank whose records have none takes part with no rows."""
    if not texts:
        # With gradient, or this rank would not take part in the backward pass of the gather.
        return model.log_scale.new_zeros(0, model.config["embed_dim"], requires_grad=True)
    return model.encode_text(texts)


# --------------------------------------------------------------------------------------- the loop


def learning_rate(settings: config.OptimConfig, step: int, n_steps: int) -> float:
    """Linear warm-up, then half a cosine down to ``final_lr`` of the peak."""
    n_warmup = max(1, round(settings.warmup * n_steps))
    if step < n_warmup:
        return settings.lr * (step + 1) / n_warmup
    done = (step - n_warmup) / max(1, n_steps - n_warmup)
    fallen = 0.5 * (1 + math.cos(math.pi * done))
    return settings.lr * (settings.final_lr + (1 - settings.final_lr) * fallen)


class Trainer:
    """The state of a run between two steps, and how it moves on, is saved and taken up again."""

    def __init__(self, settings: config.TrainConfig, data: TrainingData, ranks: Distributed):
        self.settings, self.data, self.ranks = settings, data, ranks
        self.terms = parse_terms(settings.objective.terms)
        # A pretrained encoder comes in evaluation mode.
        self.model = new_model(settings, data, self.terms).train()
        for prompts in data.prompts_in:
            self.model.keep_tokens(prompts)
        self.read_locked_texts()
        self.optimizer = new_optimizer(settings, self.model)
        self.current = weights(self.model)
        self.averaged = clone_tensors(self.current)
        self.epoch = self.step = 0  # step counts within the epoch
        self.losses: list[Tensor] = []
        self.best: dict[str, Any] = {}
        self.pretrained: dict[str, Any] = {}
        self.teachers: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.log_bytes = 0
        if settings.compile:
            # A graph for each of the two sizes that a batch has: one for any size is slower.
            self.model.ecg.compile(dynamic=False)
        self.bfloat16 = settings.precision == "bfloat16" or (
            settings.precision == "auto" and data.device.type == "cuda"
        )
        self.autocast = torch.autocast(data.device.type, torch.bfloat16, enabled=self.bfloat16)

    def start_from(self, name: str) -> None:
        """Let the ECG encoder begin with the weights of another model's, not at random."""
        self.pretrained = load_encoder(self.model, name, self.settings, self.data)
        self.averaged = clone_tensors(self.current)

    def read_locked_ecgs(self) -> None:
        """Let a finished ECG encoder read once what it would be shown in every epoch.

        Only where nothing is changed about a record: an augmented one is another in each epoch.
        """
        if self.model.ecg_is_finished and self.data.as_they_are:
            rows = np.arange(len(self.data.ecg_id))
            parts = np.array_split(rows, math.ceil(len(rows) / N_AT_ONCE))
            with self.autocast:
                found = [self.model.ecg_features(self.data.signals(p, None)) for p in parts]
            self.data.features = torch.cat(found).float()

    def read_locked_texts(self) -> None:
        """Let a locked text encoder read once what it would be asked in every step."""
        if not self.settings.text.locked or self.settings.text.name == "none":
            return
        kinds = {term.text for term in self.terms}
        spoken = self.data.prompts_in if kinds - {"report"} else []
        texts = [text for prompts in spoken for text in prompts]
        if "report" in kinds:
            texts = texts + [self.data.reports[row] for row in self.data.train_rows]
        self.model.features_of.clear()
        self.model.read_locked(texts)

    def run_step(self, batch: np.ndarray, n_steps: int) -> None:
        """Forward, backward, update, average."""
        settings = self.settings.optim
        done = self.epoch * n_steps + self.step
        # Dropout too is a function of where the run stands, and differs between ranks.
        place = np.random.SeedSequence([self.settings.seed, done, self.ranks.rank])
        torch.manual_seed(int(place.generate_state(1, np.uint64)[0] >> 1))
        for group in self.optimizer.param_groups:
            rate = learning_rate(settings, done, n_steps * settings.n_epochs)
            group["lr"] = rate * group["factor"]
        loss = batch_loss(
            self.model, self.data, self.terms, batch, self.epoch, self.ranks, self.autocast
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        loss = self.ranks.add_up(self.model, loss.detach())
        if settings.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm)
        self.optimizer.step()
        with torch.no_grad():
            # CLIP's bound: a scale above 100 only sharpens what is already decided.
            self.model.log_scale.clamp_(max=math.log(100.0))
            decay = min(settings.ema, (1 + done) / (10 + done))
            averaged, current = list(self.averaged.values()), list(self.current.values())
            torch._foreach_lerp_(averaged, current, 1 - decay)
        self.losses.append(loss)
        self.step += 1

    def check_losses(self, batches: list[np.ndarray]) -> None:
        """Stop at a loss that is no number.

        Raises
        ------
        ValueError
            Naming the step and its records.
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

    def forward(self, signals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the model, with the weights it has, says of prepared records: probabilities, not
        calibrated, and embeddings."""
        self.model.eval()
        # As every later answer of the model is computed; and nothing is compiled for it.
        with torch.compiler.set_stance("force_eager"):
            with torch.inference_mode():
                text_FD = self.model.encode_text(self.data.prompts)
            found = forward(self.model, text_FD, signals)
        self.model.train()
        return found

    def tune_probabilities(self, signals: np.ndarray) -> np.ndarray:
        """The first half of ``forward``."""
        return self.forward(signals)[0]

    def neighbours(self, tune_rows: np.ndarray) -> Neighbors:
        """Where the training records lie, with the weights that the model has."""
        data, rows = self.data, self.data.train_rows
        _, train_ND = self.forward(data.mapped[rows])
        _, tune_MD = self.forward(data.mapped[tune_rows])
        return Neighbors.from_embeddings(train_ND, data.ecg_id[rows], data.y_true[rows], tune_MD)

    def tune_scores(self, rows: np.ndarray, y_true: np.ndarray) -> dict[str, float]:
        """Score the averaged weights on the tuning fold; keep them if none were better."""
        with weights_of(self.model, self.averaged):
            scores = epoch_scores(y_true, self.tune_probabilities(self.data.mapped[rows]))
        if scores["macro_auprc"] >= self.best.get("macro_auprc", -1.0):
            best = clone_tensors(self.averaged)
            self.best = {**scores, "epoch": self.epoch + 1, "weights": best}
        return scores

    def state(self) -> dict[str, Any]:
        return {
            "codes": list(self.data.codes),
            "data": self.data.version,
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
        """Go on where ``state`` was saved."""
        check_same_codes(self.data.codes, state["codes"], where=str(path))
        if state["data"] != self.data.version:
            raise ValueError(
                f"{path}: begun on other data ({state['data']}); expected {self.data.version}; "
                "take another run.name"
            )
        if state.get("teachers", []) != self.teachers:
            began = ", ".join(each["run"] for each in state.get("teachers", [])) or "none"
            raise ValueError(
                f"{path}: begun with other teachers ({began}, as they were); take another run.name"
            )
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{path}: does not fit the model: {one_line(error)}") from error
        self.read_locked_texts()
        device = self.data.device
        self.averaged = {name: w.to(device) for name, w in state["averaged"].items()}
        self.losses, self.best = [loss.to(device) for loss in state["losses"]], state["best"]
        self.pretrained = state.get("pretrained", {})
        self.epoch, self.step = state["epoch"], state["step"]
        self.seconds, self.log_bytes = state["seconds"], state["log_bytes"]


def weights(model: EcgTextModel) -> dict[str, Tensor]:
    """Parameters and running statistics, not copied."""
    return {name: w for name, w in model.state_dict().items() if w.is_floating_point()}


@contextlib.contextmanager
def weights_of(model: EcgTextModel, values: dict[str, Tensor]) -> Iterator[None]:
    """Within it the model has these weights, afterwards its own again."""
    own = clone_tensors(weights(model))

    def put(values: dict[str, Tensor]) -> None:
        for name, weight in weights(model).items():
            weight.copy_(values[name])

    put(values)
    try:
        yield
    finally:
        put(own)


def fit(training: Trainer, tune_rows: np.ndarray, y_tune: np.ndarray, run: Path) -> None:
    """Train to the last epoch; writes ``state.pt``, ``log.jsonl`` and TensorBoard's files."""
    from torch.utils.tensorboard import SummaryWriter

    first, n_epochs = training.ranks.is_first, training.settings.optim.n_epochs
    log, saved_at = run / "log.jsonl", time.monotonic()
    board = None
    if first:
        log.touch()
        # Lines written after the state that is taken up here belong to a future that is undone.
        os.truncate(log, training.log_bytes)
        board = SummaryWriter(str(run / "tensorboard"), purge_step=training.epoch + 1)
    bar = tqdm(
        total=n_epochs, initial=training.epoch, unit="epoch", disable=None if first else True
    )
    while training.epoch < n_epochs:
        batches, started = training.data.batches(training.epoch), time.monotonic()
        before_s = training.seconds
        while training.step < len(batches):
            if training.data.features is None and training.step + 1 < len(batches):
                coming = training.ranks.parts(batches[training.step + 1])[training.ranks.rank]
                training.data.read_ahead(coming, training.epoch)
            training.run_step(batches[training.step], len(batches))
            bar.set_postfix_str(f"step {training.step}/{len(batches)}", refresh=False)
            bar.update(1 / len(batches))
            if training.step % N_CHECK == 0:
                training.check_losses(batches)
            due = time.monotonic() - saved_at > training.settings.save_every_s
            if first and due and training.step < len(batches):
                training.check_losses(batches)
                training.seconds = before_s + time.monotonic() - started
                save_state(run / "state.pt", training.state())
                saved_at = time.monotonic()
        training.check_losses(batches)
        line = {
            "epoch": training.epoch + 1,
            "loss": torch.stack(training.losses).mean().item(),
            "lr": training.optimizer.param_groups[0]["lr"],
            "logit_scale": training.model.log_scale.exp().item(),
            "logit_bias": training.model.logit_bias.item(),
        }
        training.seconds = before_s + time.monotonic() - started
        if first:
            line |= training.tune_scores(tune_rows, y_tune) | {"seconds": training.seconds}
        training.epoch, training.step, training.losses = training.epoch + 1, 0, []
        if first:
            assert board is not None
            with open(log, "a") as file:
                print(json.dumps(without_nan(line)), file=file, flush=True)
                training.log_bytes = file.tell()
            for name, value in line.items():
                board.add_scalar(name, value, training.epoch)
            save_state(run / "state.pt", training.state())
            saved_at = time.monotonic()
            text = f"epoch {line['epoch']}/{n_epochs}  loss {line['loss']:.3f}  " + "  ".join(
                f"{name} {line[name]:.3f}" for name in ("macro_auroc", "macro_auprc", "micro_f1")
            )
            tqdm.write(text)
    bar.close()
    if board is not None:
        board.close()
