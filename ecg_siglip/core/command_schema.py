"""A command with its settings, its groups of settings and their options in ``conf/``."""

from __future__ import annotations

import sys
from dataclasses import Field, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ecg_siglip.core.settings import setting_fields

PACKAGE_DIR = Path(__file__).resolve().parents[1]
# In a checkout conf/ is next to the package, in an installed wheel inside it.
CONF_DIR = next(
    (path for path in (PACKAGE_DIR / "conf", PACKAGE_DIR.parent / "conf") if path.is_dir()),
    PACKAGE_DIR / "conf",
)


@dataclass(frozen=True)
class Command:
    """A command with its settings.

    Attributes
    ----------
    name : str
        Its configuration is ``conf/<name>.yaml``.
    schema : type
        Dataclass of its settings. In it, ``POSITIONAL`` names the setting whose values are words
        without ``=``, ``RENAMED`` has the new names of former settings, ``ALIASES`` other words for
        an override.
    folders : tuple of Path
        Folders with further options (``--config-dir``).
    """

    name: str
    schema: type
    folders: tuple[Path, ...] = ()

    @cached_property
    def settings(self) -> dict[str, Field[Any]]:
        """Settings by dotted name."""
        return dict(setting_fields(self.schema))

    @property
    def positional(self) -> str:
        """Name of the setting whose values are words without ``=``, or ""."""
        return str(getattr(self.schema, "POSITIONAL", ""))

    @property
    def takes_many(self) -> bool:
        """Whether this setting is a list."""
        return bool(self.positional) and is_list(self.settings[self.positional])

    @property
    def renamed(self) -> dict[str, str]:
        """New names of former settings."""
        return dict(getattr(self.schema, "RENAMED", {}))

    @property
    def aliases(self) -> dict[str, str]:
        """Overrides by other words for them."""
        return dict(getattr(self.schema, "ALIASES", {}))

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Options of each group of settings that is chosen by name, a folder of ``conf/``."""
        import yaml

        path = CONF_DIR / f"{self.name}.yaml"
        own = yaml.safe_load(path.read_text("utf-8")) or {}
        defaults = [each for each in own.get("defaults", []) if isinstance(each, dict)]
        names = [name for each in defaults for name in each if (CONF_DIR / name).is_dir()]
        places = [*self.folders, CONF_DIR]
        return {
            name: sorted({path.stem for p in places for path in (p / name).glob("*.yaml")})
            for name in names
        }

    @cached_property
    def parents(self) -> dict[str, list[str]]:
        """Settings by the first parts of their names, such as ``optim``."""
        parents: dict[str, list[str]] = {}
        for name in self.settings:
            parent = name
            while parent := parent.rpartition(".")[0]:
                parents.setdefault(parent, []).append(name)
        return parents

    def others(self) -> list[Command]:
        """Return the other commands: a dataclass in the same module, a file in ``conf/``."""
        module = vars(sys.modules[self.schema.__module__])
        names = [path.stem for path in sorted(CONF_DIR.glob("*.yaml")) if path.stem != self.name]
        schemas = {name: module.get(f"{name.capitalize()}Config") for name in names}
        return [Command(name, schema) for name, schema in schemas.items() if schema is not None]

    def others_with(self, name: str) -> list[str]:
        """Return the other commands that have a setting or a group of this name."""
        return [each.name for each in self.others() if name in each.settings or name in each.groups]


def is_list(field: Field[Any]) -> bool:
    """Return whether a setting is a list."""
    return str(field.type).startswith("list")


def is_mapping(field: Field[Any]) -> bool:
    """Return whether a setting has keys that the user chooses."""
    return str(field.type).startswith("dict")


def is_optional(field: Field[Any]) -> bool:
    """Return whether a setting may be null."""
    return str(field.type).endswith("| None")
