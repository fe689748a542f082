import json
import os
import signal
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from myna_rpe.config import FRONT_ENDS, RunConfig
from myna_rpe.data.batches import Batches
from myna_rpe.data.shards import ShardSet
from myna_rpe.errors import CheckpointError, ConfigError, ShardError, TrainingError
from myna_rpe.model.checkpoint import MynaModel
from myna_rpe.model.patches import Patches
from myna_rpe.recipes import smoke
from myna_rpe.training import Hardware, TrainProgress, loop, train
from myna_rpe.training.step import Projector

from ..synthetic_music import write_shards


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    # The model is so small that threads only wait for each other.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def shards(tmp_path) -> Path:
    return write_shards(tmp_path / "shards", [90] * 10)


@pytest.fixture
def run(tmp_path) -> Path:
    return tmp_path / "run"


def config(*settings: str) -> RunConfig:
    return smoke().override("budget.max_steps=12", "log_every=5", "checkpoint_every=4", *settings)


def metrics(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def curve(run: Path) -> list[tuple]:
    keys = ("step", "epoch", "loss", "info_nce", "gradient_norm", "learning_rate")
    return [tuple(row[key] for key in keys) for row in metrics(run)]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return MynaModel.load(run / "model").state_dict()


class PowerCutError(Exception):
    """Stands for a power cut: nothing of ours runs after it."""


def killed_at(step: int):
    def report(progress: TrainProgress) -> None:
        if progress.step >= step:
            raise PowerCutError

    return report


def test_the_loss_falls_where_tracks_can_be_told_apart(shards, run):
    train(config("budget.max_steps=40"), shards, run)
    losses = [row["loss"] for row in metrics(run)]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_the_run_folder_is_complete(shards, run):
    model = train(config(), shards, run)
    assert model == run / "model"
    assert RunConfig.from_dict(json.loads((run / "config.json").read_text())) == config()
    origin = json.loads((run / "run.json").read_text())
    assert set(origin["versions"]) == {"myna-rpe", "torch", "numpy", "python"}
    assert origin["data"]["tracks"] == 10
    assert [row["step"] for row in metrics(run)] == list(range(1, 13))
    assert metrics(run)[-1]["excerpts_per_second"] > 0
    names = [path.name for path in (run / "checkpoints").iterdir()]
    assert sorted(names) == ["step-00000004.pt", "step-00000008.pt", "step-00000012.pt"]
    loaded = MynaModel.load(model)
    assert loaded.architecture == config().architecture
    assert loaded.provenance["steps"] == 12
    assert loaded.provenance["config"] == config().to_dict()
    assert loaded.provenance["data"] == origin["data"]


def test_only_the_newest_checkpoints_are_kept(shards, run):
    train(config("keep_checkpoints=1"), shards, run)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000012.pt"]


def test_equal_seeds_repeat_a_run_and_others_do_not(shards, run, tmp_path):
    train(config(), shards, run)
    train(config(), shards, tmp_path / "again")
    train(config("seed=1"), shards, tmp_path / "other")
    assert curve(run) == curve(tmp_path / "again")
    assert curve(run)[0] != curve(tmp_path / "other")[0]


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed"])
@pytest.mark.parametrize("step", [5, 8, 12])
def test_a_killed_run_resumes_to_the_same_bits(shards, run, tmp_path, precision, step):
    settings = f"precision={precision}"
    whole = tmp_path / "whole"
    train(config(settings), shards, whole)
    with pytest.raises(PowerCutError):
        train(config(settings), shards, run, report=killed_at(step))
    assert not (run / "model").exists()
    train(config(settings), shards, run, resume=True)
    assert curve(run) == curve(whole)
    expected = weights(whole)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(run).items())


def test_killed_before_the_first_checkpoint_it_starts_again(shards, run, tmp_path):
    settings = ("checkpoint_every=100",)
    with pytest.raises(PowerCutError):
        train(config(*settings), shards, run, report=killed_at(5))
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # a line cut short
    train(config(*settings), shards, run, resume=True)
    train(config(*settings), shards, tmp_path / "whole")
    assert curve(run) == curve(tmp_path / "whole")


def test_resuming_a_finished_run_changes_nothing(shards, run):
    train(config(), shards, run)
    before, expected = curve(run), weights(run)
    train(config(), shards, run, resume=True)
    assert curve(run) == before
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(run).items())


def test_control_c_writes_a_checkpoint_and_resumes(shards, run, tmp_path):
    def interrupt(progress: TrainProgress) -> None:
        if progress.step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(config(), shards, run, report=interrupt)
    assert (run / "checkpoints" / "step-00000005.pt").exists()
    train(config(), shards, run, resume=True)
    train(config(), shards, tmp_path / "whole")
    assert curve(run) == curve(tmp_path / "whole")


def test_a_changed_configuration_is_not_resumed_and_the_difference_shown(shards, run):
    train(config(), shards, run)
    with pytest.raises(TrainingError, match=r"optim.learning_rate: 0.003 -> 0.001, seed: 0 -> 5"):
        train(config("seed=5", "optim.learning_rate=1e-3"), shards, run, resume=True)


def test_other_data_is_not_resumed(shards, run, tmp_path):
    train(config(), shards, run)
    other = write_shards(tmp_path / "other", [90] * 11)
    with pytest.raises(TrainingError, match=r"another configuration \(data: "):
        train(config(), other, run, resume=True)


def test_a_folder_that_holds_a_run_is_not_overwritten(shards, run):
    train(config(), shards, run)
    with pytest.raises(TrainingError, match="go on with --resume"):
        train(config(), shards, run)


def test_resuming_nothing_is_refused(shards, run):
    with pytest.raises(TrainingError, match="holds no run to resume"):
        train(config(), shards, run, resume=True)


def test_a_damaged_checkpoint_is_named(shards, run):
    train(config(), shards, run)
    newest = run / "checkpoints" / "step-00000012.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"step-00000012\.pt cannot be read.*delete it"):
        train(config(), shards, run, resume=True)


def test_a_loss_that_is_not_a_number_stops_with_step_tracks_and_last_good_checkpoint(shards, run):
    with pytest.raises(TrainingError) as error:
        train(config("optim.learning_rate=1e30", "optim.warmup=0.6"), shards, run)
    message = str(error.value)
    assert "at step=2" in message
    assert "tracks " in message
    assert "last good checkpoint is the start" in message
    assert [row["step"] for row in metrics(run)] == [1]


def test_no_checkpoint_is_written_after_a_bad_loss(shards, run):
    spoilt = config("optim.learning_rate=1e-3")
    train(spoilt.override("budget.max_steps=4"), shards, run)
    # The same run, spoilt from its checkpoint on.
    path = run / "checkpoints" / "step-00000004.pt"
    state = torch.load(path, weights_only=True)
    state["model"]["head.bias"].fill_(float("nan"))
    torch.save(state, path)
    (run / "config.json").write_text(spoilt.to_json())
    with pytest.raises(TrainingError, match=r"at step=5 .*last good checkpoint is .*step-00000004"):
        train(spoilt, shards, run, resume=True)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000004.pt"]


def test_a_full_disk_keeps_the_checkpoints_there_are(shards, run, monkeypatch):
    saved = torch.save

    def full(state, file):
        if state["step"] == 8:
            raise OSError(28, "No space left on device")
        saved(state, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match=r"step=8 could not be written.*step-00000004"):
        train(config(), shards, run)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000004.pt"]
    monkeypatch.undo()
    train(config(), shards, run, resume=True)
    assert len(metrics(run)) == 12


def test_a_time_limit_ends_the_run_at_a_learning_rate_near_zero(shards, run, monkeypatch):
    class Ticks:
        """A clock that takes a tenth of a second each time it is read."""

        def __init__(self, before: float) -> None:
            self._seconds = before

        @property
        def seconds(self) -> float:
            self._seconds += 0.1
            return self._seconds

    monkeypatch.setattr(loop, "Clock", Ticks)
    limits = {"max_steps": None, "max_minutes": 0.1}
    seen: list[TrainProgress] = []
    timed = RunConfig.from_dict(config().to_dict() | {"budget": limits})
    train(timed, shards, run, report=seen.append)
    rates = [row["learning_rate"] for row in metrics(run)]
    assert 20 < len(rates) < 30
    assert rates[-1] < 0.02 * max(rates)
    # How many steps there will be is a guess that ends at the truth.
    assert seen[-1].total_steps == seen[-1].step == len(rates)


def test_shards_of_another_front_end_are_refused_and_the_difference_shown(run, tmp_path):
    shards = write_shards(tmp_path / "shards", [90] * 10, front_end=FRONT_ENDS["rpe-44k"])
    with pytest.raises(ConfigError, match="sample_rate is 44100, not 16000"):
        train(config(), shards, run)
    assert not run.exists()


@pytest.mark.parametrize(
    ("lengths", "settings", "message"),
    [
        ([90] * 3, [], "batch_size=4 is larger than the data set of 3 tracks"),
        ([90], [], "tracks=1 .* gives no negatives"),
        ([90, 50], [], "tracks=1 .* gives no negatives"),
        ([90] * 4, ["views.num_frames=91"], "use views.num_frames <= 90"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused_before_anything_is_made(
    tmp_path, run, lengths, settings, message
):
    shards = write_shards(tmp_path / "shards", lengths)
    with pytest.raises(ConfigError, match=message):
        train(config(*settings), shards, run)
    assert not run.exists()


def test_missing_shards_are_refused(tmp_path, run):
    with pytest.raises(ShardError, match="run: myna prepare"):
        train(config(), tmp_path, run)


def test_without_fabric_the_extra_is_named(shards, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ConfigError, match=r"pip install 'myna-rpe\[train\]'"):
        train(config(), shards, run)
    assert not run.exists()


def test_short_tracks_are_left_out_with_a_warning(tmp_path, run, caplog):
    shards = write_shards(tmp_path / "shards", [90] * 6 + [10] * 3)
    train(config(), shards, run)
    assert "3 of 9 tracks are too short" in caplog.text
    assert json.loads((run / "run.json").read_text())["data"]["too_short"] == 3


def test_projector_projects_each_view_by_itself(shards):
    model = MynaModel.untrained(smoke().architecture).eval()
    everything = config("patchout.ratio=0", "views.num_frames=60")
    batch = Batches(ShardSet.open(shards), everything).batch(0)
    projections = Projector(model)(batch.groups)
    assert projections.shape == (4, 2, 16)
    patches = batch.groups[0].patches[0]
    for row in range(8):
        alone = Patches(*(x[row : row + 1] for x in (patches.values, patches.time, patches.freq)))
        expected = model.project(model.encode([alone]))[0]
        torch.testing.assert_close(projections[row // 2, row % 2], expected, atol=1e-5, rtol=1e-5)


# --- what is done with the weights ---------------------------------------------------------------


def test_the_average_of_the_weights_is_what_the_run_gives(shards, run, tmp_path):
    train(config("optim.ema_decay=0.5"), shards, run)
    train(config(), shards, tmp_path / "plain")
    assert curve(run) == curve(tmp_path / "plain")
    # The average of the last four, by hand; the run keeps a checkpoint of every step.
    every = tmp_path / "every"
    train(config("optim.ema_decay=0.5", "checkpoint_every=1", "keep_checkpoints=20"), shards, every)
    paths = sorted((every / "checkpoints").glob("step-*.pt"))
    states = [torch.load(path, weights_only=True)["model"] for path in paths]
    expected = states[0]
    for state in states[1:]:
        expected = {name: 0.5 * expected[name] + 0.5 * state[name] for name in expected}
    got = weights(run)
    assert all(torch.allclose(got[name], expected[name], atol=1e-6) for name in expected)


def test_a_resumed_average_is_the_same_to_the_bit(shards, run, tmp_path):
    settings = config("optim.ema_decay=0.9")
    train(settings, shards, tmp_path / "whole")
    with pytest.raises(PowerCutError):
        train(settings, shards, run, report=killed_at(8))
    train(settings, shards, run, resume=True)
    expected = weights(tmp_path / "whole")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(run).items())


def test_a_run_goes_on_from_another_models_weights(shards, run):
    init = MynaModel.untrained(smoke().architecture, seed=7)
    started = config("budget.max_steps=1", "optim.warmup=0.5").with_(init=init.space_id)
    train(started, shards, run, init=init)
    fresh = MynaModel.untrained(smoke().architecture, seed=0).state_dict()
    got, given = weights(run), init.state_dict()
    near = [torch.allclose(got[name], given[name], atol=0.02) for name in given]
    assert all(near)
    assert not all(torch.allclose(got[name], fresh[name], atol=0.02) for name in given)
    assert json.loads((run / "config.json").read_text())["init"] == init.space_id


def test_weights_that_do_not_fit_are_refused_before_anything_is_made(shards, run):
    with pytest.raises(CheckpointError, match="do not fit the configured model"):
        train(config(), shards, run, init=MynaModel.untrained("tiny-16k"))
    assert not run.exists()


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed", "bf16"])
def test_every_precision_learns_and_gives_a_float32_model(shards, run, precision):
    train(config(f"precision={precision}", "budget.max_steps=40"), shards, run)
    losses = [row["loss"] for row in metrics(run)]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert all(tensor.dtype == torch.float32 for tensor in weights(run).values())


def test_a_run_records_the_precision_that_auto_became(shards, run, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    on_cpu = {"hardware": Hardware("cpu")}
    with pytest.raises(PowerCutError):
        train(config("precision=auto"), shards, run, report=killed_at(5), **on_cpu)
    assert json.loads((run / "config.json").read_text())["precision"] == "bf16-mixed"
    train(config("precision=auto"), shards, run, resume=True, **on_cpu)

    # Another machine would go on in other arithmetic; it says so instead.
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    with pytest.raises(TrainingError, match="precision: bf16-mixed -> fp32"):
        train(config("precision=auto"), shards, run, resume=True, **on_cpu)


def test_recomputing_activations_changes_nothing(shards, run, tmp_path):
    train(config("recompute=true"), shards, run)
    train(config(), shards, tmp_path / "kept")
    assert curve(run) == curve(tmp_path / "kept")


def test_micro_batches_follow_the_same_curve(shards, run, tmp_path):
    train(config("micro_batch_size=1"), shards, run)
    train(config(), shards, tmp_path / "whole")
    for ours, expected in zip(curve(run), curve(tmp_path / "whole"), strict=True):
        assert ours == pytest.approx(expected, abs=1e-4)


def test_clipping_bounds_the_step_and_logs_the_length_before(shards, run, tmp_path):
    # Plain Adam forgets the length of a gradient, so its epsilon is what clipping is felt through.
    train(config("optim.clip_norm=1e-9"), shards, run)
    train(config(), shards, tmp_path / "free")
    assert metrics(run)[0]["gradient_norm"] == metrics(tmp_path / "free")[0]["gradient_norm"] > 1e-3
    start = MynaModel.untrained(smoke().architecture).state_dict()

    def moved(folder):
        return sum((weights(folder)[name] - start[name]).abs().sum() for name in start)

    assert moved(run) < 0.5 * moved(tmp_path / "free")


def test_accumulated_steps_read_as_many_batches(shards, run):
    train(config("optim.accumulate=2", "budget.max_steps=null", "budget.epochs=4"), shards, run)
    rows = metrics(run)
    # Two batches an epoch, both in one step.
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]


# --- views ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        ['views={"name": "variable-length", "min_frames": 16, "max_frames": 80}'],
        ['views={"name": "global-local", "local_frames": 32, "num_locals": 3}'],
        ['views={"name": "whole-track", "min_frames": 16}'],
        ["views.num_views=3", "views.min_gap=0", "views.num_frames=24"],
        ["views.min_overlap=32"],
        ['sampling.by="folder"'],
        ["augment.gain_db=6", "augment.noise_db=2"],
    ],
)
@pytest.mark.parametrize("patchout", ["ratio", "token-budget"])
def test_every_kind_of_view_trains_and_resumes_to_the_same_bits(
    shards, run, tmp_path, settings, patchout
):
    chosen = config(f'patchout={{"name": "{patchout}"}}', *settings)
    train(chosen, shards, tmp_path / "whole")
    with pytest.raises(PowerCutError):
        train(chosen, shards, run, report=killed_at(8))
    train(chosen, shards, run, resume=True)
    assert curve(run) == curve(tmp_path / "whole")


def test_every_objective_resumes_to_the_same_bits(shards, run, tmp_path):
    names = ["info_nce", "nt_xent", "an_info_nce", "k_means", "hull_combination", "hull_pull"]
    objectives: dict = {name: {} for name in [*names, "hull_spread"]}
    objectives["k_means"] = {"num_clusters": 4, "warmup_steps": 2, "reseed_after": 2}
    objectives["info_nce"] = {"learn_temperature": True}
    chosen = RunConfig.from_dict(config().to_dict() | {"objectives": objectives})
    train(chosen, shards, tmp_path / "whole")
    with pytest.raises(PowerCutError):
        train(chosen, shards, run, report=killed_at(8))
    train(chosen, shards, run, resume=True)
    assert metrics(run)[-1]["k_means"] == metrics(tmp_path / "whole")[-1]["k_means"] > 0
    expected = weights(tmp_path / "whole")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(run).items())


# --- validation ----------------------------------------------------------------------------------


def test_a_collapse_is_warned_of_once_with_its_cause(shards, run, caplog):
    # All attraction: the contrast hardly counts.
    objectives = {
        "info_nce": {"weight": 1e-6},
        "hull_combination": {"weight": 10.0},
    }
    chosen = config("budget.max_steps=60", "log_every=2", "optim.learning_rate=0.01")
    train(RunConfig.from_dict(chosen.to_dict() | {"objectives": objectives}), shards, run)
    messages = [record.getMessage() for record in caplog.records]
    warnings = [message for message in messages if "uniformity near 0" in message]
    assert len(warnings) == 1
    assert "hull_combination" in warnings[0]


@pytest.fixture
def artists(tmp_path) -> Path:
    """Twelve artists of two tracks each, told apart by their folders."""
    return write_shards(tmp_path / "artists", [90] * 24, tracks_per_folder=2)


def validated(*settings: str) -> RunConfig:
    return config(
        'validation={"share": 0.25, "every": 4, "max_tracks": 6, "window_frames": 32}', *settings
    )


def validations(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "validation.jsonl").read_text().splitlines()]


def test_held_out_tracks_are_measured_and_not_trained_on(artists, run):
    train(validated(), artists, run)
    rows = validations(run)
    assert [row["step"] for row in rows] == [4, 8, 12]
    expected = {"loss", "halves_p1/track", "halves_p1/windows", "artist_p1/track"}
    assert expected <= set(rows[0])
    assert all(0 <= row[name] <= 1 for row in rows for name in row if "_p1/" in name)
    data = json.loads((run / "run.json").read_text())["data"]
    assert data["tracks"] == 18
    assert data["held_out_tracks"] == 6


def test_validation_changes_nothing_of_the_training(artists, run, tmp_path):
    train(validated(), artists, run)
    train(validated("validation.every=100"), artists, tmp_path / "without")
    assert curve(run) == curve(tmp_path / "without")


def test_validation_resumes_to_the_same_numbers(artists, run, tmp_path):
    train(validated(), artists, tmp_path / "whole")
    with pytest.raises(PowerCutError):
        train(validated(), artists, run, report=killed_at(10))
    train(validated(), artists, run, resume=True)
    assert validations(run) == validations(tmp_path / "whole")
    assert (run / "checkpoints" / "best.pt").exists()


def test_the_best_checkpoint_is_that_of_the_lowest_loss(artists, run):
    train(validated("budget.max_steps=24"), artists, run)
    best = torch.load(run / "checkpoints" / "best.pt", weights_only=True)
    lowest = min(validations(run), key=lambda row: row["loss"])
    assert best["step"] == best["best"]["step"] == lowest["step"]
    assert best["best"]["loss"] == lowest["loss"]


def test_early_stopping_ends_the_run_with_the_best_weights(artists, run):
    # So high a rate that the first validation is never beaten.
    stopped = validated(
        "validation.patience=2",
        "validation.every=1",
        "optim.learning_rate=3",
        "optim.warmup=0",
        "optim.clip_norm=1",
        "budget.max_steps=500",
    )
    train(stopped, artists, run)
    rows = validations(run)
    lowest = min(rows, key=lambda row: row["loss"])
    assert len(rows) == lowest["step"] + 2 < 500
    assert MynaModel.load(run / "model").provenance["steps"] == lowest["step"]
    train(stopped, artists, run, resume=True)
    assert validations(run) == rows


def test_too_few_held_out_tracks_are_refused(shards, run):
    alone = write_shards(run.parent / "alone", [90] * 12, tracks_per_folder=1)
    with pytest.raises(
        ConfigError, match=r"share=0.01 holds out 1 tracks.*train with validation=null"
    ):
        train(validated("validation.share=0.01"), alone, run)
    with pytest.raises(ConfigError, match="no artist can be held out"):
        train(validated(), shards, run)
    assert not run.exists()


# --- signals, sinks, processes -------------------------------------------------------------------


def test_a_preempted_run_writes_a_checkpoint_and_exits_as_told(shards, run, tmp_path):
    def preempt(progress: TrainProgress) -> None:
        if progress.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as leaving:
        train(config(), shards, run, report=preempt)
    assert leaving.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    assert (run / "checkpoints" / "step-00000005.pt").exists()
    train(config(), shards, run, resume=True)
    train(config(), shards, tmp_path / "whole")
    assert curve(run) == curve(tmp_path / "whole")


def test_tensorboard_holds_the_numbers_of_the_metrics(artists, run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(validated(), artists, run)
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    losses = [(event.step, event.value) for event in events.Scalars("loss")]
    assert losses == [(row["step"], pytest.approx(row["loss"])) for row in metrics(run)]
    assert [event.step for event in events.Scalars("validation/loss")] == [4, 8, 12]


def test_weights_and_biases_is_told_the_same_and_resumes_its_run(shards, run, monkeypatch):
    calls: list[dict] = []
    logged: list[tuple[int, float]] = []

    class Run:
        def log(self, values: dict, step: int) -> None:
            logged.append((step, values["loss"]))

        def finish(self) -> None:
            calls.append({"finished": True})

    module = types.ModuleType("wandb")
    module.init = lambda **options: calls.append(options) or Run()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    with pytest.raises(PowerCutError):
        train(config(), shards, run, wandb="myna", report=killed_at(8))
    train(config(), shards, run, wandb="myna", resume=True)
    first, second = (call for call in calls if "id" in call)
    assert first["project"] == "myna"
    assert first["id"] == second["id"]
    assert first["config"] == config().to_dict()
    assert dict(logged) == {row["step"]: row["loss"] for row in metrics(run)}


def test_without_weights_and_biases_the_remedy_is_named(shards, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match="pip install wandb"):
        train(config(), shards, run, wandb="myna")


@pytest.mark.parametrize(
    ("hardware", "message"),
    [
        ({"device": "tpu"}, "use auto, cpu or cuda"),
        ({"devices": 0}, "devices=0 run nothing"),
        ({"workers": -1}, "workers=-1"),
    ],
)
def test_impossible_hardware_is_refused(hardware, message):
    with pytest.raises(ConfigError, match=message):
        Hardware(**hardware)


def test_a_batch_that_processes_cannot_share_is_refused_before_they_start(shards, run):
    with pytest.raises(ConfigError, match="batch_size=4 cannot be shared evenly by 3 processes"):
        train(config(), shards, run, hardware=Hardware("cpu", devices=3))
    assert not run.exists()


def test_processes_that_do_not_share_the_folder_are_refused(tmp_path):
    class Elsewhere:
        def broadcast(self, step: int) -> int:
            return 8

    with pytest.raises(TrainingError, match="use a folder that all machines share"):
        loop._check_same_step(Elsewhere(), 0, tmp_path)
