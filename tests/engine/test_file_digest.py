"""The digest of a file: its content's, whatever its size, without holding it in memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from latentgraph.engine.digest import digest, digest_of_file
from latentgraph.engine.ports import File, Folder

CODE = """
import resource, sys
from pathlib import Path
from latentgraph.engine.digest import digest_of_file
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
digest_of_file(Path(sys.argv[1]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in what the system calls one of `ru_maxrss`."""


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**20 + 1])
def test_a_file_on_disk_has_the_digest_of_its_bytes(tmp_path: Path, size: int) -> None:
    content = bytes(range(251)) * (size // 251 + 1)
    (tmp_path / "file").write_bytes(content[:size])
    wanted = digest(content[:size])
    assert digest_of_file(tmp_path / "file") == wanted
    assert File.at(tmp_path / "file").digest == File("file", content=content[:size]).digest == wanted


def test_a_large_file_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as stream:
        stream.truncate(200 * 2**20)
    done = subprocess.run([sys.executable, "-c", CODE, str(tmp_path / "file")], capture_output=True, text=True)
    assert int(done.stdout) * UNIT < 20 * 2**20


def test_a_file_whose_name_is_no_text_has_a_digest_too(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.png")
    try:
        (tmp_path / name).write_bytes(b"content")
    except OSError:
        return  # there is no such file where names have to be text
    assert File.at(tmp_path / name).digest == digest(b"content")
    assert [file.digest for file in Folder.at(tmp_path).files] == [digest(b"content")]
