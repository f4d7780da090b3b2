"""How values with tensors are kept on disk: one safetensors file, never pickle.

The file's metadata has the fields as the engine's codec writes them; tensors, arrays and bytes are its tensors. The
format is 8 bytes with the header's length, the header (JSON, with the place of every tensor), and the tensors. It is
written here rather than by its library, so that a value without tensors needs no torch, and nothing is read that the
library would have to guess.
"""

import json
import math
import sys
from typing import Any

from latentgraph.engine.codec import from_json, to_json
from latentgraph.engine.ports import PortType

DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
}
"""What safetensors calls torch's types."""

NAMES = {f"torch.{name}": dtype for dtype, name in DTYPES.items()}


class TensorCodec:
    """Plain data, files, tensors and NumPy's arrays. Tensors come back on the CPU, contiguous, with the same bits."""

    suffix = ".safetensors"

    def encode(self, value: PortType) -> bytes:
        parts: list[tuple[str, list[int], bytes | memoryview]] = []

        def keep(part: Any) -> tuple[str, Any]:
            name = str(len(parts))
            if type(part) is bytes:
                parts.append(("U8", [len(part)], part))
                return "bytes", name
            key, tensor = _tensor(part)
            parts.append((NAMES[str(tensor.dtype)], list(tensor.shape), _content(tensor)))
            return key, name

        header: dict[str, Any] = {"__metadata__": {"value": to_json(value, keep)}}
        end = 0
        for name, (dtype, shape, part) in enumerate(parts):
            start, end = end, end + len(part)
            header[str(name)] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return b"".join([len(text).to_bytes(8, "little"), text, *(part for _, _, part in parts)])

    def decode(self, kind: type[PortType], content: bytes) -> PortType:
        try:
            start = 8 + int.from_bytes(content[:8], "little")
            header = json.loads(content[8:start])
            text = header["__metadata__"]["value"]
        except (LookupError, RecursionError, TypeError, ValueError) as error:
            raise ValueError(f"this is no safetensors file with a value: {error}") from None
        data = memoryview(content)[start:]

        def kept(key: str, name: Any) -> Any:
            entry = header[name]
            start, end = entry["data_offsets"]
            if not 0 <= start <= end <= len(data):
                raise ValueError("it is cut off")
            if key == "bytes":
                return bytes(data[start:end])
            tensor = _restored(DTYPES[entry["dtype"]], entry["shape"], data[start:end])
            if key == "tensor":
                return tensor
            if key == "array":
                return tensor.numpy()
            raise ValueError(f"there is nothing called {key!r}")

        return from_json(kind, text, kept)


TENSORS = TensorCodec()


def _tensor(part: Any) -> tuple[str, Any]:
    """A tensor or an array as a tensor that can be kept, and what it was. Raises TypeError for anything else."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")  # without them nothing is of their types
    if numpy is not None and type(part) is numpy.ndarray and part.dtype.kind in "biufc":
        from .diffusion.numerics import torch

        key, tensor = "array", torch.from_numpy(part.astype(part.dtype.newbyteorder("=")))
    elif torch is not None and type(part) is torch.Tensor and part.layout is torch.strided:
        key, tensor = "tensor", part
    else:
        raise TypeError
    if str(tensor.dtype) not in NAMES:
        raise TypeError
    return key, tensor


def _content(tensor: Any) -> memoryview:
    """The raw bytes of a tensor, those of its elements in order."""
    from .diffusion.numerics import torch

    plain = tensor.cpu().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
    return memoryview(plain.reshape(-1).view(torch.uint8).numpy())


def _restored(dtype: str, shape: list[int], content: memoryview) -> Any:
    """The tensor with this content, in memory of torch's own: where memory begins can change what is computed."""
    import numpy

    from .diffusion.numerics import torch

    kind = getattr(torch, dtype)
    if math.prod(shape) * kind.itemsize != len(content):
        raise ValueError(f"{len(content)} bytes are no {dtype} of shape {shape}")
    tensor = torch.empty(shape, dtype=kind)
    if content:
        tensor.reshape(-1).view(torch.uint8).numpy()[:] = numpy.frombuffer(content, numpy.uint8)
    return tensor
