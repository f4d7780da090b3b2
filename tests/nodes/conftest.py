import os

from latentgraph.nodes.environment import STEADY

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.update(STEADY)  # the models that tests make use torch before latentgraph does

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_families
import tiny_model

from latentgraph.engine.context import Context
from latentgraph.nodes.models import Loaded, LoadModel


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small random Stable Diffusion, configured as version 1.5 is. Not to be written to."""
    return tiny_model.build(tmp_path_factory.mktemp("models") / "tiny")


def _family(name: str) -> Callable[[pytest.TempPathFactory], Path]:
    @pytest.fixture(scope="session")
    def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tiny_families.build(name, tmp_path_factory.mktemp("models") / name)

    return built


# The folders of small random pipelines of other families; see tiny_families. Not to be written to.
tiny_inpaint = _family("inpaint")
tiny_sd2 = _family("sd2")
tiny_sdxl = _family("sdxl")
tiny_sdxl_inpaint = _family("sdxl_inpaint")
tiny_refiner = _family("refiner")
tiny_sd3 = _family("sd3")
tiny_sd3_t5 = _family("sd3_t5")


@pytest.fixture(scope="session")
def tiny_controlnet(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small random ControlNet for `tiny`."""
    return tiny_families.build_controlnet(tiny, tmp_path_factory.mktemp("models") / "controlnet")


@pytest.fixture(scope="session")
def tiny_sdxl_controlnet(tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small random ControlNet for `tiny_sdxl`."""
    return tiny_families.build_controlnet(tiny_sdxl, tmp_path_factory.mktemp("models") / "sdxl_controlnet")


@pytest.fixture
def context() -> Context:
    return Context()


@pytest.fixture
def loaded(tiny: Path, context: Context) -> Loaded:
    return LoadModel(name=str(tiny)).run(context)
