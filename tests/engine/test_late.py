"""What nodes import when they run is imported by one thread at a time."""

import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from latentgraph.engine import Context, Node
from latentgraph.engine.late import import_late

SLOW = """
import threading, time
import test_late
test_late.INSIDE.append(threading.get_ident())
time.sleep(0.2)
test_late.MOST = max(test_late.MOST, len(test_late.INSIDE))
test_late.INSIDE.pop()
"""
INSIDE: list[int] = []
MOST = 0


class First(Node):
    """Imports one module."""

    def run(self, context: Context) -> int:
        from late_modules import first

        return len(first.__name__)


def helped() -> int:
    from late_modules import third

    return len(third.__name__)


class Third(Node):
    """Calls what imports one more, and something that there is not."""

    def run(self, context: Context) -> int:
        with suppress(ImportError):
            import there_is_no_such_module  # type: ignore[import-not-found]  # noqa: F401
        return helped()


class Second(Node):
    """Imports another."""

    def run(self, context: Context) -> int:
        from os import path as _path  # noqa: F401

        import late_modules.second

        return len(late_modules.second.__name__)


class Wrong(Node):
    """Imports what there is not."""

    def run(self, context: Context) -> int:
        import there_is_no_such_module  # type: ignore[import-not-found]

        return len(there_is_no_such_module.__name__)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "late_modules"
    folder.mkdir()
    for name in ("__init__", "first", "second", "third"):
        (folder / f"{name}.py").write_text("" if name == "__init__" else SLOW)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("modules")
def test_one_thread_imports_at_a_time() -> None:
    threads = [threading.Thread(target=import_late, args=[kind]) for kind in (First, Second, Third)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {"late_modules.first", "late_modules.second", "late_modules.third"} <= sys.modules.keys()
    assert MOST == 1


def test_what_cannot_be_imported_is_left_to_run() -> None:
    import_late(Wrong)
    with pytest.raises(ModuleNotFoundError, match="there_is_no_such_module"):
        Wrong().run(Context())
