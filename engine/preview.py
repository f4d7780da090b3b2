"""Writing a preview: a picture of work in progress, as nodes give it to `Context.preview`."""

from io import BytesIO
from pathlib import Path
from typing import Any

from .outputs import write_whole


def write_preview(image: Any, path: Path) -> None:
    """Write float [3, H, W] in 0..1, anything with `__array__`, to a PNG file. Raises ValueError and OSError."""
    import numpy
    from PIL import Image

    pixels = numpy.asarray(image, dtype=numpy.float32)
    if pixels.ndim != 3 or pixels.shape[0] != 3:
        raise ValueError(f"an array of shape {pixels.shape} is no picture [3, height, width]")
    bytes_ = (numpy.nan_to_num(pixels).clip(0, 1) * 255).round().astype(numpy.uint8)
    png = BytesIO()
    Image.fromarray(bytes_.transpose(1, 2, 0).copy()).save(png, "png")
    write_whole(path, png.getvalue())
