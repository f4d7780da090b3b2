"""Models by name: where they lie, in folders of one's own, in trees of other programs, in Hugging Face's cache.

`LATENTGRAPH_MODELS` lists folders (with `:` between them; `;` on Windows); without it there is one, `models` in the
user's folder for data. Each may be a folder that one keeps models in anyhow, or the whole of ComfyUI's, A1111's or
InvokeAI's: what a file is for is told by the folder it lies in, or else by its header. Nothing here imports torch.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from latentgraph.engine.diagnostics import nearest
from latentgraph.engine.roots import NotAllowed, place, readable

from .model_files import ModelKind, kind_of_file, kind_of_folder

DOWNLOAD = "LATENTGRAPH_ALLOW_DOWNLOAD"
"""The environment variable that lets models be fetched from the hub, which `--allow-download` sets."""

KINDS: tuple[ModelKind, ...] = get_args(ModelKind)

FOLDERS: dict[str, ModelKind] = {
    "checkpoints": "checkpoint",
    "stable-diffusion": "checkpoint",
    "diffusers": "checkpoint",
    "main": "checkpoint",
    "loras": "lora",
    "lora": "lora",
    "lycoris": "lora",
    "vae": "vae",
    "vaes": "vae",
    "vae_approx": "tiny_vae",
    "controlnet": "controlnet",
    "controlnets": "controlnet",
    "embeddings": "embedding",
    "embedding": "embedding",
    "upscale_models": "upscaler",
    "upscalers": "upscaler",
    "esrgan": "upscaler",
    "realesrgan": "upscaler",
    "swinir": "upscaler",
    "text_encoders": "text_encoder",
    "text_encoder": "text_encoder",
    "clip": "text_encoder",
    "t5_encoder": "text_encoder",
    "clip_vision": "image_encoder",
    "ipadapter": "image_adapter",
    "ip_adapter": "image_adapter",
}
"""What lies in a folder of this name, in small letters: those of ComfyUI, A1111 and InvokeAI."""

WEIGHTS = ".safetensors"
PICKLED = (".ckpt", ".pt", ".pth", ".bin")

_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(/[\w./-]+)?")
_PARTS = ("vae", "controlnet", "text_encoder", "image_encoder", "tiny_vae")
"""What may be a folder with a `config.json`."""


@dataclass(frozen=True)
class Found:
    """A model on disk. `name` is its path in the folder for its kind, with `/`; without a kind, its header tells it."""

    name: str
    path: Path
    kind: ModelKind | None

    @property
    def pickled(self) -> bool:
        return self.path.suffix.lower() in PICKLED

    def goes_by(self, name: str) -> bool:
        """Whether it is meant: with its folders or without, with the suffix or without."""
        whole = (
            self.name.removesuffix(self.path.suffix) if self.path.suffix.lower() in (WEIGHTS, *PICKLED) else self.name
        )
        return name in (self.name, whole, self.name.rpartition("/")[2], whole.rpartition("/")[2])

    def told_kind(self) -> ModelKind | None:
        """Its kind, if need be by its header; None for what is no model."""
        if self.kind is not None or self.pickled:
            return self.kind
        return kind_of_folder(self.path) if self.path.is_dir() else kind_of_file(self.path)


def model_folders() -> tuple[Path, ...]:
    """Where models are looked for; there may be nothing."""
    named = os.environ.get("LATENTGRAPH_MODELS")
    if named:
        return tuple(Path(part).expanduser() for part in named.split(os.pathsep) if part)
    return (data_folder() / "models",)


def data_folder() -> Path:
    """The platform's folder for what a user's programs keep."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "latentgraph"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "latentgraph"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "latentgraph"


def models() -> Iterator[Found]:
    """All that lies in the model folders and may be read, each once."""
    seen: set[Path] = set()
    for folder in model_folders():
        for tree in _trees(folder):
            for found in _below(tree, tree, FOLDERS.get(tree.name.lower()), seen):
                if readable(found.path):
                    yield found


def hub_models() -> Iterator[Found]:
    """The pipelines in Hugging Face's cache that may be read, by `owner/name`."""
    from huggingface_hub import constants, try_to_load_from_cache

    for folder in sorted(Path(constants.HF_HUB_CACHE).glob("models--*--*")):
        name = folder.name.removeprefix("models--").replace("--", "/", 1)
        index = try_to_load_from_cache(name, "model_index.json")
        if isinstance(index, str) and readable(Path(index)):
            yield Found(name, Path(index).parent, "checkpoint")


def find_model(name: str, kind: ModelKind) -> Path:
    """The file or folder that a graph means by a name or a path; `owner/name` may be in Hugging Face's cache.

    Raises ValueError where there is none, where several are called so, and for pickled files; NotAllowed (which is one)
    for a path outside of what graphs may read here.
    """
    if not name.strip():
        raise ValueError(f"it is empty: give the name or the path of a {_called(kind)}")
    refused: NotAllowed | None = None
    try:
        path = place(name)
        if _is_there(path):
            if not (path.is_dir() or path.is_file()):
                raise ValueError(f"{path} is neither a file nor a folder")
            return _safe(path)
    except NotAllowed as error:
        refused = error
    found = _by_name(name.replace("\\", "/"), kind)
    if found is not None:
        return found
    if refused is not None and (os.path.isabs(name) or name.startswith((".", "~"))):
        raise refused
    if os.path.isabs(name) or name.startswith(("./", "../", "~")):
        raise ValueError(f"there is no file or folder {name}")
    if _HUB.fullmatch(name):
        return _from_hub(name, kind)
    near = nearest(name, [candidate.name for candidate in models() if candidate.kind in (kind, None)])
    hint = f"did you mean `{near}`?" if near else "`latentgraph models` lists those that are found"
    raise ValueError(f"there is no {_called(kind)} `{name}` among the models, nor at this path: {hint}")


def check_not_pickled(path: Path) -> None:
    """Raises ValueError, with the command that converts it, for a file of a kind that can run code when it is read."""
    if path.suffix.lower() in PICKLED and path.is_file():
        raise ValueError(
            f"{path} is a pickled file, which could run any program when it is read, so it is not read: convert it once"
            f" with `latentgraph models convert {shlex.quote(str(path))}`"
        )


def _trees(folder: Path) -> Iterator[Path]:
    """The folders that models are below; of another program's, not its code."""
    if (folder / "models").is_dir():
        yield folder / "models"
        if (folder / "embeddings").is_dir():
            yield folder / "embeddings"
    elif folder.is_dir():
        yield folder


def _below(folder: Path, base: Path, kind: ModelKind | None, seen: set[Path]) -> Iterator[Found]:
    """What lies in a folder. Names are paths below `base`, the folder for the kind or else where the tree begins."""
    try:
        real, entries = folder.resolve(), sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    if real in seen:  # the same through a link, which may lead in a circle
        return
    seen.add(real)
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        name = path.relative_to(base).as_posix()
        if entry.is_dir():
            inside = FOLDERS.get(entry.name.lower())
            if (path / "model_index.json").is_file() or (kind in _PARTS and (path / "config.json").is_file()):
                if path.resolve() not in seen:
                    seen.add(path.resolve())
                    yield Found(name, path, "checkpoint" if (path / "model_index.json").is_file() else kind)
            elif inside is not None:
                yield from _below(path, path, inside, seen)
            else:
                yield from _below(path, base, kind, seen)
        elif path.suffix.lower() in (WEIGHTS, *PICKLED) and path.resolve() not in seen and entry.is_file():
            seen.add(path.resolve())
            yield Found(name, path, kind)


def _by_name(name: str, kind: ModelKind) -> Path | None:
    called = [found for found in models() if found.goes_by(name)]
    fitting = [found for found in called if found.told_kind() == kind or (found.kind is None and found.pickled)]
    # A file that tells nothing of itself may be damaged: whoever loads it says how.
    fitting = fitting or [found for found in called if found.told_kind() is None and found.path.is_file()]
    for better in (lambda found: found.name == name, lambda found: not found.pickled):
        fitting = [found for found in fitting if better(found)] or fitting
    if len(fitting) > 1:
        listed = "\n".join(f"  {found.path}" for found in fitting)
        raise ValueError(f"several are called `{name}`: write more of the path of the one that is meant\n{listed}")
    if fitting:
        return _safe(fitting[0].path)
    others = sorted({_called(other) for found in called if (other := found.told_kind()) is not None})
    if others:
        raise ValueError(f"`{name}` is a {' and a '.join(others)}, where a {_called(kind)} is wanted")
    return None


def _from_hub(name: str, kind: ModelKind) -> Path:
    """A snapshot's folder in Hugging Face's cache, or a file of it: `owner/name/folder/file.safetensors`."""
    from huggingface_hub import constants, try_to_load_from_cache

    if not readable(Path(constants.HF_HUB_CACHE)):
        raise NotAllowed(f"`{name}` is not in a folder that graphs may read here")
    owner, repository, *inside = name.split("/")
    wanted = "/".join(inside) or ("model_index.json" if kind == "checkpoint" else "config.json")
    cached = try_to_load_from_cache(f"{owner}/{repository}", wanted)
    if isinstance(cached, str):
        path = Path(cached)
    elif os.environ.get(DOWNLOAD) not in (None, "", "0"):
        path = _downloaded(f"{owner}/{repository}", wanted, "/".join(inside))
    else:
        raise ValueError(
            f"there is no {_called(kind)} `{name}`, neither among the models nor in Hugging Face's cache: to fetch it"
            f" from the hub, run with --allow-download, or set {DOWNLOAD}=1"
        )
    return _safe(path) if inside else path.parent


def _downloaded(repository: str, wanted: str, file: str) -> Path:
    """Fetch one file, or what makes a diffusers folder; without pickled files, variants, and single files beside it."""
    from huggingface_hub import snapshot_download

    if file:
        patterns = [file]
    elif wanted == "model_index.json":
        patterns = ["*.json", "*/*.safetensors", "*.txt", "*.model"]
    else:
        patterns = ["*.json", "*.safetensors", "*.txt", "*.model"]
    try:
        folder = snapshot_download(
            repository, allow_patterns=patterns, ignore_patterns=["*.fp16.*", "*.non_ema.*", "safety_checker/*"]
        )
    except Exception as error:  # of the network, the hub, the disk
        raise ValueError(f"{repository} cannot be fetched from the hub: {error}") from error
    if not Path(folder, wanted).is_file():
        raise ValueError(f"{repository} at the hub has no {wanted}")
    return Path(folder, wanted)


def _safe(path: Path) -> Path:
    check_not_pickled(path)
    return path


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, a zero byte
        return False


def _called(kind: ModelKind) -> str:
    return {"lora": "LoRA", "vae": "VAE", "controlnet": "ControlNet", "tiny_vae": "tiny VAE"}.get(
        kind, kind.replace("_", " ")
    )
