import copy
import pickle

import librosa
import numpy as np
import pytest
import torch

from myna_rpe.audio.melspectrogram import FRAMES_PER_BLOCK, MelSpectrogram, mel_filterbank
from myna_rpe.config import FRONT_ENDS, FrontEndConfig
from myna_rpe.errors import AudioError, ConfigError


@pytest.fixture
def waveform(rng: np.random.Generator) -> np.ndarray:
    """Two seconds at 22.05 kHz: a chirp over quiet noise, then near silence."""
    time = np.arange(44_100) / 22_050
    chirp = 0.5 * np.sin(2 * np.pi * (100 * time + 1500 * time**2))
    signal = chirp + 0.01 * rng.standard_normal(time.size)
    signal[30_000:] *= 1e-4
    return signal.astype(np.float32)


def librosa_power(waveform: np.ndarray, config: FrontEndConfig) -> np.ndarray:
    return librosa.feature.melspectrogram(
        y=waveform,
        sr=config.sample_rate,
        n_fft=config.n_fft,
        win_length=config.win_length,
        hop_length=config.hop_length,
        n_mels=config.n_mels,
        fmin=config.fmin,
        fmax=config.fmax,
        pad_mode=config.pad_mode,
    )


GRID = [
    {},
    {"sample_rate": 44_100, "win_length": 1103, "hop_length": 441},
    {"sample_rate": 44_100, "pad_mode": "reflect"},
    {"sample_rate": 8_000, "n_fft": 256, "win_length": 200, "hop_length": 80, "n_mels": 40},
    {"sample_rate": 22_050, "fmin": 30.0, "fmax": 8_000.0},
    {"sample_rate": 22_050, "fmin": 300.0, "fmax": 3_000.0, "n_mels": 20, "pad_mode": "reflect"},
    {"sample_rate": 48_000, "n_fft": 4096, "win_length": 4096, "hop_length": 1024, "n_mels": 256},
    {"sample_rate": 16_000, "n_fft": 1000, "win_length": 999, "hop_length": 333, "n_mels": 64},
    {"sample_rate": 16_000, "n_fft": 1025, "win_length": 1025, "hop_length": 500, "n_mels": 33},
    {"sample_rate": 192_000, "n_mels": 17},
    {"sample_rate": 16_000, "n_fft": 512, "win_length": 512, "hop_length": 512, "n_mels": 1},
]


@pytest.mark.filterwarnings("ignore:Empty filters detected")
@pytest.mark.parametrize("settings", GRID, ids=str)
def test_the_power_is_librosas(settings: dict[str, object], waveform: np.ndarray) -> None:
    config = FrontEndConfig(scale="power", **settings)
    expected = librosa_power(waveform, config)
    power = MelSpectrogram(config)(torch.from_numpy(waveform)).numpy()
    assert power.dtype == np.float32
    assert power.shape == expected.shape
    assert np.abs(power - expected).max() <= 1e-5 * expected.max()


@pytest.mark.filterwarnings("ignore:Empty filters detected")
@pytest.mark.parametrize("settings", GRID, ids=str)
def test_the_filterbank_is_librosas(settings: dict[str, object]) -> None:
    config = FrontEndConfig(**settings)
    bank = {name: getattr(config, name) for name in ("n_fft", "n_mels", "fmin", "fmax")}
    weights = mel_filterbank(sample_rate=config.sample_rate, **bank)
    expected = librosa.filters.mel(sr=config.sample_rate, dtype=np.float64, **bank)
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-9, atol=1e-12)
    assert (weights >= 0).all()


@pytest.mark.parametrize("preset", ["rpe-44k", "rpe-16k"])
def test_decibels_are_librosas_power_to_db(preset: str, waveform: np.ndarray) -> None:
    config = FRONT_ENDS[preset]
    expected = librosa.power_to_db(librosa_power(waveform, config), ref=np.max, top_db=80)
    decibels = MelSpectrogram(config)(torch.from_numpy(waveform)).numpy()
    np.testing.assert_allclose(decibels, expected, atol=1e-3)
    assert decibels.max() == 0.0


def test_decibels_of_the_published_checkpoints_are_amplitude_to_db_of_the_power(
    waveform: np.ndarray,
) -> None:
    config = FRONT_ENDS["rpecl-44k"]
    expected = librosa.amplitude_to_db(librosa_power(waveform, config), ref=np.max, top_db=80)
    decibels = MelSpectrogram(config)(torch.from_numpy(waveform)).numpy()
    np.testing.assert_allclose(decibels, expected, atol=1e-3)
    assert (decibels.min(), decibels.max()) == (-80.0, 0.0)


def test_myna_16k_is_nnaudios_default(waveform: np.ndarray) -> None:
    features = pytest.importorskip("nnAudio.features")
    theirs = features.MelSpectrogram(
        sr=16_000, n_fft=2048, hop_length=512, n_mels=128, verbose=False
    )
    expected = theirs(torch.from_numpy(waveform)[None])[0]
    power = MelSpectrogram(FRONT_ENDS["myna-16k"])(torch.from_numpy(waveform))
    assert power.shape == expected.shape
    assert (power - expected).abs().max() <= 1e-5 * expected.max()


@pytest.mark.parametrize("preset", FRONT_ENDS)
@pytest.mark.parametrize("block", [1000, 44_099, 44_100, 100_000, 10**6])
def test_a_stream_gives_the_bits_of_a_single_call(
    preset: str, block: int, rng: np.random.Generator
) -> None:
    front_end = MelSpectrogram(FRONT_ENDS[preset])
    samples = front_end.config.hop_length * (2 * FRAMES_PER_BLOCK + 17) + 3
    track = rng.standard_normal(samples).astype(np.float32)
    streamed = front_end.stream(track[at : at + block] for at in range(0, samples, block))
    assert torch.equal(streamed, front_end(torch.from_numpy(track)))


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
@pytest.mark.parametrize("samples", [1, 2, 3, 127, 128, 129, 255, 256, 257, 1000])
@pytest.mark.parametrize("block", [1, 50, 10_000])
def test_short_tracks_stream_as_they_do_at_once(
    pad_mode: str, samples: int, block: int, rng: np.random.Generator
) -> None:
    config = FrontEndConfig(
        n_fft=256, win_length=256, hop_length=64, n_mels=8, pad_mode=pad_mode, scale="power"
    )
    front_end = MelSpectrogram(config)
    track = rng.standard_normal(samples).astype(np.float32)
    at_once = front_end(torch.from_numpy(track))
    streamed = front_end.stream(track[at : at + block] for at in range(0, samples, block))
    assert at_once.shape == (8, front_end.num_frames(samples))
    assert torch.equal(streamed, at_once)
    padded = np.pad(track, 128, mode=pad_mode)
    expected = librosa.feature.melspectrogram(
        y=padded, sr=16_000, n_fft=256, hop_length=64, n_mels=8, center=False
    )
    assert np.abs(at_once.numpy() - expected).max() <= 1e-5 * max(expected.max(), 1e-20)


def test_empty_blocks_change_nothing(waveform: np.ndarray) -> None:
    front_end = MelSpectrogram(FrontEndConfig())
    nothing = np.empty(0, np.float32)
    streamed = front_end.stream([nothing, waveform[:9000], nothing, waveform[9000:], nothing])
    assert torch.equal(streamed, front_end(torch.from_numpy(waveform)))


def test_a_read_only_block_is_accepted(waveform: np.ndarray) -> None:
    front_end = MelSpectrogram(FrontEndConfig())
    waveform.flags.writeable = False
    assert front_end.stream([waveform]).isfinite().all()


@pytest.mark.parametrize("preset", FRONT_ENDS)
def test_a_track_is_the_same_alone_and_in_a_batch(preset: str, waveform: np.ndarray) -> None:
    front_end = MelSpectrogram(FRONT_ENDS[preset])
    track = torch.from_numpy(waveform)
    batch = torch.stack([track, 0.1 * track, track.flip(0), 0 * track]).reshape(2, 2, -1)
    together = front_end(batch)
    assert together.shape[:2] == (2, 2)
    for index in np.ndindex(2, 2):
        assert torch.equal(together[index], front_end(batch[index]))


@pytest.mark.parametrize("preset", FRONT_ENDS)
def test_silence_is_floor_everywhere(preset: str) -> None:
    front_end = MelSpectrogram(FRONT_ENDS[preset])
    for silence in (torch.zeros(5000), torch.full((5000,), 1e-12)):
        assert (front_end(silence) - front_end.config.floor).abs().max() < 1e-10


def test_loudness_does_not_change_decibels(waveform: np.ndarray) -> None:
    front_end = MelSpectrogram(FRONT_ENDS["rpe-16k"])
    loud = torch.from_numpy(waveform + 0.01)
    torch.testing.assert_close(front_end(loud), front_end(4 * loud), atol=1e-3, rtol=0)


def test_decibels_span_at_most_top_db(waveform: np.ndarray) -> None:
    front_end = MelSpectrogram(FrontEndConfig(top_db=25.0))
    decibels = front_end(torch.from_numpy(waveform))
    assert (decibels.min(), decibels.max()) == (-25.0, 0.0)


def test_scale_leaves_its_input_alone(waveform: np.ndarray) -> None:
    front_end = MelSpectrogram(FRONT_ENDS["rpecl-44k"])
    power = front_end.power(torch.from_numpy(waveform))
    kept = power.clone()
    torch.testing.assert_close(front_end.scale(power), front_end(torch.from_numpy(waveform)))
    assert torch.equal(power, kept)


def test_float64_is_computed_in_float64(waveform: np.ndarray) -> None:
    front_end = MelSpectrogram(FrontEndConfig(scale="power"))
    power = front_end(torch.from_numpy(waveform.astype(np.float64)))
    assert power.dtype == torch.float64
    frame = np.pad(waveform.astype(np.float64), 1024)[5 * 512 :][:2048]
    spectrum = np.fft.rfft(frame * np.hanning(2049)[:-1])
    weights = mel_filterbank(sample_rate=16_000, n_fft=2048, n_mels=128).numpy()
    np.testing.assert_allclose(power[:, 5].numpy(), weights @ np.abs(spectrum) ** 2, rtol=1e-10)


def test_half_precision_input_is_computed_in_float32(waveform: np.ndarray) -> None:
    front_end = MelSpectrogram(FrontEndConfig(scale="power")).half()
    assert front_end(torch.from_numpy(waveform).half()).dtype == torch.float32


def test_autocast_does_not_touch_the_power(waveform: np.ndarray) -> None:
    front_end = MelSpectrogram(FrontEndConfig(scale="power"))
    track = torch.from_numpy(waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(front_end(track), front_end.power(track))
        inside = front_end(track)
    assert torch.equal(inside, front_end(track))


def test_it_adds_nothing_to_a_state_dict(waveform: np.ndarray) -> None:
    front_end = MelSpectrogram(FrontEndConfig())
    front_end(torch.from_numpy(waveform))
    assert not front_end.state_dict()
    assert not list(front_end.buffers())


def test_it_can_be_copied_and_pickled(waveform: np.ndarray) -> None:
    front_end = MelSpectrogram(FrontEndConfig())
    expected = front_end(torch.from_numpy(waveform))
    for twin in (copy.deepcopy(front_end), pickle.loads(pickle.dumps(front_end))):
        assert torch.equal(twin(torch.from_numpy(waveform)), expected)


def test_no_samples_are_refused() -> None:
    front_end = MelSpectrogram(FrontEndConfig())
    for attempt in (lambda: front_end(torch.empty(0)), lambda: front_end.stream([])):
        with pytest.raises(AudioError, match="waveform=0 samples"):
            attempt()


def test_a_filterbank_above_nyquist_is_refused() -> None:
    with pytest.raises(ConfigError, match="above half of sample_rate=16000 Hz"):
        mel_filterbank(sample_rate=16_000, n_fft=512, n_mels=8, fmax=9_000.0)
    with pytest.raises(ConfigError, match="is not below fmax"):
        mel_filterbank(sample_rate=16_000, n_fft=512, n_mels=8, fmin=5_000.0, fmax=4_000.0)


@pytest.mark.gpu
@pytest.mark.parametrize("preset", FRONT_ENDS)
def test_the_gpu_agrees_with_the_cpu(preset: str, waveform: np.ndarray) -> None:
    front_end = MelSpectrogram(FRONT_ENDS[preset])
    batch = torch.stack([torch.from_numpy(waveform)] * 3)
    expected = front_end.power(batch)
    power = front_end.power(batch.cuda()).cpu()
    assert (power - expected).abs().max() <= 1e-5 * expected.max()
    streamed = front_end.stream([waveform[:5000], waveform[5000:]], device="cuda").cpu()
    torch.testing.assert_close(streamed, front_end(batch[0]), atol=1e-2, rtol=1e-4)
