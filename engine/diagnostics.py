"""What can be wrong with a graph, and where: the data that every checker makes and `render` shows.

This module knows no format and no terminal. A message stands alone, in lower case and without a full stop;
only `help` suggests. A code is stable, so that tools may rely on it, and `CODES` explains each at length.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Literal

_CANDIDATES = 1000
"""Among how many names the nearest one is looked for: to compare with more takes longer than it helps."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A span of a file: lines and columns count from 1, in characters; the end is exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Note:
    """A fact that helps to understand a diagnostic, and where it is written, if anywhere."""

    message: str
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """Put `text` in place of what stands at `place`."""

    place: Place
    text: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem: one cause, the smallest span that shows it, and what might be meant instead.

    `path` is the address within the graph (`nodes.decoded.inputs.latent`). `fix` holds edits that are safe to make
    without asking. As text, a diagnostic is one line, its help in parentheses.
    """

    code: str
    message: str
    place: Place | None
    help: str | None = None
    notes: tuple[Note, ...] = ()
    severity: Literal["error", "warning"] = "error"
    path: str = ""
    fix: tuple[Edit, ...] = ()

    def __str__(self) -> str:
        return printable(self.header() + (f" ({self.help})" if self.help else ""))

    def header(self) -> str:
        """The part that every text form begins with: place, severity, code and message."""
        where = f"{self.place}: " if self.place else ""
        return f"{where}{self.severity}[{self.code}]: {self.message}"


class GraphWrong(Exception):
    """A graph, or what was given for it, is wrong; every problem that is known is in `diagnostics`."""

    diagnostics: tuple[Diagnostic, ...]

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        return "\n".join(map(str, self.diagnostics))


def printable(text: str) -> str:
    """`text` on one line, with whatever a terminal would obey rather than show written as an escape."""
    if text.isprintable():
        return text
    # A zero width joiner holds one emoji together; taking it apart would show several.
    return "".join(c if c.isprintable() or c in "\u200d\u00a0" else ascii(c)[1:-1] for c in text)


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` was most likely meant to be, or None if none is near."""
    import difflib  # only when something is wrong already: it takes longer to import than a graph to read

    several = sorted(islice(candidates, _CANDIDATES), reverse=True)
    by_fold = {candidate.casefold(): candidate for candidate in several}
    found = difflib.get_close_matches(name[:100].casefold(), by_fold, n=1)
    return by_fold[found[0]] if found else None


CODES: dict[str, str] = {
    "syntax": """\
The file is not YAML that a graph can be written in, so nothing after this place could be read. Most often unquoted
text contains something that YAML gives a meaning: `: `, a leading `[`, `{`, `*`, `&`, `!`, `@` or `%`, or a quote that
is never closed. Put quotes around such text. Tags such as `!ref`, tabs as indentation and several documents in one
file are not part of the format.

wrong:
    text: portrait: a dog
right:
    text: "portrait: a dog"
""",
    "too-deep": """\
Lists and mappings stand within each other more than 64 levels deep. No graph needs that; such a file is damaged,
made by a program that went wrong, or meant to do harm. Depth that comes from aliases counts too.

wrong:
    x-deep: [[[[ and so on, 65 times
right:
    x-flat: [1, 2, 3]
""",
    "too-large": """\
A graph file may have 4 MiB and 200,000 values, those that aliases repeat counted each time. Large data belongs into
files of its own that the graph names; many similar nodes are written once, with `foreach`.

wrong:
    default: [0.1, 0.2, and so on, a million times]
right:
    default: numbers.json
""",
    "duplicate-key": """\
A mapping has the same key twice. YAML readers silently keep the last one, so that a node or an input would vanish
without a word; here it is an error. Give one of them another name, or remove it.

wrong:
    nodes:
      sampled: {type: KSampler}
      sampled: {type: VAEDecode}
right:
    nodes:
      sampled: {type: KSampler}
      decoded: {type: VAEDecode}
""",
    "unknown-key": """\
There is no such key at this place of a graph file. At the top level the keys are `latentgraph`, `description`,
`params`, `nodes` and `outputs`, and any that begins with `x-` is ignored: a home for anchors and remarks.

wrong:
    decoded: {type: VAEDecode, input: {latent: $sampled}}
right:
    decoded: {type: VAEDecode, inputs: {latent: $sampled}}
""",
    "missing-key": """\
Something that has to be written is not there: a graph needs `latentgraph: 1`, `nodes` and `outputs`, and every node
needs a `type`.

wrong:
    decoded: {inputs: {latent: $sampled}}
right:
    decoded: {type: VAEDecode, inputs: {latent: $sampled}}
""",
    "bad-name": """\
Names of nodes, params and outputs begin with a letter or `_` and go on with letters, digits and `_`, because
references such as `$sampled.latent` are made of them. `params` is reserved.

wrong:
    nodes:
      2nd-pass: {type: KSampler}
right:
    nodes:
      second_pass: {type: KSampler}
""",
    "newer-format": """\
The number after `latentgraph:` says which version of the format a file is written in. This one is newer than this
release of latentgraph knows; every older one can be read. Update latentgraph to read the file.

wrong:
    latentgraph: 999
right:
    latentgraph: 1
""",
    "bad-expression": """\
What stands in `$( )` is a small expression over params: numbers, text in quotes, `+ - * / // %`, comparisons, and, or,
not, min, max, round. `+` joins texts, and nothing else does arithmetic with text. Division by zero and numbers that
grow out of bounds are errors too. Where `$(` is meant as text, write `$$(`.

wrong:
    width: $(params.width * "2")
right:
    width: $(params.width * 2)
""",
    "unknown-type": """\
No node type has this name. `latentgraph nodes` lists those there are. A type of your own, or one from a plugin, has to
be made known with `--nodes FILE_OR_FOLDER` or by installing the plugin; a graph file is a node type as `./file.yaml`.

wrong:
    decoded: {type: VaeDecoder, inputs: {latent: $sampled}}
right:
    decoded: {type: VAEDecode, inputs: {latent: $sampled}}
""",
    "refused-type": """\
There is such a node type, but whoever runs this server does not let graphs of others use it: because it reads or writes
files, or uses the network, or was excluded by name. `latentgraph serve --allow TYPE` lets them.

wrong:
    saved: {type: WriteAnywhere, inputs: {image: $decoded, path: "/srv/picture.png"}}
right:
    saved: {type: SaveImage, inputs: {image: $decoded}}
""",
    "over-limit": """\
The graph asks for more than this server does for one job: nodes, pixels of a picture, sampling steps. `GET /v1/server`
lists the limits, and `latentgraph serve --limit NAME=NUMBER` sets them.

wrong:
    canvas: {type: EmptyLatent, inputs: {model: $model.model, width: 100000, height: 100000}}
right:
    canvas: {type: EmptyLatent, inputs: {model: $model.model, width: 1024, height: 1024}}
""",
    "unknown-input": """\
The node type has no input of this name. `latentgraph nodes TYPE` shows its inputs. Inside `{ }` a comma ends a value:
unquoted text with a comma becomes a shorter text and an input that nobody meant.

wrong:
    wanted: {type: CLIPEncode, inputs: {clip: $model.clip, text: a red apple, studio light}}
right:
    wanted: {type: CLIPEncode, inputs: {clip: $model.clip, text: "a red apple, studio light"}}
""",
    "missing-input": """\
The node type has an input without a default, and the node gives it nothing. `latentgraph nodes TYPE` shows which
inputs need a value.

wrong:
    decoded: {type: VAEDecode, inputs: {latent: $sampled}}
right:
    decoded: {type: VAEDecode, inputs: {vae: $model.vae, latent: $sampled}}
""",
    "unknown-node": """\
A link names a node that the graph does not have. The order in which nodes are written does not matter, the name
does, in upper and lower case too. Text that begins with a dollar sign is written with two of them.

wrong:
    outputs:
      image: $decodde
right:
    outputs:
      image: $decoded
""",
    "unknown-output": """\
A link names an output that the node's type does not have. `latentgraph nodes TYPE` shows its outputs.

wrong:
    wanted: {type: CLIPEncode, inputs: {clip: $model.text_encoder, text: ""}}
right:
    wanted: {type: CLIPEncode, inputs: {clip: $model.clip, text: ""}}
""",
    "which-output": """\
A link names only the node, but the node's type has several outputs and declares none of them as its primary one. Say
which is meant.

wrong:
    wanted: {type: CLIPEncode, inputs: {clip: $model, text: ""}}
right:
    wanted: {type: CLIPEncode, inputs: {clip: $model.clip, text: ""}}
""",
    "unknown-param": """\
The graph declares no param of this name. Params are declared under `params`, each with a type and usually a default;
only declared ones can be used in the graph or set from outside.

wrong:
    params:
      seed: {type: int, default: 42}
    nodes:
      noise: {type: Noise, inputs: {seed: $params.sede}}
right:
    params:
      seed: {type: int, default: 42}
    nodes:
      noise: {type: Noise, inputs: {seed: $params.seed}}
""",
    "wrong-type": """\
A value is of another type than what is wanted here. Nothing is converted by guessing: a number where text is wanted
needs quotes, and `yes`, `no`, `on` and `off` are text, not bools. A whole number is fine where a float is wanted.

wrong:
    steps: twenty
right:
    steps: 20
""",
    "wrong-port": """\
A link joins an output to an input of another port type. Types have to be the same; what flows over links is never
converted unseen. `latentgraph nodes` shows the types, and the help names nodes of the graph that would fit.

wrong:
    decoded: {type: VAEDecode, inputs: {vae: $model.vae, latent: $model.clip}}
right:
    decoded: {type: VAEDecode, inputs: {vae: $model.vae, latent: $sampled}}
""",
    "text-as-value": """\
Text is written where only a link can give what is wanted, such as a Latent or an Image. Probably the dollar sign that
makes a name a link is missing.

wrong:
    decoded: {type: VAEDecode, inputs: {vae: $model.vae, latent: sampled}}
right:
    decoded: {type: VAEDecode, inputs: {vae: $model.vae, latent: $sampled}}
""",
    "out-of-range": """\
The value is smaller or larger than the input or the param allows. `latentgraph nodes TYPE` shows the limits of an
input; those of a param are its `min` and `max`.

wrong:
    inverted: {type: InvertImage, inputs: {image: $decoded, strength: 1.5}}
right:
    inverted: {type: InvertImage, inputs: {image: $decoded, strength: 1.0}}
""",
    "not-a-choice": """\
The input or param takes one of a few values, and this is none of them. Choices are spelled exactly as they are listed.

wrong:
    sampler: Euler
right:
    sampler: euler
""",
    "cycle": """\
Nodes depend on each other in a circle, so that none of them could be first. Data flows through a graph once; to do
something several times, use `foreach`, or one node after the other.

wrong:
    first:  {type: InvertImage, inputs: {image: $second}}
    second: {type: InvertImage, inputs: {image: $first}}
right:
    first:  {type: InvertImage, inputs: {image: $picture}}
    second: {type: InvertImage, inputs: {image: $first}}
""",
    "recursion": """\
A graph file uses itself as a node type, directly or through other graph files. It would never end.

wrong:
    again: {type: ./this_very_file.yaml}
right:
    large: {type: ./upscale.yaml}
""",
    "absent-branch": """\
Something needs a value that this run does not have: the node that would give it has a `when` that can be false, and
the input has no default that could stand in. Give both ways with `Switch`, or give the node that needs it the same
`when`.

wrong:
    large:   {type: UpscaleLatent, when: $params.hires, inputs: {latent: $sampled}}
    decoded: {type: VAEDecode, inputs: {vae: $model.vae, latent: $large}}
right:
    large:   {type: UpscaleLatent, when: $params.hires, inputs: {latent: $sampled}}
    chosen:  {type: Switch, inputs: {condition: $params.hires, then: $large, otherwise: $sampled}}
    decoded: {type: VAEDecode, inputs: {vae: $model.vae, latent: $chosen}}
""",
    "cannot-work": """\
The node type itself says that what it is given cannot work, as far as that can be told before anything runs: from the
values in the graph, from what other node types say of their outputs, and from the headers of files.

wrong:
    canvas: {type: EmptyLatent, inputs: {model: $model.model, width: 100, height: 64}}
right:
    canvas: {type: EmptyLatent, inputs: {model: $model.model, width: 104, height: 64}}
""",
    "faulty-type": """\
The node type has a mistake: what it runs while a graph is checked failed. Nothing in the graph can mend that. Tell
whoever made the node type, and leave the node away until then.

wrong:
    fancy: {type: FancyPlugin, inputs: {image: $decoded}}
right:
    plain: {type: InvertImage, inputs: {image: $decoded}}
""",
    "missing-file": """\
A file or a folder that is named does not exist or cannot be read. A relative path in a graph file is relative to
that file; one given on the command line is relative to the working folder.

wrong:
    picture: {type: LoadImage, inputs: {file: dgo.png}}
right:
    picture: {type: LoadImage, inputs: {file: dog.png}}
""",
    "unused-node": """\
No output needs this node, so it never runs. Use its result, remove it, or name it with `--target`.

wrong:
    nodes:
      decoded:  {type: VAEDecode, inputs: {vae: $model.vae, latent: $sampled}}
      inverted: {type: InvertImage, inputs: {image: $decoded}}
    outputs:
      image: $decoded
right:
    outputs:
      image: $inverted
""",
    "unused-param": """\
The graph declares this param, but nothing uses it, so setting it changes nothing.

wrong:
    params:
      steps: {type: int, default: 20}
    nodes:
      sampled: {type: KSampler, inputs: {steps: 20}}
right:
    params:
      steps: {type: int, default: 20}
    nodes:
      sampled: {type: KSampler, inputs: {steps: $params.steps}}
""",
}
