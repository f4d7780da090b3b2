"""Drawing a grid of labelled pictures."""

from collections.abc import Sequence
from itertools import zip_longest

import numpy
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from torch import Tensor

from .numerics import torch

GAP, LINE, SIZE = 6, 13, 11
RIGHT, WRONG = (40, 140, 60), (200, 40, 40)


def labelled(pictures: Tensor, labels: Sequence[str], right: Sequence[bool], columns: int, cell: int) -> Tensor:
    """The pictures [N, 3 or 4, h, w] in a grid f32[1, 3, H, W], `cell` pixels wide each, with what belongs to them."""
    font = ImageFont.load_default(SIZE)
    texts = [wrapped(label, font, cell) for label in labels]
    height = round(cell * pictures.shape[2] / pictures.shape[3])
    lines = max((len(text) for text in texts), default=0)
    row = height + (4 if right else 0) + lines * LINE + GAP
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    canvas = Pillow.new("RGB", (columns * (cell + GAP) + GAP, rows * row + GAP), "white")
    pen = ImageDraw.Draw(canvas)
    for index, (picture, text, good) in enumerate(zip_longest(pictures, texts, right)):
        x, y = GAP + index % columns * (cell + GAP), GAP + index // columns * row
        array = picture.mul(255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        image = Pillow.fromarray(numpy.ascontiguousarray(array))
        enlarged = image.resize((cell, height), Pillow.Resampling.BICUBIC)
        canvas.paste(enlarged, (x, y), enlarged if enlarged.mode == "RGBA" else None)
        y += height
        if good is not None:
            pen.rectangle((x, y, x + cell - 1, y + 3), fill=RIGHT if good else WRONG)
            y += 4
        for line in text or ():
            pen.text((x, y), line, fill="black", font=font)
            y += LINE
    return torch.from_numpy(numpy.asarray(canvas).copy()).permute(2, 0, 1)[None].float().div(255)


def wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """The text in lines of at most `width` pixels, broken between words."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
