"""New data: what is drawn is no picture of the training data, and yet is like them."""

from pathlib import Path

import pytest
import torch
from fixtures import Ran

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.nodes.ports import Image
from latentgraph.nodes.training.data import Dataset
from latentgraph.nodes.training.emoji import KeptOut, Scene
from latentgraph.nodes.training.measures import NearestPictures

GRAPHS = Path(__file__).parents[2] / "graphs"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_drawn_pictures_are_no_copies_of_the_data_and_are_nearer_to_them_than_drawings_that_only_began(
    ran: Ran, seed: int
):
    given = ran("new-data", seed=seed)
    drawn, begun = given["drawn_distances"], given["begun_distances"]
    assert given["least"] > 1.2 * max(given["copy_distances"])
    assert given["drawn"] > 2.5 * given["copy"]
    assert sum(drawn[:4]) < 0.5 * sum(begun[:4])
    assert given["drawn"] < 0.7 * given["begun"]


def test_scenes_that_training_never_saw_are_farther_from_the_data(ran: Ran):
    distances = ran("new-data")["drawn_distances"]
    assert sum(distances[4:]) > 1.3 * sum(distances[:4])


def test_the_last_four_scenes_were_kept_out_of_training():
    kept_out = KeptOut.parse((GRAPHS / "train" / "kept-out.txt").read_text())
    scenes = [
        Scene("blue", ("apple",)),
        Scene("blue", ("dog",), "glasses"),
        Scene("black", ("rocket", "star")),
        Scene("purple", ("lion_face",), "a crown"),
        Scene("black", ("banana",)),
        Scene("red", ("panda_face",)),
        Scene("orange", ("cat",), "sunglasses"),
        Scene("blue", ("koala",), "a crown"),
    ]
    assert [kept_out.has(scene) for scene in scenes] == [False] * 4 + [True] * 4


def some_data(count: int = 2100, size: int = 8) -> Dataset:
    images = torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(0))
    return Dataset(images.to(torch.uint8), (("",),) * count, {}, ())


def test_the_nearest_picture_is_the_one_with_the_least_mean_squared_difference():
    data = some_data()
    wanted = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    given = NearestPictures(images=Image(wanted), data=data).run(Context())
    known = data.images.double() / 255
    for picture, found, distance in zip(wanted, given.pictures.pixels, given.distances, strict=True):
        each = (known - picture.double()).square().mean((1, 2, 3)).sqrt()
        assert distance == pytest.approx(float(each.min()), rel=1e-5)
        torch.testing.assert_close(found.double(), known[each.argmin()], atol=1e-6, rtol=0)
    assert given.mean == pytest.approx(sum(given.distances) / 5)
    assert given.least == min(given.distances)


def test_a_picture_of_the_data_is_nothing_away_from_it_and_a_shuffled_one_is():
    data = some_data()
    known = data.images[[0, 1500, 2099]].float() / 255
    assert NearestPictures(images=Image(known), data=data).run(Context()).distances == (0.0, 0.0, 0.0)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(2))
    shuffled = known.flatten(2)[:, :, order].view_as(known)
    assert NearestPictures(images=Image(shuffled), data=data).run(Context()).least > 0.2


def test_larger_pictures_of_the_data_are_made_as_small_as_the_others():
    data = some_data(20, 16)
    small = torch.nn.functional.avg_pool2d(data.images[3:4].float() / 255, 2)
    assert NearestPictures(images=Image(small), data=data).run(Context()).least == pytest.approx(0, abs=1e-6)


def test_pictures_that_cannot_be_compared_are_said():
    with pytest.raises(Wrong, match="16 by 16 pixels cannot be compared with 8 by 8"):
        NearestPictures(images=Image(torch.zeros(1, 3, 16, 16)), data=some_data(2)).run(Context())
    with pytest.raises(Wrong, match="have opacity"):
        NearestPictures(images=Image(torch.zeros(1, 4, 8, 8)), data=some_data(2)).run(Context())
