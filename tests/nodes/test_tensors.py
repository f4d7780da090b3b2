"""Values with tensors on disk: the same bits come back, in a file that other programs read too."""

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy
import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentgraph.engine.digest import digest
from latentgraph.engine.ports import Folder, PortType, port_types
from latentgraph.nodes.codec import DTYPES, TENSORS
from latentgraph.nodes.guides import CFG, Cond, Conditioning, Guidance
from latentgraph.nodes.models import Loaded
from latentgraph.nodes.ports import Image, Latent
from latentgraph.nodes.references import Space, Vae, Weights
from latentgraph.nodes.training.data import Dataset, Scenes
from latentgraph.nodes.training.emoji import Scene

SPACE = Space(4, 8, 0.18215)


@dataclass(frozen=True, eq=False)
class Held(PortType, codec=TENSORS):
    """A value that may hold anything."""

    content: Any


def there_and_back(value: Any) -> Any:
    return type(value).codec.decode(type(value), type(value).codec.encode(value))


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def some(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


VALUES = {
    "conditioning": lambda: Conditioning((Cond(some(2, 3, 4)), Cond(some(1, 3, 4)))),
    "guidance": lambda: CFG(Conditioning((Cond(some(1, 3, 4)),)), None, 7.5),
    "latent": lambda: Latent(some(2, 4, 3, 5), SPACE, generators=(b"\0" * 5056, bytes(range(256)))),
    "canvas": lambda: Latent(torch.zeros(1, 4, 8, 8), SPACE, empty=True),
    "image": lambda: Image(some(2, 3, 6, 7)),
    "trained": lambda: Vae(Weights("vae", "sd1", Folder.of({"config.json": b"{}", "a.safetensors": b"\xff" * 100}))),
    "data": lambda: Dataset(
        torch.arange(24, dtype=torch.uint8).reshape(2, 3, 2, 2), (("a", "b"), ()), {"x": ("y",)}, ({"x": "y"},) * 2
    ),
    "scenes": lambda: Scenes((Scene("red", ("dog",), "glasses"),), ("dressed",)),
}


@pytest.mark.parametrize("name", VALUES)
def test_the_values_of_the_nodes_come_back(name: str) -> None:
    value = VALUES[name]()
    back = there_and_back(value)
    assert type(back) is type(value)
    assert digest(back) == digest(value)


def test_models_come_back_as_references_to_their_files(loaded: Loaded) -> None:
    for value in loaded:
        encoded = type(value).codec.encode(value)
        assert len(encoded) < 10_000
        back = type(value).codec.decode(type(value), encoded)
        assert back == value
        assert digest(back) == digest(value)
        assert back.sources() == value.sources()


def test_a_value_is_decoded_as_its_own_class() -> None:
    value = VALUES["guidance"]()
    assert isinstance(port_types()["CFG"].codec.decode(port_types()["CFG"], Guidance.codec.encode(value)), CFG)
    with pytest.raises(ValueError, match="this is a CFG"):
        TENSORS.decode(Conditioning, TENSORS.encode(value))


@pytest.mark.parametrize("dtype", DTYPES.values())
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_every_type_of_tensor_comes_back_with_the_same_bits(dtype: str, shape: tuple[int, ...]) -> None:
    kind = getattr(torch, dtype)
    raw = torch.arange(math.prod(shape) * kind.itemsize, dtype=torch.uint8)
    tensor = (raw % 2 if dtype == "bool" else raw).view(kind).reshape(shape)
    back = there_and_back(Held(tensor)).content
    assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
    assert bits(back) == bits(tensor)


@given(
    st.recursive(
        st.binary() | st.lists(st.floats(width=32)).map(torch.tensor) | st.floats(allow_nan=False),
        lambda inner: st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner) | inner.map(Held),
        max_leaves=10,
    )
)
def test_what_comes_back_is_what_was_kept(content: Any) -> None:
    assert digest(there_and_back(Held(content))) == digest(Held(content))


@pytest.mark.parametrize(
    "tensor",
    [
        some(4, 6).t(),
        some(4, 6)[:, 1::2],
        some(3, 1).expand(3, 5),
        some(4, 6).requires_grad_(),
        torch.view_as_complex(some(3, 2)).conj(),
        torch.view_as_complex(some(3, 2)).conj().imag,
    ],
)
def test_what_comes_back_is_contiguous_and_owns_its_memory(tensor: torch.Tensor) -> None:
    first, second = there_and_back(Held((tensor, tensor))).content
    for back in (first, second):
        assert torch.equal(back, tensor)
        assert back.is_contiguous()
        assert not back.requires_grad
        assert back.untyped_storage().nbytes() == back.numel() * back.element_size()
    first.zero_()
    assert torch.equal(second, tensor)


def test_arrays_come_back_as_arrays() -> None:
    for array in (
        numpy.linspace(0, 1, 5),
        numpy.arange(6, dtype=">i4").reshape(2, 3)[:, ::-1],
        numpy.array(3.5),
        numpy.zeros(0)[::-1],
    ):
        back = there_and_back(Held(array)).content
        assert isinstance(back, numpy.ndarray)
        assert numpy.array_equal(back, array)
        assert digest(back) == digest(array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.eye(2).to_sparse(), "Held.content is a Tensor"),
        (torch.zeros(2, dtype=torch.complex128), "Held.content is a Tensor"),
        ({"a": torch.nn.Linear(1, 1)}, "Held.content.a is a Linear"),
        ((torch.nn.Parameter(torch.zeros(1)),), "Held.content.0 is a Parameter"),
        (numpy.array(["a"]), "Held.content is a ndarray"),
        (numpy.float64(1), "Held.content is a float64"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_field(content: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        TENSORS.encode(Held(content))


def test_other_programs_read_the_tensors() -> None:
    encoded = TENSORS.encode(Held((some(2, 3), b"abc", torch.ones(2, dtype=torch.bfloat16))))
    tensors = safetensors.torch.load(encoded)
    assert torch.equal(tensors["0"], some(2, 3))
    assert bytes(tensors["1"].tolist()) == b"abc"
    assert torch.equal(tensors["2"], torch.ones(2, dtype=torch.bfloat16))
    assert safetensors.deserialize(encoded)


# what is damaged, or means harm


def spoilt(**changes: Any) -> bytes:
    """A value of one tensor with its entry in the header changed."""
    encoded = TENSORS.encode(Held(some(2, 3)))
    length = int.from_bytes(encoded[:8], "little")
    header = json.loads(encoded[8 : 8 + length])
    header["0"] |= changes
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + encoded[8 + length :]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 100,
        b"\x02" + b"\0" * 7 + b"[]",
        b"\x02" + b"\0" * 7 + b"{}",
        TENSORS.encode(Held(some(2, 3)))[:-1],
        TENSORS.encode(Held(b"abc"))[:-1],
        spoilt(shape=[10**12]),
        spoilt(shape=[-2, -3]),
        spoilt(shape="ab"),
        spoilt(dtype="device"),
        spoilt(dtype="F64"),
        spoilt(data_offsets=[-24, 24]),
        spoilt(data_offsets=[24, 0]),
        spoilt(data_offsets=[0]),
    ],
)
def test_damaged_content_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="this is no"):
        TENSORS.decode(Held, content)


def test_values_without_tensors_need_no_torch() -> None:
    code = (
        "import sys\n"
        "from latentgraph.engine.context import Context\n"
        "from latentgraph.nodes.models import LoadModel\n"
        "for value in LoadModel().run(Context()):\n"
        "    codec = type(value).codec\n"
        "    assert codec.decode(type(value), codec.encode(value)) == value\n"
        "print([name for name in ('torch', 'numpy', 'safetensors', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
