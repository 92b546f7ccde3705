"""Identity and results in MUSE, CardioSoft and aECG, where writers leave parts out."""

from writers import AECG_HEAD, AECG_SERIES, ecg, muse

from ecg_siglip.readers.identity import DeviceResults, Identity
from ecg_siglip.readers.xml_document import parse_xml
from ecg_siglip.readers.xml_formats import read_xml
from ecg_siglip.readers.xml_identity import (
    aecg_identity,
    aecg_results,
    cardiosoft_identity,
    cardiosoft_results,
    muse_identity,
    muse_results,
)


def test_documents_without_it_state_nothing():
    for tag, identity, results in (
        ("RestingECG", muse_identity, muse_results),
        ("CardiologyXML", cardiosoft_identity, cardiosoft_results),
        ("AnnotatedECG", aecg_identity, aecg_results),
    ):
        root = parse_xml(f"<{tag}/>".encode())
        assert identity(root) == Identity()
        assert results(root) == DeviceResults()


def test_muse_joins_parts_of_a_statement_and_names_no_one():
    diagnosis = (
        "<Diagnosis><DiagnosisStatement><StmtFlag>X</StmtFlag><StmtText>Sinus</StmtText>"
        "</DiagnosisStatement><DiagnosisStatement><StmtFlag>ENDSLINE</StmtFlag><StmtText>rhythm"
        "</StmtText></DiagnosisStatement><DiagnosisStatement><StmtFlag>ENDSLINE</StmtFlag>"
        "<StmtText>Reviewed, Erika</StmtText></DiagnosisStatement></Diagnosis>"
        "<TestDemographics><Status>CONFIRMED</Status><OverreaderFirstName>Erika"
        "</OverreaderFirstName><AcquisitionDate>31-31-2020</AcquisitionDate></TestDemographics>"
    )
    root = parse_xml(f"<RestingECG>{diagnosis}</RestingECG>".encode())
    results = muse_results(root)
    assert results.statements == ("Sinus rhythm", "Reviewed, [name]")
    assert results.confirmed
    assert muse_identity(root) == Identity()


def test_a_muse_file_with_original_statements_alone_is_not_confirmed():
    content = muse(ecg()).replace(b"Diagnosis>", b"OriginalDiagnosis>")
    assert read_xml(content).device.statements == ("Sinus rhythm",)
    assert not read_xml(content).device.confirmed


def test_annotations_of_beats_leads_and_other_units_are_not_of_the_recording():
    lead = (
        '<component><annotation><code code="MDC_ECG_TIME_PD_QT"/><value value="400" unit="ms"/>'
        '<support><supportingROI><component><boundary><code code="MDC_ECG_LEAD_II"/></boundary>'
        "</component></supportingROI></support></annotation></component>"
        '<component><annotation><code code="MDC_ECG_HEART_RATE"/><value value="60" unit="mm"/>'
        "</annotation></component><component><annotation><code "
        'code="MDC_ECG_TIME_PD_QTcF"/><value value="410" unit="ms"/></annotation></component>'
    )
    series = AECG_SERIES.replace("</annotationSet>", f"{lead}</annotationSet>")
    text = f"<AnnotatedECG>{AECG_HEAD}<component><series>{series}</series></component>"
    results = aecg_results(parse_xml(f"{text}</AnnotatedECG>".encode()))
    assert [(each.name, each.value) for each in results.measurements] == [
        ("pr", 161.0), ("qtc_fridericia", 410.0)
    ]  # fmt: skip
