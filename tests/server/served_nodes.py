"""Small node types that the server's tests run: loaded with `--nodes`, never imported."""

import os
import time
from pathlib import Path

from latentgraph.engine import Context, Field, File, Node


class Constant(Node, category="tests"):
    """A number."""

    value: int = 1

    def run(self, context: Context) -> int:
        return self.value


class Slow(Node, category="tests"):
    """A number after a while, with progress."""

    value: int = 1
    steps: int = Field(10, ge=1)
    seconds: float = Field(0.05, ge=0, description="of each step")

    def run(self, context: Context) -> int:
        for step in range(self.steps):
            time.sleep(self.seconds)
            context.progress(step + 1, self.steps)
        return self.value


class Volatile(Node, category="tests", volatile=True):
    """A number that is computed anew every time."""

    value: int = 1

    def run(self, context: Context) -> int:
        return self.value


class Add(Node, category="tests"):
    """The sum of two numbers."""

    a: int
    b: int

    def run(self, context: Context) -> int:
        return self.a + self.b


class Fails(Node, category="tests"):
    """Always fails, and says where."""

    message: str = "on purpose"

    def run(self, context: Context) -> int:
        raise ValueError(self.message)


class Dies(Node, category="tests", volatile=True):
    """Ends the process that runs it, unless there is a file that says it has done so often enough."""

    marks: str = Field(description="a folder; each death leaves a file in it")
    times: int = Field(1, ge=0)
    after: int = 0

    def run(self, context: Context) -> int:
        marks = Path(self.marks)
        done = len(list(marks.iterdir()))
        if done < self.times:
            (marks / str(done)).touch()
            os.kill(os.getpid(), 9)
        return done


class Stubborn(Node, category="tests", volatile=True):
    """Sleeps without ever asking whether it was cancelled."""

    seconds: float = 3600

    def run(self, context: Context) -> int:
        time.sleep(self.seconds)
        return 1


class Shout(Node, category="tests"):
    """A text as a file, in capitals."""

    text: str

    def run(self, context: Context) -> File:
        return File("shout.txt", content=self.text.upper().encode())


class ReadFile(Node, category="tests"):
    """The text of a file."""

    file: File

    def run(self, context: Context) -> str:
        return self.file.read().decode("utf-8", "replace")


class Preview(Node, category="tests", volatile=True):
    """Shows pictures of work in progress."""

    steps: int = 3
    seconds: float = 0.3

    def run(self, context: Context) -> int:
        import numpy

        for step in range(self.steps):
            context.progress(step + 1, self.steps)
            context.preview(numpy.full((3, 8, 8), step / self.steps, dtype=numpy.float32))
            time.sleep(self.seconds)
        return self.steps


class Writes(Node, category="tests", effects=("writes files",)):
    """Writes a file anywhere."""

    path: str

    def run(self, context: Context) -> int:
        Path(self.path).write_text("written")
        return 1


class Phones(Node, category="tests", effects=("uses the network",)):
    """Uses the network."""

    def run(self, context: Context) -> int:
        return 1


class Peeks(Node, category="tests", effects=("reads files",)):
    """Reads a file anywhere."""

    path: str

    def run(self, context: Context) -> str:
        return Path(self.path).read_text()
