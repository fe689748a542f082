"""Files that appear under their name only when they are complete and on the disk."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

TEMPORARY_SUFFIX = ".tmp"


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; it takes that name when the block ends without error.

    After an error, a full disk or Ctrl-C nothing half-written stays; after a kill or a power cut
    only a file ending in ``.tmp``.
    """
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - pathlib has no word for "atomically"
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, data: Any) -> None:
    """Write `data` as JSON, atomically; text is escaped to ASCII, so that any file name survives.

    A file that holds this text already is left as it is.
    """
    text = json.dumps(data, indent=1).encode("ascii") + b"\n"
    if not path.exists() or path.read_bytes() != text:
        with atomic_write(path) as file:
            file.write(text)
