"""What steers a model by pictures: ControlNets and IP-Adapters."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from latentgraph.engine.context import Context
from latentgraph.engine.digest import digest
from latentgraph.engine.node import Field, Node, Wrong
from latentgraph.engine.ports import File, Folder

from .adapters import Source, concerning, located, located_file
from .diffusion.adapter_files import check_encoder, token_width
from .diffusion.adapter_files import family_of as family_of_adapter
from .diffusion.controlnet_files import configuration, family_of, is_original
from .diffusion.networks import alone, in_folder
from .diffusion.shapes import shapes
from .facts import TextFacts, fact
from .guides import Conditioning, Control, Guidance, ImagePrompt, mapped
from .ports import Image
from .references import FAMILIES, ControlNet, ImageAdapter


class LoadControlNet(Node, category="models"):
    """A ControlNet, which steers a denoiser by a picture (Zhang et al. 2023, arXiv:2302.05543).

    `source` is a folder in the layout of diffusers, or one safetensors file with the names of diffusers or of the
    original authors; or the name of one in the model folders. No weights are read here.

    Fails for what is no ControlNet, and where files are missing or cut off.
    """

    source: Source = Field(description="a safetensors file, a folder, or a name in the model folders")

    def run(self, context: Context) -> ControlNet:
        return _controlnet(self.source)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        with concerning("source"):
            return {"controlnet": _controlnet(known["source"])} if "source" in known else {}

    def fingerprint(self) -> object:
        return digest(_controlnet(self.source))


class ApplyControlNet(Node, category="conditioning"):
    """A ControlNet on all conditions of a guidance: the picture says where what is drawn. Several nodes add up.

    The picture is as the ControlNet expects it (edges, depth, a pose, …) and as large as what is drawn. The network
    takes part in the evaluations whose share of the steps lies between `start` and `end`, as in diffusers' pipelines.
    One that tells no places, as that for shuffled pictures, is for what is wanted alone: negatives stay as they are.

    Fails for a ControlNet of another family than the text's. The sampler fails for pictures of another size than what
    is drawn, and where their number is neither 1 nor the batch's.
    """

    guidance: Guidance | Conditioning
    control_net: ControlNet
    image: Image
    strength: float = Field(1.0, ge=0, le=100, description="what the ControlNet adds is multiplied by this")
    start: float = Field(0.0, ge=0, le=1, description="from which share of the steps on")
    end: float = Field(1.0, ge=0, le=1, description="up to which share of the steps")
    negatives: bool = Field(
        True, description="steer what is not wanted, too, as diffusers does; without that, guidance strengthens it"
    )

    def run(self, context: Context) -> Guidance | Conditioning:
        _check_range(self.start, self.end)
        control = Control(self.control_net, _on_white(self.image), self.strength, self.start, self.end)

        def controlled(conditioning: Conditioning) -> Conditioning:
            for cond in conditioning.conds:
                _check_width(cond.tokens.shape[2], self.control_net)
            return Conditioning(tuple(replace(cond, controls=(*cond.controls, control)) for cond in conditioning.conds))

        placeless = self.control_net.weights.config.get("global_pool_conditions", False)
        return mapped(self.guidance, controlled, negatives=self.negatives and not placeless)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        if {"start", "end"} <= known.keys():
            _check_range(known["start"], known["end"])
        texts, net = fact(known, "guidance", TextFacts), fact(known, "control_net", ControlNet)
        if texts is not None and net is not None:
            _check_width(texts.width, net)
        return {} if texts is None else {"guidance": texts}


class LoadIPAdapter(Node, category="models"):
    """An IP-Adapter, by which a model takes pictures as prompts (Ye et al. 2023, arXiv:2308.06721), and their encoder.

    Reads the safetensors files of the authors: those that look at a picture as a whole, those called plus that look at
    its places, and those for full faces. The encoder is a folder with a CLIP vision model, as transformers saves it.

    Fails for what is no IP-Adapter, for those of faces' identities, and for an encoder that does not go with it.
    """

    file: File | str = Field(description="a safetensors file, or the name of one in the model folders")
    image_encoder: Folder | str = Field(description="the folder of the encoder, or its name in the model folders")

    def run(self, context: Context) -> ImageAdapter:
        return _image_adapter(self.file, self.image_encoder)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        if not {"file", "image_encoder"} <= known.keys():
            return {}
        with concerning("file"):
            return {"imageadapter": _image_adapter(known["file"], known["image_encoder"])}

    def fingerprint(self) -> str:
        return digest(_image_adapter(self.file, self.image_encoder))


class ApplyIPAdapter(Node, category="conditioning", resource="device"):
    """A picture as a prompt beside the text, in all conditions of a guidance. Several nodes add up.

    One picture serves all that are drawn, several are for one each. Negatives get what stands for no picture.

    Fails for an adapter of another family than the text's.
    """

    guidance: Guidance | Conditioning
    adapter: ImageAdapter
    image: Image
    strength: float = Field(1.0, ge=-10, le=10, description="what the picture adds is multiplied by this")

    def run(self, context: Context) -> Guidance | Conditioning:
        from .diffusion.image_prompts import encoded

        prompt = ImagePrompt(self.adapter, *encoded(self.adapter, _on_white(self.image)), self.strength)

        def prompted(conditioning: Conditioning) -> Conditioning:
            for cond in conditioning.conds:
                _check_adapter(cond.tokens.shape[2], self.adapter)
            return Conditioning(tuple(replace(cond, images=(*cond.images, prompt)) for cond in conditioning.conds))

        return mapped(self.guidance, prompted)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        texts, adapter = fact(known, "guidance", TextFacts), fact(known, "adapter", ImageAdapter)
        if texts is not None and adapter is not None:
            _check_adapter(texts.width, adapter)
        return {} if texts is None else {"guidance": texts}


def _image_adapter(file: File | str, image_encoder: Folder | str) -> ImageAdapter:
    found = located_file(file, "image_adapter")
    family = family_of_adapter(found)
    with concerning("image_encoder"):
        folder = located(image_encoder, "image_encoder")
        if isinstance(folder, File):
            raise ValueError(f"{folder.path} is a file, the folder of an image encoder is wanted")
        encoder = in_folder("image_encoder", family, folder, "hidden_size", "image_size")
        check_encoder(found, encoder)
    return ImageAdapter(found, family, encoder)


def _check_adapter(width: int, adapter: ImageAdapter) -> None:
    wanted = token_width(adapter.file)
    if width != wanted:
        raise Wrong(
            "adapter",
            f"the IP-Adapter is for texts {wanted} wide ({FAMILIES[adapter.family]}), this text is {width} wide: take"
            " one of the model's own family",
        )


def _controlnet(source: Source) -> ControlNet:
    found = located(source, "controlnet")
    if isinstance(found, Folder):
        weights = in_folder("controlnet", "sd1", found, "cross_attention_dim", "block_out_channels")
        name = weights.config.get("_class_name", "ControlNetModel")
        if name != "ControlNetModel":
            raise ValueError(f"{found.path} holds a {name}, only a ControlNetModel can be used")
        return ControlNet(replace(weights, family=family_of(weights.config)))
    tensors = shapes(found)
    try:
        config = configuration(tensors)
    except ValueError as error:
        raise ValueError(f"{found.path or found.name} cannot be used as a ControlNet: {error}") from None
    return ControlNet(alone("controlnet", family_of(config), found, config, original=is_original(tensors)))


def _check_width(width: int, net: ControlNet) -> None:
    if width != net.width:
        raise Wrong(
            "control_net",
            f"the ControlNet takes texts {net.width} wide ({FAMILIES[net.weights.family]}), this text is {width} wide:"
            " use one of the model's own family",
        )


def _check_range(start: float, end: float) -> None:
    if start >= end:
        raise Wrong("end", f"end is {end:g} and start {start:g}: nothing is between them")


def _on_white(image: Image) -> Any:
    """Pictures [N, 3, H, W], transparent ones on white."""
    if image.pixels.shape[1] == 3:
        return image.pixels
    colour, opacity = image.pixels[:, :3], image.pixels[:, 3:]
    return colour * opacity + (1 - opacity)
