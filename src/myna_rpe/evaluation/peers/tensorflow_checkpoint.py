"""TensorFlow checkpoint -> NumPy arrays, without TensorFlow.

A checkpoint of format V2 is two files: ``PREFIX.index``, a table from variable names to where their
values lie, and ``PREFIX.data-00000-of-00001``, the values one after the other. The table is
LevelDB's: a footer of 48 bytes points to an index block, whose entries point to data blocks, whose
entries are keys (shared prefixes left out) with protocol buffer messages ``BundleEntryProto``.
Checkpoints of one data file with little-endian float32 are read; nothing else is asked of this.

Sources:
    LevelDB, doc/table_format.md; TensorFlow, core/protobuf/tensor_bundle.proto and
    core/lib/io/format.cc.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...errors import CheckpointError

_FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57
_FLOAT32 = 1  # DT_FLOAT

# Field numbers of BundleEntryProto, TensorShapeProto and its Dim.
_DTYPE, _SHAPE, _SHARD, _OFFSET, _SIZE = 1, 2, 3, 4, 5
_DIM, _DIM_SIZE = 2, 1


def read_checkpoint(prefix: str) -> dict[str, npt.NDArray[np.float32]]:
    """Return the float32 variables of a checkpoint by name.

    Args:
        prefix: path of the two files, without ``.index`` and ``.data-00000-of-00001``.

    Raises:
        CheckpointError: a file is missing, damaged, or of another format.
    """
    index, data = Path(f"{prefix}.index"), Path(f"{prefix}.data-00000-of-00001")
    try:
        entries, values = dict(_table(index.read_bytes())), data.read_bytes()
        return {
            name.decode(): _array(fields, values)
            for name, fields in ((name, _message(entry)) for name, entry in entries.items())
            if name and _integer(fields, _DTYPE) == _FLOAT32  # the name "" is the table's header
        }
    except OSError as error:
        raise CheckpointError(
            f"checkpoint={prefix!r} cannot be read ({error.strerror or error}); "
            "give the prefix of its .index and .data files."
        ) from error
    except (ValueError, IndexError, struct.error) as error:
        raise CheckpointError(
            f"checkpoint={prefix!r} is damaged or of another format ({error}); "
            "install the package that holds it again."
        ) from error


def _array(fields: dict[int, list[int | bytes]], values: bytes) -> npt.NDArray[np.float32]:
    dims = [_message(_bytes(dim)) for shape in fields.get(_SHAPE, []) for dim in _dims(shape)]
    shape = [_integer(dim, _DIM_SIZE) for dim in dims]
    offset, size = _integer(fields, _OFFSET), _integer(fields, _SIZE)
    if _integer(fields, _SHARD) != 0:
        raise ValueError("it has several data files")
    if size != 4 * int(np.prod(shape)) or offset + size > len(values):
        raise ValueError("sizes do not agree")
    return np.frombuffer(values, "<f4", size // 4, offset).reshape(shape).astype(np.float32)


def _dims(shape: int | bytes) -> list[int | bytes]:
    return _message(_bytes(shape)).get(_DIM, [])


# --- LevelDB table -------------------------------------------------------------------------------


def _table(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of a table, in order."""
    footer = file[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise ValueError("no table of variables")
    _, at = _handle(footer, 0)  # of the block of metadata, which is empty
    (start, size), _ = _handle(footer, at)
    for _, handle in _block(file, start, size):
        (start, size), _ = _handle(handle, 0)
        yield from _block(file, start, size)


def _block(file: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of one block."""
    block = file[start : start + size]
    if file[start + size] != 0:
        raise ValueError("its table is compressed")
    num_restarts = struct.unpack("<I", block[-4:])[0]
    at, end, key = 0, size - 4 * (num_restarts + 1), b""
    while at < end:
        shared, at = _varint(block, at)
        added, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + added]
        at += added
        yield key, block[at : at + length]
        at += length


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Return offset and size of a block, and where the next handle begins."""
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return an integer of 7 bits a byte, and where what follows begins."""
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift, at + 1


# --- protocol buffers ----------------------------------------------------------------------------


def _message(data: bytes) -> dict[int, list[int | bytes]]:
    """Return the fields of a message by number: integers, and bytes of all else."""
    fields: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        value: int | bytes
        if wire == 0:
            value, at = _varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(wire)
            if size is None:
                size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _integer(fields: dict[int, list[int | bytes]], number: int) -> int:
    """Return an integer field; the format leaves zeros out."""
    (value,) = fields.get(number, [0])
    if not isinstance(value, int):
        raise ValueError("a field is of another type")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a field is of another type")
    return value
