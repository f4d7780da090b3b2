"""Node types for the tests of reuse: each counts how often it was computed."""

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from latentgraph.engine import Context, Field, File, Node, PortType

COMPUTED: Counter[str] = Counter()
FACTOR = 2


@dataclass(frozen=True)
class Text(PortType):
    """A text as a value that is referred to by its digest."""

    text: str

    def written(self):
        from latentgraph.engine import Written

        yield Written(".txt", self.text.encode())


class Say(Node):
    """A text."""

    text: str
    times: int = 1

    def run(self, context: Context) -> Text:
        COMPUTED["Say"] += 1
        return Text(self.text * self.times)


class Upper(Node):
    """The text in upper case: the same for texts that differ only in case."""

    text: Text

    def run(self, context: Context) -> Text:
        COMPUTED["Upper"] += 1
        return replace(self.text, text=self.text.text.upper())


class Join(Node):
    """Two texts as one."""

    first: Text
    second: Text

    def run(self, context: Context) -> Text:
        COMPUTED["Join"] += 1
        return Text(self.first.text + self.second.text)


class Scale(Node):
    """A number times another."""

    number: float
    by: float = Field(1.0, description="how much")

    def run(self, context: Context) -> float:
        COMPUTED["Scale"] += 1
        return self.number * self.by


class Half(Node):
    """Half of a number other than 0."""

    number: float

    def run(self, context: Context) -> float:
        COMPUTED["Half"] += 1
        if self.number == 0:
            raise ValueError("nothing to halve")
        return self.number / 2


class Read(Node):
    """What a file says."""

    file: File

    def run(self, context: Context) -> Text:
        COMPUTED["Read"] += 1
        return Text(self.file.read().decode())


class Named(Node):
    """A file by its path, as a model is named."""

    path: str

    def run(self, context: Context) -> File:
        COMPUTED["Named"] += 1
        return File.at(Path(self.path))


class Greet(Node):
    """A greeting that depends on an environment variable."""

    whom: str

    def run(self, context: Context) -> Text:
        COMPUTED["Greet"] += 1
        return Text(f"{context.env('GREETING')}, {self.whom}")


class Moody(Node, volatile=True):
    """Something else each time."""

    def run(self, context: Context) -> Text:
        COMPUTED["Moody"] += 1
        return Text(os.urandom(4).hex())


class Unsure(Node):
    """Says that it is pure, and is not."""

    text: str = ""

    def run(self, context: Context) -> Text:
        COMPUTED["Unsure"] += 1
        return Text(os.urandom(4).hex())


class Length(Node):
    """How long a text is."""

    text: Text

    def run(self, context: Context) -> int:
        COMPUTED["Length"] += 1
        return len(self.text.text)


class Tree(Node):
    """What a folder is called, by its fingerprint."""

    folder: str

    def fingerprint(self) -> object:
        return sorted(os.listdir(self.folder))

    def run(self, context: Context) -> list[str]:
        COMPUTED["Tree"] += 1
        return sorted(os.listdir(self.folder))
