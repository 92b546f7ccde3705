"""The findings of an ECG, as codes and in words: names, prompts, concepts, reports, questions."""

from ecg_siglip.core.lazy import lazy_names

_MODULE_OF = {
    "Concept": "entry",
    "Entry": "entry",
    "Match": "question_matching",
    "Vocabulary": "vocabulary",
    "clean_report": "report_text",
    "label_matrix": "snomed",
    "label_queries": "snomed",
    "load_vocabulary": "vocabulary_file",
    "match_question": "question_matching",
    "ptbxl": "vocabulary_file",
}
__all__ = [*_MODULE_OF]
__getattr__ = lazy_names(__name__, _MODULE_OF)
