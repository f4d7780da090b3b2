"""A node's failure as an event tells it: what it said, its inputs in short, where in its own code it happened."""

import traceback
from pathlib import Path
from typing import Any

from .records import Ref
from .steps import Step

_ENGINE = Path(__file__).parent


def described_failure(failure: BaseException, step: Step) -> dict[str, Any]:
    return {
        "error": explained(failure),
        "inputs": {name: brief_input(value) for name, value in step.inputs.items()},
        "traceback": own_traceback(failure),
    }


def explained(failure: BaseException) -> str:
    """A failure in words for whoever wrote the graph: errors that nodes raise on purpose speak for themselves."""
    message = str(failure).strip()
    if isinstance(failure, (ValueError, OSError, MemoryError)) and message:
        return message
    frames = traceback.extract_tb(failure.__traceback__)
    where = f", in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(failure).__name__}: {message or 'without a message'}{where}"


def own_traceback(failure: BaseException) -> list[str]:
    """The lines of a traceback from the first frame that is the node's own code on."""
    frames = traceback.extract_tb(failure.__traceback__)
    own = next((i for i, frame in enumerate(frames) if not _of_the_engine(frame.filename)), len(frames))
    return [line.rstrip("\n") for line in traceback.format_list(frames[own:])]


def _of_the_engine(file: str) -> bool:
    return Path(file).is_relative_to(_ENGINE) or "/pydantic/" in file


def brief_input(value: Any) -> str:
    """An input in a few words: `Latent 3f2a91c0`, `"a dog face…"`, `[1, 2, … 40 in all]`."""
    if isinstance(value, Ref):
        return f"{value.type} {value.digest[:8]}"
    if isinstance(value, tuple):
        first = [brief_input(item) for item in value[:3]]
        return "[" + ", ".join(first) + (f", … {len(value)} in all" if len(value) > 3 else "") + "]"
    text = repr(value) if isinstance(value, str) else "none" if value is None else str(value)
    return text if len(text) <= 60 else text[:59] + "…"
