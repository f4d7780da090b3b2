"""CLIP: two encoders learn that a picture and its description point the same way."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import CLIPModel, CLIPTokenizer

from latentgraph.engine import Context, Folder
from latentgraph.engine.node import Wrong
from latentgraph.nodes.training.data import Dataset, Towers
from latentgraph.nodes.training.datasets import EmojiScenes, SplitDataset
from latentgraph.nodes.training.nodes import MeasureCLIP, TrainCLIP, TrainTokenizer

ARTWORK = Folder.at(Path(__file__).parents[2] / "graphs" / "train" / "emoji")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return EmojiScenes(artwork=ARTWORK, count=24).run(Context())


@pytest.fixture(scope="module")
def towers(data: Dataset) -> Towers:
    tokenizer = TrainTokenizer(data=data, vocabulary_size=600).run(Context())
    return TrainCLIP(data=data, tokenizer=tokenizer, hidden=32, layers=1, steps=0).run(Context()).towers


def in_plain_torch(towers: Towers, data: Dataset, folder: Path) -> tuple[torch.Tensor, float]:
    """Cosines [N, N] of captions by pictures, and what they are multiplied by, from transformers' own network."""
    for file in towers.folder.files:
        (folder / file.name).write_bytes(file.read())
    (folder / "tokenizer").mkdir()
    for file in towers.tokenizer.files:
        (folder / "tokenizer" / file.name).write_bytes(file.read())
    network = CLIPModel.from_pretrained(folder).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    texts = [captions[0] for captions in data.captions]
    ids = tokenizer(texts, padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt").input_ids
    with torch.no_grad():
        given = network(input_ids=ids, pixel_values=data.images.float() / 127.5 - 1)
        said, seen = given.text_embeds, given.image_embeds
        cosines = (said / said.norm(dim=1, keepdim=True)) @ (seen / seen.norm(dim=1, keepdim=True)).T
    return cosines, float(network.logit_scale.exp().detach())


def numbers(table) -> torch.Tensor:
    return torch.tensor([column.values for column in table.columns[1:]]).T


def test_each_description_finds_its_picture_after_the_training_and_only_by_chance_before(ran):
    outputs = ran("clip")
    assert outputs["diagonal_before"] < 0.1  # chance is 1 in 64
    assert outputs["diagonal"] > 0.75
    assert outputs["own"] > 0.6


def test_what_is_off_the_diagonal_is_less_similar_but_not_driven_to_zero(ran):
    plot = ran("clip")
    assert plot["other"] < plot["own"] - 0.5
    cosines = numbers(plot["cosines"])
    off = cosines[~torch.eye(len(cosines), dtype=torch.bool)]
    assert off.abs().mean() > 0.1


def test_the_loss_falls_from_that_of_a_guess(ran):
    outputs = ran("clip")
    assert outputs["loss_before"] == pytest.approx(torch.tensor(64.0).log().item(), abs=0.5)
    assert outputs["loss"] < 0.35 * outputs["loss_before"]


def test_cosines_and_loss_are_those_of_the_papers_formula_in_plain_pytorch(data, towers, tmp_path):
    distinct = [index for index, texts in enumerate(data.captions) if texts not in data.captions[:index]][:16]
    part = Dataset(data.images[distinct], tuple(data.captions[index] for index in distinct), {}, ())
    measured = MeasureCLIP(towers=towers, data=part, count=16).run(Context())
    cosines, scale = in_plain_torch(towers, part, tmp_path)
    torch.testing.assert_close(numbers(measured.cosines), cosines, atol=1e-5, rtol=0)
    assert measured.scale == pytest.approx(scale)
    rows, columns = (torch.log_softmax(scale * cosines, dim=side).diagonal() for side in (1, 0))
    assert measured.loss == pytest.approx(float(-(rows.mean() + columns.mean()) / 2), abs=1e-5)
    assert measured.own == pytest.approx(float(cosines.diagonal().mean()), abs=1e-5)
    off = cosines[~torch.eye(len(cosines), dtype=torch.bool)]
    assert measured.other == pytest.approx(float(off.mean()), abs=1e-5)
    own = torch.arange(len(cosines))
    assert measured.diagonal == pytest.approx(float((cosines.argmax(1) == own).float().mean()))


def test_another_picture_that_a_caption_fits_does_not_count_against_it(data, towers):
    twice = Dataset(data.images[[0, 0]], (data.captions[0],) * 2, {}, ())
    measured = MeasureCLIP(towers=towers, data=twice, count=2).run(Context())
    assert measured.diagonal == 1
    assert measured.loss == pytest.approx(0, abs=1e-6)


def test_after_no_steps_both_towers_are_as_they_were_made_by_their_seed(data, towers):
    tokenizer = towers.tokenizer
    other = TrainCLIP(data=data, tokenizer=tokenizer, hidden=32, layers=1, steps=0, seed=1).run(Context())
    again = TrainCLIP(data=data, tokenizer=tokenizer, hidden=32, layers=1, steps=0).run(Context())
    assert again.towers == towers
    assert other.towers != towers
    assert other.losses == ()
    assert json.loads(towers.folder["config.json"].read())["architectures"] == ["CLIPModel"]


def test_pictures_that_are_held_back_are_the_last_ones_and_in_no_training(data):
    parts = SplitDataset(data=data, held_back=5).run(Context())
    assert torch.equal(torch.cat([parts.data.images, parts.held_back.images]), data.images)
    assert parts.data.captions + parts.held_back.captions == data.captions
    assert len(parts.held_back.images) == len(parts.held_back.shown) == 5
    with pytest.raises(Wrong, match="there are 24 pictures"):
        SplitDataset(data=data, held_back=24).run(Context())


def test_a_wording_that_a_picture_lacks_is_its_last_one(data, towers):
    short = replace(data, captions=tuple(texts[:2] for texts in data.captions))
    measured = MeasureCLIP(towers=towers, data=short, count=4, wording=6).run(Context())
    assert set(measured.captions) <= {texts[1] for texts in data.captions}


def test_pictures_are_compared_so_many_at_most(data, towers):
    with pytest.raises(ValueError, match="count"):
        MeasureCLIP(towers=towers, data=data, count=513)
