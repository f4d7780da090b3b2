"""What happens in a run, as it is told: plain mappings with the key `event` and, where it concerns one, `node`."""

from typing import Any

Event = dict[str, Any]
