"""Parse a vocabulary file, YAML or CSV, into texts that know the line that they are in."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ecg_siglip.core.files import shown

LISTS = ("snomed", "groups", "leads", "excludes", "implies", "synonyms")
ENTRY_KEYS = ("code", "name", "names", "prompts", *LISTS, "critical", "comment", "count")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
MAX_DEPTH = 20
# CSV columns whose names differ from the keys of an entry.
COLUMNS = {"group": "groups", "synonym": "synonyms"}


@dataclass(frozen=True)
class Node:
    """A part of a vocabulary file: a text, a list or a table, and the line that it begins in."""

    value: str | list[Node] | dict[str, Node]
    line: int


def line_error(where: str, line: int, message: str) -> ValueError:
    """Return an error that names file and line; line 0 is unknown."""
    return ValueError(f"{where}{f', line {line}' if line else ''}: {message}")


def parse_yaml(text: str, where: str) -> Node:
    """Parse YAML; every value is a text, so that codes such as NO and 1E3 stay what they are."""
    import yaml

    try:
        # Not composed by the library, whose C code crashes on very deep lists.
        events = yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        contents = (event for event in events if not isinstance(event, yaml.StreamStartEvent))
        if isinstance(next(contents), yaml.StreamEndEvent):
            return Node({}, 1)
        root = _node_of_event(next(contents), contents, where, 0)
        next(contents)  # the end of the document
        more: Any = next(contents)
        if not isinstance(more, yaml.StreamEndEvent):
            line = more.start_mark.line + 1
            raise line_error(where, line, "not valid YAML: expected a single document")
        return root
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = f"not valid YAML: {error.problem or error.context}"
        raise line_error(where, mark.line + 1 if mark else 0, problem) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise line_error(where, line, f"not valid YAML: {error.reason}") from None


def _node_of_event(event: Any, events: Iterator[Any], where: str, depth: int) -> Node:
    """Return the node that begins with an event, and read the events up to its end."""
    import yaml

    line = event.start_mark.line + 1
    # An alias could repeat a list without end.
    if isinstance(event, yaml.AliasEvent) or event.anchor:
        raise line_error(where, line, "anchors and aliases (& and *) are not supported")
    if depth > MAX_DEPTH:
        raise line_error(where, line, "lists within lists, deeper than in any vocabulary")
    if isinstance(event, yaml.ScalarEvent):
        is_null = event.implicit[0] and event.value in ("~", "null", "Null", "NULL")
        return Node("" if is_null else event.value, line)
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            items.append(_node_of_event(item, events, where, depth + 1))
        return Node(items, line)
    table: dict[str, Node] = {}
    while not isinstance(item := next(events), yaml.MappingEndEvent):
        key = _node_of_event(item, events, where, depth + 1)
        if not isinstance(key.value, str) or not key.value:
            raise line_error(where, key.line, "a key that is no text")
        if key.value in table:
            raise line_error(where, key.line, f"{shown(key.value)} occurs twice")
        table[key.value] = _node_of_event(next(events), events, where, depth + 1)
    return Node(table, line)


def node_of(value: Any) -> Node:
    """Return the node of a value that was read from JSON."""
    if isinstance(value, Mapping):
        return Node({str(key): node_of(each) for key, each in value.items()}, 0)
    if isinstance(value, list | tuple):
        return Node([node_of(each) for each in value], 0)
    return Node("" if value is None else str(value), 0)


def parse_csv(text: str, where: str) -> Node:
    """Parse a table with one row per finding; lists are separated by semicolons."""
    head, _, rest = text.partition("\n")
    separator, n_before = max(",;\t", key=head.count), 0
    if stated := re.fullmatch(r"sep=(.)\r?", head, re.IGNORECASE):  # as spreadsheets read it
        text, separator, n_before = rest, stated[1], 1
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        header = next(rows, [])
        while header and not header[-1].strip():  # separators at the end of every row
            header.pop()
        names = [_column(name, i, where) for i, name in enumerate(header)]
        if len({*names}) < len(names):
            doubled = next(name for i, name in enumerate(names) if name in names[:i])
            raise line_error(where, 1, f"column {doubled} occurs twice")
        if "code" not in names:
            raise line_error(where, 1, "expected a column named code")
        findings, line = [], rows.line_num + n_before + 1
        for row in rows:
            if any(cell.strip() for cell in row):
                if not any(cell.strip() for cell in row[len(names) :]):
                    row = row[: len(names)]
                if len(row) != len(names):
                    message = f"{len(row)} cells, expected {len(names)} as in the first line"
                    raise line_error(where, line, message)
                findings.append(_node_of_row(dict(zip(names, row, strict=True)), line))
            line = rows.line_num + n_before + 1
    except csv.Error as error:
        raise line_error(where, rows.line_num + n_before, f"not a valid table: {error}") from None
    return Node({"findings": Node(findings, 1)}, 1)


def _column(name: str, i: int, where: str) -> str:
    """Return the name of a column as the key of an entry: prompt_ja, name_ja, groups, ..."""
    name = name.strip().lower()
    key = COLUMNS.get(name, name)
    if key in ENTRY_KEYS and key not in ("names", "prompts"):
        return key
    text, _, language = key.partition("_")
    if text in ("prompt", "prompts") and (not language or LANGUAGE.fullmatch(language)):
        return f"prompt_{language}"
    if text == "name" and LANGUAGE.fullmatch(language):
        return key
    expected = "code, name, name_ja, prompt, prompt_ja, snomed, group, leads, excludes, implies"
    raise line_error(where, 1, f"column {i + 1}, {shown(name)!r}: expected {expected}, critical")


def _node_of_row(cells: dict[str, str], line: int) -> Node:
    entry: dict[str, Node] = {}
    by_language: dict[str, dict[str, Node]] = {"names": {}, "prompts": {}}
    for key, cell in cells.items():
        items = [Node(item, line) for item in cell.split(";") if item.strip()]
        text, _, language = key.partition("_")
        if text == "prompt" and items:
            by_language["prompts"][language] = Node(items, line)
        elif language and text == "name" and items:
            by_language["names"][language] = Node(cell, line)
        elif key in LISTS:
            entry[key] = Node(items, line)
        elif text not in ("prompt", "name") or key == "name":
            entry[key] = Node(cell, line)
    return Node(entry | {key: Node(each, line) for key, each in by_language.items() if each}, line)
