"""Peers against what they claim to be: librosa itself, a transcription of musicnn in NumPy."""

import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import librosa
import mir_eval
import numpy as np
import pytest
import soundfile
import torch

from myna_rpe.audio.decode import decode
from myna_rpe.audio.melspectrogram import MelSpectrogram
from myna_rpe.config import FRONT_ENDS
from myna_rpe.embedder import Embedder, Windows
from myna_rpe.errors import AudioError, CheckpointError, ConfigError, TaskError
from myna_rpe.evaluation.keys import KEYS, key_name
from myna_rpe.evaluation.peers import (
    ChromaExtractor,
    EssentiaKey,
    FeatureExtractor,
    LibrosaKey,
    MelExtractor,
    MfccExtractor,
    MusicnnExtractor,
    MynaExtractor,
    Span,
    UntrainedExtractor,
    musicnn,
)
from myna_rpe.evaluation.peers.librosa_key import PROFILES
from myna_rpe.evaluation.peers.musicnn import Musicnn
from myna_rpe.evaluation.peers.tensorflow_checkpoint import read_checkpoint
from myna_rpe.evaluation.reading import Reading

from ..audio import encoding
from ..embedding_support import SMALL, install, small_model

RATE = 22_050


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("peers") / "song"
    return encoding.write(path, "wav-float", encoding.music(2.5, RATE), RATE)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of musicnn with random weights."""
    folder = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(f"{folder}/", random_variables())
    return folder


@pytest.fixture(params=["mfcc", "mel", "chroma", "untrained", "musicnn", "librosa"])
def peer(
    request: pytest.FixtureRequest, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> FeatureExtractor:
    monkeypatch.setattr(musicnn, "PATCH_FRAMES", 40)  # a fifth of the time
    makers: dict[str, Callable[[], FeatureExtractor]] = {
        "mfcc": MfccExtractor,
        "mel": MelExtractor,
        "chroma": ChromaExtractor,
        "untrained": lambda: UntrainedExtractor(SMALL),
        "musicnn": lambda: MusicnnExtractor(weights=checkpoint),
        "librosa": LibrosaKey,
    }
    return makers[request.param]()


# --- what all have in common ---------------------------------------------------------------------


def test_features_are_one_float32_vector_and_the_same_again(
    peer: FeatureExtractor, song: Path
) -> None:
    features = peer.extract(song)
    assert features.shape == (peer.dim,)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert features.std() > 0
    np.testing.assert_array_equal(features, peer.extract(song))


def test_an_excerpt_has_the_features_of_a_file_cut_there(
    peer: FeatureExtractor, song: Path, tmp_path: Path
) -> None:
    samples, _ = soundfile.read(song, dtype="float32")
    cut = tmp_path / "cut.wav"
    soundfile.write(cut, samples[RATE : 2 * RATE], RATE, subtype="FLOAT")
    excerpt = peer.extract(song, start=1.0, duration=1.0)
    # The resampler knows what comes before and after the excerpt.
    assert np.linalg.norm(excerpt - peer.extract(cut)) < 0.05 * np.linalg.norm(excerpt)
    assert np.abs(excerpt - peer.extract(song)).max() > 1e-4


def test_extracting_many_keeps_the_order_and_says_what_is_wrong(
    peer: FeatureExtractor, song: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("no music")
    spans = [Span(song), Span(bad), Span(song, 1.0, 1.0), Span(song, 9.0, 1.0)]
    whole, broken, excerpt, beyond = peer.extract_many(spans)
    np.testing.assert_allclose(whole, peer.extract(song), atol=1e-5)
    np.testing.assert_allclose(excerpt, peer.extract(song, start=1.0, duration=1.0), atol=1e-5)
    assert "bad.wav" in broken
    assert "start=9 s" in beyond


def test_a_peer_that_fails_in_an_unknown_way_stops_nothing(song: Path) -> None:
    class Odd(MfccExtractor):
        def features(self, waveform: np.ndarray) -> np.ndarray:
            raise KeyError("surprise")

    (reason,) = Odd().extract_many([Span(song)])
    assert reason == (f"file={str(song)!r} gave mfcc trouble (KeyError: 'surprise'); leave it out.")


def test_a_missing_file_is_an_audio_error(peer: FeatureExtractor, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"gone\.wav"):
        peer.extract(tmp_path / "gone.wav")


def test_space_ids_differ_when_settings_do(checkpoint: Path) -> None:
    ids = [
        MfccExtractor().space_id,
        MfccExtractor(num_coefficients=13).space_id,
        MelExtractor().space_id,
        MelExtractor(FRONT_ENDS["rpe-44k"]).space_id,
        ChromaExtractor().space_id,
        LibrosaKey().space_id,
        LibrosaKey(profiles="temperley").space_id,
        UntrainedExtractor(SMALL).space_id,
        UntrainedExtractor(SMALL, seed=1).space_id,
        MynaExtractor(small_model(seed=3)).space_id,
        MynaExtractor(small_model(seed=3), reading=Reading(layer=1)).space_id,
        MynaExtractor(small_model(seed=3), reading=Reading(window=1.0)).space_id,
        MynaExtractor(small_model(seed=3), reading=Reading(pooling="mean")).space_id,
        MusicnnExtractor(weights=checkpoint).space_id,
        MusicnnExtractor(weights=checkpoint, layer="taggram").space_id,
    ]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "make", [MfccExtractor, MelExtractor, LibrosaKey, lambda: UntrainedExtractor(SMALL)]
)
def test_a_space_id_is_the_same_again(make: Callable[[], FeatureExtractor]) -> None:
    assert make().space_id == make().space_id


# --- the classical ones --------------------------------------------------------------------------


def test_mfcc_are_librosas(song: Path) -> None:
    samples, _ = soundfile.read(song, dtype="float32")
    mfcc = librosa.feature.mfcc(y=samples.mean(axis=1), sr=RATE, n_mfcc=20)
    expected = np.concatenate([mfcc.mean(axis=1), mfcc.std(axis=1)])
    np.testing.assert_allclose(MfccExtractor().extract(song), expected, rtol=1e-4, atol=1e-3)


def test_mel_statistics_are_those_of_the_front_end(song: Path) -> None:
    config = FRONT_ENDS["rpe-16k"]
    waveform = decode(song, sample_rate=config.sample_rate)
    spectrogram = MelSpectrogram(config)(torch.from_numpy(waveform))
    features = MelExtractor(config).extract(song)
    np.testing.assert_allclose(features[:128], spectrogram.mean(dim=1), atol=1e-4)
    np.testing.assert_allclose(features[128:], spectrogram.std(dim=1, correction=0), atol=1e-4)


@pytest.mark.parametrize("semitone", [0, 4, 9])
def test_chroma_hears_the_pitch_class(semitone: int) -> None:
    chroma = ChromaExtractor().features(tones([60 + semitone]))
    assert chroma.argmax() == semitone


# --- encoders ------------------------------------------------------------------------------------


def test_a_model_gives_its_embeddings(song: Path) -> None:
    name = install("small", seed=3)
    peer = MynaExtractor(name)
    embedder = Embedder(small_model(seed=3))
    assert peer.space_id == embedder.space_id
    assert peer.name == "small"
    np.testing.assert_array_equal(peer.extract(song), embedder.embed(song))
    waveform = decode(song, sample_rate=16_000, start=1.0, duration=1.5)
    np.testing.assert_array_equal(
        peer.extract(song, start=1.0, duration=1.5), embedder.embed(waveform, sample_rate=16_000)
    )


def test_the_reading_reaches_the_embedder(song: Path) -> None:
    reading = Reading(window=0.7, layer=1, pooling="mean")
    peer = MynaExtractor(install("small"), reading=reading)
    embedder = Embedder(small_model(), context=Windows(0.7), layer=1, pooling="mean")
    assert peer.reading == reading
    assert peer.space_id == embedder.space_id
    np.testing.assert_array_equal(peer.extract(song), embedder.embed(song))


def test_readings_may_share_a_model(song: Path) -> None:
    model = small_model()
    peers = [MynaExtractor(model, reading=Reading(layer=layer), name="m") for layer in (1, None)]
    assert [peer.space_id for peer in peers] == [f"{model.space_id}/layer1", model.space_id]
    assert all(peer.embedder.model is model for peer in peers)


def test_every_size_of_model_gets_one_untrained_peer(song: Path) -> None:
    small = MynaExtractor(small_model(seed=2), name="small")
    windows = MynaExtractor(small_model(seed=1), reading=Reading(window=1.0), name="other")
    (peer,) = UntrainedExtractor.like([small, windows, MfccExtractor()])
    assert peer.name == "untrained, as small"
    assert peer.embedder.model.architecture == small.embedder.model.architecture
    assert peer.space_id not in (small.space_id, windows.space_id)
    (alone,) = UntrainedExtractor.like([MfccExtractor()])
    assert alone.name == "untrained"


def test_an_untrained_encoder_is_that_of_its_seed(song: Path) -> None:
    features = UntrainedExtractor(SMALL, seed=5).extract(song)
    np.testing.assert_array_equal(features, Embedder(small_model(seed=5)).embed(song))
    assert np.abs(features - UntrainedExtractor(SMALL, seed=6).extract(song)).max() > 1e-3


# --- keys ----------------------------------------------------------------------------------------


def tones(pitches: list[int], seconds: float = 1.0) -> np.ndarray:
    """Return notes (MIDI numbers) together, each with a few partials."""
    time = np.arange(round(seconds * RATE)) / RATE
    sound = np.zeros_like(time)
    for pitch in pitches:
        frequency = 440.0 * 2 ** ((pitch - 69) / 12)
        sound += sum(np.sin(2 * np.pi * frequency * k * time) / k**2 for k in (1, 2, 3))
    return (0.1 * sound * np.exp(-time / seconds)).astype(np.float32)


def cadence(tonic: int, mode: str) -> np.ndarray:
    """Return I IV V I, with a minor first and fourth degree in minor."""
    third = 4 if mode == "major" else 3
    triads = [[0, third, 7], [5, 5 + third, 12], [7, 11, 14], [0, third, 7, 12]]
    return np.concatenate([tones([48 + tonic + step for step in triad]) for triad in triads])


@pytest.mark.parametrize("profiles", PROFILES)
@pytest.mark.parametrize(
    ("tonic", "mode"), [(0, "major"), (6, "major"), (10, "major"), (9, "minor"), (1, "minor")]
)
def test_the_key_of_a_cadence_is_detected(
    profiles: str, tonic: int, mode: str, tmp_path: Path
) -> None:
    path = tmp_path / "cadence.wav"
    soundfile.write(path, cadence(tonic, mode), RATE)
    found = LibrosaKey(profiles=profiles).detect(path)
    assert found == (KEYS[tonic].split()[0], mode)


def test_a_keys_score_is_its_correlation_with_the_profile() -> None:
    sound = cadence(2, "minor")
    scores = LibrosaKey().features(sound)
    chroma = ChromaExtractor().features(sound)
    for index, key in enumerate(KEYS):
        tonic, mode = key.split()
        profile = PROFILES["krumhansl"][("major", "minor").index(mode)]
        semitones = mir_eval.key.KEY_TO_SEMITONE[tonic.lower()]
        around = [profile[(pitch_class - semitones) % 12] for pitch_class in range(12)]
        assert scores[index] == pytest.approx(np.corrcoef(around, chroma)[0, 1], abs=1e-5)


def test_silence_has_no_key() -> None:
    scores = LibrosaKey().features(np.zeros(RATE, np.float32))
    np.testing.assert_array_equal(scores, np.zeros(24))


def test_every_spelling_of_a_key_is_the_key_mir_eval_reads() -> None:
    for letter in "ABCDEFG":
        for accidental in ("", "b", "#"):
            written = f"{letter}{accidental}"
            if written.lower() not in mir_eval.key.KEY_TO_SEMITONE:
                continue
            for mode in ("major", "minor"):
                name = key_name(written.lower(), mode)
                assert name in KEYS
                assert mir_eval.key.weighted_score(f"{written} {mode}", name) == 1.0
    assert key_name("Cb", "major") == "B major"
    assert key_name("E#", "minor") == "F minor"


@pytest.mark.parametrize(("tonic", "mode"), [("H", "major"), ("", "minor"), ("C", "dorian")])
def test_what_is_no_key_is_refused(tonic: str, mode: str) -> None:
    with pytest.raises(TaskError, match="none of the 24 keys"):
        key_name(tonic, mode)


def test_unknown_profiles_list_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match=r"krumhansl, temperley"):
        LibrosaKey(profiles="krumhansel")


@pytest.fixture
def fake_essentia(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Put a module in essentia's place that hears F# minor; return what it was given."""
    given: list[object] = []

    def key_extractor(*, sampleRate: int, profileType: str) -> object:  # noqa: N803
        if profileType != "bgate":
            raise RuntimeError(profileType)
        given.append(sampleRate)

        def hear(waveform: np.ndarray) -> tuple[str, str, float]:
            given.append(waveform)
            return "F#", "minor", 0.7

        return hear

    essentia, standard = ModuleType("essentia"), ModuleType("essentia.standard")
    essentia.__version__ = "2.1"
    essentia.log = SimpleNamespace(infoActive=True)
    standard.KeyExtractor = key_extractor
    monkeypatch.setitem(sys.modules, "essentia", essentia)
    monkeypatch.setitem(sys.modules, "essentia.standard", standard)
    return given


def test_essentias_answer_is_spelled_as_ours(fake_essentia: list[object], song: Path) -> None:
    assert EssentiaKey().detect(song) == ("Gb", "minor")
    rate, waveform = fake_essentia
    assert rate == 44_100
    assert (waveform.dtype, len(waveform)) == (np.float32, 2.5 * 44_100)


def test_profiles_unknown_to_essentia_are_refused(fake_essentia: list[object]) -> None:
    with pytest.raises(ConfigError, match="profiles='bagte'"):
        EssentiaKey(profiles="bagte")


@pytest.mark.parametrize(
    ("module", "make", "remedy"),
    [
        ("essentia", EssentiaKey, "pip install essentia"),
        ("librosa", MfccExtractor, r"pip install 'myna-rpe\[eval\]'"),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(
    module: str, make: Callable[[], object], remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"package={module} is not installed; .*{remedy}"):
        make()


# --- musicnn -------------------------------------------------------------------------------------

Variables = dict[str, np.ndarray]

CONVOLUTIONS = [
    *((7, 38, 1, 204), (7, 67, 1, 204), (128, 1, 1, 51), (64, 1, 1, 51), (32, 1, 1, 51)),
    *((7, 561, 1, 64), (7, 64, 1, 64), (7, 64, 1, 64)),
]
NORMS = [1, 204, 204, 51, 51, 51, 64, 64, 64, 1506, 200]
DENSE = [(1506, 200), (200, 50)]


def numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def random_variables() -> Variables:
    """Return weights of a checkpoint of musicnn, with what its optimiser left there."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    variables: Variables = {"beta1_power": np.full((), 0.9, np.float32)}
    for kind, shapes in (("conv2d", CONVOLUTIONS), ("dense", DENSE)):
        for number, shape in enumerate(shapes):
            name = numbered(kind, number)
            variables[f"{name}/kernel"] = normal(*shape) / np.float32(np.prod(shape[:-1])) ** 0.5
            variables[f"{name}/bias"] = normal(shape[-1])
            variables[f"{name}/bias/Adam"] = normal(shape[-1])
    for number, channels in enumerate(NORMS):
        name = numbered("batch_normalization", number)
        for part in ("beta", "gamma", "moving_mean"):  # gamma of both signs, as in the real one
            variables[f"{name}/{part}"] = normal(channels)
        variables[f"{name}/moving_variance"] = np.abs(normal(channels))
    return variables


def numpy_musicnn(x: np.ndarray, variables: Variables) -> tuple[np.ndarray, np.ndarray]:
    """Return penultimate layer and tags of one patch (frames, bands); models.py in float64."""
    numbers = {"conv2d": iter(range(8)), "batch_normalization": iter(range(11))}

    def of(kind: str, *parts: str) -> list[np.ndarray]:
        name = numbered(kind, next(numbers[kind]))
        return [variables[f"{name}/{part}"].astype(np.float64) for part in parts]

    def norm(values: np.ndarray) -> np.ndarray:
        beta, gamma, mean, variance = of(
            "batch_normalization", "beta", "gamma", "moving_mean", "moving_variance"
        )
        return gamma * (values - mean) / np.sqrt(variance + 0.001) + beta

    def convolve(image: np.ndarray) -> np.ndarray:
        """Return relu of the convolution of (frames, bands), "same" in time, "valid" in bands."""
        kernel, bias = of("conv2d", "kernel", "bias")
        length, width = kernel.shape[:2]
        before = (length - 1) // 2
        image = np.pad(image, ((before, length - 1 - before), (0, 0)))
        out = np.zeros(
            (len(image) - length + 1, image.shape[1] - width + 1, kernel.shape[-1]), np.float64
        )
        for dt in range(length):
            rows = image[dt : dt + out.shape[0]]
            if width == 1:
                out += rows[:, :, None] * kernel[dt, 0, 0]
            else:
                windows = np.lib.stride_tricks.sliding_window_view(rows, width, axis=1)
                out += windows @ kernel[dt, :, 0]
        return np.maximum(out + bias, 0)

    image = norm(x.astype(np.float64)[..., None])[..., 0]
    front = np.concatenate([norm(convolve(image)).max(axis=1) for _ in range(5)], axis=1)
    first = norm(convolve(front)[:, 0])
    second = norm(convolve(first)[:, 0]) + first
    third = norm(convolve(second)[:, 0]) + second
    features = np.concatenate([front, first, second, third], axis=1)
    pooled = np.empty(2 * features.shape[1])
    pooled[0::2], pooled[1::2] = features.max(axis=0), features.mean(axis=0)
    hidden = norm(pooled) @ variables["dense/kernel"] + variables["dense/bias"]
    penultimate = norm(np.maximum(hidden, 0))
    logits = penultimate @ variables["dense_1/kernel"] + variables["dense_1/bias"]
    return penultimate, 1 / (1 + np.exp(-logits))


def test_musicnn_is_its_transcription_in_numpy() -> None:
    variables = random_variables()
    patches = np.random.default_rng(1).uniform(0, 4, (2, 40, 96)).astype(np.float32)
    penultimate, tags = Musicnn(variables)(torch.from_numpy(patches))
    for index, patch in enumerate(patches):
        expected_penultimate, expected_tags = numpy_musicnn(patch, variables)
        np.testing.assert_allclose(penultimate[index], expected_penultimate, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(tags[index], expected_tags, atol=1e-3)
    assert tags.std() > 0.1


def test_musicnn_is_the_mean_over_patches_of_librosas_spectrogram(
    checkpoint: Path, song: Path
) -> None:
    waveform = decode(song, sample_rate=16_000)
    waveform = np.tile(waveform, 3)  # 7.5 s: two patches of 187 frames, and some left
    power = librosa.feature.melspectrogram(
        y=waveform, sr=16_000, n_fft=512, hop_length=256, n_mels=96, pad_mode="reflect"
    )
    frames = np.log10(10_000 * power.T + 1)[: 2 * 187].astype(np.float32)
    penultimate, tags = Musicnn(random_variables())(torch.from_numpy(frames.reshape(2, 187, 96)))
    for layer, expected in (("penultimate", penultimate), ("taggram", tags)):
        peer = MusicnnExtractor(weights=checkpoint, layer=layer)
        np.testing.assert_allclose(peer.features(waveform), expected.mean(dim=0), atol=2e-2)
    assert (penultimate[0] - penultimate[1]).abs().max() > 0.1


def test_musicnn_repeats_a_track_shorter_than_a_patch(checkpoint: Path, song: Path) -> None:
    waveform = torch.from_numpy(decode(song, sample_rate=16_000, duration=1.0))
    (patch,) = MusicnnExtractor(weights=checkpoint).patches(waveform)
    assert patch.shape == (187, 96)
    torch.testing.assert_close(patch[:63], patch[63:126])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda variables: variables.pop("conv2d_3/bias"), r"conv2d_3/bias is missing"),
        (
            lambda variables: variables.update({"dense/bias": np.zeros(7, np.float32)}),
            r"dense/bias is \(7,\), musicnn needs \(200,\)",
        ),
        (
            lambda variables: variables.update({"extra/bias": np.zeros(7, np.float32)}),
            r"extra/bias have no place",
        ),
    ],
)
def test_variables_that_are_not_musicnns_are_refused(
    change: Callable[[Variables], object], message: str
) -> None:
    variables = random_variables()
    change(variables)
    with pytest.raises(CheckpointError, match=message):
        Musicnn(variables)


def test_musicnn_says_how_to_get_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(musicnn, "distribution", missing)
    with pytest.raises(CheckpointError, match="pip install --no-deps musicnn"):
        MusicnnExtractor()


def test_musicnns_weights_are_found_in_the_installed_package(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "musicnn").mkdir()
    (tmp_path / "musicnn" / "MSD_musicnn").symlink_to(checkpoint)
    installed = SimpleNamespace(locate_file=lambda name: tmp_path / name)
    monkeypatch.setattr(musicnn, "distribution", lambda name: installed)
    found = MusicnnExtractor(network="MSD_musicnn")
    assert found.space_id == MusicnnExtractor(weights=checkpoint).space_id


@pytest.mark.parametrize("setting", [{"layer": "penultimat"}, {"network": "MTT_vgg"}])
def test_unknown_settings_of_musicnn_list_the_valid_ones(setting: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"Valid: |valid: "):
        MusicnnExtractor(**setting)


@pytest.mark.skipif(not find_spec("musicnn"), reason="the weights are in the musicnn package")
@pytest.mark.parametrize(
    ("network", "penultimate", "tags"),
    [
        (
            "MTT_musicnn",
            [[1.42744, -0.47368, 0.12356, 1.02701], [0.93792, -0.34265, 0.39092, 0.96498]],
            [[0.017453, 0.006011, 0.001363, 0.000237], [0.023378, 0.011254, 0.009472, 0.002961]],
        ),
        (
            "MSD_musicnn",
            [[-0.17718, 1.61736, 0.4419, -0.29343], [-0.17718, 2.23107, 1.86392, -0.29343]],
            [[0.119972, 0.014833, 0.001255, 0.000325], [0.108005, 0.032744, 0.000602, 0.00033]],
        ),
    ],
)
def test_the_shipped_weights_give_what_tensorflow_gave(
    network: str, penultimate: list[list[float]], tags: list[list[float]]
) -> None:
    """Numbers of musicnn 0.1.0 itself, its `define_model` run by TensorFlow 2.15.1."""
    patches = 1.5 + np.sin(0.37 * np.arange(2 * 187 * 96)).reshape(2, 187, 96)
    patches[1] *= np.linspace(0, 2, 187)[:, None]
    folder = distribution("musicnn").locate_file(f"musicnn/{network}")
    ours = Musicnn(read_checkpoint(f"{folder}/"))(torch.from_numpy(patches.astype(np.float32)))
    np.testing.assert_allclose(ours[0][:, [0, 50, 100, 199]], penultimate, atol=2e-5)
    np.testing.assert_allclose(ours[1][:, [0, 6, 20, 49]], tags, atol=2e-6)


# --- TensorFlow checkpoints ----------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Return a block of LevelDB's table: keys without what they share with the one before."""
    out = b""
    before = b""
    for key, value in entries:
        shared = next(
            (at for at, (a, b) in enumerate(zip(before, key, strict=False)) if a != b),
            min(len(before), len(key)),
        )
        added = key[shared:]
        out += varint(shared) + varint(len(added)) + varint(len(value)) + added + value
        before = key
    return out + struct.pack("<II", 0, 1)  # one restart, at 0


def write_checkpoint(prefix: str, variables: Mapping[str, np.ndarray], *, dtype: int = 1) -> None:
    """Write the two files as TensorFlow's BundleWriter does, 20 variables to a block."""
    data = b""
    entries = [(b"", field(1, 1))]
    for name, wide in sorted(variables.items()):
        values = wide.astype("<f4")
        shape = b"".join(field(2, field(1, size)) for size in values.shape)
        entry = field(1, dtype) + field(2, shape)
        entry += (field(4, len(data)) if data else b"") + field(5, values.nbytes)
        entries.append((name.encode(), entry + b"\x35" + bytes(4)))  # 6: a checksum, fixed32
        data += values.tobytes()
    table, index = b"", []
    for chunk in [entries[at : at + 20] for at in range(0, len(entries), 20)]:
        body = block(chunk)
        index.append((chunk[-1][0], varint(len(table)) + varint(len(body))))
        table += body + bytes(5)  # not compressed; a checksum
    handles = b""
    for body in (block([]), block(index)):
        handles += varint(len(table)) + varint(len(body))
        table += body + bytes(5)
    footer = handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    Path(f"{prefix}.index").write_bytes(table + footer)
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data)


def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path) -> None:
    variables = {
        f"layer_{number}/{part}": np.full((number, 2), number, np.float32) + np.arange(2)
        for number in range(1, 30)
        for part in ("kernel", "bias")
    } | {"scalar": np.full((), 0.5, np.float32)}
    write_checkpoint(f"{tmp_path}/model", variables)
    found = read_checkpoint(f"{tmp_path}/model")
    assert found.keys() == variables.keys()
    for name, values in variables.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].shape == np.shape(values)


def test_variables_of_other_types_are_left_out(tmp_path: Path) -> None:
    write_checkpoint(f"{tmp_path}/model", {"step": np.zeros(2, np.float32)}, dtype=9)
    assert read_checkpoint(f"{tmp_path}/model") == {}


def _damages() -> Iterator[tuple[str, Callable[[bytes], bytes]]]:
    yield ".index", lambda file: b""
    yield ".index", lambda file: file[:-9]
    yield ".index", lambda file: file[:-48] + b"\xff" * 40 + file[-8:]
    yield ".index", lambda file: b"\xff" * 60 + file[60:]
    yield ".data-00000-of-00001", lambda file: file[:-1]


@pytest.mark.parametrize(("suffix", "damage"), list(_damages()))
def test_a_damaged_checkpoint_is_one_sentence(
    tmp_path: Path, suffix: str, damage: Callable[[bytes], bytes]
) -> None:
    write_checkpoint(f"{tmp_path}/model", {"a": np.ones(5, np.float32)})
    path = tmp_path / f"model{suffix}"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match="is damaged or of another format"):
        read_checkpoint(f"{tmp_path}/model")


def test_a_checkpoint_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"No such file.*give the prefix"):
        read_checkpoint(f"{tmp_path}/model")
