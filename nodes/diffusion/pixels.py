"""Picture files to tensors and back, and pictures at other sizes, by Pillow."""

import io
from typing import Any

import numpy
import PIL.Image
import PIL.ImageOps
from torch import Tensor

from latentgraph.engine.ports import File

from ..areas import MAX_PIXELS, Fit, size_of_fit
from .numerics import torch

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""What is read; Pillow's other readers are rarely wanted, and some start programs."""

CHANNELS = ("red", "green", "blue", "alpha")


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
        if picture.mode == "F":  # nothing says which numbers are black and white
            raise ValueError(f"{where} has pixels of floating point numbers: save it with 8 or 16 bits")
        try:
            picture.load()
            values = _values(PIL.ImageOps.exif_transpose(picture))
        except Exception as error:
            raise ValueError(f"{where} is broken or cut off: {error}; save or copy it again") from error
    return torch.from_numpy(values).permute(2, 0, 1)[None].contiguous()


def decoded_channel(file: File, channel: str) -> Tensor:
    """One channel of a picture file, f32[1, 1, H, W] in 0..1: `gray`, `red`, `green`, `blue` or `alpha`.

    Raises ValueError as `decoded` does, and where the picture has no opacity.
    """
    pixels = decoded(file)
    if channel == "gray":
        return gray(pixels)
    index = CHANNELS.index(channel)
    if index >= pixels.shape[1]:
        raise ValueError(f"{file.path or file.name} has no opacity: take another channel than alpha, say gray")
    return pixels[:, index : index + 1].contiguous()


def gray(pixels: Tensor) -> Tensor:
    """The brightness f32[N, 1, H, W] of pictures, without their opacity (luma of ITU-R BT.601).

    It is `0.299 R + 0.587 G + 0.114 B`, in a form that leaves gray pixels as they are to the last bit.
    """
    red, green, blue = pixels[:, :3].split(1, dim=1)
    return green + 0.299 * (red - green) + 0.114 * (blue - green)


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


def resized(pixels: Tensor, width: int, height: int, method: str = "lanczos", fit: Fit = "cover") -> Tensor:
    """Pictures or masks [N, C, H, W] in 0..1 at another size, computed in float.

    Colours count as much as they are opaque, so that what a transparent pixel hides does not show at its edges.
    """
    transparent = pixels.shape[1] == 4
    if transparent:
        pixels = torch.cat([pixels[:, :3] * pixels[:, 3:], pixels[:, 3:]], dim=1)
    made = torch.stack([_resized(picture, width, height, method, fit) for picture in pixels])
    if transparent:
        colour, opacity = made[:, :3], made[:, 3:]
        made = torch.cat([torch.where(opacity > 0, colour / opacity, 0), opacity], dim=1)
    return made.clamp(0, 1)


def _resized(picture: Tensor, width: int, height: int, method: str, fit: Fit) -> Tensor:
    resampling = PIL.Image.Resampling[method.upper()]
    high, wide = size_of_fit((picture.shape[1], picture.shape[2]), width, height, fit)
    channels = []
    for channel in picture:
        image = PIL.Image.fromarray(channel.numpy())
        if fit == "cover":
            made = PIL.ImageOps.fit(image, (width, height), resampling)
        else:
            made = image.resize((wide, high), resampling)
        channels.append(torch.from_numpy(numpy.array(made)))
    return torch.stack(channels)


def _values(picture: PIL.Image.Image) -> "numpy.ndarray[Any, numpy.dtype[numpy.float32]]":
    """The pixels f32[H, W, 3 or 4] in 0..1."""
    if picture.mode.startswith("I"):  # 16 bit gray, which Pillow would clip to 8
        levels = numpy.asarray(picture).astype(numpy.float32) / 65535
        return numpy.repeat(levels.clip(0, 1)[..., None], 3, axis=2)
    picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    return numpy.asarray(picture).astype(numpy.float32) / 255
