"""Writes graphs that are almost right, at random: to find out what the loader and the checker make of them."""

# ruff: noqa: E501 (tables of what to write)

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

MANY = "9" * 400

SCALARS = [
    "", "~", "null", "true", "FALSE", "yes", "off", "0", "-0", "1", "-1", "7", "010", "0x1f", "0b11", "0o17", "1_000", "1e3", "1.10",
    "1e309", "-1e-400", ".inf", "-.inf", ".nan", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "1" * 99, "-" + "1" * 99, "1" * 101, MANY, "1" * 5000, "0." + "3" * 90, "1e99", "1e308", "16:9", "2024-01-01", "<<", "=", "$", "$$", "$$$",
    "$(", "$()", "$(1", "$(1/0)", "$(1//0)", "$(1%0)", "$(2*3)", "$(params.i + 1)", "$(params.f * 2)", "$(params.s)", "$(params.b and true)",
    "$(params.missing)", "$(params.l)", "$(params.l.0)", "a $(params.i) b", "$$(params.i)", "$params", "$params.", "$params.i", "$params.i.0",
    "$params.l", "$params.l.0", "$params.l.1.2", "$params.l.99999999999999999999", "$params.l.٣", "$params.ll.0.0", "$params.file",
    "$params.missing", "$missing", "$n0", "$n0.0", "$n1", "$n1.left", "$n2.value.0", "$n3.0", "$n3.-1", "$n0.²", "$Ünicode", "${n0}", "{{n0}}",
    "$(9223372036854775807 * 9223372036854775807)", "$(1e308 * 10)", "$(-9223372036854775808 // -1)", "$(round(1e300))", "$(round(params.f, 999999999999))",
    "$(round(9223372036854775807, -400))", "$(max(params.i, 0.5))", "$(min(1))", "$('a' < 1)", "$(not 1)", "$('it''s' + \"x\")", "$(1 < 2 < 3)",
    "$(2 ** 99)", "$(params.i.0)", "$(1e999)", "$(٣ + 1)", "$(params.ö)", "$(0.1 % 0.0)", "$(5 // 0.0)", "$(5e-324 // 1e308)",
    "random", "~/x", "/", "/dev/null", "/dev/zero", ".", "..", "./", "../", "./graph.yaml", "./one.yaml", "./absent.yaml", "./broken.yaml", "./bytes.yaml",
    "./loop.yaml", "./folder.yaml", "./other.yaml", "/one.yaml", "one.yaml", "./ONE.yaml", "./one.yaml/../one.yaml", "a.txt", "a.txt/b", "x" * 300,
    "./" + "d/" * 3000 + "x.yaml", "int", "[int]", "File", "Picture", "Number", "Switch", "Sum", "Node", "params", "inputs", "__init__",
    "*a", "*missing", "&a x", "&a", "!!python/object:os.system x", "!tag", "!!int 3", "!<x> y", "! x", "? x", "- x", "-", "|", ">", "|-\n  text\n  more",
    ">+9\n x", "|\n", "'", '"', "''", '""', "'a", '"\\x00"', '"\\ud800"', '"\\U0010ffff"', '"\\q"', '"\\0"', '"a\\nb"', '"\\u2028"', "\t", "\tx", "a\tb",
    "\0", "\x07", "\x1b[31m", "\x7f", "\x85", "\u2028", "\u200d", "\u202e", "\ufeff", "\ufffe", "é", "한 마리 개", "👩‍👩‍👧", "a" * 5000, "a " * 5000, "#", " #", "a # b",
    "a #b", "%", "%YAML 1.1", "@x", "`x`", ",", ":", ": ", "a: b", "a: b: c", "::", "]", "}", "[", "{", "[]", "{}", "[[]]", "[{}]", "{[]: 1}", "{? a : b}",
    "[1, 2, 3]", "[1, a, 2.5]", "[null]", "[[1], [2]]", "[" * 30 + "]" * 30, "[" * 70 + "]" * 70, "{a: " * 30 + "1" + "}" * 30, "[" * 3000, "{" * 3000, "- " * 500,
    "---", "--- x", "...", "--- \n---\n", "<<: *a", "{<<: [*a, *a]}", "{<<: x}", "{a: 1, a: 2}", "[*a, *a]",
]  # fmt: skip
"""What to write in place of a value: what YAML, numbers, paths, references and expressions trip over."""

KEYS = [
    "latentgraph", "description", "params", "nodes", "outputs", "type", "inputs", "when", "foreach", "zip", "timeout", "retry", "default", "min", "max",
    "choices", "value", "a", "b", "numbers", "text", "picture", "condition", "then", "otherwise", "file", "i", "f", "s", "l", "n0", "n1", "n2", "n3", "x-a", "<<",
    "params.i", "0", "-1", "ü", "", "a b", "٣", "__class__", "self", "context", "run", "model_fields", "'q'", "? q", "*a", "&a k", "[1]", "{}", "k" * 300, "type ",
]  # fmt: skip

TYPES = {
    "Number": {"value": "int"},
    "Add": {"a": "float", "b": "float"},
    "Total": {"numbers": "list"},
    "Count": {"upto": "int"},
    "Paint": {"text": "str", "brush": "brush", "size": "size"},
    "Cook": {},
    "Follow": {"recipe": "Recipe"},
    "Frame": {"picture": "Picture", "caption": "str"},
    "Split": {"picture": "Picture"},
    "Load": {"file": "file"},
    "Draw": {"text": "str", "model": "file"},
    "Scratch": {"text": "str"},
    "./one.yaml": {"i": "int", "s": "str", "b": "bool"},
    "./two.yaml": {"i": "int", "list": "list"},
    "Switch": {"condition": "bool", "then": "int", "otherwise": "int"},
}
GIVES = {
    "Number": {"": "int"}, "Add": {"": "float"}, "Total": {"": "float"}, "Count": {"": "list", ".0": "int"}, "Paint": {"": "Picture"}, "Cook": {"": "Recipe"},
    "Follow": {"": "Picture"}, "Frame": {"": "Picture"}, "Split": {".left": "Picture", ".right": "Picture"}, "Load": {"": "Picture"}, "Draw": {"": "Drawing"},
    "Scratch": {"": "str"}, "./one.yaml": {".number": "int", ".picture": "Picture"}, "./two.yaml": {".all": "list", ".one": "int", ".total": "float"}, "Switch": {"": "int"},
}  # fmt: skip

ONE = """\
latentgraph: 1
params:
  i: {type: int, default: 1, min: 0, max: 1000000}
  s: {type: str, default: "text"}
  b: {type: bool, default: true}
nodes:
  number: {type: Number, inputs: {value: $(params.i * 2)}}
  picture: {type: Paint, when: $params.b, inputs: {text: "a $(params.s)"}}
outputs:
  number: $number
  picture: $picture
"""

TWO = """\
latentgraph: 1
params:
  i: {type: int, default: 3}
  list: {type: [float], default: [1, 2], min: 0, max: 100}
nodes:
  each: {type: ./one.yaml, foreach: {i: [1, $params.i]}}
  counted: {type: Count, inputs: {upto: $params.i}}
  total: {type: Total, inputs: {numbers: $params.list}}
  chosen: {type: Switch, inputs: {condition: "$(params.i > 2)", then: $each.number.0, otherwise: $params.i}}
outputs:
  all: $counted
  one: $chosen
  total: $total
"""

LOOP = """\
latentgraph: 1
params: {i: {type: int, default: 1}}
nodes:
  again: {type: ./loop.yaml, inputs: {i: $params.i}}
  other: {type: ./graph.yaml}
outputs: {number: $again.number}
"""

FILES = {
    "one.yaml": ONE.encode(),
    "two.yaml": TWO.encode(),
    "loop.yaml": LOOP.encode(),
    "broken.yaml": b"latentgraph: 1\nparams: {i: {type: int, default: x}, q: 3}\nnodes: {a: {type: Nmber}, b: [}\n",
    "bytes.yaml": b"latentgraph: 1\n\xff\xfe\x00",
    "a.txt": b"some bytes\x00\xff",
}
"""What stands beside the graph."""


@dataclass
class Map:
    """A mapping in which a key may stand twice."""

    entries: list[tuple[str, Any]] = field(default_factory=list)


class Author:
    """Writes one graph after the other; `random` says which."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.links: dict[str, list[str]] = {}

    def graph(self, mistakes: int) -> bytes:
        """The text of a graph with so many mistakes in its tree and, more seldom, in its characters and bytes."""
        root = self.tree()
        for _ in range(mistakes):
            self.mistake(root)
        text = self.block(root, 0)
        if mistakes and self.random.random() < 0.3:
            text = self.misspelt(text)
        content = text.encode("utf-8", "surrogatepass")
        return self.damaged(content, 2) if mistakes and self.random.random() < 0.1 else content

    # a graph that is right, mostly

    def tree(self) -> Map:
        random = self.random
        params = Map([
            ("i", Map([("type", "int"), ("default", random.choice(["1", "0", "5", "random", "null"])), ("min", "0"), ("max", "10")])),
            ("f", Map([("type", "float"), ("default", random.choice(["1", "0.5", "1e3"]))])),
            ("s", Map([("type", "str"), ("default", '"a text"'), *([("choices", ['"a text"', "b"])] if self.may(3) else [])])),
            ("b", Map([("type", "bool"), ("default", random.choice(["true", "false"]))])),
            ("l", Map([("type", ["int"]), ("default", ["1", "2", "3"][: random.randrange(4)])])),
            ("ll", Map([("type", [["float"]]), ("default", [["1", "2"], []])])),
            ("file", Map([("type", "File"), ("default", "a.txt")])),
        ])  # fmt: skip
        params.entries = [entry for entry in params.entries if not self.may(4)]
        self.links = {
            "int": ["$params.i", "$params.l.0", '"$(params.i + 1)"', "1", "7"], "float": ["$params.f", "$params.i", "$(params.f * 2)", "2.5", "3"],
            "str": ["$params.s", '"a $(params.s)"', '"text"', "plain"], "bool": ["$params.b", '"$(params.i > 2)"', "true", "false"],
            "list": ["$params.l", "$params.ll.0"], "Picture": [], "Recipe": [], "Drawing": [], "file": ["$params.file", "a.txt"],
            "brush": ["round", "flat", "$params.s"], "size": ["1", "8", "$params.i"],
        }  # fmt: skip
        nodes = Map()
        for index in range(random.randrange(1, 9)):
            self.node(f"n{index}", nodes)
        given = [
            link
            for kind in ("Picture", "Drawing", "int", "float", "list")
            for link in self.links[kind]
            if link[:2] == "$n"
        ]
        outputs = Map([(f"o{index}", random.choice(given or ["$n0"])) for index in range(random.randrange(1, 4))])
        root = Map([("latentgraph", "1"), ("params", params), ("nodes", nodes), ("outputs", outputs)])
        if self.may(4):
            root.entries.insert(1, ("x-a", random.choice(["&a {value: 3}", "&a [1, 2]", "&a text", "&a $params.i"])))
        return root

    def node(self, name: str, nodes: Map) -> None:
        kind = self.random.choice(list(TYPES))
        inputs, foreach = Map(), Map()
        for wanted, type_name in TYPES[kind].items():
            if not self.links[type_name] or (self.may(5) and wanted in ("b", "caption", "size")):
                continue
            if self.may(8):
                foreach.entries.append((wanted, self.several(type_name)))
            else:
                inputs.entries.append(
                    (wanted, self.several("float") if type_name == "list" and self.may(2) else self.value(type_name))
                )
        node = Map([("type", kind), ("inputs", inputs)])
        if foreach.entries:
            node.entries.append(("foreach", Map([("zip", foreach)]) if self.may(3) else foreach))
        if self.may(6):
            node.entries.append(("when", self.value("bool")))
        if self.may(12):
            node.entries.append(self.random.choice([("timeout", "3.5"), ("retry", "2")]))
        nodes.entries.append((name, node))
        for output, type_name in GIVES[kind].items():
            if not foreach.entries:
                self.links[type_name].append(f"${name}{output}")
            elif type_name in ("int", "float"):
                self.links["list"].append(f"${name}{output}")
                self.links[type_name].append(f"${name}{output}.0")

    def value(self, type_name: str) -> str:
        return self.random.choice(self.links[type_name])

    def several(self, type_name: str) -> Any:
        values = [self.value(type_name) for _ in range(self.random.choice([0, 1, 2, 2, 3, 20]))]
        return self.value("list") if type_name in ("int", "float") and self.may(3) else values

    def may(self, times: int) -> bool:
        """True once in so many times."""
        return self.random.randrange(times) == 0

    # mistakes

    def mistake(self, root: Map) -> None:
        random = self.random
        holders = list(_holders(root))
        holder = random.choice(holders)
        if isinstance(holder, list):
            index = random.randrange(len(holder) + 1)
            if index < len(holder) and self.may(2):
                holder[index] = self.anything(holders)
            else:
                holder[index:index] = [self.anything(holders)] * random.choice([1, 1, 2, 20])
            return
        entries = holder.entries
        index = random.randrange(len(entries)) if entries else 0
        match random.randrange(8) if entries else 7:
            case 0:
                del entries[index]
            case 1:
                entries.append(entries[index])
            case 2:
                entries[index] = random.choice(KEYS), entries[index][1]
            case 3 | 4 | 5:
                entries[index] = entries[index][0], self.anything(holders)
            case 6:
                key, value = entries[index]
                entries[index] = key, random.choice([[value], Map([(random.choice(KEYS), value)]), [[value] * 3] * 3])
            case _:
                entries.insert(index, (random.choice(KEYS), self.anything(holders)))

    def anything(self, holders: list[Any]) -> Any:
        random = self.random
        match random.randrange(10):
            case 0:
                return random.choice(KEYS)
            case 1:
                return [random.choice(SCALARS) for _ in range(random.randrange(4))]
            case 2:
                return Map([(random.choice(KEYS), random.choice(SCALARS)) for _ in range(random.randrange(4))])
            case 3:
                # A copy: what holds itself would have no end.
                return _copied(random.choice(holders))
            case 4:
                return self.expression()
            case 5:
                return json.dumps(random.choice(SCALARS))
            case _:
                return random.choice(SCALARS)

    def expression(self) -> str:
        random = self.random
        words = ["1", "0", "2.5", "1e308", "'a'", "params.i", "params.f", "params.s", "params.b", "params.x", "(", ")", "-", "not", "+", "*", "/", "//",
                 "%", "<", "==", "and", "or", "min(", "max(", "round(", ",", "9223372036854775807", "$", "'", "\u00b2"]  # fmt: skip
        if self.may(2):
            inner = " ".join(random.choice(words) for _ in range(random.choice([1, 3, 5, 9, 300])))
        else:
            inner = random.choice(words[:10])
            for _ in range(random.randrange(8)):
                other = random.choice(words[:10])
                inner = random.choice(
                    [
                        f"{inner} {random.choice(words[14:22])} {other}",
                        f"({inner})",
                        f"-{inner}",
                        f"round({inner}, {other})",
                        f"max({inner}, {other})",
                    ]
                )
        text = random.choice(["$({})", "a $({}) b", "$$({})", "$({}", "$({})$({})"]).replace("{}", inner)
        return random.choice([text, json.dumps(text)])

    def misspelt(self, text: str) -> str:
        """A text with some characters of it moved, repeated, left out, or replaced."""
        random = self.random
        for _ in range(random.randrange(1, 4)):
            start = random.randrange(len(text) + 1)
            end = min(len(text), start + random.choice([0, 1, 1, 2, 10, 100]))
            part = text[start:end]
            middle = random.choice(
                [
                    "",
                    part * 2,
                    part * 50,
                    part[::-1],
                    random.choice(SCALARS),
                    random.choice(KEYS),
                    "\n",
                    "\r",
                    "\r\n",
                    "\t",
                    " ",
                    ": ",
                    "#",
                    part.swapcase(),
                ]
            )
            text = text[:start] + middle + text[end:]
        return text

    def damaged(self, content: bytes, most: int = 6) -> bytes:
        """Bytes with some of them changed, cut out, or put elsewhere."""
        random = self.random
        for _ in range(random.randrange(1, most + 1)):
            start = random.randrange(len(content) + 1)
            end = min(len(content), start + random.choice([0, 1, 1, 1, 3, 30, 300]))
            other = random.randrange(len(content) + 1)
            middle = random.choice([
                b"", bytes([random.randrange(256)]), bytes(random.randrange(256) for _ in range(4)), content[other : other + 40], content[start:end] * 3,
                random.choice(SCALARS).encode("utf-8", "surrogatepass"), random.choice([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xf4\x90\x80\x80", b"\0"]),
            ])  # fmt: skip
            content = content[:start] + middle + content[end:]
        return content

    # YAML

    def block(self, value: Any, indent: int) -> str:
        if self.may(6) and indent > 2:
            return self.flow(value)
        pad = "\n" + " " * indent
        if isinstance(value, Map) and value.entries:
            text = "".join(f"{pad}{key}: {self.block(inner, indent + 2)}" for key, inner in value.entries)
            return text[1:] + "\n" if indent == 0 else text
        if isinstance(value, list) and value and self.may(3):
            return "".join(f"{pad}- {self.flow(inner)}" for inner in value)
        return self.flow(value)

    def flow(self, value: Any) -> str:
        if isinstance(value, Map):
            return "{" + ", ".join(f"{key}: {self.flow(inner)}" for key, inner in value.entries) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(self.flow, value)) + "]"
        return str(value)


def _holders(value: Any) -> Any:
    """The mappings and lists in a tree."""
    if isinstance(value, Map):
        yield value
        for _, inner in value.entries:
            yield from _holders(inner)
    elif isinstance(value, list):
        yield value
        for inner in value:
            yield from _holders(inner)


def _copied(value: Any) -> Any:
    if isinstance(value, Map):
        return Map([(key, _copied(inner)) for key, inner in value.entries])
    return [_copied(inner) for inner in value] if isinstance(value, list) else value
