"""The findings of an ECG, as codes and in words: names, prompts, concepts, reports, questions."""

from ecg_siglip.core.lazy import lazy_names

_MODULE_OF = {
    "CLASSES": "findings",
    "CONCEPTS": "concepts",
    "LANGUAGES": "findings",
    "Match": "question_matching",
    "STATEMENTS": "findings",
    "TASKS": "findings",
    "clean_report": "report_text",
    "exclusive_pairs": "exclusive",
    "label_matrix": "snomed",
    "label_queries": "snomed",
    "match_question": "question_matching",
    "names": "findings",
    "prompts": "findings",
    "task_codes": "findings",
}
__all__ = [*_MODULE_OF]
__getattr__ = lazy_names(__name__, _MODULE_OF)
