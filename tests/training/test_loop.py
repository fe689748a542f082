import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from myna_rpe.config import FRONT_ENDS, RunConfig
from myna_rpe.errors import ConfigError, ShardError, TrainingError
from myna_rpe.model.checkpoint import MynaModel
from myna_rpe.model.patches import RatioPatchout
from myna_rpe.recipes import smoke
from myna_rpe.training import TrainProgress, loop, train
from myna_rpe.training.loop import Projector

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

    monkeypatch.setattr(loop, "_Clock", Ticks)
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
    assert "3 of 9 tracks are shorter" in caplog.text
    assert json.loads((run / "run.json").read_text())["data"]["too_short"] == 3


def test_projector_projects_each_view_by_itself():
    model = MynaModel.untrained(smoke().architecture).eval()
    views = torch.randn(3, 2, 128, 64) * 20 - 40
    projections = Projector(model, RatioPatchout(0.5)).eval()(views)
    for track in range(3):
        for view in range(2):
            alone = model.project(model(views[track, view][None]))[0]
            torch.testing.assert_close(projections[track, view], alone, atol=1e-5, rtol=1e-5)
