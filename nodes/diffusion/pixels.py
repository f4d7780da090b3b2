"""Picture files to tensors and back, by Pillow."""

import io
from typing import Any

import numpy
import PIL.Image
import PIL.ImageOps
from torch import Tensor

from latentgraph.engine.ports import File

from .numerics import torch

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""What is read; Pillow's other readers are rarely wanted, and some start programs."""

MAX_PIXELS = 64 * 2**20


def decoded(file: File) -> Tensor:
    """The picture in a file, f32[1, 3, H, W] in 0..1, or with opacity [1, 4, H, W]; upright as its EXIF data says.

    Of an animation, the first picture. Raises ValueError for what is no picture, broken, or of more than 64 megapixels,
    which the header tells before anything is decoded.
    """
    content = file.read()
    where = file.path or file.name
    try:
        picture = PIL.Image.open(io.BytesIO(content), formats=FORMATS)
    except PIL.Image.DecompressionBombError:
        raise ValueError(f"{where} claims to have far more than {MAX_PIXELS:,} pixels, the most that is read") from None
    except Exception:  # Pillow's readers raise whatever comes to them on bytes they do not expect
        what = f"a file that begins with {content[:8]!r}" if content else "empty"
        raise ValueError(f"{where} is no picture that can be read ({', '.join(FORMATS)}); it is {what}") from None
    with picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise ValueError(
                f"{where} claims {width} by {height} pixels; at most {MAX_PIXELS:,} are read: make it smaller"
            )
        try:
            picture.load()
            values = _values(PIL.ImageOps.exif_transpose(picture))
        except Exception as error:
            raise ValueError(f"{where} is broken or cut off: {error}; save or copy it again") from error
    return torch.from_numpy(values).permute(2, 0, 1)[None].contiguous()


def encoded(picture: Tensor, format: str, *, quality: int = 90) -> bytes:
    """A picture [3 or 4, H, W] as a PNG, JPEG or WebP file; equal pictures give equal bytes.

    JPEG has no opacity: transparent pictures are laid on white.
    """
    values = (picture.clamp(0, 1).permute(1, 2, 0).numpy() * 255).round().astype("uint8")
    image = PIL.Image.fromarray(values)
    options = {} if format == "png" else {"quality": quality}
    if format == "jpeg" and image.mode == "RGBA":
        white = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(white, image).convert("RGB")
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def resized(picture: Tensor, width: int, height: int) -> Tensor:
    """A picture [C, H, W] scaled to cover `width` by `height` and cropped around its middle (Lanczos, in float)."""
    channels = []
    for channel in picture:
        image = PIL.Image.fromarray(channel.numpy())
        fitted = PIL.ImageOps.fit(image, (width, height), PIL.Image.Resampling.LANCZOS)
        channels.append(torch.from_numpy(numpy.array(fitted)))
    return torch.stack(channels).clamp(0, 1)


def _values(picture: PIL.Image.Image) -> "numpy.ndarray[Any, numpy.dtype[numpy.float32]]":
    """The pixels f32[H, W, 3 or 4] in 0..1."""
    if picture.mode.startswith("I"):  # 16 bit gray, which Pillow would clip to 8
        gray = numpy.asarray(picture).astype(numpy.float32) / 65535
        return numpy.repeat(gray.clip(0, 1)[..., None], 3, axis=2)
    picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    return numpy.asarray(picture).astype(numpy.float32) / 255
