"""A captioned data set drawn from emoji artwork: objects on coloured backgrounds, in pairs, and animals dressed up.

The artwork is a folder in the layout of the npm package `emoji-datasource-google`: `emoji.json`, which names the
pictures, and `img/google/64/*.png`, 64 by 64 pixels with transparency.
"""

import io
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image as Pillow

from latentgraph.engine.node import Wrong
from latentgraph.engine.ports import Folder

SIZE = 64

BACKGROUNDS: Mapping[str, tuple[int, int, int]] = {
    "red": (214, 38, 38),
    "orange": (255, 136, 17),
    "yellow": (253, 219, 58),
    "green": (48, 160, 72),
    "blue": (46, 92, 214),
    "purple": (128, 56, 178),
    "pink": (252, 156, 200),
    "white": (255, 255, 255),
    "black": (14, 14, 16),
    "gray": (134, 134, 134),
}


@dataclass(frozen=True)
class Face:
    """Where an animal's face takes accessories, in pixels of the 64 pixel picture."""

    eyes_x: float
    eyes_y: float
    eyes_distance: float
    top: float


@dataclass(frozen=True)
class Thing:
    """An emoji that can be drawn: its short name in the artwork, the noun of its captions, its face if it has one."""

    short_name: str
    noun: str
    face: Face | None = None


THINGS = (
    Thing("apple", "red apple"),
    Thing("green_apple", "green apple"),
    Thing("banana", "banana"),
    Thing("tangerine", "orange fruit"),
    Thing("lemon", "lemon"),
    Thing("watermelon", "slice of watermelon"),
    Thing("strawberry", "strawberry"),
    Thing("cherries", "pair of cherries"),
    Thing("pineapple", "pineapple"),
    Thing("carrot", "carrot"),
    Thing("mushroom", "mushroom"),
    Thing("hamburger", "hamburger"),
    Thing("doughnut", "doughnut"),
    Thing("icecream", "ice cream cone"),
    Thing("coffee", "cup of coffee"),
    Thing("dog", "dog face", Face(32, 33, 20, 10)),
    Thing("cat", "cat face", Face(31.5, 33, 25, 13)),
    Thing("rabbit", "rabbit face", Face(31, 38, 16, 24)),
    Thing("fox_face", "fox face", Face(31, 36, 16, 16)),
    Thing("bear", "bear face", Face(31, 30, 22, 6)),
    Thing("panda_face", "panda face", Face(31.5, 33, 23, 8)),
    Thing("koala", "koala face", Face(31.5, 33, 21, 12)),
    Thing("lion_face", "lion face", Face(31, 24, 16, 4)),
    Thing("pig", "pig face", Face(30, 34, 26, 9)),
    Thing("frog", "frog face", Face(31, 21, 30, 12)),
    Thing("monkey_face", "monkey face", Face(30.5, 30, 15, 9)),
    Thing("butterfly", "butterfly"),
    Thing("ladybug", "ladybug"),
    Thing("penguin", "penguin"),
    Thing("baby_chick", "chick"),
    Thing("cactus", "cactus"),
    Thing("sunflower", "sunflower"),
    Thing("evergreen_tree", "pine tree"),
    Thing("maple_leaf", "maple leaf"),
    Thing("car", "red car"),
    Thing("blue_car", "blue car"),
    Thing("bus", "bus"),
    Thing("rocket", "rocket"),
    Thing("boat", "sailboat"),
    Thing("house", "house"),
    Thing("umbrella", "umbrella"),
    Thing("soccer", "soccer ball"),
    Thing("basketball", "basketball"),
    Thing("gift", "gift box"),
    Thing("balloon", "balloon"),
    Thing("heart", "red heart"),
    Thing("star", "star"),
    Thing("ghost", "ghost"),
    Thing("jack_o_lantern", "pumpkin"),
    Thing("snowman_without_snow", "snowman"),
    Thing("crown", "crown"),
    Thing("tophat", "top hat"),
    Thing("eyeglasses", "pair of glasses"),
)

PAIRED = (
    "apple", "banana", "lemon", "strawberry", "carrot", "mushroom", "doughnut", "dog", "cat", "frog",
    "penguin", "cactus", "sunflower", "car", "rocket", "house", "soccer", "gift", "heart", "star",
)  # fmt: skip

ACCESSORIES: Mapping[str, str] = {
    "glasses": "eyeglasses",
    "sunglasses": "dark_sunglasses",
    "a top hat": "tophat",
    "a crown": "crown",
}

OBJECTS = {thing.short_name: thing for thing in THINGS}


@dataclass(frozen=True)
class Scene:
    """What a picture shows: one thing, two things side by side, or an animal with an accessory."""

    background: str
    things: tuple[str, ...]
    accessory: str | None = None

    @property
    def kind(self) -> str:
        return "dressed" if self.accessory else "pair" if len(self.things) == 2 else "single"


def article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def captions(scene: Scene) -> tuple[str, ...]:
    """Every wording that describes the scene; the first is the plain one."""
    nouns = [OBJECTS[name].noun for name in scene.things]
    what = " and ".join(article(noun) for noun in nouns)
    if scene.accessory:
        what += f" with {scene.accessory}"
    where = article(scene.background)
    return (
        f"{what} on {where} background",
        f"a photo of {what} on {where} background",
        f"a picture of {what} on {where} background",
        f"{what}, {scene.background} background",
        f"{where} background with {what}",
        f"{what} in front of {where} background",
        f"{what.partition(' ')[2]} on {scene.background}",
        f"{what}",
        f"a photo of {what}",
        f"{what.partition(' ')[2]}",
    )


@dataclass(frozen=True)
class KeptOut:
    """What training never sees, so that it can be asked for afterwards."""

    things: frozenset[tuple[str, str]]
    accessories: frozenset[tuple[str, str]]

    def has(self, scene: Scene) -> bool:
        on_background = any((thing, scene.background) in self.things for thing in scene.things)
        return on_background or (scene.things[0], scene.accessory or "") in self.accessories

    @classmethod
    def parse(cls, text: str) -> "KeptOut":
        """Read lines `thing, background` and `animal, accessory`; `#` begins a comment.

        Raises ValueError for a line that names neither.
        """
        things, accessories = set(), set()
        for number, line in enumerate(text.splitlines(), 1):
            line = line.partition("#")[0].strip()
            if not line:
                continue
            thing, _, other = (part.strip() for part in line.partition(","))
            if thing not in OBJECTS or (other not in BACKGROUNDS and other not in ACCESSORIES):
                raise ValueError(f"line {number} of the kept-out list, `{line}`, names no thing and background")
            (things if other in BACKGROUNDS else accessories).add((thing, other))
        return cls(frozenset(things), frozenset(accessories))


@dataclass(frozen=True)
class Allowed:
    """The things and the backgrounds that scenes may have; all where none are named."""

    things: frozenset[str] = frozenset()
    backgrounds: frozenset[str] = frozenset()

    def has(self, scene: Scene) -> bool:
        things = not self.things or self.things >= set(scene.things)
        return things and (not self.backgrounds or scene.background in self.backgrounds)

    @classmethod
    def checked(cls, things: Sequence[str], backgrounds: Sequence[str]) -> "Allowed":
        """Raises Wrong for a name that is none."""
        for field, names, known in (("things", things, OBJECTS), ("backgrounds", backgrounds, BACKGROUNDS)):
            for name in names:
                if name not in known:
                    raise Wrong(field, f"there is no `{name}`, but {', '.join(known)}")
        return cls(frozenset(things), frozenset(backgrounds))


class Artwork:
    """The pictures of an emoji folder, by short name."""

    def __init__(self, folder: Folder):
        """Raises FileNotFoundError where the folder lacks the list or one of the pictures."""
        listed = {entry["short_name"]: entry["image"] for entry in json.loads(folder["emoji.json"].read())}
        self._pictures = {}
        for name in sorted({*OBJECTS, *ACCESSORIES.values()}):
            with Pillow.open(io.BytesIO(folder[f"img/google/64/{listed[name]}"].read())) as picture:
                self._pictures[name] = picture.convert("RGBA")

    def __getitem__(self, short_name: str) -> Pillow.Image:
        return self._pictures[short_name]


def _scaled(picture: Pillow.Image, size: float) -> Pillow.Image:
    side = max(1, round(size))
    premultiplied = picture.convert("RGBa").resize((side, side), Pillow.Resampling.LANCZOS)
    return premultiplied.convert("RGBA")


def _dressed(artwork: Artwork, animal: str, accessory: str) -> Pillow.Image:
    """A 64 pixel picture of the animal wearing the accessory."""
    face = OBJECTS[animal].face
    assert face is not None
    worn = artwork[ACCESSORIES[accessory]]
    canvas = Pillow.new("RGBA", (SIZE, SIZE))
    if accessory in ("glasses", "sunglasses"):
        size = min(62.0, max(40.0, face.eyes_distance * 2.35))
        worn = _scaled(worn, size)
        canvas.alpha_composite(artwork[animal])
        box = worn.getbbox() or (0, 0, worn.width, worn.height)
        left = round(face.eyes_x - (box[0] + box[2]) / 2)
        top = round(face.eyes_y - (box[1] + box[3]) / 2)
        canvas.alpha_composite(worn.crop(box), (max(0, left + box[0]), max(0, top + box[1])))
        return canvas
    shrunk = 50 / SIZE
    animal_picture = _scaled(artwork[animal], 50)
    left, top = (SIZE - 50) // 2, SIZE - 50
    canvas.alpha_composite(animal_picture, (left, top))
    worn = _scaled(worn, 34)
    box = worn.getbbox() or (0, 0, worn.width, worn.height)
    worn = worn.crop(box)
    x = round(left + face.eyes_x * shrunk - worn.width / 2)
    y = round(top + (face.top + 5) * shrunk - worn.height)
    canvas.alpha_composite(worn, (max(0, x), max(0, y)))
    return canvas


def draw(scene: Scene, artwork: Artwork, chance: random.Random) -> Pillow.Image:
    """The scene as a 64 by 64 RGB picture, sizes and places varied a little."""
    canvas = Pillow.new("RGBA", (SIZE, SIZE), (*BACKGROUNDS[scene.background], 255))
    if scene.kind == "pair":
        for name, centre in zip(scene.things, (16.5, 47.5), strict=True):
            picture = _scaled(artwork[name], 30 + chance.uniform(-1, 1))
            x = round(centre - picture.width / 2 + chance.uniform(-1, 1))
            y = round(SIZE / 2 - picture.height / 2 + chance.uniform(-1, 1))
            canvas.alpha_composite(picture, (max(0, x), max(0, y)))
    else:
        source = _dressed(artwork, scene.things[0], scene.accessory) if scene.accessory else artwork[scene.things[0]]
        size = (58 if scene.accessory else 53) + chance.uniform(-1.5, 1.5)
        picture = _scaled(source, size)
        x = round((SIZE - picture.width) / 2 + chance.uniform(-1, 1))
        y = round((SIZE - picture.height) / 2 + chance.uniform(-1, 1))
        canvas.alpha_composite(picture, (max(0, x), max(0, y)))
    return canvas.convert("RGB")


def all_scenes(kind: str) -> list[Scene]:
    """Every scene of a kind, `single`, `pair` or `dressed`, in a fixed order."""
    if kind == "single":
        return [Scene(b, (t.short_name,)) for t in THINGS for b in BACKGROUNDS]
    if kind == "pair":
        return [Scene(b, (one, two)) for one in PAIRED for two in PAIRED if one != two for b in BACKGROUNDS]
    animals = [thing.short_name for thing in THINGS if thing.face]
    return [Scene(b, (animal,), worn) for animal in animals for worn in ACCESSORIES for b in BACKGROUNDS]


def training_scenes(
    kept_out: KeptOut, count: int, shares: Mapping[str, float], chance: random.Random, allowed_ones: Allowed
) -> list[Scene]:
    """`count` scenes without those kept out; each kind has its share, and within it all come equally often."""
    scenes: list[Scene] = []
    counts = {kind: round(count * share / sum(shares.values())) for kind, share in shares.items()}
    counts[max(counts, key=lambda kind: counts[kind])] += count - sum(counts.values())
    for kind, wanted in counts.items():
        allowed = [scene for scene in all_scenes(kind) if allowed_ones.has(scene) and not kept_out.has(scene)]
        if wanted > 0 and not allowed:
            raise ValueError(f"every scene of the kind `{kind}` is kept out: set `{kind}` to 0 to do without")
        while wanted > 0:
            chance.shuffle(allowed)
            scenes += allowed[:wanted]
            wanted -= len(allowed)
    chance.shuffle(scenes)
    return scenes


def evaluation_scenes(kept_out: KeptOut, counts: Mapping[str, int], repeats: int, seed: int) -> list[tuple[Scene, str]]:
    """Scenes with the group that each belongs to; the things of a group come as equally often as can be."""
    chance = random.Random(seed)

    def some(kind: str, count: int) -> list[Scene]:
        scenes = [scene for scene in all_scenes(kind) if not kept_out.has(scene)]
        chance.shuffle(scenes)
        # The first of each thing (or animal and accessory) come before the second of any.
        turn: dict[tuple[object, ...], int] = {}
        order = []
        for scene in scenes:
            key = (scene.things[0], scene.accessory)
            turn[key] = turn.get(key, 0) + 1
            order.append(turn[key])
        return [scene for _, scene in sorted(zip(order, scenes, strict=True), key=lambda pair: pair[0])][:count]

    unseen = [Scene(background, (thing,)) for thing, background in sorted(kept_out.things)]
    animals = sorted(kept_out.accessories)
    backgrounds = [b for b in BACKGROUNDS if not any((animal, b) in kept_out.things for animal, _ in animals)]
    dressed = [Scene(b, (animal,), worn) for animal, worn in animals for b in backgrounds[:5]]
    return [
        *((scene, "seen") for scene in some("single", counts["seen"])),
        *((scene, "kept out") for scene in unseen * repeats),
        *((scene, "dressed") for scene in some("dressed", counts["dressed"])),
        *((scene, "dressed, kept out") for scene in dressed * repeats),
        *((scene, "pairs") for scene in some("pair", counts["pairs"])),
    ]
