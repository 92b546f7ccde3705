"""The closed vocabulary of findings: PTB-XL's 71 SCP-ECG statements, in words and in codes.

One entry per statement, in the row order of PTB-XL's ``scp_statements.csv``; the five
superdiagnostic and 23 subdiagnostic classes are unions of statements.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

LANGUAGES = ("en", "de", "ja")
TASKS = ("all", "diagnostic", "subdiagnostic", "superdiagnostic", "form", "rhythm")


@dataclass(frozen=True)
class Statement:
    """A finding with its name, its prompts, its codes and the classes that it belongs to.

    Attributes
    ----------
    code : str
        SCP-ECG code as PTB-XL spells it, or a class code.
    name : str
        Short English name for tables, at most 45 characters.
    en, de, ja : str
        Prompt in English, German, Japanese, at most 120 characters.
    snomed : tuple of int
        SNOMED CT codes, first the one that the PhysioNet challenges assigned to PTB-XL's records;
        empty if there is none.
    diagnostic, form, rhythm : bool
        Kinds of statement; four statements are both diagnostic and form.
    superclass, subclass : str or None
        Diagnostic classes; None for form or rhythm statements.
    """

    code: str
    name: str
    en: str
    de: str
    ja: str
    snomed: tuple[int, ...]
    diagnostic: bool
    form: bool
    rhythm: bool
    superclass: str | None
    subclass: str | None


def _entry(
    code: str,
    kinds: str,
    superclass: str | None,
    subclass: str | None,
    snomed: tuple[int, ...],
    name: str,
    en: str,
    de: str,
    ja: str,
) -> Statement:
    flags = ("D" in kinds, "F" in kinds, "R" in kinds)
    return Statement(code, name, en, de, ja, snomed, *flags, superclass, subclass)


# Order of an entry: code, kinds (Diagnostic, Form, Rhythm), superclass, subclass, SNOMED CT, name,
# then the prompts in English, German and Japanese.
# fmt: off
_STATEMENTS = (
    _entry("NDT", "DF", "STTC", "STTC", (164934002,), "Non-diagnostic T wave abnormality",
           "T wave abnormality that allows no specific diagnosis",
           "T-Wellen-Veränderungen ohne diagnostische Spezifität",
           "診断的意義の乏しいT波異常"),
    _entry("NST_", "DF", "STTC", "NST_", (55930002,), "Nonspecific ST changes",
           "nonspecific ST segment changes",
           "unspezifische ST-Strecken-Veränderungen",
           "非特異的ST変化"),
    _entry("DIG", "DF", "STTC", "STTC", (428750005,), "Digitalis effect",
           "digitalis effect, scooped ST segment depression",
           "Digitaliseffekt mit muldenförmiger ST-Senkung",
           "ジギタリス効果、盆状ST低下"),
    _entry("LNGQT", "DF", "STTC", "STTC", (111975006,), "Long QT interval",
           "QT interval prolonged for the heart rate, long QTc",
           "verlängerte QT-Zeit, QTc über der Norm",
           "QT延長、補正QT間隔 (QTc) の延長"),
    _entry("NORM", "D", "NORM", "NORM", (426783006,), "Normal ECG",
           "normal electrocardiogram without pathological findings",
           "unauffälliges EKG, Normalbefund",
           "正常心電図、異常所見なし"),
    _entry("IMI", "D", "MI", "IMI", (164865005,), "Inferior myocardial infarction",
           "inferior wall myocardial infarction, Q waves in II, III and aVF",
           "inferiorer Myokardinfarkt (Hinterwandinfarkt), Q-Zacken in II, III und aVF",
           "下壁心筋梗塞、II・III・aVF誘導の異常Q波"),
    _entry("ASMI", "D", "MI", "AMI", (164865005,), "Anteroseptal myocardial infarction",
           "anteroseptal myocardial infarction, Q waves or lost R waves in V1 to V3",
           "anteroseptaler Myokardinfarkt, Q-Zacken oder R-Verlust in V1 bis V3",
           "前壁中隔心筋梗塞、V1〜V3誘導の異常Q波またはR波減高"),
    _entry("LVH", "D", "HYP", "LVH", (164873001,), "Left ventricular hypertrophy",
           "left ventricular hypertrophy",
           "linksventrikuläre Hypertrophie (Linksherzhypertrophie)",
           "左室肥大"),
    _entry("LAFB", "D", "CD", "LAFB/LPFB", (445118002,), "Left anterior fascicular block",
           "left anterior fascicular block with marked left axis deviation",
           "linksanteriorer Hemiblock mit überdrehtem Linkstyp",
           "左脚前枝ブロック、高度の左軸偏位"),
    _entry("ISC_", "D", "STTC", "ISC_", (164861001,), "Ischemic ST-T changes, not localized",
           "ST-T changes suggesting myocardial ischemia without localization",
           "ischämietypische ST-T-Veränderungen ohne nähere Lokalisation",
           "部位を特定できない虚血性ST-T変化"),
    _entry("IRBBB", "D", "CD", "IRBBB", (713426002,), "Incomplete right bundle branch block",
           "incomplete right bundle branch block, rSr' in V1, QRS below 120 ms",
           "inkompletter Rechtsschenkelblock, rSr' in V1, QRS unter 120 ms",
           "不完全右脚ブロック、V1誘導のrSr'型、QRS幅120 ms未満"),
    _entry("1AVB", "D", "CD", "_AVB", (270492004,), "First degree AV block",
           "first degree atrioventricular block, PR interval above 200 ms",
           "AV-Block ersten Grades, PQ-Zeit über 200 ms",
           "第1度房室ブロック、PR間隔200 ms超"),
    _entry("IVCD", "D", "CD", "IVCD", (698252002,), "Intraventricular conduction disturbance",
           "nonspecific intraventricular conduction delay, wide QRS without bundle branch pattern",
           "unspezifische intraventrikuläre Leitungsstörung, breites QRS ohne Schenkelblockbild",
           "非特異的心室内伝導障害、脚ブロック型を示さないQRS幅延長"),
    _entry("ISCAL", "D", "STTC", "ISCA", (164861001,), "Ischemic changes, anterolateral leads",
           "ischemic ST-T changes in the anterolateral leads V3 to V6, I and aVL",
           "ischämische ST-T-Veränderungen anterolateral in V3 bis V6, I und aVL",
           "前側壁誘導 (V3〜V6・I・aVL) の虚血性ST-T変化"),
    _entry("CRBBB", "D", "CD", "CRBBB", (713427006, 59118001), "Complete right bundle branch block",
           "complete right bundle branch block, wide QRS with rsR' in V1",
           "kompletter Rechtsschenkelblock, QRS ab 120 ms mit rsR' in V1",
           "完全右脚ブロック、V1誘導のrsR'型を伴う幅広いQRS"),
    _entry("CLBBB", "D", "CD", "CLBBB", (164909002, 733534002), "Complete left bundle branch block",
           "complete left bundle branch block, wide QRS with broad notched R in I, V5 and V6",
           "kompletter Linksschenkelblock, QRS ab 120 ms mit breitem gekerbtem R in I, V5 und V6",
           "完全左脚ブロック、I・V5・V6誘導の幅広く結節のあるR波"),
    _entry("ILMI", "D", "MI", "IMI", (164865005,), "Inferolateral myocardial infarction",
           "inferolateral myocardial infarction, Q waves in II, III, aVF, V5 and V6",
           "inferolateraler Myokardinfarkt, Q-Zacken in II, III, aVF, V5 und V6",
           "下側壁心筋梗塞、II・III・aVF・V5・V6誘導の異常Q波"),
    _entry("LAO/LAE", "D", "HYP", "LAO/LAE", (67741000119109,), "Left atrial enlargement",
           "left atrial overload or enlargement, broad notched P wave",
           "linksatriale Belastung oder Vergrößerung, P mitrale (P sinistroatriale)",
           "左房負荷・左房拡大、僧帽性P波"),
    _entry("AMI", "D", "MI", "AMI", (54329005,), "Anterior myocardial infarction",
           "anterior wall myocardial infarction, Q waves in V2 to V4",
           "Vorderwandinfarkt, Q-Zacken in V2 bis V4",
           "前壁心筋梗塞、V2〜V4誘導の異常Q波"),
    _entry("ALMI", "D", "MI", "AMI", (164865005,), "Anterolateral myocardial infarction",
           "anterolateral myocardial infarction, Q waves in V3 to V6, I and aVL",
           "anterolateraler Myokardinfarkt, Q-Zacken in V3 bis V6, I und aVL",
           "前側壁心筋梗塞、V3〜V6・I・aVL誘導の異常Q波"),
    _entry("ISCIN", "D", "STTC", "ISCI", (425419005,), "Ischemic changes, inferior leads",
           "ischemic ST-T changes in the inferior leads II, III and aVF",
           "ischämische ST-T-Veränderungen inferior in II, III und aVF",
           "下壁誘導 (II・III・aVF) の虚血性ST-T変化"),
    _entry("INJAS", "D", "MI", "AMI", (164865005,), "Subendocardial injury, anteroseptal leads",
           "subendocardial injury in the anteroseptal leads V1 to V3",
           "subendokardiale Schädigung (Innenschichtschaden) anteroseptal in V1 bis V3",
           "前壁中隔誘導 (V1〜V3) の心内膜下傷害"),
    _entry("LMI", "D", "MI", "LMI", (164865005,), "Lateral myocardial infarction",
           "lateral wall myocardial infarction, Q waves in I, aVL, V5 and V6",
           "Seitenwandinfarkt, Q-Zacken in I, aVL, V5 und V6",
           "側壁心筋梗塞、I・aVL・V5・V6誘導の異常Q波"),
    _entry("ISCIL", "D", "STTC", "ISCI", (164861001,), "Ischemic changes, inferolateral leads",
           "ischemic ST-T changes in the inferolateral leads II, III, aVF, V5 and V6",
           "ischämische ST-T-Veränderungen inferolateral in II, III, aVF, V5 und V6",
           "下側壁誘導 (II・III・aVF・V5・V6) の虚血性ST-T変化"),
    _entry("LPFB", "D", "CD", "LAFB/LPFB", (445211001,), "Left posterior fascicular block",
           "left posterior fascicular block with right axis deviation",
           "linksposteriorer Hemiblock mit Rechtstyp",
           "左脚後枝ブロック、右軸偏位"),
    _entry("ISCAS", "D", "STTC", "ISCA", (164861001,), "Ischemic changes, anteroseptal leads",
           "ischemic ST-T changes in the anteroseptal leads V1 to V3",
           "ischämische ST-T-Veränderungen anteroseptal in V1 bis V3",
           "前壁中隔誘導 (V1〜V3) の虚血性ST-T変化"),
    _entry("INJAL", "D", "MI", "AMI", (164865005,), "Subendocardial injury, anterolateral leads",
           "subendocardial injury in the anterolateral leads V3 to V6, I and aVL",
           "subendokardiale Schädigung (Innenschichtschaden) anterolateral in V3 bis V6, I und aVL",
           "前側壁誘導 (V3〜V6・I・aVL) の心内膜下傷害"),
    _entry("ISCLA", "D", "STTC", "ISCA", (425623009,), "Ischemic changes, lateral leads",
           "ischemic ST-T changes in the lateral leads I, aVL, V5 and V6",
           "ischämische ST-T-Veränderungen lateral in I, aVL, V5 und V6",
           "側壁誘導 (I・aVL・V5・V6) の虚血性ST-T変化"),
    _entry("RVH", "D", "HYP", "RVH", (89792004,), "Right ventricular hypertrophy",
           "right ventricular hypertrophy, tall R in V1 and right axis deviation",
           "rechtsventrikuläre Hypertrophie, hohes R in V1 und Rechtstyp",
           "右室肥大、V1誘導の高いR波と右軸偏位"),
    _entry("ANEUR", "D", "STTC", "STTC", (428750005,), "ST-T changes of ventricular aneurysm",
           "persistent ST elevation suggesting ventricular aneurysm",
           "ST-T-Veränderungen wie bei Ventrikelaneurysma, persistierende ST-Hebung",
           "心室瘤を疑う持続性ST上昇"),
    _entry("RAO/RAE", "D", "HYP", "RAO/RAE", (446358003,), "Right atrial enlargement",
           "right atrial overload or enlargement, tall peaked P wave in II",
           "rechtsatriale Belastung oder Vergrößerung, P pulmonale (P dextroatriale)",
           "右房負荷・右房拡大、肺性P波"),
    _entry("EL", "D", "STTC", "STTC", (428750005,), "Electrolyte disturbance or drug effect",
           "ST-T changes from an electrolyte disturbance or a drug",
           "ST-T-Veränderungen durch Elektrolytstörung oder Medikamente",
           "電解質異常または薬剤によるST-T変化"),
    _entry("WPW", "D", "CD", "WPW", (74390002,), "Wolff-Parkinson-White syndrome",
           "Wolff-Parkinson-White preexcitation, short PR interval and delta wave",
           "Wolff-Parkinson-White-Syndrom, Präexzitation mit kurzer PQ-Zeit und Delta-Welle",
           "WPW症候群、PR間隔短縮とデルタ波"),
    _entry("ILBBB", "D", "CD", "ILBBB", (251120003,), "Incomplete left bundle branch block",
           "incomplete left bundle branch block, lost septal Q in V5 and V6, QRS below 120 ms",
           "inkompletter Linksschenkelblock, fehlendes septales Q in V5 und V6, QRS unter 120 ms",
           "不完全左脚ブロック、V5・V6誘導の中隔性Q波消失、QRS幅120 ms未満"),
    _entry("IPLMI", "D", "MI", "IMI", (164865005,), "Inferoposterolateral myocardial infarction",
           "inferoposterolateral myocardial infarction, inferior and lateral Q waves, tall R in V1",
           "inferoposterolateraler Myokardinfarkt, Q inferior und lateral, hohes R in V1",
           "下後側壁心筋梗塞、下壁・側壁誘導の異常Q波とV1誘導の高いR波"),
    _entry("ISCAN", "D", "STTC", "ISCA", (426434006,), "Ischemic changes, anterior leads",
           "ischemic ST-T changes in the anterior leads V2 to V4",
           "ischämische ST-T-Veränderungen anterior in V2 bis V4",
           "前壁誘導 (V2〜V4) の虚血性ST-T変化"),
    _entry("IPMI", "D", "MI", "IMI", (164865005,), "Inferoposterior myocardial infarction",
           "inferoposterior myocardial infarction, Q waves in II, III and aVF, tall R in V1 and V2",
           "inferoposteriorer Myokardinfarkt, Q in II, III und aVF, hohes R in V1 und V2",
           "下後壁心筋梗塞、II・III・aVF誘導の異常Q波とV1・V2誘導の高いR波"),
    _entry("SEHYP", "D", "HYP", "SEHYP", (266249003,), "Septal hypertrophy",
           "hypertrophy of the interventricular septum, deep narrow septal Q waves",
           "Septumhypertrophie, tiefe schmale septale Q-Zacken",
           "心室中隔肥大、深く幅の狭い中隔性Q波"),
    _entry("INJIN", "D", "MI", "IMI", (164865005,), "Subendocardial injury, inferior leads",
           "subendocardial injury in the inferior leads II, III and aVF",
           "subendokardiale Schädigung (Innenschichtschaden) inferior in II, III und aVF",
           "下壁誘導 (II・III・aVF) の心内膜下傷害"),
    _entry("INJLA", "D", "MI", "AMI", (164865005,), "Subendocardial injury, lateral leads",
           "subendocardial injury in the lateral leads I, aVL, V5 and V6",
           "subendokardiale Schädigung (Innenschichtschaden) lateral in I, aVL, V5 und V6",
           "側壁誘導 (I・aVL・V5・V6) の心内膜下傷害"),
    _entry("PMI", "D", "MI", "PMI", (164865005,), "Posterior myocardial infarction",
           "posterior wall myocardial infarction, tall broad R waves in V1 and V2",
           "strikt posteriorer Myokardinfarkt, hohe breite R-Zacken in V1 und V2",
           "後壁心筋梗塞、V1・V2誘導の高く幅広いR波"),
    _entry("3AVB", "D", "CD", "_AVB", (27885002,), "Third degree AV block",
           "third degree atrioventricular block, complete heart block with AV dissociation",
           "AV-Block dritten Grades, totaler AV-Block mit AV-Dissoziation",
           "第3度房室ブロック (完全房室ブロック)、房室解離"),
    _entry("INJIL", "D", "MI", "IMI", (164865005,), "Subendocardial injury, inferolateral leads",
           "subendocardial injury in the inferolateral leads II, III, aVF, V5 and V6",
           "subendokardiale Schädigung (Innenschichtschaden) inferolateral in II, III, aVF, V5, V6",
           "下側壁誘導 (II・III・aVF・V5・V6) の心内膜下傷害"),
    _entry("2AVB", "D", "CD", "_AVB", (195042002,), "Second degree AV block",
           "second degree atrioventricular block, some P waves not followed by a QRS complex",
           "AV-Block zweiten Grades, intermittierender Ausfall der AV-Überleitung",
           "第2度房室ブロック、間欠的なQRS脱落"),
    _entry("ABQRS", "F", None, None, (164951009,), "Abnormal QRS",
           "abnormal shape of the QRS complex",
           "abnormer QRS-Komplex, auffällige Kammerkomplexe",
           "QRS波形の異常"),
    _entry("PVC", "F", None, None, (164884008, 427172004, 17338001), "Ventricular premature beats",
           "ventricular premature beats, early wide QRS complexes",
           "ventrikuläre Extrasystolen (VES), vorzeitige breite QRS-Komplexe",
           "心室期外収縮、早期に出現する幅広いQRS"),
    _entry("STD_", "F", None, None, (429622005,), "Nonspecific ST depression",
           "nonspecific ST segment depression",
           "unspezifische ST-Strecken-Senkung",
           "非特異的ST低下"),
    _entry("VCLVH", "F", None, None, (164873001,), "Voltage criteria for LVH",
           "QRS voltage criteria of left ventricular hypertrophy, deep S in V1 and tall R in V5",
           "Voltage-Kriterien der linksventrikulären Hypertrophie, positiver Sokolow-Lyon-Index",
           "左室肥大のQRS電位基準を満たす左室高電位"),
    _entry("QWAVE", "F", None, None, (164917005,), "Q waves present",
           "Q waves present, not assigned to an infarction",
           "Q-Zacken vorhanden, keinem Infarkt zugeordnet",
           "Q波を認めるが梗塞とは特定されない"),
    _entry("LOWT", "F", None, None, (164934002,), "Low amplitude T waves",
           "flat T waves of low amplitude",
           "abgeflachte T-Wellen mit niedriger Amplitude",
           "T波平低化、低振幅のT波"),
    _entry("NT_", "F", None, None, (164934002,), "Nonspecific T wave changes",
           "nonspecific T wave changes",
           "unspezifische T-Wellen-Veränderungen",
           "非特異的T波変化"),
    _entry("PAC", "F", None, None, (284470004, 63593006), "Atrial premature beats",
           "atrial premature beats, early abnormal P wave with mostly narrow QRS",
           "atriale Extrasystolen, vorzeitige P-Welle mit meist schmalem QRS-Komplex",
           "心房期外収縮、早期に出現する異所性P波"),
    _entry("LPR", "F", None, None, (164947007,), "Prolonged PR interval",
           "prolonged PR interval, slow atrioventricular conduction",
           "verlängerte PQ-Zeit, verzögerte atrioventrikuläre Überleitung",
           "PR間隔延長、房室伝導遅延"),
    _entry("INVT", "F", None, None, (59931005,), "Inverted T waves",
           "inverted T waves",
           "negative T-Wellen, T-Inversion",
           "陰性T波"),
    _entry("LVOLT", "F", None, None, (251146004,), "Low QRS voltage",
           "low QRS voltage in the limb and chest leads",
           "Niedervoltage in den Extremitäten- und Brustwandableitungen",
           "肢誘導および胸部誘導のQRS低電位"),
    _entry("HVOLT", "F", None, None, (164951009,), "High QRS voltage",
           "high QRS voltage",
           "Hochvoltage, hohe QRS-Amplituden",
           "QRS高電位"),
    _entry("TAB_", "F", None, None, (164934002,), "T wave abnormality",
           "abnormal T waves, not further specified",
           "abnorme T-Wellen, nicht näher bezeichnet",
           "T波異常、詳細不特定"),
    _entry("STE_", "F", None, None, (164931005,), "Nonspecific ST elevation",
           "nonspecific ST segment elevation",
           "unspezifische ST-Strecken-Hebung",
           "非特異的ST上昇"),
    _entry("PRC(S)", "F", None, None, (164884008,), "Premature beats",
           "premature beats of undetermined origin",
           "Extrasystolen unbestimmten Ursprungs",
           "起源の特定できない期外収縮"),
    _entry("SR", "R", None, None, (426783006,), "Sinus rhythm",
           "sinus rhythm, a sinus P wave before every QRS complex",
           "Sinusrhythmus, P-Welle vor jedem QRS-Komplex",
           "洞調律、各QRSに先行する洞性P波"),
    _entry("AFIB", "R", None, None, (164889003,), "Atrial fibrillation",
           "atrial fibrillation, no P waves and irregularly irregular RR intervals",
           "Vorhofflimmern, absolute Arrhythmie ohne P-Wellen",
           "心房細動、P波消失と不規則なRR間隔"),
    _entry("STACH", "R", None, None, (427084000,), "Sinus tachycardia",
           "sinus tachycardia, sinus rhythm above 100 beats per minute",
           "Sinustachykardie, Sinusrhythmus über 100/min",
           "洞性頻脈、心拍数100/分超"),
    _entry("SARRH", "R", None, None, (427393009,), "Sinus arrhythmia",
           "sinus arrhythmia, varying RR intervals with an unchanged P wave",
           "Sinusarrhythmie, wechselnde RR-Abstände bei gleichbleibender P-Welle",
           "洞性不整脈、洞性P波を保ちRR間隔が変動"),
    _entry("SBRAD", "R", None, None, (426177001,), "Sinus bradycardia",
           "sinus bradycardia, sinus rhythm below 60 beats per minute",
           "Sinusbradykardie, Sinusrhythmus unter 60/min",
           "洞性徐脈、心拍数60/分未満"),
    _entry("PACE", "R", None, None, (10370003,), "Artificial pacemaker, normal function",
           "artificial pacemaker rhythm, pacing spikes with normal capture",
           "Schrittmacher-EKG, regelrechte Funktion des Schrittmachers",
           "ペースメーカ調律、ペーシング機能正常"),
    _entry("SVARR", "R", None, None, (63593006,), "Supraventricular arrhythmia",
           "supraventricular arrhythmia, irregular rhythm arising above the ventricles",
           "supraventrikuläre Arrhythmie",
           "上室性不整脈"),
    _entry("BIGU", "R", None, None, (11157007,), "Bigeminal pattern",
           "bigeminy, every second beat premature, supraventricular or ventricular",
           "Bigeminus, jeder zweite Schlag eine Extrasystole, supraventrikulär oder ventrikulär",
           "二段脈、一拍おきに出現する上室または心室期外収縮"),
    _entry("AFLT", "R", None, None, (164890007,), "Atrial flutter",
           "atrial flutter, sawtooth flutter waves",
           "Vorhofflattern, sägezahnartige Flatterwellen",
           "心房粗動、鋸歯状の粗動波"),
    _entry("SVTAC", "R", None, None, (426761007,), "Supraventricular tachycardia",
           "supraventricular tachycardia, fast regular rhythm with narrow QRS",
           "supraventrikuläre Tachykardie, schneller regelmäßiger Rhythmus mit schmalem QRS",
           "上室頻拍、幅の狭いQRSの規則的な頻拍"),
    _entry("PSVT", "R", None, None, (67198005,), "Paroxysmal supraventricular tachycardia",
           "paroxysmal supraventricular tachycardia, sudden onset and end",
           "paroxysmale supraventrikuläre Tachykardie mit plötzlichem Beginn und Ende",
           "発作性上室頻拍、突然の開始と停止"),
    _entry("TRIGU", "R", None, None, (251180001,), "Trigeminal pattern",
           "trigeminy, premature beats in groups of three, supraventricular or ventricular",
           "Trigeminus, Extrasystolen in Dreiergruppen, supraventrikulär oder ventrikulär",
           "三段脈、三拍周期で出現する上室または心室期外収縮"),
)
_CLASSES = (
    _entry("MI", "D", "MI", None, (), "Myocardial infarction",
           "myocardial infarction of any wall",
           "Myokardinfarkt jeglicher Lokalisation",
           "心筋梗塞、部位を問わない"),
    _entry("STTC", "D", "STTC", None, (), "ST-T changes",
           "changes of the ST segment or the T wave",
           "ST-T-Veränderungen, Repolarisationsstörung",
           "ST-T変化、再分極異常"),
    _entry("CD", "D", "CD", None, (), "Conduction disturbance",
           "conduction disturbance, atrioventricular, bundle branch or fascicular block",
           "Erregungsleitungsstörung, AV-Block, Schenkelblock oder Hemiblock",
           "伝導障害、房室ブロック・脚ブロック・分枝ブロック"),
    _entry("HYP", "D", "HYP", None, (), "Hypertrophy",
           "hypertrophy or enlargement of a ventricle or an atrium",
           "Hypertrophie oder Vergrößerung einer Herzkammer oder eines Vorhofs",
           "心室肥大または心房拡大"),
    _entry("LAFB/LPFB", "D", "CD", "LAFB/LPFB", (), "Left fascicular block",
           "left anterior or left posterior fascicular block",
           "linksanteriorer oder linksposteriorer Hemiblock",
           "左脚前枝または左脚後枝ブロック"),
    _entry("_AVB", "D", "CD", "_AVB", (), "AV block",
           "atrioventricular block of any degree",
           "AV-Block jeglichen Grades",
           "房室ブロック、程度を問わない"),
    _entry("ISCA", "D", "STTC", "ISCA", (), "Ischemic changes, anterior or lateral leads",
           "ischemic ST-T changes in the anterior, septal or lateral leads",
           "ischämische ST-T-Veränderungen in anterioren, septalen oder lateralen Ableitungen",
           "前壁・中隔・側壁誘導の虚血性ST-T変化"),
    _entry("ISCI", "D", "STTC", "ISCI", (), "Ischemic changes, inferior or inferolateral",
           "ischemic ST-T changes in the inferior or inferolateral leads",
           "ischämische ST-T-Veränderungen in inferioren oder inferolateralen Ableitungen",
           "下壁または下側壁誘導の虚血性ST-T変化"),
)
# fmt: on

STATEMENTS: dict[str, Statement] = {entry.code: entry for entry in _STATEMENTS}
"""The 71 statements by code, in the order of ``scp_statements.csv``.

Notes
-----
Kinds and classes are those of PTB-XL 1.0.3 (Wagner et al. 2020, doi:10.1038/s41597-020-0495-6).
SNOMED CT codes are those of the PhysioNet/CinC challenges, tables ``dx_mapping_scored.csv`` and
``dx_mapping_unscored.csv`` of github.com/physionetchallenges/evaluation-2021. The tables have no
SCP-ECG codes: which SNOMED CT code a statement became was derived from the number of PTB-XL records
that they give for each code, which the statements here reproduce code by code. The conversion
merged statements: NORM became sinus rhythm, every infarction but AMI "myocardial infarction". A
second code is one that the challenges score as the same diagnosis (PVC: ventricular premature
beat). Their axis deviations (39732003, 47665007, 251200008) do not come from statements but from
PTB-XL's column ``heart_axis``.
"""

CLASSES: dict[str, Statement] = {entry.code: entry for entry in _CLASSES}
"""The superdiagnostic and subdiagnostic classes that are not themselves a statement.

Notes
-----
A class with the code of a statement (NORM, AMI, LVH, ...) has the statement's name and prompts.
STTC is both a superclass and the subclass of those of its statements that have no other.
"""

_SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")


def task_codes(task: str) -> tuple[str, ...]:
    """Return the findings of a PTB-XL task, in the order of its columns.

    Parameters
    ----------
    task : {"all", "diagnostic", "subdiagnostic", "superdiagnostic", "form", "rhythm"}

    Returns
    -------
    tuple of str
        71, 44, 23, 5, 19 or 12 codes; statements in the order of ``STATEMENTS``, subclasses in the
        order of their first statement.

    Raises
    ------
    ValueError
        If the task is not one of the six.

    Examples
    --------
    >>> task_codes("superdiagnostic")
    ('NORM', 'MI', 'STTC', 'CD', 'HYP')
    """
    if task == "superdiagnostic":
        return _SUPERCLASSES
    return tuple(dict.fromkeys(code for code in _to_class(task).values() if code is not None))


def to_task(scp_codes: Mapping[str, float], task: str, record: str = "") -> dict[str, float]:
    """Map the statements of a record to the findings of a task.

    Parameters
    ----------
    scp_codes : mapping of str to float
        SCP-ECG code to likelihood in percent, as in PTB-XL's column ``scp_codes``.
    task : str
        One of the six tasks.
    record : str, optional
        Name of the record, for messages.

    Returns
    -------
    dict of str to float
        Likelihood of the findings that are present, in the order of the task; of a class, the
        largest of its statements. A likelihood of 0 means "not stated", and the finding is
        present.

    Raises
    ------
    ValueError
        If a code is not an SCP-ECG statement of PTB-XL, or the task is not one of the six.

    Examples
    --------
    >>> to_task({"IMI": 35.0, "ASMI": 100.0, "SR": 0.0}, "superdiagnostic")
    {'MI': 100.0}
    """
    to_class = _to_class(task)
    likelihoods: dict[str, float] = {}
    for code, likelihood in scp_codes.items():
        if code not in STATEMENTS:
            raise ValueError(_unknown_code(code, STATEMENTS, record))
        finding = to_class[code]
        if finding is not None:
            likelihoods[finding] = max(likelihood, likelihoods.get(finding, likelihood))
    return {code: likelihoods[code] for code in task_codes(task) if code in likelihoods}


def prompts(codes: Iterable[str], language: str = "en") -> list[str]:
    """Return the prompt of each finding, worded as a cardiologist would write it.

    Parameters
    ----------
    codes : iterable of str
        Statements or classes.
    language : {"en", "de", "ja"}

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If a code or the language is unknown.

    Examples
    --------
    >>> prompts(["AFLT"], "de")
    ['Vorhofflattern, sägezahnartige Flatterwellen']
    """
    if language not in LANGUAGES:
        raise ValueError(f"language {language!r}: expected one of {', '.join(LANGUAGES)}")
    return [getattr(_entry_of(code), language) for code in codes]


def names(codes: Iterable[str]) -> list[str]:
    """Return the short English name of each finding.

    Parameters
    ----------
    codes : iterable of str
        Statements or classes.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        If a code is neither a statement nor a class.
    """
    return [_entry_of(code).name for code in codes]


def from_snomed(code: int) -> tuple[str, ...]:
    """Return the statements that a SNOMED CT code of the PhysioNet challenges may stand for.

    Parameters
    ----------
    code : int

    Returns
    -------
    tuple of str
        In the order of ``STATEMENTS``: empty if there is none, several where the challenges merged
        statements.

    Examples
    --------
    >>> from_snomed(426783006)
    ('NORM', 'SR')
    """
    return tuple(entry.code for entry in STATEMENTS.values() if code in entry.snomed)


def check_same_codes(expected: Iterable[str], got: Iterable[str], where: str) -> None:
    """Check that two vocabularies have the same codes in the same order.

    Parameters
    ----------
    expected, got : iterable of str
    where : str
        Where ``got`` comes from, for the message.

    Raises
    ------
    ValueError
        If they differ in content or order; the message states the difference.
    """
    expected, got = list(expected), list(got)
    if expected == got:
        return
    missing = [code for code in expected if code not in got]
    unknown = [code for code in got if code not in expected]
    difference = "in another order" if not missing and not unknown else ""
    difference += f"without {', '.join(missing[:5])} " if missing else ""
    difference += f"with {', '.join(unknown[:5])}" if unknown else ""
    raise ValueError(
        f"{where}: another vocabulary: {len(got)} findings {difference.strip()}; "
        f"expected {len(expected)}"
    )


@functools.cache
def _to_class(task: str) -> dict[str, str | None]:
    """Map each statement to its finding in a task, or to None if it has none."""
    if task not in TASKS:
        raise ValueError(f"task {task!r}: expected one of {', '.join(TASKS)}")
    if task in ("subdiagnostic", "superdiagnostic"):
        attribute = "subclass" if task == "subdiagnostic" else "superclass"
        return {entry.code: getattr(entry, attribute) for entry in STATEMENTS.values()}
    return {
        entry.code: entry.code if task == "all" or getattr(entry, task) else None
        for entry in STATEMENTS.values()
    }


def _entry_of(code: str) -> Statement:
    entry = STATEMENTS.get(code) or CLASSES.get(code)
    if entry is None:
        raise ValueError(_unknown_code(code, {**STATEMENTS, **CLASSES}))
    return entry


def _unknown_code(code: str, known: Iterable[str], record: str = "") -> str:
    """Return a message about a code that is not in the vocabulary, with similar known codes."""
    close = difflib.get_close_matches(str(code).upper(), list(known), n=3, cutoff=0.5)
    where = f"record {record}: " if record else ""
    hint = f"did you mean {' or '.join(close)}?" if close else "no known code is like it"
    return f"{where}unknown SCP-ECG code {code!r}: expected one of PTB-XL's statements; {hint}"
