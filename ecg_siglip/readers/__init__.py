"""Readers of ECG files: any format to a ``Record`` in mV."""

from ecg_siglip.core.lazy import lazy_names

_MODULE_OF = {
    "DeviceMeasurement": "identity",
    "DeviceResults": "identity",
    "Identity": "identity",
    "PreparedRecord": "preparation",
    "prepare_record": "preparation",
    "Record": "record",
    "Source": "record",
    "find_records": "folders",
    "open_record": "record",
    "read_record": "record",
}
__all__ = [*_MODULE_OF]
__getattr__ = lazy_names(__name__, _MODULE_OF)
