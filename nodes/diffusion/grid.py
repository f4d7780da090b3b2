"""Drawing a grid of labelled pictures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from torch import Tensor

from .numerics import torch

GAP, LINE, SIZE = 6, 13, 11
RIGHT, WRONG = (40, 140, 60), (200, 40, 40)


@dataclass(frozen=True)
class Labels:
    """What is written below each picture, above each column and beside each row; nothing where there is none."""

    below: Sequence[str] = ()
    above: Sequence[str] = ()
    beside: Sequence[str] = ()


def labelled(pictures: Tensor, labels: Labels, right: Sequence[bool], columns: int, cell: int) -> Tensor:
    """The pictures [N, 3 or 4, h, w] in a grid f32[1, 3, H, W], `cell` pixels wide each, with what belongs to them."""
    font = ImageFont.load_default(SIZE)
    below, above, beside = (
        [wrapped(label, font, cell) for label in texts] for texts in (labels.below, labels.above, labels.beside)
    )
    height = round(cell * pictures.shape[2] / pictures.shape[3])
    row = max(height + (4 if right else 0) + _lines(below) * LINE, _lines(beside) * LINE) + GAP
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    widest = max((font.getlength(line) for text in beside for line in text), default=0)
    left = GAP + (math.ceil(widest) + GAP if beside else 0)
    top = GAP + (_lines(above) * LINE + GAP if above else 0)
    canvas = Pillow.new("RGB", (left + columns * (cell + GAP), top + rows * row), "white")
    pen = ImageDraw.Draw(canvas)

    def write(text: Sequence[str], x: float, y: float) -> None:
        for index, line in enumerate(text):
            pen.text((x, y + index * LINE), line, fill="black", font=font)

    for index, text in enumerate(above):
        widths = [font.getlength(line) for line in text]
        write(text, left + index * (cell + GAP) + (cell - max(widths, default=0)) // 2, GAP)
    for index, text in enumerate(beside):
        write(text, GAP, top + index * row + max(0, height - len(text) * LINE) // 2)
    for index, (picture, text, good) in enumerate(zip_longest(pictures, below, right)):
        x, y = left + index % columns * (cell + GAP), top + index // columns * row
        array = picture.mul(255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        image = Pillow.fromarray(numpy.ascontiguousarray(array))
        enlarged = image.resize((cell, height), Pillow.Resampling.BICUBIC)
        canvas.paste(enlarged, (x, y), enlarged if enlarged.mode == "RGBA" else None)
        y += height
        if good is not None:
            pen.rectangle((x, y, x + cell - 1, y + 3), fill=RIGHT if good else WRONG)
            y += 4
        write(text or (), x, y)
    return torch.from_numpy(numpy.asarray(canvas).copy()).permute(2, 0, 1)[None].float().div(255)


def _lines(texts: Sequence[Sequence[str]]) -> int:
    """How many lines the longest text has."""
    return max(map(len, texts), default=0)


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
