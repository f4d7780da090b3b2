"""The judge tells what pictures show by texts, and what is no judge, or says nothing that is seen, is refused."""

import json
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from latentgraph.engine import Context, File, Folder
from latentgraph.engine.node import Wrong
from latentgraph.nodes.diffusion.numerics import seeded
from latentgraph.nodes.ports import Image
from latentgraph.nodes.training.classifiers import JudgePictures, LoadJudge
from latentgraph.nodes.training.data import Dataset, Judge
from latentgraph.nodes.training.datasets import EmojiScenes
from latentgraph.nodes.training.emoji import all_scenes, captions
from latentgraph.nodes.training.judge import loaded, new_judge
from latentgraph.nodes.training.nodes import TrainJudge
from latentgraph.nodes.training.seen import Said, said

GRAPHS = Path(__file__).parents[2] / "graphs"
SHIPPED = Folder.at(GRAPHS / "examples" / "judge")


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Pictures that the shipped judge did not learn from: the same scenes, in other sizes and places."""
    artwork = Folder.at(GRAPHS / "train" / "emoji")
    return EmojiScenes(artwork=artwork, count=300, seed=77).run(Context())


@pytest.fixture(scope="module")
def judge() -> Judge:
    return LoadJudge(folder=SHIPPED).run(Context())


def test_every_caption_of_the_data_set_is_read_back_as_what_it_says():
    for kind in ("single", "pair", "dressed"):
        for scene in all_scenes(kind)[::7]:
            for index, caption in enumerate(captions(scene)):
                things, background = scene.things, scene.background if index < 7 else None
                assert said(caption) == Said(things, background, scene.accessory), caption


def test_a_part_of_a_caption_says_only_that():
    assert said("glasses") == Said(accessory="glasses")
    assert said("Dog with glasses") == Said(("dog",), accessory="glasses")
    assert said("blue") == said("blue background") == Said(background="blue")
    assert said("fox_face") == said("fox") == Said(("fox_face",))
    assert said("a crown") == Said(("crown",))
    assert said("dog with crown") == Said(("dog",), accessory="a crown")
    assert said("a blue background with a crown") == Said(("crown",), "blue")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a dog and a wizard", "`wizard` in `a dog and a wizard` is nothing that is seen or not"),
        ("", "`` says nothing that is seen"),
        ("a dog, a cat and a frog", "says 3 times which thing; a scene has 2 at most"),
        ("dog " * 300, "a text has 1,200 characters, and 1,000 at most are read"),
    ],
)
def test_words_that_are_not_seen_in_scenes_are_refused(text: str, message: str, judge: Judge):
    with pytest.raises(Wrong, match=message) as caught:
        JudgePictures(judge=judge, images=Image(torch.zeros(1, 3, 64, 64)), shown=text).run(Context())
    assert caught.value.input == "shown"


def test_the_shipped_judge_sees_what_pictures_show(judge: Judge, data: Dataset):
    pictures = Image(data.images.float().div(255))
    plain = tuple(options[0] for options in data.captions)
    told = JudgePictures(judge=judge, images=pictures, shown=plain).run(Context())
    assert told.share >= 0.97
    assert told.share == sum(told.right) / 300
    same = [seen == caption for seen, caption in zip(told.seen, plain, strict=True)]
    assert all(told.right[index] for index, alike in enumerate(same) if alike)
    glasses = [shown["accessory"] == "glasses" for shown in data.shown]
    found = JudgePictures(judge=judge, images=pictures, shown="glasses").run(Context()).right
    assert sum(wanted == got for wanted, got in zip(glasses, found, strict=True)) >= 297


def test_what_is_said_decides_and_more_may_be_seen(judge: Judge, data: Dataset):
    dressed = next(index for index, shown in enumerate(data.shown) if shown["accessory"] == "glasses")
    picture = Image(data.images[dressed : dressed + 1].float().div(255))
    animal = data.captions[dressed][-1].removesuffix(" with glasses")
    for text, right in ((animal, True), ("glasses", True), ("a top hat", False), (f"{animal} with a crown", False)):
        assert JudgePictures(judge=judge, images=picture, shown=text).run(Context()).right == (right,), text


def test_texts_and_pictures_have_to_be_equally_many_and_pictures_of_its_size(judge: Judge):
    pictures = Image(torch.zeros(3, 3, 64, 64))
    with pytest.raises(Wrong, match="2 texts for 3 pictures"):
        JudgePictures(judge=judge, images=pictures, shown=("glasses", "dog")).run(Context())
    with pytest.raises(Wrong, match="128 by 64, and the judge learned 64 by 64"):
        JudgePictures(judge=judge, images=Image(torch.zeros(1, 3, 64, 128)), shown="dog").run(Context())
    with pytest.raises(Wrong, match="have opacity"):
        JudgePictures(judge=judge, images=Image(torch.zeros(1, 4, 64, 64)), shown="dog").run(Context())


def test_a_trained_judge_is_the_same_from_its_folder(data: Dataset):
    trained = TrainJudge(data=data, held_back=8, steps=1, batch_size=2).run(Context()).judge
    again = LoadJudge(folder=trained.folder).run(Context())
    assert again == trained
    assert {value.dtype for value in load(again.folder["judge.safetensors"].read()).values()} == {torch.float16}
    assert {value.dtype for value in loaded(again).state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "it has no attributes.json and no judge.safetensors"),
        ({"attributes.json": b"{}"}, "it has no judge.safetensors"),
        ({"attributes.json": b"[1]", "judge.safetensors": b""}, "attributes.json of the judge does not list"),
        ({"attributes.json": b"\xff", "judge.safetensors": b""}, "attributes.json of the judge does not list"),
        ({"attributes.json": b"{}", "judge.safetensors": b"nothing"}, "judge.safetensors does not fit"),
        ({"attributes.json": b"{}", "judge.safetensors": save({})}, "judge.safetensors does not fit"),
    ],
)
def test_a_folder_that_is_no_judge_is_refused_with_what_is_wrong(files: dict[str, bytes], message: str):
    with pytest.raises(Wrong, match=message) as caught:
        LoadJudge(folder=Folder.of(files)).run(Context())
    assert caught.value.input == "folder"


def test_a_judge_of_other_attributes_is_refused_by_what_asks_for_those():
    small = {"shape": ("round", "long")}
    files = {"attributes.json": json.dumps(small).encode(), "judge.safetensors": save(new_judge(small, 0).state_dict())}
    judge = LoadJudge(folder=Folder(tuple(File(name, content=content) for name, content in files.items())))
    with pytest.raises(Wrong, match="the judge learned shape, not background"):
        JudgePictures(judge=judge.run(Context()), images=Image(torch.zeros(1, 3, 64, 64)), shown="dog").run(Context())


def test_two_of_a_thing_are_two():
    verdict = {"first": "dog", "second": "none", "background": "blue", "accessory": "none"}
    assert said("a dog").seen_in(verdict)
    assert not said("a dog and a dog").seen_in(verdict)
    assert said("a dog and a dog").seen_in(verdict | {"second": "dog"})


def test_texts_are_not_remembered_for_ever():
    assert said.cache_info().maxsize == 1024


def test_a_judge_loaded_beside_a_training_leaves_its_first_weights_alone():
    """Torch's generator is that of the whole process, so one thread at a time may seed it."""
    attributes = {"shape": ("round", "long")}
    wanted = new_judge(attributes, 5).state_dict()
    stopped, loads = threading.Event(), 0

    def load_again() -> None:
        nonlocal loads
        while not stopped.is_set():
            LoadJudge(folder=SHIPPED).run(Context())
            loads += 1

    beside = threading.Thread(target=load_again)
    beside.start()
    try:
        for _ in range(30):
            found = new_judge(attributes, 5).state_dict()
            assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    finally:
        stopped.set()
        beside.join()
    assert loads


def test_a_seeded_generator_is_one_threads_alone():
    beside = threading.Thread(target=lambda: LoadJudge(folder=SHIPPED).run(Context()))
    before = torch.random.get_rng_state()
    with seeded(3), seeded(4):
        beside.start()
        beside.join(0.3)
        assert beside.is_alive()
        assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(4)))
    beside.join()
    assert torch.equal(torch.random.get_rng_state(), before)
