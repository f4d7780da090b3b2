"""The GPUs that graphs may use, found without importing torch."""

import os
from pathlib import Path


def visible_devices() -> tuple[str, ...]:
    """What CUDA_VISIBLE_DEVICES is to be for one worker each; nothing where there is no NVIDIA GPU."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        return tuple(device.strip() for device in said.split(",") if device.strip() not in ("", "-1"))
    cards = len(list(Path("/proc/driver/nvidia/gpus").glob("*"))) or len(list(Path("/dev").glob("nvidia[0-9]*")))
    return tuple(map(str, range(cards)))
