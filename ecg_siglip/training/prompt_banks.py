"""The prompts that a training step uses: of each language and wording, all findings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecg_siglip.vocabulary.vocabulary import Vocabulary


class PromptBanks:
    """Lists of prompts, each with one prompt per finding, by language and wording.

    Parameters
    ----------
    vocabulary : Vocabulary
    codes : sequence of str
        Codes of the findings, in the order of the prompts.
    language : str
        A language of the vocabulary; ``mixed``: all of them.

    Attributes
    ----------
    languages : list of str
        The language of each list.
    prompts : list of list of str
    """

    def __init__(self, vocabulary: Vocabulary, codes: Sequence[str], language: str):
        chosen = vocabulary.languages if language == "mixed" else (language,)
        banks = [(each, words) for each in chosen for words in vocabulary.wordings(codes, each)]
        self.languages = [each for each, _ in banks]
        self.prompts = [words for _, words in banks]

    def draw(self, rng: np.random.Generator) -> list[str]:
        """Draw one list among all languages and wordings."""
        return self.prompts[rng.integers(len(self.prompts))]

    def draw_per_language(self, rng: np.random.Generator) -> list[list[str]]:
        """Draw one wording of each language."""
        wordings: dict[str, list[list[str]]] = {}
        for language, prompts in zip(self.languages, self.prompts, strict=True):
            wordings.setdefault(language, []).append(prompts)
        return [lists[rng.integers(len(lists))] for lists in wordings.values()]

    def language_of(self, prompts: list[str]) -> str:
        """Return the language of one of the lists."""
        return self.languages[self.prompts.index(prompts)]
