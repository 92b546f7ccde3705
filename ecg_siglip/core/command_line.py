"""The command line: compose a configuration, check it, call the command, print its errors."""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ecg_siglip.core.files import one_line
from ecg_siglip.core.settings import check_settings, setting_fields

PACKAGE_DIR = Path(__file__).resolve().parents[1]
# In a checkout conf/ stands beside the package, in an installed wheel inside it.
CONF_DIR = next(
    (path for path in (PACKAGE_DIR / "conf", PACKAGE_DIR.parent / "conf") if path.is_dir()),
    PACKAGE_DIR / "conf",
)


def help_page(verb: str, schema: type, summary: str) -> str:
    """What ``--help`` prints: every knob with its default, meaning, unit and range.

    Parameters
    ----------
    verb : str
    schema : type
        The configuration of the verb.
    summary : str
        What the verb does, in a line.
    """
    lines = [f"python -m ecg_siglip.{verb} KNOB=VALUE ...", "", summary, ""]
    hints = typing.get_type_hints(schema)
    if verb == "train":
        groups = (*hints, "freeze", "experiment")
        lines += ["Sets of knobs by name, each a file of conf/; what is taken if nothing is said:"]
        taken = (CONF_DIR / "train.yaml").read_text("utf-8")
        for name in [name for name in groups if (CONF_DIR / name).is_dir()]:
            chosen = re.search(rf"^  - {name}: (\w+)", taken, re.MULTILINE)
            lines += [f"  {name}={chosen[1] if chosen else 'null'}"]
            for path in sorted((CONF_DIR / name).glob("*.yaml")):
                text = path.read_text("utf-8").removeprefix("# @package _global_\n")
                about = text.partition("\n")[0].removeprefix("# ")
                lines += [f"    {path.stem:18} {about}"]
        lines += [""]
    lines += ["Knobs, what they are if nothing is said, what they mean:"]
    defaults = _yaml_defaults(verb)
    for name, field in setting_fields(schema):
        made = field.default_factory
        default = field.default if made is dataclasses.MISSING else made()
        default = defaults.get(name, default)
        low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
        allowed = ", ".join(choices) if choices else ""
        if low is not None:
            allowed = f"{low} to {high}" if high is not None else f"{low} or more"
        shown = "null" if default is None else str(default).replace(" ", "")
        about = field.metadata["doc"] + (f" [{allowed}]" if allowed else "")
        lines += [f"  {f'{name}={shown}':34} {about}"]
    lines += [
        "",
        "???: has to be said. A list: 'data.train_folds=[1,2]'. Several runs: seed=0,1,2 -m.",
        "The configuration as composed: --cfg job. Hydra's own flags: --hydra-help.",
    ]
    return "\n".join(lines)


def _yaml_defaults(verb: str) -> dict[str, Any]:
    """What ``conf/<verb>.yaml`` and the sets that it takes say instead of the schema's defaults."""
    import yaml

    def said(path: Path) -> dict[str, Any]:
        return yaml.safe_load(path.read_text("utf-8")) or {}

    def flat(tree: dict[str, Any], prefix: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in tree.items():
            inner = isinstance(value, dict)
            found |= flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
        return found

    own = said(CONF_DIR / f"{verb}.yaml")
    found: dict[str, Any] = {}
    for entry in own.pop("defaults", []):
        for group_name, option in entry.items() if isinstance(entry, dict) else ():
            path = CONF_DIR / group_name / f"{option}.yaml"
            found |= flat(said(path), f"{group_name}.") if path.is_file() else {}
    return found | flat(own, "")


def _list_mistake(schema: type, said: list[str]) -> str:
    """What is wrong with a list that Hydra would not take for one, and how to say it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    made, parser = dataclasses.MISSING, OverridesParser.create()
    lists = [name for name, field in setting_fields(schema) if field.default_factory is not made]
    for word in said:
        name, given, value = word.lstrip("+").partition("=")
        if not given or name not in lists or value.startswith("${"):
            continue
        try:
            override = parser.parse_override(word)
            if override.is_sweep_override() or isinstance(override.value(), list):
                continue
        except HydraException:  # letters that have to be in quotes
            pass
        # What has brackets already has more than one item where it has commas.
        items = value.strip("[]").split(",") if value.startswith("[") else [value]
        items = [item.strip(" '\"") for item in items if item not in ("", "null")]
        plain = r"[\w./*-]+"
        quoted = [
            item if re.fullmatch(plain, item, re.ASCII) else '"' + item.replace('"', "'") + '"'
            for item in items
        ]
        better = shlex.quote(f"{name}=[{','.join(quoted)}]")
        return f"{name}={value}: expected a list, with quotes for the shell: {better}"
    return ""


def _renamed(schema: type, overrides: list[str]) -> str:
    """Return an error for a setting that has another name now; empty if there is none."""
    renamed: dict[str, str] = getattr(schema, "RENAMED", {})
    for override in overrides:
        name = override.lstrip("+~").partition("=")[0]
        for old in (override, name):
            if old in renamed:
                return f"{old}: renamed to {renamed[old]}"
    return ""


def run_command(verb: str, schema: type, function: Callable[[Any], int | None]) -> None:
    """Compose ``conf/<verb>.yaml`` with the command line, check it, call ``function(config)``.

    An error that the user can mend (``ValueError``, ``OSError``) becomes one line on stderr and
    exit code 1; anything else is our mistake and keeps its traceback. An integer that the
    function returns is the exit code. ``--help`` is ours, not Hydra's, which knows no units.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(help_page(verb, schema, (function.__doc__ or "").strip().splitlines()[0]))
        return
    if mistake := _renamed(schema, sys.argv[1:]) or _list_mistake(schema, sys.argv[1:]):
        print(f"{verb}: {mistake}", file=sys.stderr)
        raise SystemExit(1)
    import hydra
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    ConfigStore.instance().store(name=f"{verb}_schema", node=schema)

    def guarded(composed: Any) -> None:
        try:
            config = OmegaConf.to_object(composed)
            check_settings(config)
            code = function(config)
        except MissingMandatoryValue as error:
            print(f"{verb}: {error.full_key} is missing; say {error.full_key}=...", file=sys.stderr)
            raise SystemExit(1) from None
        except (ValueError, OSError, OmegaConfBaseException) as error:
            print(f"{verb}: {one_line(error)}", file=sys.stderr)
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            print(f"{verb}: interrupted", file=sys.stderr)
            raise SystemExit(130) from None
        if code:
            raise SystemExit(code)

    hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=verb)(guarded)()
