"""Read Excel workbooks (XLSX): the first page with a table of an ECG.

The cells are written as a text table, which ``text_tables`` reads: the lines above the numbers, the
names and the units are the same as in a text file.
"""

from __future__ import annotations

from ecg_siglip.core.helper_process import HelperProcess
from ecg_siglip.readers.channels import Stated, import_reader
from ecg_siglip.readers.excel_pages import TABLE
from ecg_siglip.readers.text_tables import read_text

LIMIT_S = 15.0
HELPER = HelperProcess("ecg_siglip.readers.excel_pages", LIMIT_S)


def read_xlsx(content: bytes) -> Stated:
    """Read an Excel workbook.

    Parameters
    ----------
    content : bytes
        Values that formulas had when the workbook was stored are read; no formula is evaluated.

    Returns
    -------
    Stated

    Raises
    ------
    ValueError
        If no page has a table with leads, or the workbook is damaged, has more than 64 MiB when
        unpacked or 600,000 cells, or is not read within 15 s.
    """
    import_reader("openpyxl")
    try:
        response = HELPER.request(b"+" + content)
    except ChildProcessError as error:
        raise ValueError(f"{error}: save it as CSV") from error
    if response[:1] != TABLE:
        raise ValueError(response[1:].decode())
    return read_text(response[1:])


def is_ecg_xlsx(content: bytes) -> bool:
    """Return whether a workbook has a page with a table of an ECG."""
    try:
        import_reader("openpyxl")
        return HELPER.request(b"?" + content)[:1] == TABLE
    except (ChildProcessError, ValueError):
        return False
