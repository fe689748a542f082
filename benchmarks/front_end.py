"""File to mel-spectrogram against librosa, its two halves alone, and decoding by format.

    python -m benchmarks front_end

The input is three minutes of synthetic stereo music at 44.1 kHz, encoded here. librosa is what most
would write: ``load``, ``feature.melspectrogram``, ``power_to_db``.
"""

import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import soundfile
import torch
from torch import Tensor

from .harness import Candidate, Measurement, Row, compare, measure

RATE = 44_100
PRESET = "rpe-44k"


def rows(*, quick: bool = False) -> list[Row]:
    """Return the rows of the table; --quick shortens the music to 30 s."""
    seconds = 30 if quick else 180
    rounds = 5 if quick else 7
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own, for children inherit the peak memory of the process they leave.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            files = pool.submit(encode, Path(folder), seconds).result()
        return [
            *_whole_front_end(files["mp3"], seconds, rounds),
            *_mel_alone(seconds, rounds),
            *_decoding(files, seconds, rounds),
        ]


def _candidate(function: Callable[..., object], **arguments: object) -> Candidate:
    return Candidate(f"{__name__}:{function.__name__}", arguments)


def _whole_front_end(mp3: str, seconds: int, rounds: int) -> list[Row]:
    table = []
    for preset in (PRESET, "rpe-16k"):
        times = measure(
            {
                "ours": _candidate(our_front_end, path=mp3, preset=preset),
                "librosa": _candidate(librosa_front_end, path=mp3, preset=preset),
            },
            rounds=rounds,
        )
        name = f"mp3 to {preset} spectrogram"
        # Resampling and fewer frames leave little but the decoder, which both share, at 16 kHz.
        goal = 2 if preset == PRESET else None
        ours, theirs = times.values()
        row = _speed(name, ours, theirs, seconds, at_least=goal, note="vs librosa")
        table.append(row)
        if preset == PRESET:
            table.append(
                {
                    "name": f"{name}, one core",
                    "goal": ">= 700x realtime",
                    "unit": row["unit"],
                    "ours": row["ours"],
                    "rss_ours": row["rss_ours"],
                    "baseline": 700.0,
                    "ratio": row["ours"] / 700.0,
                    "met": row["ours"] >= 700.0,
                    "note": "baseline is the goal",
                }
            )
    return table


def _mel_alone(seconds: int, rounds: int) -> list[Row]:
    functions = (our_mel, librosa_mel, dense_mel)
    times = measure({f.__name__: _candidate(f, seconds=seconds) for f in functions}, rounds=rounds)
    ours, librosa, dense = times.values()
    return [
        _speed("waveform to mel", ours, librosa, seconds, note="vs librosa"),
        _speed("waveform to mel", ours, dense, seconds, note="vs torch.stft and a dense product"),
    ]


def _decoding(files: dict[str, str], seconds: int, rounds: int) -> list[Row]:
    table = []
    for name, path in files.items():
        candidates = {"ours": _candidate(our_decode, path=path)}
        if "m4a" not in name:
            candidates["soundfile"] = _candidate(soundfile_decode, path=path)
        candidates["pyav"] = _candidate(pyav_decode, path=path)
        times = measure(candidates, rounds=rounds)
        for other in ("soundfile", "pyav"):
            if other in times:
                row = _speed(f"decode {name}", times["ours"], times[other], seconds, note=other)
                table.append({**row, "note": f"vs {other} alone"})
    return table


def _speed(
    name: str,
    ours: Measurement,
    baseline: Measurement,
    seconds: int,
    *,
    at_least: float | None = None,
    note: str,
) -> Row:
    row = compare(
        name, ours, baseline, at_least=at_least, unit="x realtime", per=seconds, note=note
    )
    return {**row, "ratio": baseline.seconds / ours.seconds}


# --- input ---------------------------------------------------------------------------------------


def music(seconds: int) -> np.ndarray:
    """Return (samples, 2) float32: a new chord every second over a pulse and some noise."""
    rng = np.random.default_rng(0)
    time = np.arange(RATE) / RATE
    pulse = np.sin(2 * np.pi * 60 * time) * np.exp(-20 * time)
    pieces = []
    for _ in range(seconds):
        root = 110 * 2 ** (rng.integers(0, 24) / 12)
        partials = root * np.array([1, 5 / 4, 3 / 2, 2, 3, 4, 6, 8, 12])
        phases = rng.uniform(0, 2 * np.pi, (2, len(partials), 1))
        waves = np.sin(2 * np.pi * partials[:, None] * time + phases) / np.arange(2, 11)[:, None]
        noise = rng.normal(size=(2, RATE)) * np.exp(-6 * time)
        pieces.append(0.15 * waves.sum(1) * np.exp(-time) + 0.2 * pulse + 0.03 * noise)
    return np.concatenate(pieces, axis=1).T.astype(np.float32)


def encode(folder: Path, seconds: int) -> dict[str, str]:
    """Write the music in each format; return the paths by name."""
    samples = music(seconds)
    files = {}
    for name, rate in (
        ("mp3", RATE),
        ("flac", RATE),
        ("wav", RATE),
        ("ogg", RATE),
        ("opus", 48_000),
    ):
        files[name] = str(folder / f"music.{name}")
        options = {"format": "OGG", "subtype": "OPUS"} if name == "opus" else {}
        with soundfile.SoundFile(files[name], "w", rate, samples.shape[1], **options) as file:
            for at in range(0, len(samples), RATE):
                file.write(samples[at : at + RATE])
    for name, codec in (("m4a (AAC)", "aac"), ("m4a (ALAC)", "alac")):
        files[name] = str(folder / f"{codec}.m4a")
        with av.open(files[name], "w") as container:
            stream = container.add_stream(codec, rate=RATE, layout="stereo")
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples.T), format="fltp", layout="stereo"
            )
            frame.sample_rate = RATE
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return files


# --- candidates: each sets up and returns what is timed ------------------------------------------


def our_front_end(path: str, preset: str) -> Callable[[], Tensor]:
    from myna_rpe.audio.decode import decode_blocks
    from myna_rpe.audio.melspectrogram import MelSpectrogram
    from myna_rpe.config import FRONT_ENDS

    front_end = MelSpectrogram(FRONT_ENDS[preset])
    return lambda: front_end.stream(decode_blocks(path, sample_rate=front_end.config.sample_rate))


def librosa_front_end(path: str, preset: str) -> Callable[[], Tensor]:
    import librosa

    from myna_rpe.config import FRONT_ENDS

    config = FRONT_ENDS[preset]

    def run() -> Tensor:
        waveform, rate = librosa.load(path, sr=config.sample_rate)
        power = librosa.feature.melspectrogram(
            y=waveform,
            sr=rate,
            n_fft=config.n_fft,
            win_length=config.win_length,
            hop_length=config.hop_length,
        )
        return torch.from_numpy(librosa.power_to_db(power, ref=np.max))

    return run


def our_mel(seconds: int) -> Callable[[], Tensor]:
    from myna_rpe.audio.melspectrogram import MelSpectrogram
    from myna_rpe.config import FRONT_ENDS

    front_end = MelSpectrogram(FRONT_ENDS[PRESET])
    waveform = torch.randn(seconds * RATE)
    return lambda: front_end.power(waveform)


def librosa_mel(seconds: int) -> Callable[[], Tensor]:
    import librosa

    from myna_rpe.config import FRONT_ENDS

    config = FRONT_ENDS[PRESET]
    waveform = torch.randn(seconds * RATE).numpy()
    return lambda: torch.from_numpy(
        librosa.feature.melspectrogram(
            y=waveform,
            sr=RATE,
            n_fft=config.n_fft,
            win_length=config.win_length,
            hop_length=config.hop_length,
        )
    )


def dense_mel(seconds: int) -> Callable[[], Tensor]:
    from myna_rpe.audio.melspectrogram import mel_filterbank
    from myna_rpe.config import FRONT_ENDS

    config = FRONT_ENDS[PRESET]
    weights = mel_filterbank(sample_rate=RATE, n_fft=config.n_fft, n_mels=config.n_mels).float()
    window = torch.hann_window(config.win_length)
    waveform = torch.randn(seconds * RATE)

    def run() -> Tensor:
        spectrum = torch.stft(
            waveform,
            config.n_fft,
            config.hop_length,
            config.win_length,
            window,
            pad_mode="constant",
            return_complex=True,
        )
        return weights @ spectrum.abs().square()

    return run


def our_decode(path: str) -> Callable[[], None]:
    from myna_rpe.audio.decode import decode_blocks, probe

    rate = probe(path).sample_rate

    def run() -> None:
        for _ in decode_blocks(path, sample_rate=rate):
            pass

    return run


def soundfile_decode(path: str) -> Callable[[], None]:
    def run() -> None:
        with soundfile.SoundFile(path) as file:
            buffer = np.empty((65_536, file.channels), np.float32)
            while len(block := file.read(out=buffer)):
                (block[:, 0] + block[:, 1]) * np.float32(0.5)

    return run


def pyav_decode(path: str) -> Callable[[], None]:
    def run() -> None:
        with av.open(path) as container:
            stream = container.streams.audio[0]
            stream.codec_context.thread_count = 1
            to_mono = av.AudioResampler(format="flt", layout="mono")
            for frame in container.decode(stream):
                for resampled in to_mono.resample(frame):
                    resampled.to_ndarray()

    return run


if __name__ == "__main__":
    for row in rows():
        print(row)
