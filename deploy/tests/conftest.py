"""Where the files for deployment are."""

from pathlib import Path

import pytest


@pytest.fixture
def deploy() -> Path:
    return Path(__file__).parent.parent
