"""Texts without the folders of the server: nothing of them is left, and nothing else is lost."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentgraph.server.checks import paths
from latentgraph.server.checks.paths import without_folders

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0 '\"`:;,|<>()[]{}", exclude_categories=["Z", "C"]), min_size=1
)


@given(
    st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=2),
    st.sampled_from(" '\"(`=,[") | st.just(""),
)
def test_of_an_absolute_path_only_the_last_part_is_left(parts: list[str], before: str) -> None:
    path = "/" + "/".join(parts)
    assert without_folders(f"{before}{path}") == f"{before}…/{parts[-1]}"


@given(st.text())
def test_a_text_without_slashes_stays_as_it_is(text: str) -> None:
    text = text.replace("/", "")
    assert without_folders(text) == text


@given(st.text())
def test_what_has_no_folders_any_more_stays_as_it_is(text: str) -> None:
    once = without_folders(text)
    assert without_folders(once) == once


@given(st.text(), st.text())
def test_a_folder_of_the_server_is_in_no_text(before: str, after: str) -> None:
    secret = str(Path(paths.__file__).parents[2])
    if not before[-1:].isalnum() and before[-1:] not in "_.-":  # then it is the end of another path
        found = without_folders(f"{before} {secret}/{after}")
        assert secret not in found


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8765/v1/jobs/j0/outputs/a.png",
        "see https://example.org/a/b/c?d=/e/f/g#/h/i/j for more",
        "ws://localhost:8765/v1/ws",
        "1/2 of it, 3/4/5, a/b, and/or",
        "the graph train/vae has no node `a/b/c`",
        "drawn/3/sampled",
        "./inner.yaml uses ../other/outer.yaml",
        "a / b / c",
        "image/png, text/plain",
        "$HOME/a/b stays",
        "</b></i>",
        "j/k/l: 12 km/h",
    ],
)
def test_what_is_no_path_of_the_server_stays_as_it_is(text: str) -> None:
    assert without_folders(text) == text


@pytest.mark.parametrize(
    "name", ["with space", "with, comma", "with'quote", "(with) [brackets]", "with:colon", "größe"]
)
def test_a_folder_that_is_known_to_be_the_servers_is_hidden_whatever_it_is_called(name: str) -> None:
    folder = f"/srv/{name}/data"
    paths.hide(folder)
    for text in (
        f"{folder}/x/y.png",
        f"file://{folder}/y.png",
        f"is full:{folder}",
        f"'{folder}'",
        f"{folder}/y.png is",
    ):
        assert name not in without_folders(text)
    assert without_folders(f"{folder}base") != "…base"


@pytest.mark.parametrize("part", ["x", "a://", "/a", " /a/", "=/", "file://", "a-", "/", " /tmp/", "x/"])
def test_a_text_of_a_million_letters_takes_no_time(part: str) -> None:
    began = time.process_time()
    without_folders(part * (1_000_000 // len(part)))
    assert time.process_time() - began < 5  # where it is not linear, it is hours
