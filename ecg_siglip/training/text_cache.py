"""Texts of a run, tokenized once and, with a frozen text encoder, encoded once.

Shape letters: T texts, N tokens, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ecg_siglip.models.dual_encoder import EcgTextModel
from ecg_siglip.training.data import TrainingData


class TextCache:
    """Text side of a model in training.

    Parameters
    ----------
    model : EcgTextModel
        On its device.
    prompts : sequence of list of str
        Lists of texts that are encoded together in many steps. They are tokenized once.
    frozen_texts : sequence of str
        Texts whose features are computed once. Only for a model whose text encoder is frozen.
    """

    def __init__(
        self,
        model: EcgTextModel,
        prompts: Sequence[list[str]] = (),
        frozen_texts: Sequence[str] = (),
    ):
        assert not frozen_texts or not any(p.requires_grad for p in model.text.parameters())
        self.model = model
        self.tokens = {tuple(texts): self._tokenize(texts) for texts in prompts}
        self.frozen_texts = frozen_texts
        self.features: dict[str, Tensor] = {}
        self.refresh()

    @classmethod
    def for_run(cls, model: EcgTextModel, data: TrainingData) -> TextCache:
        """Return the cache of the texts that a run needs again and again."""
        text = data.settings.text
        if not text.locked or text.name == "none":
            return cls(model, data.banks.prompts)
        kinds = {term.text for term in data.terms}
        texts = [t for prompts in data.banks.prompts for t in prompts] if kinds - {"report"} else []
        if "report" in kinds:
            texts += [data.reports[row] for row in data.train_rows]
        return cls(model, data.banks.prompts, texts)

    @torch.no_grad()
    def refresh(self, batch_size: int = 64) -> None:
        """Compute the features of the frozen texts with the weights that the model has now.

        A text gets the same features in whatever batch it is used later.
        """
        self.features.clear()
        # Texts of a batch are padded to the longest.
        texts = sorted(dict.fromkeys(self.frozen_texts), key=lambda text: (len(text), text))
        for start in range(0, len(texts), batch_size):
            part = texts[start : start + batch_size]
            self.features.update(zip(part, self.model.text(*self._tokenize(part)), strict=True))

    def encode(self, texts: list[str]) -> Tensor:
        """Return the embeddings of texts, (T, D) float32, unit norm.

        Without texts the result has no rows, but takes part in the backward pass: a process whose
        records have no text must not be missing from the gather of the gradients.
        """
        if not texts:
            n_embed = self.model.config["embed_dim"]
            return self.model.log_scale.new_zeros(0, n_embed, requires_grad=True)
        if all(text in self.features for text in texts):
            return self.model.embed_text(torch.stack([self.features[text] for text in texts]))
        tokens_TN, mask_TN = self.tokens.get(tuple(texts)) or self._tokenize(texts)
        return self.model.encode_tokens(tokens_TN, mask_TN)

    def _tokenize(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Return tokens and mask, (T, N), on the device that the model is on."""
        tokens_TN, mask_TN = self.model.text.tokenize(texts)
        return tokens_TN.to(self.model.device), mask_TN.to(self.model.device)
