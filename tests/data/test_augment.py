import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from myna_rpe.audio.melspectrogram import MelSpectrogram
from myna_rpe.config import AugmentConfig, FrontEndConfig, SpecAugmentConfig
from myna_rpe.data.augment import Augment
from myna_rpe.errors import ConfigError

FRONT_END = FrontEndConfig()
ALL = AugmentConfig(
    gain_db=6, eq_db=5, noise_db=2, pitch_semitones=3, spec_augment=SpecAugmentConfig(max_bands=4)
)


def augment(**config) -> Augment:
    return Augment(AugmentConfig(**config), FRONT_END)


def patches(seed: int = 0, shape=(5, 16, 16)) -> np.ndarray:
    values = np.random.default_rng(seed).uniform(-85, 0, size=shape).astype(np.float32)
    return np.maximum(values, -80)


def test_nothing_changes_by_default():
    assert not augment().active
    assert Augment(ALL, FRONT_END).active


@given(frames=st.integers(1, 500), seed=st.integers(0, 2**32))
def test_changes_stay_within_what_is_allowed(frames, seed):
    change = Augment(ALL, FRONT_END).draw(frames, np.random.default_rng(seed))
    assert abs(change.gain_db) <= 6
    assert np.abs(change.eq_db).max() <= 5.001
    assert 0 <= change.noise_db <= 2
    assert abs(change.semitones) <= 3
    for (start, stop), widest, length in [
        (*change.frame_masks, 32, frames),
        (*change.band_masks, 4, 128),
    ]:
        assert 0 <= start <= stop <= length
        assert stop - start <= widest


def test_gain_shifts_music_and_leaves_silence_at_the_floor():
    source = augment(gain_db=6.0)
    change = source.draw(80, np.random.default_rng(0))
    before = patches()
    after = before.copy()
    source.change_levels_(after, np.arange(len(after)) % 8, change)
    expected = np.clip(before + np.float32(change.gain_db), -80, 0)
    assert np.array_equal(after, np.where(before == -80, -80, expected))
    assert (before == -80).any()


def test_colour_is_one_smooth_curve_over_the_bands_of_a_view():
    source = augment(eq_db=9.0)
    change, other = (source.draw(80, np.random.default_rng(seed)) for seed in (0, 1))
    assert not np.allclose(change.eq_db, other.eq_db)
    assert np.abs(np.diff(change.eq_db)).max() < 1.0
    # Whatever patches the bands are cut into, each band is changed alike.
    for mel_bands in (16, 128):
        freq = np.arange(128 // mel_bands)
        after = np.full((len(freq), 4, mel_bands), -40, np.float32)
        source.change_levels_(after, freq, change)
        for frame in range(4):
            np.testing.assert_allclose(after[:, frame].ravel(), -40 + change.eq_db, atol=1e-5)


def test_noise_has_the_standard_deviation_that_was_drawn():
    source = augment(noise_db=4.0)
    change = source.draw(80, np.random.default_rng(1))
    before = np.full((40, 16, 16), -40, np.float32)
    before[0] = -80
    after = before.copy()
    source.change_levels_(after, np.arange(len(after)) % 8, change)
    assert (after[0] == -80).all()
    assert np.std(after[1:]) == pytest.approx(change.noise_db, rel=0.03)
    assert np.mean(after[1:]) == pytest.approx(-40, abs=0.1)


def test_masks_fill_the_same_cells_of_the_view_whatever_the_patch_shape():
    source = augment(spec_augment=SpecAugmentConfig(time_masks=2, band_masks=2))
    change = source.draw(64, np.random.default_rng(3))
    view = np.zeros((64, 128), np.float32)  # (frames, mel_bands)
    expected = view.copy()
    for start, stop in change.frame_masks:
        expected[start:stop] = -80
    for start, stop in change.band_masks:
        expected[:, start:stop] = -80
    assert (expected == -80).any()
    for frames, mel_bands in [(16, 16), (2, 128), (64, 8)]:
        columns, rows = 64 // frames, 128 // mel_bands
        time, freq = np.divmod(np.arange(columns * rows), rows)
        cut = expected.reshape(columns, frames, rows, mel_bands).swapaxes(1, 2)
        masked = np.zeros((columns * rows, frames, mel_bands), np.float32)
        source.mask_(masked, time, freq, change)
        assert np.array_equal(masked, cut.reshape(masked.shape))


def mel_to_hz(mel: np.ndarray) -> np.ndarray:
    """Slaney's scale, written down again: linear to 1 kHz, then 27 steps for a factor of 6.4."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def whole_columns(values: np.ndarray, semitones: float) -> np.ndarray:
    """Shift (frames, 128), one frame per patch and all bands in one patch."""
    freq = np.zeros(len(values), np.int64)
    return augment().shift_pitch(values[:, None], freq, 128, semitones)[:, 0]


@pytest.mark.parametrize("semitones", [-12.0, -3.0, 0.0, 1.5, 12.0])
def test_pitch_shift_equals_interpolation_in_mel(semitones):
    columns = patches(shape=(4, 128))
    mel = np.linspace(0, 15 + 27 * np.log(8) / np.log(6.4), 130)  # 8 kHz
    fine = np.linspace(mel[0] - 40, mel[-1] + 40, 400_001)
    sources = np.interp(mel_to_hz(mel[1:-1]) * 2 ** (-semitones / 12), mel_to_hz(fine), fine)
    floored = np.pad(columns, ((0, 0), (1, 1)), constant_values=-80)
    expected = np.stack([np.interp(sources, mel, column) for column in floored])
    assert np.abs(whole_columns(columns, semitones) - expected).max() < 0.02


def test_a_shifted_tone_lies_where_the_higher_tone_lies():
    time = np.arange(FRONT_END.sample_rate) / FRONT_END.sample_rate
    front_end = MelSpectrogram(FRONT_END)

    def loudest_band(hz: int, semitones: float) -> int:
        tone = torch.from_numpy(np.sin(2 * np.pi * hz * time).astype(np.float32))
        columns = front_end(tone).T.numpy()[5:25]
        return int(whole_columns(columns, semitones).mean(axis=0).argmax())

    assert abs(loudest_band(1000, 12.0) - loudest_band(2000, 0.0)) <= 1
    assert abs(loudest_band(3000, -12.0) - loudest_band(1500, 0.0)) <= 1
    assert loudest_band(2000, 0.0) - loudest_band(1000, 0.0) > 5


def test_what_comes_from_outside_the_spectrogram_is_floor():
    lower = whole_columns(np.zeros((1, 128), np.float32), -12.0)[0]
    assert (lower[:90] == 0).all()
    assert (lower[-20:] == -80).all()  # from above the top frequency


def test_shifted_patches_are_cut_from_shifted_columns():
    columns = patches(shape=(3, 16, 128))
    freq = np.array([0, 5, 7])
    whole = augment().shift_pitch(columns, np.zeros(3, np.int64), 128, 2.0)
    cut = augment().shift_pitch(columns, freq, 16, 2.0)
    for i, row in enumerate(freq):
        assert np.array_equal(cut[i], whole[i, :, 16 * row : 16 * row + 16])


@pytest.mark.parametrize("name", ["gain_db", "eq_db", "noise_db"])
def test_decibels_are_refused_for_a_front_end_without_a_logarithm(name):
    with pytest.raises(ConfigError, match=rf"augment.{name}=3 is in dB.*use augment.{name}=0"):
        Augment(AugmentConfig(**{name: 3.0}), FrontEndConfig(scale="power"))
