"""What is added to a model from files of its own: VAEs, LoRAs, embeddings."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from latentgraph.engine.context import Context
from latentgraph.engine.digest import digest
from latentgraph.engine.node import Field, Node, Wrong
from latentgraph.engine.ports import File, Folder

from .diffusion import embeddings
from .diffusion.lora_files import check_fits, contents, parts_of
from .diffusion.networks import alone, in_folder
from .diffusion.shapes import shapes
from .diffusion.vae_files import configuration, family_of, is_original
from .facts import fact
from .model_files import ModelKind
from .model_paths import find_model
from .references import FAMILIES, Clip, Model, Patch, Vae, Weights

Source = File | Folder | str


class Adapted(NamedTuple):
    model: Model
    clip: Clip


class LoadLoRA(Node, category="models", primary="model"):
    """A LoRA on a model and its text encoders (Hu et al. 2021, arXiv:2106.09685). Several nodes in a row add up.

    Takes safetensors files with the names of kohya's scripts, of diffusers and of peft. The model itself is not
    changed: whoever takes it from before this node gets what it would give without. A message says which layers the
    LoRA would change that are not there.

    Fails for a LoRA of another family of models, and for a file that is none.
    """

    model: Model
    clip: Clip
    file: File | str = Field(description="a safetensors file, or the name of one in the model folders")
    strength: float = Field(1.0, ge=-100, le=100, description="how strongly; 0 changes nothing, below 0 the opposite")
    clip_strength: float | None = Field(None, ge=-100, le=100, description="the text encoders'; the same by default")

    def run(self, context: Context) -> Adapted:
        file = located_file(self.file, "lora")
        check_fits(file, self.model, self.clip)
        encoders = zip(parts_of(self.clip), (encoder.weights for encoder in self.clip.encoders), strict=True)
        _tell_left(file, {self.model.weights.kind: self.model.weights, **dict(encoders)}, context)
        strength = self.strength if self.clip_strength is None else self.clip_strength
        return Adapted(with_lora(self.model, file, self.strength), clip_with_lora(self.clip, file, strength))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        model, clip = fact(known, "model", Model), fact(known, "clip", Clip)
        if "file" not in known or model is None:
            return {}
        with concerning("file"):
            file = located_file(known["file"], "lora")
            check_fits(file, model, clip)
        if clip is None or not {"strength", "clip_strength"} <= known.keys():
            return {}
        strength = known["strength"] if known["clip_strength"] is None else known["clip_strength"]
        return {
            "model": with_lora(model, file, known["strength"]),
            "clip": clip_with_lora(clip, file, strength),
        }

    def fingerprint(self) -> str:
        return located_file(self.file, "lora").digest


class LoadModelLoRA(Node, category="models"):
    """A LoRA on a model alone, as LoadLoRA has it, without its text encoders."""

    model: Model
    file: File | str = Field(description="a safetensors file, or the name of one in the model folders")
    strength: float = Field(1.0, ge=-100, le=100, description="how strongly; 0 changes nothing, below 0 the opposite")

    def run(self, context: Context) -> Model:
        file = located_file(self.file, "lora")
        check_fits(file, self.model, None)
        _tell_left(file, {self.model.weights.kind: self.model.weights}, context)
        return with_lora(self.model, file, self.strength)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        model = fact(known, "model", Model)
        if "file" not in known or model is None:
            return {}
        with concerning("file"):
            file = located_file(known["file"], "lora")
            check_fits(file, model, None)
        return {"model": with_lora(model, file, known["strength"])} if "strength" in known else {}

    def fingerprint(self) -> str:
        return located_file(self.file, "lora").digest


class LoadVAE(Node, category="models"):
    """An autoencoder by itself: a folder in the layout of diffusers, or one safetensors file.

    A file has the names of diffusers or of the original authors, and does not say how latents are scaled: that is taken
    from the model that it is for. No weights are read here.

    Fails where it has other latents than the model, for what is no autoencoder, and where files are missing or cut off.
    """

    source: Source = Field(description="a safetensors file, a folder, or a name in the model folders")
    model: Model | None = Field(None, description="that it is for; a file needs it")

    def run(self, context: Context) -> Vae:
        return _vae(self.source, self.model)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        model = fact(known, "model", Model)
        if "source" not in known or (model is None and known.get("model", ...) is not None):
            return {}
        with concerning("source"):
            return {"vae": _vae(known["source"], model)}

    def fingerprint(self) -> str:
        return digest(_vae(self.source, self.model))


def _vae(source: Source, model: Model | None) -> Vae:
    found = located(source, "vae")
    if isinstance(found, Folder):
        weights = in_folder("vae", "sd1", found, "block_out_channels")
        name = weights.config.get("_class_name", "AutoencoderKL")
        if name != "AutoencoderKL":
            raise ValueError(f"{found.path} holds a {name}, only an AutoencoderKL can be used")
        vae = Vae(replace(weights, family=family_of(weights.config)))
    else:
        tensors = shapes(found)
        if model is None:
            raise Wrong("model", f"{found.name} does not say how its latents are scaled: link the model that it is for")
        try:
            config = configuration(tensors, model.space)
        except ValueError as error:
            raise ValueError(f"{found.path or found.name} cannot be used as a VAE: {error}") from None
        vae = Vae(alone("vae", family_of(config), found, config, original=is_original(tensors)))
    if model is not None and vae.space != model.space:
        raise ValueError(
            f"{found.path or 'the VAE'} is for another model: it has {vae.space}, the model {model.space}: take one of"
            f" {FAMILIES[model.family]}"
        )
    return vae


class LoadEmbedding(Node, category="models"):
    """A word with vectors of its own (textual inversion, Gal et al. 2022, arXiv:2208.01618) for the text encoders.

    Wherever `name` is a word of a text, or `embedding:name` stands in it, these vectors are taken. Reads safetensors
    files of diffusers and of A1111, and those of Stable Diffusion XL with vectors for both text encoders.

    Fails where the vectors are not as wide as the text encoders take them, and for a name that is taken.
    """

    clip: Clip
    file: File | str = Field(description="a safetensors file, or the name of one in the model folders")
    name: str | None = Field(
        None, pattern=r"^[^\s,;:()\[\]]+$", description="by default its word in the file, or else the file's own name"
    )

    def run(self, context: Context) -> Clip:
        return with_embedding(self.clip, located_file(self.file, "embedding"), self.name)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        clip = fact(known, "clip", Clip)
        if clip is None or not {"file", "name"} <= known.keys():
            return {}
        with concerning("file"):
            return {"clip": with_embedding(clip, located_file(known["file"], "embedding"), known["name"])}

    def fingerprint(self) -> str:
        return located_file(self.file, "embedding").digest


def with_embedding(clip: Clip, file: File, name: str | None) -> Clip:
    """The text encoders that know one more word."""
    embeddings.check_fits(file, clip)
    name = name or embeddings.word(file)
    if re.search(r"[\s,;:()\[\]]", name):
        raise Wrong("name", f"`{name}` cannot stand in a text as one word: say with name what it is called")
    if name.lower() in {taken.lower() for taken, _ in clip.embeddings}:
        raise Wrong("name", f"there is an embedding called `{name}` already: say with name what this one is called")
    return replace(clip, embeddings=(*clip.embeddings, (name, file)))


def with_lora(model: Model, file: File, strength: float) -> Model:
    """The model with a LoRA; the model itself where the LoRA changes nothing in it."""
    return replace(model, weights=_patched(model.weights, file, model.weights.kind, strength))


def clip_with_lora(clip: Clip, file: File, strength: float) -> Clip:
    """The text encoders with a LoRA; themselves where the LoRA changes nothing in them."""
    encoders = [
        replace(encoder, weights=_patched(encoder.weights, file, part, strength))
        for encoder, part in zip(clip.encoders, parts_of(clip), strict=True)
    ]
    return replace(clip, encoders=tuple(encoders))


def _patched(weights: Weights, file: File, part: str, strength: float) -> Weights:
    if not strength or part not in contents(file).parts:
        return weights
    return replace(weights, patches=(*weights.patches, Patch(file, part, strength)))


def _tell_left(file: File, networks: Mapping[str, Weights], context: Context) -> None:
    """Say what of a LoRA has no effect. Raises ValueError where nothing of it has one, or it has other sizes."""
    from .diffusion.lora import unmatched

    found, changed = contents(file), 0
    for part, weights in networks.items():
        if part not in found.parts:
            continue
        matched, left = unmatched(file, part, weights)
        changed += matched
        if left:
            shown = ", ".join(left[:3]) + (", …" if len(left) > 3 else "")
            context.log(f"{file.name}: {len(left)} of {len(left) + matched} layers are not in the {part}: {shown}")
    if not changed:
        raise ValueError(f"{file.path or file.name} is a LoRA for another model: none of its layers is in this one")
    for part in sorted(found.parts - set(networks)):
        context.log(f"{file.name}: its part for the {part} is not used")
    if found.dora:
        context.log(f"{file.name}: its magnitudes (DoRA) are left out, as diffusers leaves them out")


def located(source: Source, kind: ModelKind) -> File | Folder:
    """The file or folder that an input means: itself, or what has this name in the model folders.

    Raises ValueError where there is none.
    """
    if not isinstance(source, str):
        return source
    path = find_model(source, kind)
    return Folder.at(path) if path.is_dir() else File.at(path)


def located_file(source: File | str, kind: ModelKind) -> File:
    """As `located`, for what can only be a file."""
    found = located(source, kind)
    if isinstance(found, Folder):
        raise ValueError(f"{found.path} is a folder, a safetensors file is wanted")
    return found


@contextmanager
def concerning(name: str) -> Iterator[None]:
    """In it, what is wrong with files is wrong with the input `name`."""
    try:
        yield
    except Wrong:
        raise
    except OSError as error:
        said = f"{error.filename} cannot be read: {error.strerror}" if error.filename else str(error)
        raise Wrong(name, said) from error
    except ValueError as error:
        raise Wrong(name, str(error)) from error
