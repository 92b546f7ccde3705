"""Where the tests find real ECGs: `shared/` beside the checkout; what needs it skips without."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.is_dir():
        pytest.skip(f"needs {name}/ in a folder `shared` beside the checkout")
    return path


@pytest.fixture(scope="session")
def shared_ptbxl() -> Path:
    return shared("ptbxl")


@pytest.fixture(scope="session")
def shared_metadata() -> Path:
    return shared("ptbxl_metadata")


@pytest.fixture(scope="session")
def shared_challenge() -> Path:
    return shared("challenge")
