"""Models, by name or by folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from latentgraph.engine.context import Context
from latentgraph.engine.digest import digest
from latentgraph.engine.node import Field, Node
from latentgraph.engine.ports import Folder

from .adapters import concerning
from .model_paths import find_model
from .references import Clip, Model, Vae

BUILTIN = Path(__file__).parent / "builtin"


class Loaded(NamedTuple):
    model: Model
    clip: Clip
    vae: Vae


class LoadModel(Node, category="models"):
    """A Stable Diffusion model: its denoiser, its text encoders and its autoencoder.

    `name` is `builtin`, the small model that comes with latentgraph; or the path, or the name among the models that are
    found (`latentgraph models`), of a folder in the layout of diffusers or a single `.safetensors` file with all three;
    or a model at the Hugging Face hub, `owner/name`, that is in the local cache. Known families are Stable Diffusion 1
    and 2, also for inpainting, XL, its refiner, and 3. Which one it is, names and shapes in the files decide. The
    outputs are references: no weights are read here.

    Fails where the family is none of these, or where files or tensors are missing or cut off.
    """

    name: str = Field("builtin", description="`builtin`, or the path or the name of a model folder or file")
    prediction: Literal["epsilon", "v_prediction"] | None = Field(
        None,
        description="what the denoiser predicts; unless said, what the files say. A single file of Stable Diffusion 2"
        " does not say it, and is taken to predict v, as those for 768 pixels do; those for 512 pixels predict epsilon",
    )
    t5: Folder | None = Field(
        None,
        description="the third text encoder of Stable Diffusion 3, a folder with a T5 and its tokenizer; instead of the"
        " model's own, if it has one",
    )

    def run(self, context: Context) -> Loaded:
        return _loaded(self.name, self.t5, self.prediction)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        if "name" not in known:
            return {}
        with concerning("name"):
            return _loaded(known["name"], known.get("t5"), known.get("prediction"))._asdict()

    def fingerprint(self) -> list[str]:
        """The digests of the three parts: what lies in the folder or file, of which the name says nothing."""
        return [digest(part) for part in _loaded(self.name, self.t5, self.prediction)]


def _loaded(name: str, t5: Folder | None, prediction: str | None) -> Loaded:
    from .diffusion.layout import components

    return Loaded(*components(BUILTIN if name == "builtin" else find_model(name, "checkpoint"), t5, prediction))
