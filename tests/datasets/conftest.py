"""A small PTB-XL on disk."""

from pathlib import Path

import pytest
from helpers import write_ptbxl


@pytest.fixture
def root(tmp_path) -> Path:
    """Six records of noise, see ``write_ptbxl``."""
    return write_ptbxl(tmp_path / "root")
