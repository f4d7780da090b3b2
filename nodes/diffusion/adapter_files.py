"""What an IP-Adapter is for, by the names and shapes in its file. Nothing here imports torch."""

from latentgraph.engine.ports import File

from ..model_files import WIDTHS
from ..references import Family, Weights
from .shapes import shapes

WHOLE = "image_proj.proj.weight"
"""Of an adapter that takes one vector for a whole picture."""

PLACES = ("image_proj.proj_in.weight", "image_proj.proj.0.weight")
"""Of adapters that take one for each place."""


def looks_at_places(file: File) -> bool:
    """Whether an adapter takes a vector for each place of a picture, as those called plus and full face do."""
    return WHOLE not in shapes(file)


def token_width(file: File) -> int:
    """How wide the tokens are that the adapter makes. Raises ValueError where it is no IP-Adapter."""
    found = shapes(file)
    where = file.path or file.name
    widths = {shape[1] for name, shape in found.items() if name.startswith("ip_adapter.") and "to_k_ip" in name}
    if len(widths) != 1 or {name.partition(".")[0] for name in found} != {"ip_adapter", "image_proj"}:
        raise ValueError(f"{where} is no IP-Adapter: its tensors are no image_proj and ip_adapter alone")
    faces = any("lora" in name or "perceiver_resampler" in name for name in found) or "image_proj.norm.weight" in found
    if faces and WHOLE not in found:
        raise ValueError(f"{where} is an IP-Adapter for faces' identities, which another kind of network encodes")
    return widths.pop()


def family_of(file: File) -> Family:
    return WIDTHS.get(token_width(file), "sd1")


def check_encoder(file: File, encoder: Weights) -> None:
    """Raises ValueError for an image encoder whose vectors are not as wide as the adapter takes them."""
    found = shapes(file)
    name = next((name for name in (WHOLE, *PLACES) if name in found), None)
    if name is None:
        raise ValueError(f"{file.path or file.name} is an IP-Adapter of a kind that is not known")
    setting = "projection_dim" if name == WHOLE else "hidden_size"
    wanted, given = found[name][1], encoder.config.get(setting)
    if wanted != given:
        raise ValueError(
            f"the image encoder's vectors are {given} wide, {file.path or file.name} takes {wanted}: use the encoder"
            " that comes with it"
        )
