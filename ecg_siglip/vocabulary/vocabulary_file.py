"""Read a vocabulary from a YAML or CSV file, or from the folder of a model, and check it.

``nodes`` parses the file; here its content is checked, and every error names file and line.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from ecg_siglip.core.files import shown
from ecg_siglip.signals.leads import LEADS, lead_name
from ecg_siglip.vocabulary.entry import Concept, Entry, did_you_mean
from ecg_siglip.vocabulary.nodes import (
    ENTRY_KEYS,
    LANGUAGE,
    LISTS,
    Node,
    line_error,
    node_of,
    parse_csv,
    parse_yaml,
)
from ecg_siglip.vocabulary.vocabulary import ALL, Vocabulary

PTBXL = "ptbxl"
MAX_BYTES = 2 << 20
MAX_FINDINGS = 2000
MAX_TEXT, MAX_CODE = 300, 64  # characters
SUFFIXES = (".yaml", ".yml", ".csv", ".tsv")
FILE_KEYS = ("language", "findings", "classes", "tasks", "concepts", "exclusive")
# Codes are items of lists (; ,), parts of column names and of settings in brackets.
NOT_IN_CODES = re.compile(r"[;,|\"'\[\]{}=\\$]|\s\s|[^\S ]")
# Columns of a table of ECGs that are no findings, and what stands for all findings in them.
RESERVED = (
    *("path", "record", "findings", "unknown", "patient_id", "fold", "report", "language"),
    *("fs", "units", "gain", "leads", "weight", "*"),
)


@functools.cache
def ptbxl() -> Vocabulary:
    """Return the vocabulary of PTB-XL: its 71 statements, their classes, tasks and concepts."""
    return _read(Path(__file__).with_name("ptbxl.yaml"), PTBXL)


def load_vocabulary(name: str | Path) -> Vocabulary:
    """Read a vocabulary.

    Parameters
    ----------
    name : str or path
        ``ptbxl``, or a file: .yaml, .csv or .tsv.

    Raises
    ------
    ValueError
        If there is no such file, or its content is wrong; the message names file and line.
    """
    if str(name) == PTBXL:
        return ptbxl()
    path = Path(name)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"vocabulary={name}: expected {PTBXL}, or a file that ends in {', '.join(SUFFIXES)}"
        )
    if not path.is_file():
        raise ValueError(f"vocabulary={name}: there is no such file")
    return _read(path, path.name)


def vocabulary_from_json(values: Any, where: str) -> Vocabulary:
    """Read what ``Vocabulary.to_json`` returned.

    Raises
    ------
    ValueError
        If it is not a vocabulary; the message begins with ``where``.
    """
    reader = Reader(where)
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        raise reader.error(0, "expected a vocabulary with a name")
    content = {key: value for key, value in values.items() if key != "name"}
    return reader.vocabulary(node_of(content), values["name"])


def _read(path: Path, name: str) -> Vocabulary:
    reader = Reader(str(path))
    content = path.read_bytes()[: MAX_BYTES + 1]
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path}: larger than {MAX_BYTES >> 20} MB; expected a vocabulary")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise reader.error(
            line, "not UTF-8; save the file as UTF-8 (in Excel: CSV UTF-8)"
        ) from None
    parse = parse_yaml if path.suffix.lower() in (".yaml", ".yml") else parse_csv
    return reader.vocabulary(parse(text, str(path)), name)


class Reader:
    """Reader of one vocabulary file.

    Parameters
    ----------
    where : str
        Name of the file, for messages.
    """

    def __init__(self, where: str):
        self.where = where

    def error(self, line: int, message: str) -> ValueError:
        """Return an error that names file and line."""
        return line_error(self.where, line, message)

    # Parts of a node, checked.

    def text(self, node: Node, what: str, n_most: int = MAX_TEXT) -> str:
        """Return a text without spaces around it; it must not be empty."""
        if not isinstance(node.value, str):
            raise self.error(node.line, f"{what}: expected a text, got a list or a table")
        text = unicodedata.normalize("NFC", " ".join(node.value.split()))
        if not text:
            raise self.error(node.line, f"{what}: is empty")
        if len(text) > n_most:
            raise self.error(node.line, f"{what}: {len(text)} characters, {n_most} at most")
        if shown(text, n_most) != text:
            raise self.error(node.line, f"{what}: has a control character: {shown(text)}")
        return text

    def items(self, node: Node | None, what: str) -> list[Node]:
        """Return the items of a list, or a single one; empty if there is none."""
        if node is None or node.value == "":
            return []
        if isinstance(node.value, dict):
            raise self.error(node.line, f"{what}: expected a list, got a table")
        return node.value if isinstance(node.value, list) else [node]

    def table(self, node: Node | None, what: str, keys: Collection[str] = ()) -> dict[str, Node]:
        """Return a table, whose keys must be among ``keys``, where these are given."""
        if node is None or node.value == "":
            return {}
        if not isinstance(node.value, dict):
            raise self.error(node.line, f"{what}: expected keys with values, got a text or a list")
        for key, value in node.value.items():
            if keys and key not in keys:
                hint = did_you_mean(key, keys, f"expected {', '.join(keys)}")
                raise self.error(value.line, f"{what}: unknown key {shown(key)!r}; {hint}")
        return node.value

    def texts(
        self, node: Node | None, what: str, check: Callable[[str], Any] = str
    ) -> tuple[Any, ...]:
        """Return the texts of a list, each as ``check`` returns it; none may occur twice."""
        values: dict[Any, None] = {}
        for item in self.items(node, what):
            text = self.text(item, what)
            try:
                value = check(text)
            except ValueError as error:
                raise self.error(item.line, f"{what}: {error}") from None
            if value in values:
                raise self.error(item.line, f"{what}: {shown(text)} occurs twice")
            values[value] = None
        return tuple(values)

    def is_true(self, node: Node | None, what: str) -> bool:
        """Return the value of ``true`` or ``false``, in any case; false if there is none."""
        if node is None or node.value == "":
            return False
        text = self.text(node, what).lower()
        if text not in ("true", "false"):
            raise self.error(node.line, f"{what}: expected true or false, got {shown(text)}")
        return text == "true"

    def prompts(self, node: Node | None, what: str, language: str) -> dict[str, tuple[str, ...]]:
        """Return prompts by language; without one, they are in that of the vocabulary."""
        if node is None:
            return {}
        is_table = isinstance(node.value, dict) and bool(node.value)
        prompts: dict[str, tuple[str, ...]] = {}
        for key, texts in (self.table(node, what) if is_table else {"": node}).items():
            if key and not LANGUAGE.fullmatch(key):
                message = f"{what}: expected a language such as en or ja, got {shown(key)}"
                raise self.error(texts.line, message)
            if not texts.value:
                raise self.error(texts.line, f"{what}: {key or 'the list'} is empty")
            if (key or language) in prompts:
                raise self.error(texts.line, f"{what}: in {key or language} twice")
            prompts[key or language] = self.texts(texts, what)
        return prompts

    def names(self, node: Node | None, what: str) -> dict[str, str]:
        """Return short names by language."""
        names = {}
        for language, text in self.table(node, what).items():
            if not LANGUAGE.fullmatch(language):
                message = f"{what}: expected a language such as en or ja, got {shown(language)}"
                raise self.error(text.line, message)
            names[language] = self.text(text, f"{what} in {language}")
        return names

    # The vocabulary.

    def vocabulary(self, root: Node, name: str) -> Vocabulary:
        """Return the vocabulary of a file, checked."""
        content = self.table(root, "the file", FILE_KEYS)
        nodes = self.items(content.get("findings"), "findings")
        if not nodes:
            raise self.error(root.line, "no findings; expected one at least")
        if len(nodes) > MAX_FINDINGS:
            raise self.error(root.line, f"{len(nodes)} findings; expected {MAX_FINDINGS} at most")
        language = self._language(content, nodes)
        entries = [self._entry(node, language) for node in nodes]
        class_nodes = self.items(content.get("classes"), "classes")
        classes = [self._entry(node, language) for node in class_nodes]
        lines = self._distinct([*nodes, *class_nodes], [*entries, *classes])
        vocabulary = Vocabulary(
            name,
            language,
            tuple(entries),
            tuple(classes),
            self._class_tasks(content.get("tasks"), {e.code for e in entries}, lines),
            self._concepts(content.get("concepts"), {e.code for e in entries}, language),
            self._exclusive(content.get("exclusive"), lines),
        )
        self._check_tasks(vocabulary, lines)
        self._check_relations(vocabulary, lines)
        return vocabulary

    def _language(self, content: dict[str, Node], nodes: list[Node]) -> str:
        """Return the stated language; else en, or the first language if no prompt is in en."""
        if "language" in content:
            language = self.text(content["language"], "language")
            if not LANGUAGE.fullmatch(language):
                message = f"language: expected one such as en or ja, got {shown(language)}"
                raise self.error(content["language"].line, message)
            return language
        stated: dict[str, None] = {}
        for node in nodes:
            prompts = node.value.get("prompts") if isinstance(node.value, dict) else None
            if prompts is not None and isinstance(prompts.value, dict):
                stated |= dict.fromkeys(prompts.value)
        return next(iter(stated)) if stated and not {"en", ""} & {*stated} else "en"

    def _entry(self, node: Node, language: str) -> Entry:
        values = self.table(node, "an entry", ENTRY_KEYS)
        for key in ("code", "name"):
            if key not in values:
                raise self.error(node.line, f"an entry without {key}")
        code = self.text(values["code"], "code", MAX_CODE)
        if wrong := NOT_IN_CODES.search(code):
            message = f"code {shown(code)}: expected a code without {shown(wrong[0])!r}"
            raise self.error(values["code"].line, message)
        if code in RESERVED:
            message = f"code {shown(code)}: has another meaning in a table; expected another code"
            raise self.error(values["code"].line, message)
        name = self.text(values["name"], f"name of {code}")
        names = self.names(values.get("names"), f"names of {code}")
        prompts = self.prompts(values.get("prompts"), f"prompts of {code}", language)
        checks = {"snomed": snomed_code, "leads": lead_group, "groups": group_name}
        lists = {
            key: self.texts(values.get(key), f"{key} of {code}", checks.get(key, str))
            for key in LISTS
        }
        critical = self.is_true(values.get("critical"), f"critical of {code}")
        prompts = {language: (name,), **prompts}
        return Entry(code, name, prompts, **lists, critical=critical, names=names)

    def _distinct(self, nodes: list[Node], entries: list[Entry]) -> dict[str, int]:
        """Check that codes, names and prompts differ; return the line of each code."""
        lines: dict[str, int] = {}
        owners: dict[tuple[str, str], str] = {}
        for node, entry in zip(nodes, entries, strict=True):
            if entry.code in lines:
                first = lines[entry.code]
                raise self.error(
                    node.line, f"code {entry.code} occurs twice, first in line {first}"
                )
            lines[entry.code] = node.line
            texts = [("name", entry.name)]
            texts += [
                (f"prompt in {k}", text) for k, each in entry.prompts.items() for text in each
            ]
            for what, text in texts:
                if owner := owners.get((what, text.casefold())):
                    message = f"{entry.code} has the {what} of {owner}, {shown(text)!r}"
                    raise self.error(node.line, f"{message}; expected different ones")
            owners |= {(what, text.casefold()): entry.code for what, text in texts}
        return lines

    def _known(self, node: Node | None, what: str, known: Collection[str]) -> tuple[str, ...]:
        """Return a list of codes, all of which must be known."""

        def check(code: str) -> str:
            if code not in known:
                hint = did_you_mean(code, known, "it is no finding of this file")
                raise ValueError(f"unknown code {shown(code)!r}; {hint}")
            return code

        return self.texts(node, what, check)

    def _class_tasks(
        self, node: Node | None, codes: set[str], lines: dict[str, int]
    ) -> dict[str, dict[str, tuple[str, ...]]]:
        tasks: dict[str, dict[str, tuple[str, ...]]] = {}
        for task, classes in self.table(node, "tasks").items():
            tasks[task] = {}
            for code, members in self.table(classes, f"task {task}").items():
                if code not in lines:
                    hint = did_you_mean(code, lines, "add it to `classes:`")
                    raise self.error(members.line, f"task {task}: unknown class {code}; {hint}")
                tasks[task][code] = self._known(members, f"class {code} of task {task}", codes)
                if not tasks[task][code]:
                    raise self.error(members.line, f"class {code} of task {task}: has no findings")
            if not tasks[task]:
                raise self.error(classes.line, f"task {task}: has no classes")
        return tasks

    def _concepts(self, node: Node | None, codes: set[str], language: str) -> tuple[Concept, ...]:
        concepts = []
        for item in self.items(node, "concepts"):
            values = self.table(item, "a concept", ("prompts", "members"))
            prompts = self.prompts(values.get("prompts"), "prompts of a concept", language)
            if language not in prompts:
                raise self.error(item.line, f"a concept without a prompt in {language}")
            members = self._known(values.get("members"), f"concept {prompts[language][0]}", codes)
            if not members:
                raise self.error(item.line, f"concept {prompts[language][0]}: has no members")
            concepts.append(Concept(prompts, members))
        return tuple(concepts)

    def _exclusive(self, node: Node | None, lines: dict[str, int]) -> tuple[tuple[str, ...], ...]:
        groups = []
        for item in self.items(node, "exclusive"):
            groups.append(self._known(item, "exclusive", lines))
            if len(groups[-1]) < 2:
                raise self.error(item.line, "exclusive: expected lists of two or more codes")
        return tuple(groups)

    def _check_tasks(self, vocabulary: Vocabulary, lines: dict[str, int]) -> None:
        for entry in vocabulary.entries:
            for group in entry.groups:
                if group in vocabulary.class_tasks:
                    message = f"group {group} of {entry.code} has the name of a task with classes"
                    raise self.error(lines[entry.code], message)
        for entry in vocabulary.classes:
            if not vocabulary.members(entry.code):
                raise self.error(lines[entry.code], f"class {entry.code} is in no task")

    def _check_relations(self, vocabulary: Vocabulary, lines: dict[str, int]) -> None:
        """Check that what a finding excludes or implies exists, and that it does not do both."""
        codes = {*vocabulary.codes}
        for entry in vocabulary.by_code.values():
            line = lines[entry.code]
            for key, known in (("excludes", {*lines}), ("implies", codes)):
                listed = getattr(entry, key)
                node = Node([Node(code, line) for code in listed], line)
                self._known(node, f"{key} of {entry.code}", known)
                if entry.code in listed:
                    raise self.error(line, f"{key} of {entry.code}: names the finding itself")
        for code in vocabulary.by_code:
            implied = vocabulary.implied(code)
            for other in sorted(implied - {code}):
                if code in vocabulary.implied(other):
                    message = f"{code} implies {other}, which implies {code}: a cycle"
                    raise self.error(lines[code], message)
            for other in sorted(implied):
                if both := sorted(vocabulary.excluded[other] & implied):
                    message = f"{code} implies {other} and {both[0]}, which exclude each other"
                    if code in (other, both[0]):
                        excluded = both[0] if code == other else other
                        message = f"{code} implies {excluded} and excludes it"
                    raise self.error(lines[code], message)


def group_name(text: str) -> str:
    """Return the name of a group, which is the name of a task, too."""
    if text == ALL or not re.fullmatch(r"[^\s;,|=\[\]{}]+", text):
        raise ValueError(f"expected one word other than {ALL}, got {shown(text)}")
    return text


def lead_group(text: str) -> tuple[str, ...]:
    """Return the leads of which a finding needs at least one: ``V1|V2|V3``."""
    leads = tuple(lead_name(part) for part in text.split("|"))
    for lead in leads:
        if lead not in LEADS:
            raise ValueError(f"unknown lead {shown(lead)!r}; expected some of {', '.join(LEADS)}")
    return leads


def snomed_code(text: str) -> int:
    """Return a SNOMED CT code, whose last digit is a check digit (Verhoeff 1969)."""
    if not re.fullmatch(r"[1-9][0-9]{5,17}", text):
        raise ValueError(f"expected a SNOMED CT code of 6 to 18 digits, got {shown(text)}")
    check = 0
    for position, digit in enumerate(map(int, reversed(text))):
        for _ in range(position % 8):
            digit = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[digit]
        turned = check + digit if check < 5 else check - digit
        check = turned % 5 + (0 if (check < 5) == (digit < 5) else 5)
    if check:
        raise ValueError(f"{text} is no SNOMED CT code: its check digit is wrong (rounded?)")
    return int(text)
