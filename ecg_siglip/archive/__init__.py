"""Archive: predict many records, in blocks that are stored one by one."""

from ecg_siglip.core.lazy import lazy_names

_MODULE_OF = {
    "Block": "engine",
    "BlockPredictor": "engine",
    "Engine": "engine",
    "LocalEngine": "local_engine",
    "Output": "outputs",
    "find_inputs": "inputs",
    "run_job": "job",
    "SCHEMA_VERSION": "rows",
}
__all__ = [*_MODULE_OF]
__getattr__ = lazy_names(__name__, _MODULE_OF)
