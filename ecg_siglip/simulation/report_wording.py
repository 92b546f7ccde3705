"""Wordings of findings in the style of PTB-XL's reports."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecg_siglip.vocabulary.vocabulary_file import ptbxl

# Our own wordings in the terse style of PTB-XL's reports; German | English.
WORDS = {
    "SR": "sinusrhythmus|sinus rhythm", "SBRAD": "sinusbradykardie|sinus bradycardia",
    "STACH": "sinustachykardie|sinus tachycardia", "SARRH": "sinusarrhythmie|sinus arrhythmia",
    "AFIB": "vorhofflimmern, absolute arrhythmie|atrial fibrillation",
    "AFLT": "vorhofflattern|atrial flutter", "PACE": "schrittmacher-ekg|paced rhythm",
    "SVARR": "supraventrikuläre arrhythmie|supraventricular arrhythmia",
    "SVTAC": "supraventrikuläre tachykardie|supraventricular tachycardia",
    "PSVT": "paroxysmale supraventrikuläre tachykardie|paroxysmal supraventricular tachycardia",
    "PVC": "ventrikuläre extrasystole(n)|ventricular ectopic beats",
    "PAC": "supraventrikuläre extrasystole(n)|atrial ectopic beats",
    "BIGU": "bigeminus|bigeminy", "TRIGU": "trigeminus|trigeminy",
    "1AVB": "av-block i. grades|first degree av block",
    "LPR": "pq-zeit verlängert|long pr interval",
    "2AVB": "av-block ii. grades|second degree av block",
    "3AVB": "av-block iii. grades|complete av block",
    "CLBBB": "kompletter linksschenkelblock|left bundle branch block",
    "CRBBB": "kompletter rechtsschenkelblock|right bundle branch block",
    "IRBBB": "inkompletter rechtsschenkelblock|incomplete right bundle branch block",
    "ILBBB": "inkompletter linksschenkelblock|incomplete left bundle branch block",
    "IVCD": "intraventrikuläre leitungsverzögerung|intraventricular conduction delay",
    "LAFB": "überdrehter linkstyp, linksanteriorer hemiblock|left axis, anterior hemiblock",
    "LPFB": "linksposteriorer hemiblock|left posterior hemiblock",
    "WPW": "präexzitation, wpw-syndrom|pre-excitation, wpw pattern",
    "IMI": "inferiorer infarkt, altes stadium|old inferior infarct",
    "ASMI": "anteroseptaler infarkt nicht auszuschliessen|possible anteroseptal infarct",
    "AMI": "vorderwandinfarkt|anterior infarct",
    "ALMI": "anterolateraler infarkt|anterolateral infarct",
    "LMI": "lateraler infarkt|lateral infarct",
    "ILMI": "inferolateraler infarkt|inferolateral infarct",
    "PMI": "hinterwandinfarkt, posterior|posterior infarct",
    "LVH": "linkshypertrophie|left ventricular hypertrophy",
    "VCLVH": "hohe linkspräkordiale voltage|voltage criteria for lvh",
    "RVH": "rechtshypertrophie|right ventricular hypertrophy",
    "LAO/LAE": "p-sinistroatriale, linksbelastung des vorhofs|left atrial enlargement",
    "RAO/RAE": "p-dextroatriale|right atrial enlargement",
    "NDT": "unspezifisch abnormale t-welle|non-diagnostic t abnormality",
    "NST_": "unspezifische st-veränderungen|non-specific st changes",
    "STD_": "st-senkung|st depression", "STE_": "st-hebung|st elevation",
    "INVT": "t negativ|inverted t waves", "LOWT": "t flach|low t waves",
    "ISC_": "st-t-veränderungen wie bei ischämie|st-t changes suggest ischaemia",
    "LNGQT": "qt-zeit verlängert|long qt interval",
    "LVOLT": "periphere niederspannung|low limb lead voltage",
    "HVOLT": "hochspannung|high voltage", "QWAVE": "q-zacken|q waves",
    "ABQRS": "qrs-komplex abnorm|abnormal qrs",
    "NORM": "normales ekg|normal ecg",
}  # fmt: skip
ENDINGS = ("", "", "", "unbestätigter bericht|unconfirmed report", "kontrolle|repeat advised")


def report(codes: Sequence[str], rng: np.random.Generator) -> str:
    """Draw a report of the findings, in German or, for one record in five, in English."""
    english = int(rng.random() < 0.2)
    language = ("de", "en")[english]

    def words(code: str) -> str:
        wording = WORDS.get(code)
        if wording:
            return wording.split("|")[english]
        return ptbxl().prompts([code], language)[0].lower()

    ending = str(rng.choice(ENDINGS))
    parts = [words(code) for code in codes] + ([ending.split("|")[english]] if ending else [])
    return (". " if english else " ").join(parts)
