"""The value of a setting as it was typed, in the grammar of Hydra.

Texts and names of files are quoted here, so that they may contain any character: Hydra itself reads
``records=Doe, John.csv`` as two values, ``run.name=007`` as the number 7.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import typing
from typing import Any

from ecg_siglip.core.settings import check_choice, setting_names
from ecg_siglip.core.suggestions import did_you_mean, nearest

# Types of settings in words, for errors.
KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}
# Words at the beginning of the second part of a sentence.
CONJUNCTION = re.compile(r"(or|and|but|oder|und|aber|sondern|which|that|die|der|das)\b", re.I)
NONE_WORDS = ("none", "nil")


def quoted(text: str) -> str:
    """Return a text in quotes, as which Hydra and OmegaConf read exactly this text."""
    return _with_quotes(re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text))


def _with_quotes(text: str) -> str:
    """Return a text in quotes for Hydra; OmegaConf reads ``${...}`` in it."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.double).with_quotes()


def hydra_value(
    schema: type, name: str, field: dataclasses.Field[Any], raw: str, many: bool
) -> str:
    """Return the value of a setting for Hydra.

    Parameters
    ----------
    schema : type
        Configuration of the command.
    name : str
        Of the setting, with its groups.
    field : Field
        The setting.
    raw : str
        Value as it was typed, not empty.
    many : bool
        A comma may separate the values of several runs (``-m``).

    Raises
    ------
    ValueError
        If it is no value of the setting; the message names what is expected.
    """
    if _refers_to_settings(schema, raw):
        return raw if _parsed(raw) is not None else _with_quotes(raw)
    if field.metadata["items"] is not None:
        if mistake := _items_mistake(field.metadata["items"], name, raw):
            raise ValueError(mistake)
        return raw
    if many and _is_sweep(raw):
        return raw
    kind = str(field.type)
    if kind.startswith("list"):
        return _list(schema, name, field, raw)
    is_optional = kind.endswith("| None")
    if raw.casefold() == "null" and is_optional:
        return "null"
    if raw.casefold() in NONE_WORDS and is_optional and not field.metadata["choices"]:
        raise ValueError(f"{name}={raw}: expected {name}=null for none")
    if not many and (mistake := _comma_mistake(name, kind, raw)):
        raise ValueError(mistake)
    kind = kind.partition(" ")[0]
    if kind in KINDS:
        _check_type(schema, name, raw, f"expected {KINDS[kind]}{' or null' * is_optional}")
        return raw
    text = unquoted(raw)
    check_choice(name, text, field)
    if text == raw and re.fullmatch(r"\[.*\]|\{.*\}", raw, re.DOTALL) and not os.path.exists(raw):
        raise ValueError(f"{name}={raw}: expected one value, without brackets")
    return quoted(os.path.expanduser(text) if text.startswith("~") else text)


def unquoted(text: str) -> str:
    """Return a text without quotes around it, where these are not part of the name of a file."""
    if len(text) > 1 and text[0] == text[-1] in "'\"" and not os.path.lexists(text):
        mark, inner = text[0], text[1:-1]
        return inner.replace(f"\\{mark}", mark)
    return text


def split_list(value: str) -> list[str]:
    """Return the items of a list in brackets; commas within quotes do not divide it.

    Examples
    --------
    >>> split_list("[a b.hea, 'Doe, John.csv', it's.csv]")
    ['a b.hea', 'Doe, John.csv', "it's.csv"]
    """
    inner, items = value[1:-1].strip(), list[str]()
    pattern = re.compile(
        r"""\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^,]*?))\s*(?:,|\Z)""", re.DOTALL
    )
    position = 0
    while position < len(inner):
        match = pattern.match(inner, position)
        assert match is not None  # the last alternative takes any text
        double, single, plain = match.groups()
        if double is not None:
            items.append(double.replace('\\"', '"'))
        elif single is not None:
            items.append(single.replace("\\'", "'"))
        else:
            items.append(plain)
        position = match.end()
    return items


def joined_names(parts: list[str]) -> list[str]:
    """Return names of files from the parts between commas; a comma may belong to a name.

    Parts that are one name of an existing file together are joined to it.
    """
    names, start = list[str](), 0
    while start < len(parts):
        end = start + 1
        if not os.path.lexists(parts[start].strip()):
            ends = range(start + 2, len(parts) + 1)
            end = next((e for e in ends if os.path.lexists(",".join(parts[start:e]).strip())), end)
        names.append(",".join(parts[start:end]).strip())
        start = end
    return [name for name in names if name]


def _list(schema: type, name: str, field: dataclasses.Field[Any], raw: str) -> str:
    """Return a list for Hydra, also of one item or of items without brackets."""
    if raw.casefold() == "null":
        return "[]"
    is_text = str(field.type) == "list[str]"
    in_brackets = raw.startswith("[") and raw.endswith("]") and not os.path.lexists(raw)
    if not is_text:
        value = raw if in_brackets else f"[{raw}]"
        kind = KINDS[str(field.type).removeprefix("list[").removesuffix("]")]
        _check_type(schema, name, value, f"expected a list of {kind.removeprefix('a ')}s: [1,2]")
        return value
    if field.metadata["texts"]:
        if mistake := _text_mistake(name, raw):
            raise ValueError(mistake)
        items = split_list(raw) if in_brackets else [unquoted(raw)]
    elif in_brackets:
        has_quotes = re.search(r"""(?:^\[|,)\s*["']""", raw)
        items = split_list(raw) if has_quotes else joined_names(raw[1:-1].split(","))
    elif unquoted(raw) != raw or "," not in raw:
        items = [unquoted(raw)]
    else:
        items = joined_names(raw.split(","))
    for item in items:
        check_choice(name, item, field)
    items = [os.path.expanduser(item) if item.startswith("~") else item for item in items]
    return f"[{','.join(map(quoted, items))}]"


def _refers_to_settings(schema: type, raw: str) -> bool:
    """Return whether a value contains those of other settings, ``${seed}``, and no other ``${``."""
    names = re.findall(r"\$\{([^{}]*)\}", raw)
    known = {*setting_names(schema)}
    return bool(names) and all(name in known or ":" in name for name in names)


def _is_sweep(raw: str) -> bool:
    override = _parsed(raw)
    return override is not None and override.is_sweep_override()


def _parsed(raw: str) -> Any:
    """Return what Hydra reads of a value, or None."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(f"x={raw}")
    except HydraException:
        return None


def _check_type(schema: type, name: str, value: str, expected: str) -> None:
    """Check that a value can be that of a setting with numbers or true and false."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    override = _parsed(value)
    try:
        if override is None or override.is_sweep_override():
            raise ValueError
        OmegaConf.update(OmegaConf.structured(schema), name, override.value())
    except (OmegaConfBaseException, ValueError):
        raise ValueError(f"{name}={value}: {expected}") from None


def _comma_mistake(name: str, kind: str, raw: str) -> str:
    """Return an error for several values of a setting that has one; empty if there is none."""
    if "," not in raw or not _is_sweep(raw):
        return ""
    error = f"{name}={raw}: expected one value; several runs need -m"
    if kind.startswith("float") and re.fullmatch(r"[-+]?\d+,\d+", raw):
        return f"{error}, a decimal needs a point: {name}={raw.replace(',', '.')}"
    if kind.startswith("str"):
        # A name as Müller, Anna.pdf is no list of values.
        is_name = os.path.exists(raw) or ", " in raw or re.search(r"[/\\]|\.\w{2,5}\Z", raw)
        in_quotes = shlex.quote(f'{name}="{raw}"')
        return "" if is_name else f"{error}, a comma within a value needs quotes: {in_quotes}"
    return error


def _text_mistake(name: str, value: str) -> str:
    """Return an error for a list without quotes in which a comma may be within one text."""
    inner = value[1:-1]
    items = [item.strip() for item in inner.split(",")]
    if not value.startswith("[") or not value.endswith("]") or re.search("[\"']", inner):
        return ""
    goes_on = any(CONJUNCTION.match(item) for item in items[1:])
    has_one_mark = items[-1].endswith("?") and not all(item.endswith("?") for item in items)
    if len(items) < 2 or not (goes_on or has_one_mark):
        return ""
    one = shlex.quote(f"{name}={inner}")
    several = shlex.quote(f"{name}=[{','.join(map(quoted, items))}]")
    return (
        f"{name}={value}: a comma divides a list; for the shell: {one} for one text, {several} for "
        f"{len(items)}"
    )


def _items_mistake(schema: type, name: str, raw: str) -> str:
    """Return an error for a list of groups of settings, ``[{a:1,b:2},{...}]``; empty if none.

    Parameters
    ----------
    schema : type
        Dataclass of an item.
    name, raw : str
        Of the list, and its value.
    """
    form = f"'{name}=[{{name:a,...}},{{name:b,...}}]'"
    parsed = _parsed(raw)
    if parsed is None:
        return (
            f"{name}={raw}: expected {form}, values with other characters than letters, digits and "
            r"""./:*?@- in quotes, for the shell: '...root:"x=1, y"...'"""
        )
    value = [{}] if parsed.is_sweep_override() else parsed.value()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return f"{name}={raw}: expected {form}, or a YAML file with the list"
    for i, item in enumerate(value):
        if mistake := _item_mistake(schema, f"{name}[{i}].", item):
            return mistake
    return ""


def _item_mistake(schema: type, prefix: str, item: dict[str, Any]) -> str:
    """Return an error for a key or a value of one group of settings; empty if there is none."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    fields = {field.name: field for field in dataclasses.fields(schema)}
    hints = typing.get_type_hints(schema)
    for key, value in item.items():
        if str(key) not in fields:
            similar = nearest(str(key), fields)
            hint = did_you_mean(similar, f"one of {', '.join(fields)}")
            return f"{prefix}{key}: expected a setting of a data set; {hint}"
        inner = hints[str(key)]
        if isinstance(inner, type) and dataclasses.is_dataclass(inner):
            if not isinstance(value, dict):
                return f"{prefix}{key}={value}: expected {{setting:value,...}}"
            if mistake := _item_mistake(inner, f"{prefix}{key}.", value):
                return mistake
            continue
        try:
            OmegaConf.update(OmegaConf.structured(schema), str(key), value)
        except (OmegaConfBaseException, ValueError):
            type_name = str(fields[str(key)].type).partition(" ")[0]
            kind = "a list: [a,b]" if type_name.startswith("list") else KINDS.get(type_name, "text")
            return f"{prefix}{key}={value}: expected {kind}"
    return ""
