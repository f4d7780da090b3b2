"""Models, by name or by folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from latentgraph.engine.context import Context
from latentgraph.engine.digest import digest
from latentgraph.engine.node import Field, Node, Wrong
from latentgraph.engine.roots import place

from .ports import Clip, Model, Vae

BUILTIN = Path(__file__).parent / "builtin"


class Loaded(NamedTuple):
    model: Model
    clip: Clip
    vae: Vae


class LoadModel(Node, category="models"):
    """A Stable Diffusion 1 or 2 model: its denoiser, its text encoder and its autoencoder.

    `name` is `builtin`, the small model that comes with latentgraph, or a folder in the layout of diffusers (with a
    `model_index.json`; safetensors only). The three outputs are references: no weights are read here.

    Fails where the folder is no Stable Diffusion 1 or 2 pipeline, or where files are missing or cut off.
    """

    name: str = Field("builtin", description="`builtin`, or the path of a model folder in the layout of diffusers")

    def run(self, context: Context) -> Loaded:
        return _loaded(self.name)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        if "name" not in known:
            return {}
        try:
            return _loaded(known["name"])._asdict()
        except (OSError, ValueError) as error:
            raise Wrong("name", str(error)) from error

    def fingerprint(self) -> list[str]:
        """The digests of the three parts: what lies in the folder, of which the name says nothing."""
        return [digest(part) for part in _loaded(self.name)]


def _loaded(name: str) -> Loaded:
    from .diffusion.layout import components

    return Loaded(*components(BUILTIN if name == "builtin" else place(name)))
