"""Domain-free helpers: settings, command line, run folders, files, processes."""

from ecg_siglip.core.lazy import lazy_names

_MODULE_OF = {
    "Distributed": "distributed",
    "find_model": "run_folder",
    "find_runs": "run_folder",
    "from_yaml": "run_folder",
    "hold": "files",
    "one_line": "files",
    "pick_device": "distributed",
    "run_command": "command_line",
    "to_yaml": "run_folder",
    "write_file": "files",
}
__all__ = [*_MODULE_OF]
__getattr__ = lazy_names(__name__, _MODULE_OF)
