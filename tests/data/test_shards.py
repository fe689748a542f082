import json
import pickle
import resource
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from myna_rpe.config import FRONT_ENDS
from myna_rpe.data import ShardSet
from myna_rpe.data.shards import MANIFEST, Settings
from myna_rpe.errors import ConfigError, ShardError

from ..synthetic_music import spectrogram, write_shards

LENGTHS = [300, 40, 1, 777]


@pytest.fixture
def folder(tmp_path):
    return write_shards(tmp_path / "shards", LENGTHS, max_bytes=100_000)


@pytest.mark.parametrize(("storage", "tolerance"), [("float32", 0), ("float16", 0.032)])
def test_excerpts_are_the_frames_that_were_stored(tmp_path, storage, tolerance):
    shards = ShardSet.open(write_shards(tmp_path, LENGTHS, storage=storage, max_bytes=100_000))
    whole = spectrogram(3, 777, shards.settings)
    excerpt = shards.excerpt(3, 123, 50)
    assert excerpt.dtype == np.float32
    np.testing.assert_allclose(excerpt, whole[123:173], atol=tolerance, rtol=0)


def test_eight_bits_keep_values_to_half_a_step(tmp_path):
    shards = ShardSet.open(write_shards(tmp_path, [50], storage="uint8"))
    error = np.abs(shards.excerpt(0, 0, 50) - spectrogram(0, 50, shards.settings))
    assert error.max() <= 80 / 255 / 2 + 1e-4


def test_eight_bits_keep_floor_and_maximum_exactly():
    import torch

    settings = Settings(FRONT_ENDS["rpe-16k"], "uint8")
    ends = torch.tensor([[-80.0, 0.0]])
    decoded = settings.decode(torch.from_numpy(settings.encode(ends)))
    np.testing.assert_allclose(decoded.T.numpy(), ends.numpy(), atol=1e-5)


def test_eight_bits_are_refused_without_a_logarithm():
    with pytest.raises(ConfigError, match="use storage='float16'"):
        Settings(FRONT_ENDS["myna-16k"], "uint8")


def test_unknown_storage_lists_the_valid_ones():
    with pytest.raises(ConfigError, match=r"did you mean 'float16'\? Valid: float16, uint8"):
        Settings(FRONT_ENDS["rpe-16k"], "float61")


def test_shards_are_plain_safetensors(folder):
    shards = ShardSet.open(folder)
    track = shards.tracks[1]
    tensors = safetensors.numpy.load_file(folder / f"{track.shard}.safetensors")
    stored = tensors["spectrogram"][track.offset : track.offset + track.frames]
    np.testing.assert_array_equal(stored, shards.excerpt(1, 0, track.frames))


def test_an_excerpt_is_one_contiguous_piece_of_the_map(folder):
    stored = ShardSet.open(folder).stored(3, 10, 20)
    assert stored.flags.c_contiguous
    assert not stored.flags.owndata


def test_a_shard_is_closed_when_it_is_full(folder):
    shards = {track.shard for track in ShardSet.open(folder).tracks}
    assert shards == {"shard-00000", "shard-00001"}


@pytest.mark.parametrize(("start", "frames"), [(0, 41), (-1, 5), (40, 1), (39, 2)])
def test_excerpts_outside_a_track_are_refused(folder, start, frames):
    with pytest.raises(ShardError, match=r"reaches outside track .* of 40 frames"):
        ShardSet.open(folder).excerpt(1, start, frames)


def test_a_flipped_byte_is_found_and_its_shard_named(folder):
    path = folder / "shard-00001.safetensors"
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(ShardError, match=r"shard-00001\.safetensors does not match its checksum"):
        ShardSet.open(folder)
    ShardSet.open(folder, verify=False)


def test_a_truncated_or_missing_shard_is_found_without_checksums(folder):
    path = folder / "shard-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ShardError, match="missing or has another size"):
        ShardSet.open(folder, verify=False)
    path.unlink()
    with pytest.raises(ShardError, match="missing or has another size"):
        ShardSet.open(folder, verify=False)


def test_a_missing_manifest_names_the_remedy(folder):
    (folder / MANIFEST).unlink()
    with pytest.raises(ShardError, match="run: myna prepare SOURCE -o"):
        ShardSet.open(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": 1}', "\xff"])
def test_a_damaged_manifest_is_refused(folder, text):
    (folder / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(ShardError, match=r"manifest\.json"):
        ShardSet.open(folder)


def test_another_format_version_is_refused(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"format_version": 99}))
    with pytest.raises(ShardError, match="format_version=99"):
        ShardSet.open(folder)


def test_shards_without_tracks_are_refused(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"tracks": [], "shards": []}))
    with pytest.raises(ShardError, match="hold no tracks"):
        ShardSet.open(folder)


def test_fingerprint_follows_content_not_layout(tmp_path):
    one = ShardSet.open(write_shards(tmp_path / "a", LENGTHS))
    split = ShardSet.open(write_shards(tmp_path / "b", LENGTHS, max_bytes=1))
    other = ShardSet.open(write_shards(tmp_path / "c", [*LENGTHS[:-1], 778]))
    assert one.fingerprint == split.fingerprint != other.fingerprint


def test_threads_may_read_at_once(folder):
    shards = ShardSet.open(folder)
    expected = shards.excerpt(0, 5, 100)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(shards.excerpt(0, 5, 100))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((result == expected).all() for result in results)
    assert len(results) == 8


def test_a_manifest_without_labels_still_opens(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    before = ShardSet.open(folder).fingerprint
    for track in manifest["tracks"]:
        del track["artist"], track["tags"], track["split"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    shards = ShardSet.open(folder)
    assert {(t.artist, t.tags, t.split) for t in shards.tracks} == {("", (), "")}
    assert shards.fingerprint == before


@pytest.mark.parametrize("label", [{"artist": "A"}, {"tags": ["genre---rock"]}, {"split": "test"}])
def test_fingerprint_follows_labels(folder, label):
    before = ShardSet.open(folder).fingerprint
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["tracks"][0] |= label
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert ShardSet.open(folder).fingerprint != before


def test_another_process_maps_the_same_files(folder):
    shards = ShardSet.open(folder)
    pickled = pickle.dumps(shards)
    assert len(pickled) < 1000  # the frames do not travel
    copy = pickle.loads(pickled)
    assert copy.fingerprint == shards.fingerprint
    np.testing.assert_array_equal(copy.excerpt(3, 10, 20), shards.excerpt(3, 10, 20))


def test_more_shards_than_files_may_be_open(tmp_path):
    folder = write_shards(tmp_path, [4] * 40, max_bytes=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = len(list(Path("/dev/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 20, hard))
    try:
        assert len(ShardSet.open(folder)) == 40
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
