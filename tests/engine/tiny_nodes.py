"""Small node types for the engine's tests, loaded as a user's file is: with `--nodes`, never imported."""

import json
import random
import threading
import time
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from latentgraph.engine import Context, Field, File, Node, PortType, Written

TRACE: list[tuple[str, str, float]] = []
"""What the `Wait` nodes did: (`start` or `end`, their name, when)."""

SEEN = threading.Event()
"""Set as soon as a `Steps` node has made its first step."""


@dataclass(frozen=True)
class Picture(PortType):
    """Something that can be written to a file."""

    text: str

    def written(self) -> Any:
        if self.text == "unwritable":
            raise ValueError("this picture cannot be written")
        yield Written(".txt", self.text.encode())

    @classmethod
    def described(cls, file: Written, about: Any) -> Written:
        return Written(file.suffix, file.content + about["graph"].encode())

    def sources(self) -> dict[str, str]:
        return {"paint.bin": "0" * 64}


@dataclass(frozen=True)
class Recipe(PortType):
    """Something that cannot."""

    text: str


@dataclass(frozen=True)
class Drawing(PortType):
    """A PNG picture that says how it was made."""

    text: str
    model: str

    def written(self) -> Any:
        from PIL import Image

        png = BytesIO()
        Image.new("RGB", (len(self.text), 1)).save(png, "png")
        yield Written(".png", png.getvalue())

    @classmethod
    def described(cls, file: Written, about: Any) -> Written:
        from PIL import Image
        from PIL.PngImagePlugin import PngInfo

        texts = PngInfo()
        for name, value in about.items():
            texts.add_text(f"latentgraph.{name}", value if isinstance(value, str) else json.dumps(value))
        png = BytesIO()
        Image.open(BytesIO(file.content)).save(png, "png", pnginfo=texts)
        return Written(file.suffix, png.getvalue())

    def sources(self) -> dict[str, str]:
        return {"model.txt": self.model}


class Number(Node, category="numbers"):
    """A number."""

    value: int = 1

    def run(self, context: Context) -> int:
        return self.value


class Add(Node, category="numbers"):
    """The sum of two numbers."""

    a: float
    b: float = Field(0.0, ge=-100, le=100, description="what is added")

    def run(self, context: Context) -> float:
        return self.a + self.b


class Total(Node, category="numbers", aliases=("Sum",)):
    """The sum of many numbers."""

    numbers: tuple[float, ...] = Field((), max_length=5)

    def run(self, context: Context) -> float:
        return sum(self.numbers)


class Count(Node, category="numbers"):
    """The numbers from 0, as a list."""

    upto: int = 3

    def run(self, context: Context) -> list[int]:
        return list(range(self.upto))


class Paint(Node, category="pictures"):
    """Paint what a text says."""

    text: str
    brush: Literal["round", "flat", "fan"] = "round"
    size: int = Field(1, ge=1, le=8)

    def run(self, context: Context) -> Picture:
        return Picture(self.text)


class Cook(Node, category="pictures"):
    """A recipe for a picture."""

    def run(self, context: Context) -> Recipe:
        return Recipe("eggs")


class Follow(Node, category="pictures"):
    """Paint as a recipe says."""

    recipe: Recipe

    def run(self, context: Context) -> Picture:
        return Picture(self.recipe.text)


class Frame(Node, category="pictures"):
    """A picture in a frame."""

    picture: Picture
    caption: str | None = None

    def run(self, context: Context) -> Picture:
        return Picture(f"[{self.picture.text}]")


class Halves(NamedTuple):
    left: Picture
    right: Picture


class Split(Node, category="pictures"):
    """The two halves of a picture."""

    picture: Picture

    def run(self, context: Context) -> Halves:
        middle = len(self.picture.text) // 2
        return Halves(Picture(self.picture.text[:middle]), Picture(self.picture.text[middle:]))


class Load(Node, category="files"):
    """A picture from a file."""

    file: File

    def run(self, context: Context) -> Picture:
        return Picture(self.file.read().decode())


class Draw(Node, category="pictures"):
    """Draw what a text says, with a model."""

    text: str
    model: File

    def run(self, context: Context) -> Drawing:
        return Drawing(self.text, self.model.digest)


class Fail(Node, category="trouble"):
    """Fails, on purpose or by a mistake."""

    after: float | None = None
    how: Literal["purpose", "mistake", "wrong type"] = "purpose"

    def run(self, context: Context) -> Picture:
        if self.how == "purpose":
            raise ValueError("the paint is dry")
        if self.how == "mistake":
            raise KeyError("paint")
        return 7  # type: ignore[return-value]


class Wait(Node, category="trouble", resource="device"):
    """Takes a while on the device."""

    after: float | None = None
    name: str = ""
    seconds: float = 0.05

    def run(self, context: Context) -> float:
        TRACE.append(("start", self.name, time.monotonic()))
        time.sleep(self.seconds)
        TRACE.append(("end", self.name, time.monotonic()))
        return self.seconds


class Meet(Node, category="trouble"):
    """Waits until another node that meets runs at the same time."""

    who: str = ""

    barrier: ClassVar = threading.Barrier(2)

    def run(self, context: Context) -> float:
        Meet.barrier.wait(timeout=10)
        return 1.0


class Steps(Node, category="trouble"):
    """Takes steps, and shows a preview at each."""

    steps: int = 5
    seconds: float = 0.0

    def run(self, context: Context) -> float:
        for step in range(self.steps):
            time.sleep(self.seconds)
            context.preview([[[step / self.steps] * 4] * 4] * 3)
            SEEN.set()
            context.progress(step + 1, self.steps, f"loss {1 / (step + 1):.2f}")
        return float(self.steps)


class Scratch(Node, category="files"):
    """Where its scratch folder is."""

    text: str = ""

    def run(self, context: Context) -> str:
        folder: Path = context.scratch()
        return str(folder)


class Unsure(Node, category="trouble"):
    """Says that it is pure, and draws from a global random generator."""

    def run(self, context: Context) -> float:
        return random.random()


class Flaky(Node, category="trouble"):
    """Fails until it has been tried so many times."""

    needs: int = 2

    tries: ClassVar[list[int]] = []

    def run(self, context: Context) -> float:
        Flaky.tries.append(1)
        if len(Flaky.tries) < self.needs:
            raise ValueError(f"not yet, {len(Flaky.tries)}")
        return 1.0


class Stubborn(Node, category="trouble"):
    """Looks at nothing while it takes its time."""

    seconds: float = 0.5

    def run(self, context: Context) -> float:
        time.sleep(self.seconds)
        return self.seconds


class Once(Node, category="trouble"):
    """Counts how often it was computed."""

    name: str = ""
    seconds: float = 0.05

    computed: ClassVar[list[str]] = []

    def run(self, context: Context) -> float:
        Once.computed.append(self.name)
        time.sleep(self.seconds)
        return 1.0


class Resumes(Node, category="trouble"):
    """Counts to a number, and goes on where it was stopped."""

    upto: int = 10
    seconds: float = 0.0

    counted: ClassVar[list[int]] = []

    def run(self, context: Context) -> float:
        found = context.resume(["counting", number] for number in range(self.upto, 0, -1))
        first = int(found.text) if isinstance(found, Picture) else 0
        for number in range(first, self.upto):
            Resumes.counted.append(number)
            time.sleep(self.seconds)
            context.save(["counting", number + 1], Picture(str(number + 1)))
            SEEN.set()
            context.progress(number + 1, self.upto)
        return float(self.upto)
