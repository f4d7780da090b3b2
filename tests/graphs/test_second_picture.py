"""What a second picture of the same prompt costs in the same process: sampling and decoding alone."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from latentgraph.engine import load
from latentgraph.engine.store import open_store
from latentgraph.nodes.diffusion import text, weights
from latentgraph.nodes.diffusion.memory import Kept, budget


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch):
    """How often networks and tokenizers are read and texts are encoded, from now on and with nothing in memory."""
    counted: Counter[str] = Counter()

    def count(module: Any, name: str) -> None:
        function: Callable[..., Any] = getattr(module, name)

        def counting(*arguments: Any, **options: Any) -> Any:
            counted[name] += 1
            return function(*arguments, **options)

        monkeypatch.setattr(module, name, counting)

    count(weights, "read")
    count(weights, "read_tokenizer")
    count(text, "encode")
    kept = Kept(budget())
    monkeypatch.setattr(weights, "kept", lambda: kept)
    weights._tokenizer.cache_clear()
    return counted


@pytest.mark.parametrize("sampler", ["euler", "diffusers:EulerDiscreteScheduler"])
def test_a_second_picture_of_the_same_prompt_loads_and_encodes_nothing(calls: Counter[str], sampler: str):
    graph = load("txt2img", store=open_store(None))
    graph.run(seed=1, steps=2, sampler=sampler)
    assert calls == {"read": 3, "read_tokenizer": 1, "encode": 2}  # text encoder, U-Net, VAE; the two texts
    calls.clear()
    second = graph.run(seed=2, steps=2, sampler=sampler)
    assert {node for node, became in second.nodes.items() if became == "computed"} == {"sampled", "decoded"}
    assert not calls


def test_another_prompt_is_encoded_by_the_networks_that_are_there(calls: Counter[str]):
    graph = load("txt2img", store=open_store(None))
    graph.run(seed=1, steps=2)
    calls.clear()
    graph.run(seed=1, steps=2, prompt="a star on a red background")
    assert calls == {"encode": 1}
