"""Figures and pages."""

from ecg_siglip.core.lazy import lazy_names

_MODULE_OF = {
    "FindingDetails": "finding_details",
    "RecordReport": "record_report",
    "ecg_figure": "ecg_plot",
    "load_template": "html",
    "median_beat_figure": "median_beat_plot",
    "write_fold_report": "fold_report",
    "write_record_reports": "report_files",
}
__all__ = [*_MODULE_OF]
__getattr__ = lazy_names(__name__, _MODULE_OF)
