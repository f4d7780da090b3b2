"""A store's folder for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from jottings import Opener


@pytest.fixture
def opener(tmp_path: Path) -> Iterator[Opener]:
    opener = Opener(tmp_path / "store")
    yield opener
    opener.close()
