"""A vocabulary: the findings that a model predicts, in codes and in words.

``vocabulary_file`` reads a vocabulary from a file; ``ptbxl.yaml`` contains that of PTB-XL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ecg_siglip.signals.leads import LEADS
from ecg_siglip.vocabulary.entry import Concept, Entry, did_you_mean, to_values

ALL = "all"  # the task of all findings


@dataclass(frozen=True)
class Vocabulary:
    """Findings in their order, with all that is known about them.

    Attributes
    ----------
    name : str
        ``ptbxl``, or the name of the file.
    language : str
        Of prompts that are not translated.
    entries : tuple of Entry
        The findings that records are labelled with.
    classes : tuple of Entry
        Findings of a task that no record is labelled with: each unites findings.
    class_tasks : mapping of str to mapping of str to tuple of str
        By task and the code of a class, the findings that it unites.
    concepts : tuple of Concept
    exclusive : tuple of tuple of str
        Codes of which at most one is present at a time.
    """

    name: str
    language: str
    entries: tuple[Entry, ...]
    classes: tuple[Entry, ...] = ()
    class_tasks: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    concepts: tuple[Concept, ...] = ()
    exclusive: tuple[tuple[str, ...], ...] = ()

    def __hash__(self) -> int:
        return hash((self.name, self.codes))

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """Codes of the findings that records are labelled with, in order."""
        return tuple(entry.code for entry in self.entries)

    @cached_property
    def by_code(self) -> dict[str, Entry]:
        """Findings and classes by code."""
        return {entry.code: entry for entry in (*self.entries, *self.classes)}

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Languages that at least one finding has a prompt in, first the vocabulary's own."""
        others = (language for entry in self.entries for language in entry.prompts)
        return tuple(dict.fromkeys((self.language, *others)))

    @cached_property
    def tasks(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """By task and the code of each of its findings, the codes of records that it unites."""
        groups = dict.fromkeys(group for entry in self.entries for group in entry.groups)
        return {
            ALL: {code: (code,) for code in self.codes},
            **{
                group: {e.code: (e.code,) for e in self.entries if group in e.groups}
                for group in groups
            },
            **{task: dict(classes) for task, classes in self.class_tasks.items()},
        }

    @cached_property
    def states_leads(self) -> bool:
        """Whether it is stated for any finding which leads it needs."""
        return any(entry.leads for entry in self.by_code.values())

    def entry(self, code: str) -> Entry:
        """Return a finding or class.

        Raises
        ------
        ValueError
            If the code is unknown; the message names similar codes.
        """
        if code not in self.by_code:
            raise ValueError(self.unknown(code))
        return self.by_code[code]

    def unknown(self, code: object) -> str:
        """Return a message about a code that is not in the vocabulary, with similar codes."""
        hint = did_you_mean(code, self.by_code, "no known code is like it")
        return f"unknown code {code!r}: expected one of vocabulary={self.name}; {hint}"

    def names(self, codes: Iterable[str], language: str | None = None) -> list[str]:
        """Return the short name of each finding, see ``Entry.name_in`` for other languages.

        Raises
        ------
        ValueError
            If a code is unknown.

        Examples
        --------
        >>> from ecg_siglip.vocabulary import ptbxl
        >>> ptbxl().names(["AFLT"]), ptbxl().names(["AFLT"], "de")
        (['Atrial flutter'], ['Vorhofflattern'])
        """
        is_own = language in (None, self.language)
        return [e.name if is_own else e.name_in(str(language)) for e in map(self.entry, codes)]

    def prompts(self, codes: Iterable[str], language: str | None = None) -> list[str]:
        """Return the prompt of each finding, worded as a cardiologist would write it.

        Parameters
        ----------
        codes : iterable of str
        language : str, optional
            By default the vocabulary's. A finding without a prompt in it has that of the
            vocabulary's language.

        Raises
        ------
        ValueError
            If a code or the language is unknown.

        Examples
        --------
        >>> from ecg_siglip.vocabulary import ptbxl
        >>> ptbxl().prompts(["AFLT"], "de")
        ['Vorhofflattern, sägezahnartige Flatterwellen']
        """
        return self.wordings(codes, language)[0]

    def wordings(self, codes: Iterable[str], language: str | None = None) -> list[list[str]]:
        """Return the prompts of the findings in each wording, the first as ``prompts`` does.

        A finding with fewer wordings than another has its first again.

        Raises
        ------
        ValueError
            If a code or the language is unknown.
        """
        language = self.check_language(language)
        texts = [self._texts(self.entry(code).prompts, language) for code in codes]
        n_wordings = max(map(len, texts), default=1)
        return [
            [each[i] if i < len(each) else each[0] for each in texts] for i in range(n_wordings)
        ]

    def check_language(self, language: str | None) -> str:
        """Return a language of the vocabulary, its own if none is given; errors as ``prompts``."""
        if language is not None and language not in self.languages:
            raise ValueError(
                f"language={language}: expected one of {', '.join(self.languages)}, the languages "
                f"of vocabulary={self.name}"
            )
        return language or self.language

    def _texts(self, prompts: Mapping[str, tuple[str, ...]], language: str) -> tuple[str, ...]:
        return prompts.get(language, prompts[self.language])

    def task(self, task: str) -> dict[str, tuple[str, ...]]:
        """Return the findings of a task, each with the codes of records that it unites.

        Raises
        ------
        ValueError
            If there is no such task.
        """
        if task not in self.tasks:
            raise ValueError(
                f"data.task={task}: expected one of {', '.join(self.tasks)}, the tasks of "
                f"vocabulary={self.name}"
            )
        return self.tasks[task]

    def task_codes(self, task: str) -> tuple[str, ...]:
        """Return the codes of the findings of a task, in the order of its columns.

        Raises
        ------
        ValueError
            If there is no such task.

        Examples
        --------
        >>> from ecg_siglip.vocabulary import ptbxl
        >>> ptbxl().task_codes("superdiagnostic")
        ('NORM', 'MI', 'STTC', 'CD', 'HYP')
        """
        return tuple(self.task(task))

    def to_task(self, stated: Mapping[str, float], task: str, record: str = "") -> dict[str, float]:
        """Map the findings that a record is labelled with to those of a task.

        Parameters
        ----------
        stated : mapping of str to float
            Code to likelihood in percent, as in PTB-XL's column ``scp_codes``.
        task : str
        record : str, optional
            Name for messages.

        Returns
        -------
        dict of str to float
            Likelihood of the findings that are present, in the order of the task; of a class, the
            largest of its members. A likelihood of 0 means "not stated", and the finding is
            present.

        Raises
        ------
        ValueError
            If records cannot be labelled with a code, or there is no such task.

        Examples
        --------
        >>> from ecg_siglip.vocabulary import ptbxl
        >>> ptbxl().to_task({"IMI": 35.0, "ASMI": 100.0, "SR": 0.0}, "superdiagnostic")
        {'MI': 100.0}
        """
        findings_of = self._findings_of(task)
        likelihoods: dict[str, float] = {}
        for code, likelihood in stated.items():
            if code not in findings_of:
                where = f"record {record}: " if record else ""
                raise ValueError(f"{where}{self.unknown(code)}")
            for finding in findings_of[code]:
                likelihoods[finding] = max(likelihood, likelihoods.get(finding, likelihood))
        return {code: likelihoods[code] for code in self.tasks[task] if code in likelihoods}

    def _findings_of(self, task: str) -> dict[str, list[str]]:
        """Return the findings of a task that are present in a record with each code."""
        if task not in self._by_task:
            members = self.task(task)
            self._by_task[task] = {
                code: [
                    finding
                    for finding, codes in members.items()
                    if not self.implied(code).isdisjoint(codes)
                ]
                for code in self.codes
            }
        return self._by_task[task]

    @cached_property
    def _by_task(self) -> dict[str, dict[str, list[str]]]:
        return {}

    def members(self, code: str) -> tuple[str, ...]:
        """Return the findings that a class unites in any task; empty for a finding."""
        if code in self.codes:
            return ()
        tasks = self.class_tasks.values()
        return tuple(dict.fromkeys(each for task in tasks for each in task.get(code, ())))

    def implied(self, code: str) -> frozenset[str]:
        """Return the findings that are present if a finding is, with the finding itself."""
        reached, waiting = {code}, [code]
        while waiting:
            more = set(self.entry(waiting.pop()).implies) - reached
            reached |= more
            waiting += more
        return frozenset(reached)

    def from_snomed(self, number: int) -> tuple[str, ...]:
        """Return the findings that have a SNOMED CT code, in order.

        Examples
        --------
        >>> from ecg_siglip.vocabulary import ptbxl
        >>> ptbxl().from_snomed(426783006)
        ('NORM', 'SR')
        """
        return tuple(entry.code for entry in self.entries if number in entry.snomed)

    def exclusive_pairs(self, codes: Sequence[str]) -> np.ndarray:
        """Return which findings exclude each other: not both are present at the same time.

        Parameters
        ----------
        codes : sequence of str, length F

        Returns
        -------
        ndarray of shape (F, F), bool
            Symmetric, without the diagonal. A finding also excludes what another one that it
            implies excludes.

        Examples
        --------
        >>> from ecg_siglip.vocabulary import ptbxl
        >>> ptbxl().exclusive_pairs(["SR", "AFIB", "PVC"]).astype(int).tolist()
        [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
        """
        columns: dict[str, list[int]] = {}  # of the findings that imply a code
        for i, code in enumerate(codes):
            for implied in self.implied(code):
                columns.setdefault(implied, []).append(i)
        pairs_FF = np.zeros((len(codes), len(codes)), bool)
        for a, of_a in columns.items():
            of_b = [i for b in self.excluded[a] for i in columns.get(b, ())]
            pairs_FF[np.array(of_a)[:, None], of_b] = True
        return pairs_FF

    @cached_property
    def excluded(self) -> dict[str, set[str]]:
        """By code, the codes that are excluded, as entries and ``exclusive`` state it."""
        excluded: dict[str, set[str]] = {code: set() for code in self.by_code}
        for group in self.exclusive:
            for code in group:
                excluded[code] |= {*group} - {code}
        for entry in self.by_code.values():
            for stated in entry.excludes:
                for code in (stated, *self.members(stated)):
                    excluded[entry.code].add(code)
                    excluded[code].add(entry.code)
        return excluded

    def not_assessable(self, codes: Sequence[str], available: Iterable[bool]) -> np.ndarray:
        """Return which findings cannot be assessed because leads that they need are missing.

        Parameters
        ----------
        codes : sequence of str, length n_findings
        available : iterable of bool, length 12
            See ``leads.available_leads``.

        Returns
        -------
        ndarray of shape (n_findings,), bool
            All False if the vocabulary states no leads, see ``states_leads``.

        Examples
        --------
        >>> from ecg_siglip.signals.leads import available_leads
        >>> from ecg_siglip.vocabulary import ptbxl
        >>> ptbxl().not_assessable(["AFIB", "IMI", "AMI"], available_leads(["I", "II"])).tolist()
        [False, False, True]
        """
        present = {lead for lead, is_there in zip(LEADS, available, strict=True) if is_there}
        return np.array(
            [any(present.isdisjoint(group) for group in self.entry(c).leads) for c in codes], bool
        )

    def concept_prompts(
        self, codes: Sequence[str], language: str | None = None
    ) -> tuple[list[str], np.ndarray]:
        """Return the concepts of some findings, and which findings have each of them.

        Parameters
        ----------
        codes : sequence of str, length n_findings
        language : str, optional

        Returns
        -------
        list of str, length n_concepts
            Concepts that at least one of the codes has.
        ndarray of shape (n_concepts, n_findings), bool

        Raises
        ------
        ValueError
            If the language is unknown, or no code has a concept.
        """
        language = self.check_language(language)
        used = [c for c in self.concepts if not set(codes).isdisjoint(c.members)]
        if not used:
            raise ValueError(f"concept: vocabulary={self.name} has no concept of these findings")
        members_CF = np.array([[code in concept.members for code in codes] for concept in used])
        return [self._texts(concept.prompts, language)[0] for concept in used], members_CF

    def concepts_of(
        self, code: str, language: str | None = None, known: Iterable[str] | None = None
    ) -> list[str]:
        """Return the concepts that a finding shares with at least one other known finding.

        Only these can be learned without the finding itself.

        Parameters
        ----------
        code : str
        language : str, optional
        known : iterable of str, optional
            Codes of the known findings; by default all.

        Examples
        --------
        >>> from ecg_siglip.vocabulary import ptbxl
        >>> ptbxl().concepts_of("CLBBB", known=["IRBBB"])
        ['bundle branch block']
        """
        language = self.check_language(language)
        others = set(self.codes if known is None else known) - {code}
        return [
            self._texts(concept.prompts, language)[0]
            for concept in self.concepts
            if code in concept.members and others & set(concept.members)
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the content of a vocabulary file, for JSON."""
        return {
            "name": self.name,
            "language": self.language,
            "findings": [to_values(entry) for entry in self.entries],
            "classes": [to_values(entry) for entry in self.classes],
            "tasks": {task: dict(classes) for task, classes in self.class_tasks.items()},
            "exclusive": self.exclusive,
            "concepts": [to_values(concept) for concept in self.concepts],
        }


def check_same_codes(expected: Iterable[str], got: Iterable[str], where: str) -> None:
    """Check that two lists of findings have the same codes in the same order.

    Parameters
    ----------
    expected, got : iterable of str
    where : str
        Where ``got`` comes from, for the message.

    Raises
    ------
    ValueError
        If they differ in content or order; the message states the difference.
    """
    expected, got = list(expected), list(got)
    if expected == got:
        return
    missing = [code for code in expected if code not in got]
    unknown = [code for code in got if code not in expected]
    difference = f"without {', '.join(missing[:5])} " if missing else ""
    difference += f"with {', '.join(unknown[:5])}" if unknown else ""
    difference = difference.strip() or "in another order"
    raise ValueError(
        f"{where}: another vocabulary: {len(got)} findings {difference}; expected {len(expected)}"
    )
