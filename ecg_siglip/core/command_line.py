"""The command line: compose a configuration, check it, run the command, print its errors."""

from __future__ import annotations

import os
import re
import select
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO

from ecg_siglip.core.arguments import hydra_arguments
from ecg_siglip.core.command_schema import CONF_DIR, PACKAGE_DIR
from ecg_siglip.core.files import one_line, visible
from ecg_siglip.core.help_page import fit_width, help_page
from ecg_siglip.core.settings import check_settings, setting_help
from ecg_siglip.core.suggestions import did_you_mean, nearest_files

__all__ = ["CONF_DIR", "PACKAGE_DIR", "quiet_if_stdout_closes", "run_command"]

FULL_ERROR = "HYDRA_FULL_ERROR"


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


def run_command(command: str, schema: type, function: Callable[[Any], int | None]) -> None:
    """Compose ``conf/<command>.yaml`` with the command line, check it, run ``function(config)``.

    An error that the user can correct (``ValueError``, ``OSError``) becomes one line on stderr and
    exit code 1; any other is a bug and keeps its traceback. An integer that the function returns
    is the exit code. ``--help`` prints ``help_page`` instead of Hydra's page, which has no units.
    """
    words = sys.argv[1:]
    options = words[: words.index("--")] if "--" in words else words
    try:
        with quiet_if_stdout_closes():
            if {"-h", "--help"} & set(options):
                summary = (function.__doc__ or "").strip().splitlines()[0]
                page = help_page(command, schema, summary)
                is_terminal = sys.stdout.isatty()
                print(fit_width(page, shutil.get_terminal_size().columns) if is_terminal else page)
            elif "--version" in options:
                from ecg_siglip import __version__

                print(f"ecg_siglip {__version__}")
            else:
                _run(command, schema, function)
    except KeyboardInterrupt:
        stop_after_interrupt(command)


def stop_after_interrupt(command: str) -> NoReturn:
    """End after Ctrl-C with one line on stderr.

    Raises
    ------
    SystemExit
        With 130, the exit code of a program that SIGINT ends.
    """
    print(f"{command}: interrupted", file=sys.stderr)
    raise SystemExit(130) from None


def _run(command: str, schema: type, function: Callable[[Any], int | None]) -> None:
    """Compose the configuration with Hydra, check it and run ``function(config)``."""
    try:
        sys.argv[1:] = hydra_arguments(command, schema, sys.argv[1:])
    except ValueError as error:
        _stop(command, visible(str(error)))
    import hydra
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    ConfigStore.instance().store(name=f"{command}_schema", node=schema)
    keeps_full_errors = os.environ.get(FULL_ERROR) == "1"

    def guarded(composed: Any) -> None:
        if not keeps_full_errors:
            os.environ.pop(FULL_ERROR, None)
        try:
            config = OmegaConf.to_object(composed)
            check_settings(config)
            with quiet_if_stdout_closes():
                code = function(config)
        except MissingMandatoryValue as error:
            _stop(command, _missing(command, schema, str(error.full_key)))
        except (ValueError, OSError, OmegaConfBaseException) as error:
            _stop(command, one_line(error) + _similar_files(error))
        if code:
            raise SystemExit(code)

    main = hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=command)(guarded)
    if keeps_full_errors:
        main()
    else:
        _run_with_short_errors(command, main)


def _stop(command: str, message: str) -> NoReturn:
    """Print an error of the user on one line and end with exit code 1."""
    print(f"{command}: {message}", file=sys.stderr)
    raise SystemExit(1) from None


def _missing(command: str, schema: type, name: str) -> str:
    """Return an error for a required setting that is not given."""
    meaning = setting_help(schema, name)
    return f"{name} is missing; expected {name}=... ({meaning.rstrip('.')}), see --help"


def _similar_files(error: BaseException) -> str:
    """Return a hint to the files that have a similar name as one that does not exist."""
    if not isinstance(error, FileNotFoundError) or not isinstance(error.filename, str):
        return ""
    names = nearest_files(error.filename)
    return f"; {did_you_mean(list(map(visible, names)))}" if names else ""


def _run_with_short_errors(command: str, main: Callable[[], Any]) -> None:
    """Run Hydra; an error of the configuration becomes one line on stderr and exit code 1."""
    import yaml
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    os.environ[FULL_ERROR] = "1"  # Hydra's own report of an error has several lines
    try:
        main()
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        # A user does not know the types of the configuration.
        _stop(command, re.sub(r" (reference|object)_type=\S+", "", one_line(error)))
    finally:
        os.environ.pop(FULL_ERROR, None)


def _end_quietly_while_importing() -> None:
    """Print one line after Ctrl-C while ``python -m ecg_siglip.<command>`` imports its module."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is None or not spec.name.startswith("ecg_siglip."):
        return
    command, report = spec.name.split(".")[1], sys.excepthook

    def report_quietly(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print(f"{command}: interrupted", file=sys.stderr)
        else:
            report(kind, error, trace)

    sys.excepthook = report_quietly


_end_quietly_while_importing()
