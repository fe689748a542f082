"""The music of a source at several speeds."""

import numpy as np
import pytest
import soundfile

from myna_rpe.config import FrontEndConfig
from myna_rpe.data import AtSpeeds, Folder, ShardSet, hold_out, prepare_shards
from myna_rpe.errors import ConfigError

RATE = 16_000


@pytest.fixture
def music(tmp_path):
    folder = tmp_path / "music"
    folder.mkdir()
    for number, hz in enumerate((440, 660)):
        tone = 0.5 * np.sin(2 * np.pi * hz * np.arange(4 * RATE) / RATE)
        soundfile.write(folder / f"{number}.wav", tone, RATE)
    return folder


def test_each_file_is_there_at_each_speed_and_as_recorded_under_its_own_name(music):
    paths = [entry.path for entry in AtSpeeds(Folder(music), [1.0, 2.0, 0.84]).listing().entries]
    assert paths == ["0.wav", "0.wav@2", "0.wav@0.84", "1.wav", "1.wav@2", "1.wav@0.84"]
    plain = Folder(music).listing()
    assert AtSpeeds(Folder(music), [1.0]).listing() == plain


def test_twice_the_speed_is_half_as_long_and_an_octave_higher(music, tmp_path):
    source = AtSpeeds(Folder(music), [1.0, 2.0])
    prepare_shards(source, tmp_path / "shards", FrontEndConfig(), min_seconds=1.0, workers=1)
    shards = ShardSet.open(tmp_path / "shards")
    tracks = {track.path: number for number, track in enumerate(shards.tracks)}
    assert set(tracks) == {"0.wav", "0.wav@2", "1.wav", "1.wav@2"}
    peaks, lengths = {}, {}
    for path, number in tracks.items():
        lengths[path] = shards.tracks[number].frames
        frames = shards.stored(number, 0, lengths[path])
        peaks[path] = int(np.asarray(frames, np.float32).mean(axis=0).argmax())
    assert lengths["0.wav@2"] == pytest.approx(lengths["0.wav"] / 2, abs=2)
    # 880 Hz is 13.2 mel, 440 Hz is 6.6: below 1 kHz the bands are even.
    assert peaks["0.wav@2"] == pytest.approx(2 * peaks["0.wav"], abs=2)


def test_all_speeds_of_a_track_are_held_out_together(music, tmp_path):
    for number in range(2):
        folder = music / f"album {number}"
        folder.mkdir()
        (music / f"{number}.wav").rename(folder / "song.wav")
    source = AtSpeeds(Folder(music), [1.0, 1.5])
    prepare_shards(source, tmp_path / "shards", FrontEndConfig(), min_seconds=1.0, workers=1)
    tracks = ShardSet.open(tmp_path / "shards").tracks
    train, held = hold_out(tracks, 0.5, seed=0)
    assert {tracks[i].group for i in train}.isdisjoint(tracks[i].group for i in held)
    assert len(train) == len(held) == 2


@pytest.mark.parametrize("speeds", [[], [1.0, 1.0], [0.0], [3.0], [float("nan")]])
def test_impossible_speeds_are_refused(music, speeds):
    with pytest.raises(ConfigError, match=r"different ones from 0\.5 to 2"):
        AtSpeeds(Folder(music), speeds)
