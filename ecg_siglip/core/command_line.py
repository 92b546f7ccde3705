"""The command line: compose a configuration, check it, run the command, print its errors."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import select
import shlex
import sys
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ecg_siglip.core.files import one_line, visible
from ecg_siglip.core.settings import check_settings, setting_fields

PACKAGE_DIR = Path(__file__).resolve().parents[1]
# In a checkout conf/ is next to the package, in an installed wheel inside it.
CONF_DIR = next(
    (path for path in (PACKAGE_DIR / "conf", PACKAGE_DIR.parent / "conf") if path.is_dir()),
    PACKAGE_DIR / "conf",
)


FULL_ERROR = "HYDRA_FULL_ERROR"
# Words at the beginning of the second part of a sentence.
CONJUNCTION = re.compile(r"(or|and|but|oder|und|aber|sondern|which|that|die|der|das)\b", re.I)
# Types of settings in words, for errors.
KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def help_page(command: str, schema: type, summary: str) -> str:
    """Return what ``--help`` prints: every setting with its default, help text, unit and range.

    Parameters
    ----------
    command : str
    schema : type
        Configuration of the command.
    summary : str
        What the command does, on one line.
    """
    lines = [f"python -m ecg_siglip.{command} SETTING=VALUE ...", "", summary, ""]
    if command == "train":
        lines += [*_option_lines(schema), ""]
    lines += ["Settings with their defaults:"]
    defaults = _yaml_defaults(command)
    for name, field in setting_fields(schema):
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        default = defaults.get(name, default)
        low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
        allowed = ", ".join(choices) if choices else ""
        if low is not None:
            allowed = f"{low} to {high}" if high is not None else f"{low} or more"
        shown = "null" if default is None else str(default).replace(" ", "")
        meaning = field.metadata["doc"] + (f" [{allowed}]" if allowed else "")
        lines += [f"  {f'{name}={shown}':34} {meaning}"]
    lines += [
        "",
        "???: required. A list: 'name=[a,b]'. One run for each of several values: name=a,b -m.",
        "To print the composed configuration: --cfg job. Hydra's own flags: --hydra-help.",
    ]
    return "\n".join(lines)


def _option_lines(schema: type) -> list[str]:
    """Return the groups of settings of ``train`` that are chosen by name, with their options."""
    lines = ["Groups of settings with their defaults and options; each option is a file in conf/:"]
    groups = (*typing.get_type_hints(schema), "freeze", "experiment")
    train_yaml = (CONF_DIR / "train.yaml").read_text("utf-8")
    for name in [name for name in groups if (CONF_DIR / name).is_dir()]:
        default = re.search(rf"^  - {name}: (\w+)", train_yaml, re.MULTILINE)
        lines += [f"  {name}={default[1] if default else 'null'}"]
        for path in sorted((CONF_DIR / name).glob("*.yaml")):
            text = path.read_text("utf-8").removeprefix("# @package _global_\n")
            comment = text.partition("\n")[0].removeprefix("# ")
            lines += [f"    {path.stem:18} {comment}"]
    return lines


def _yaml_defaults(command: str) -> dict[str, Any]:
    """Return the values that ``conf/<command>.yaml`` and its default groups set, by dotted name."""
    import yaml

    def load(path: Path) -> dict[str, Any]:
        return yaml.safe_load(path.read_text("utf-8")) or {}

    def flatten(tree: dict[str, Any], prefix: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in tree.items():
            is_group = isinstance(value, dict)
            values |= flatten(value, f"{prefix}{key}.") if is_group else {f"{prefix}{key}": value}
        return values

    own = load(CONF_DIR / f"{command}.yaml")
    values: dict[str, Any] = {}
    for entry in own.pop("defaults", []):
        for group_name, option in entry.items() if isinstance(entry, dict) else ():
            path = CONF_DIR / group_name / f"{option}.yaml"
            values |= flatten(load(path), f"{group_name}.") if path.is_file() else {}
    return values | flatten(own, "")


def _with_lone_texts(schema: type, overrides: list[str]) -> list[str]:
    """Return overrides with each single text of a list of texts as a list of one, in quotes.

    A comma does not divide it: ``questions=Is there AF, or flutter?`` is one question.
    """
    names = [name for name, field in setting_fields(schema) if field.metadata["texts"]]
    changed = []
    for override in overrides:
        name, equals, value = override.partition("=")
        is_text = name.lstrip("+") in names and equals and value not in ("", "null")
        if is_text and not value.startswith(("[", "${")):
            override = f"{name}=[{_quoted(value)}]"
        changed.append(override)
    return changed


def _comma_mistake(name: str, value: str) -> str:
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
    several = shlex.quote(f"{name}=[{','.join(map(_quoted, items))}]")
    return (
        f"{name}={value}: a comma divides a list; for the shell: {one} for one text, {several} for "
        f"{len(items)}"
    )


def _list_mistake(schema: type, overrides: list[str]) -> str:
    """Return an error for a list that Hydra would not parse as one; empty if there is none."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    missing, parser = dataclasses.MISSING, OverridesParser.create()
    lists = [name for name, field in setting_fields(schema) if field.default_factory is not missing]
    item_types = {name: field.metadata["items"] for name, field in setting_fields(schema)}
    texts = [name for name, field in setting_fields(schema) if field.metadata["texts"]]
    for text in overrides:
        name, equals, value = text.lstrip("+").partition("=")
        if not equals or name not in lists or value.startswith("${"):
            continue
        if item_types[name] is not None:
            if mistake := _items_mistake(item_types[name], name, text):
                return mistake
            continue
        if name in texts and (mistake := _comma_mistake(name, value)):
            return mistake
        in_brackets = value.startswith("[") and value.endswith("]")
        inner = value[1:-1] if in_brackets else value
        is_one_path = in_brackets and "," in inner and os.path.exists(inner)
        try:
            override = parser.parse_override(text)
            is_list = override.is_sweep_override() or isinstance(override.value(), list)
            if is_list and not is_one_path:
                continue
        except HydraException:  # characters that have to be in quotes
            pass
        # Within brackets a comma separates items; without them it belongs to the one item.
        items = inner.split(",") if in_brackets and not is_one_path else [inner]
        quoted = [_quoted(item) for item in items if item not in ("", "null")]
        corrected = shlex.quote(f"{name}=[{','.join(quoted)}]")
        return f"{name}={value}: expected a list, with quotes for the shell: {corrected}"
    return ""


def _items_mistake(schema: type, name: str, override: str) -> str:
    """Return an error for a list of groups of settings, ``[{a:1,b:2},{...}]``; empty if none.

    Parameters
    ----------
    schema : type
        Dataclass of an item.
    name : str
        Of the list.
    override : str
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    form = f"'{name}=[{{name:a,...}},{{name:b,...}}]'"
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return (
            f"{override}: expected {form}, values with other characters than letters, digits and "
            r"""./:*?@- in quotes, for the shell: '...root:"x=1, y"...'"""
        )
    value = [{}] if parsed.is_sweep_override() else parsed.value()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return f"{override}: expected {form}, or a YAML file with the list"
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
            nearest = difflib.get_close_matches(str(key), list(fields), n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"one of {', '.join(fields)}"
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


def _quoted(item: str) -> str:
    """Return an item of a list in quotes, where Hydra needs them."""
    item = item.strip()
    for mark in "'\"":  # quotes that are there, around the whole item
        if len(item) > 1 and item[0] == item[-1] == mark and mark not in item[1:-1]:
            item = item[1:-1]
    if re.fullmatch(r"[\w./*-]+", item, re.ASCII):
        return item
    item = item.replace("${", "\\${")
    if '"' in item and "'" not in item:
        return f"'{item}'"
    return '"' + item.replace('"', '\\"') + '"'


def _renamed(schema: type, overrides: list[str]) -> str:
    """Return an error for a setting that has another name now; empty if there is none."""
    renamed: dict[str, str] = getattr(schema, "RENAMED", {})
    for override in overrides:
        name = override.lstrip("+~").partition("=")[0]
        for old in (override, name):
            if old in renamed:
                return f"{old}: renamed to {renamed[old]}"
    return ""


def _groups(command: str) -> list[str]:
    """Return the groups of settings that a command chooses by name, folders of ``conf/``."""
    import yaml

    own = yaml.safe_load((CONF_DIR / f"{command}.yaml").read_text("utf-8")) or {}
    names = [name for entry in own.get("defaults", []) if isinstance(entry, dict) for name in entry]
    return [name for name in names if (CONF_DIR / name).is_dir()]


def _value_mistake(schema: type, field: dataclasses.Field[Any], override: str) -> str:
    """Return an error for a value that Hydra would not take; empty if there is none.

    Lists are checked by ``_list_mistake``, values of several runs (``-m``) when each run starts.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import ValidationError

    name, _, value = override.lstrip("+").partition("=")
    expected = KINDS.get(str(field.type).partition(" ")[0], "")
    # Quotes around the whole value, as in data.query='SELECT ...', are not a part of it.
    text = value[1:-1] if len(value) > 1 and value[0] == value[-1] in "'\"" else value
    text = text.replace('"', '\\"').replace("${", "\\${")
    quoted = shlex.quote(f'{name}="{text}"')
    try:
        parsed = OverridesParser.create().parse_override(override)
        if parsed.is_sweep_override():
            if {"-m", "--multirun"} & set(sys.argv[1:]):
                return ""
            return (
                f"{override}: expected one value; several runs need -m, a comma within a value "
                f"needs quotes, for the shell: {quoted}"
            )
        if expected and "${" not in value:
            OmegaConf.update(OmegaConf.structured(schema), name, parsed.value())
    except ValidationError:
        return f"{override}: expected {expected}"
    except HydraException:
        return f"{override}: expected a value in quotes, for the shell: {quoted}"
    return ""


def _override_mistake(command: str, schema: type, overrides: list[str]) -> str:
    """Return an error for the first override that Hydra would reject; empty if there is none.

    Hydra's own messages take several lines and name neither similar settings nor what is expected.
    """
    # A folder of the user's own adds groups and options, which only Hydra knows.
    if any(arg.startswith(("--config-dir", "-cd", "hydra.searchpath")) for arg in overrides):
        return ""
    settings, groups = dict(setting_fields(schema)), _groups(command)
    parents = {name.rpartition(".")[0] for name in settings}
    for previous, override in zip(["", *overrides], overrides, strict=False):
        name, equals, value = override.lstrip("+").partition("=")
        if override.startswith(("-", "~")) or "@" in name or name.startswith("hydra"):
            continue
        if not equals and previous.startswith("-"):  # the value of a flag: --cfg job
            continue
        if not equals:
            return f"{override}: expected SETTING=VALUE, see --help"
        if name in groups:
            options = sorted(path.stem for path in (CONF_DIR / name).glob("*.yaml"))
            is_plain = re.fullmatch(r"[\w.-]+", value) and value != "null"
            if is_plain and value not in options:
                return f"{override}: expected one of {', '.join(options)}"
        elif name in settings:
            if mistake := _value_mistake(schema, settings[name], override):
                return mistake
        elif name not in parents:
            nearest = difflib.get_close_matches(name, [*settings, *groups], n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else "see --help"
            return f"{name}: expected a setting of {command}; {hint}"
    return ""


@contextmanager
def quiet_if_stdout_closes() -> Iterator[None]:
    """End without a message if the reader of stdout ends first, as ``head`` does.

    Raises
    ------
    SystemExit
        With 141, the exit code of a program that SIGPIPE ends.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        if not _is_closed(sys.stdout):  # another pipe
            raise
        # Python flushes again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None


def _is_closed(stream: TextIO) -> bool:
    """Return whether nothing reads what is written to a pipe; False where that is unknown."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(stream.fileno(), 0)  # errors are always reported
    return bool(poll.poll(0))


class JobFailed(Exception):
    """One of the runs of ``-m`` failed; a sweeper or launcher may continue with the others."""


def run_command(command: str, schema: type, function: Callable[[Any], float | None]) -> None:
    """Compose ``conf/<command>.yaml`` with the command line, check it, run ``function(config)``.

    An error that the user can correct (``ValueError``, ``OSError``) becomes one line on stderr and
    exit code 1; any other is a bug and keeps its traceback. An integer that the function returns
    is the exit code, a float is the score that a sweeper maximizes. ``--help`` prints
    ``help_page`` instead of Hydra's page, which has no units.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        with quiet_if_stdout_closes():
            print(help_page(command, schema, (function.__doc__ or "").strip().splitlines()[0]))
        return
    # Hydra takes -m only before or after all settings.
    words = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))
    overrides = sys.argv[1:] = _with_lone_texts(schema, words)
    mistake = _renamed(schema, overrides) or _list_mistake(schema, overrides)
    if mistake := mistake or _override_mistake(command, schema, overrides) or _sweep_mistake():
        print(f"{command}: {visible(mistake)}", file=sys.stderr)
        raise SystemExit(1)
    import hydra
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    ConfigStore.instance().store(name=f"{command}_schema", node=schema)
    keeps_full_errors = os.environ.get(FULL_ERROR) == "1"

    def guarded(composed: Any) -> float | None:
        is_one_of_several = _begin_job()
        if not keeps_full_errors and not is_one_of_several:
            os.environ.pop(FULL_ERROR, None)
        try:
            config = OmegaConf.to_object(composed)
            check_settings(config)
            with quiet_if_stdout_closes():
                result = function(config)
        except MissingMandatoryValue as error:
            message = f"{error.full_key} is missing; expected {error.full_key}=..."
        except (ValueError, OSError, OmegaConfBaseException) as error:
            message = one_line(error)
        except KeyboardInterrupt:
            print(f"{command}: interrupted", file=sys.stderr)
            raise SystemExit(130) from None
        else:
            if isinstance(result, float) or not result:
                return result
            if not is_one_of_several:
                raise SystemExit(result)
            message = f"exit code {result}"
        print(f"{command}: {message}", file=sys.stderr)
        if is_one_of_several:  # a launcher repeats it when all runs have ended
            raise JobFailed(message)
        raise SystemExit(1)

    main = hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=command)(guarded)
    if keeps_full_errors:
        main()
    else:
        _run_with_short_errors(command, main)


def _begin_job() -> bool:
    """Return whether this is one of several runs (``-m``); remove the file that Hydra left then.

    ``multirun.yaml`` has the whole configuration of the sweep, Hydra's own included. Each run has
    its own ``config.yaml``.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra_settings = HydraConfig.get()
    if hydra_settings.mode != RunMode.MULTIRUN:
        return False
    (Path(str(hydra_settings.sweep.dir)) / "multirun.yaml").unlink(missing_ok=True)
    return True


def _sweep_mistake() -> str:
    """Return an error for a sweeper that would look for the lowest score; empty if there is none.

    Optuna minimizes unless a direction is set.
    """
    words = sys.argv[1:]
    if "hydra/sweeper=optuna" not in words or any("sweeper.direction=" in word for word in words):
        return ""
    return "hydra/sweeper=optuna: minimizes by default; expected hydra.sweeper.direction=maximize"


def _run_with_short_errors(command: str, main: Callable[[], Any]) -> None:
    """Run Hydra; an error of the configuration becomes one line on stderr and exit code 1."""
    import yaml
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    os.environ[FULL_ERROR] = "1"  # Hydra's own report of an error has several lines
    try:
        main()
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, JobFailed) as error:
        # A user does not know the types of the configuration.
        message = re.sub(r" (reference|object)_type=\S+", "", one_line(error))
        print(f"{command}: {message}", file=sys.stderr)
        raise SystemExit(1) from None
    finally:
        os.environ.pop(FULL_ERROR, None)
