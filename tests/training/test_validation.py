"""What is measured on held-out tracks."""

import numpy as np
import pytest
import torch

from myna_rpe.config import RunConfig
from myna_rpe.data.shards import ShardSet
from myna_rpe.embedder import Embedder
from myna_rpe.model.checkpoint import MynaModel
from myna_rpe.objectives import build_objectives
from myna_rpe.recipes import smoke
from myna_rpe.training.launch import Hardware, launch
from myna_rpe.training.step import Projector
from myna_rpe.training.validation import Validation, halves_precision, label_precision

from ..synthetic_music import write_shards


@pytest.fixture
def shards(tmp_path) -> ShardSet:
    return ShardSet.open(write_shards(tmp_path / "shards", [120] * 12, tracks_per_folder=2))


def config(*settings: str) -> RunConfig:
    return smoke().override("validation.window_frames=32", "validation.max_tracks=5", *settings)


def validation(shards: ShardSet, config: RunConfig, held_out: list[int]) -> Validation:
    assert config.validation is not None
    return Validation(shards, config, config.validation, held_out)


def measure(
    shards: ShardSet, config: RunConfig, held_out: list[int], model: MynaModel | None = None
) -> dict[str, float]:
    model = model or MynaModel.untrained(config.architecture)
    objectives = build_objectives(config.objectives, dim=16)
    with launch(config, Hardware("cpu")) as fabric:
        return validation(shards, config, held_out).measure(model, objectives, fabric)


def test_halves_are_found_where_they_are_nearest() -> None:
    first = torch.eye(4)
    assert halves_precision(first, 3 * first) == 1.0
    assert halves_precision(first, first.roll(1, 0)) == 0.0
    swapped = first[[1, 0, 2, 3]]
    assert halves_precision(first, swapped) == 0.5


def test_precision_by_label_asks_only_tracks_that_can_be_answered() -> None:
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [0.05, 1.0]])
    # The last is alone: it is not asked, but stands between the two of "b".
    assert label_precision(vectors, ["a", "a", "b", "b", "c"]) == pytest.approx(2 / 4)
    assert label_precision(vectors, ["a", "a", "b", "b", "b"]) == 1.0
    assert label_precision(vectors, list("abcde")) is None


def test_precision_by_label_equals_a_loop() -> None:
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(30, 5)), rng.choice(list("abcdefgh"), 30).tolist()
    right = asked = 0
    for i, vector in enumerate(vectors):
        others = [j for j in range(30) if j != i]
        if labels[i] not in [labels[j] for j in others]:
            continue
        cosines = [
            vector @ vectors[j] / np.linalg.norm(vector) / np.linalg.norm(vectors[j])
            for j in others
        ]
        asked += 1
        right += labels[others[int(np.argmax(cosines))]] == labels[i]
    assert label_precision(torch.from_numpy(vectors), labels) == pytest.approx(right / asked)


def test_measuring_is_repeatable_and_leaves_the_model_as_it_was(shards) -> None:
    model = MynaModel.untrained(config().architecture).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    runtime = model.encoder.runtime
    chosen = config("precision=bf16-mixed")
    assert measure(shards, chosen, [0, 1, 2, 3, 4, 5], model) == measure(
        shards, chosen, [0, 1, 2, 3, 4, 5], model
    )
    assert model.training
    assert model.encoder.runtime == runtime
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


def test_the_loss_is_that_of_the_held_out_tracks(shards) -> None:
    chosen = config()
    values = measure(shards, chosen, [4, 5, 6, 7])
    source = validation(shards, chosen, [4, 5, 6, 7]).batches
    model = MynaModel.untrained(chosen.architecture).eval()
    objectives = build_objectives(chosen.objectives, dim=16).eval()
    batch = source.batch(0)
    assert set(batch.tracks) == {4, 5, 6, 7}
    with torch.no_grad():
        expected = objectives(Projector(model)(batch.groups))[0].item()
    assert values["loss"] == pytest.approx(expected)


def test_what_shapes_the_space_is_not_part_of_the_held_out_loss(shards) -> None:
    with_hull = config("objectives.hull_spread.weight=5", "objectives.info_nce.weight=2")
    assert measure(shards, with_hull, [0, 1, 2, 3])["loss"] == pytest.approx(
        2 * measure(shards, config(), [0, 1, 2, 3])["loss"]
    )


def test_retrieval_is_that_of_the_embedder(shards) -> None:
    chosen = config("validation.max_tracks=6")
    held_out = [0, 1, 2, 3, 4, 5]
    values = measure(shards, chosen, held_out)
    embedder = Embedder(MynaModel.untrained(chosen.architecture))
    tracks = [torch.from_numpy(shards.excerpt(track, 0, 120)).T for track in held_out]
    halves = [
        torch.tensor(np.stack([embedder.embed_spectrogram(part) for part in parts]))
        for parts in zip(*[(track[:, :60], track[:, 60:]) for track in tracks], strict=True)
    ]
    assert values["halves_p1/track"] == pytest.approx(halves_precision(*halves))
    whole = torch.tensor(np.stack([embedder.embed_spectrogram(track) for track in tracks]))
    labels = [shards.tracks[track].group for track in held_out]
    assert values["artist_p1/track"] == pytest.approx(label_precision(whole, labels))


def test_augmentation_and_balance_are_for_training_alone(shards) -> None:
    noisy = config("augment.noise_db=9", "sampling.by=folder")
    assert measure(shards, noisy, [0, 1, 2, 3]) == measure(shards, config(), [0, 1, 2, 3])


def test_tracks_are_read_as_far_as_the_scheme_can_place_them(shards) -> None:
    # Five columns of 16 frames: less than a track of 120, more than a view of 64.
    short = 'architecture.model.positions=[{"name": "learned-time", "max_columns": 5}]'
    values = measure(shards, config(short), [0, 1, 2, 3])
    assert 0 <= values["halves_p1/track"] <= 1
