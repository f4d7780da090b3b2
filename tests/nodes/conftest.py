import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from pathlib import Path

import pytest
import tiny_model

from latentgraph.engine.context import Context
from latentgraph.nodes.models import Loaded, LoadModel


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small random Stable Diffusion, configured as version 1.5 is. Not to be written to."""
    return tiny_model.build(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def context() -> Context:
    return Context()


@pytest.fixture
def loaded(tiny: Path, context: Context) -> Loaded:
    return LoadModel(name=str(tiny)).run(context)
