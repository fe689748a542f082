"""A whole ablation whose cells are a function of the test."""

import json
import signal
from pathlib import Path

import pytest

from myna_rpe.ablation import Grid, Progress, ablate, survey
from myna_rpe.ablation.children import Children
from myna_rpe.ablation.job import Job, Place
from myna_rpe.ablation.run import places
from myna_rpe.config import FRONT_ENDS
from myna_rpe.errors import ConfigError, MynaError, ShardError, TaskError, TrainingError
from myna_rpe.storage import acquire_lock, write_json

from ..evaluation.corpus.small_corpus import write_corpus
from ..synthetic_music import write_shards
from .support import grid_of, shards


class Work:
    """Gives every cell a result, or a failure where its name has what is in `broken`."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.broken: set[str] = set()

    def __call__(self, job: Job, place: Place, children: Children) -> None:
        self.names.append(job.name)
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / "failed.json").unlink(missing_ok=True)
        asked = {"asked": dict(job.asked)}
        if any(part in job.name for part in self.broken):
            failure = {"stage": "pretrain", "command": "myna", "status": 1, "reason": "it broke"}
            write_json(job.folder / "failed.json", failure | asked | {"log": []})
            return
        score = {"task": "package", "length": None, "reading": "", "metrics": {"map": 0.5}}
        score |= {"num_examples": 6, "num_failed": 0}
        result = {"scores": [score], "training": {}, "evaluation_seconds": 1.0}
        write_json(job.folder / "result.json", result | asked)


@pytest.fixture
def folder(tmp_path) -> Path:
    shards(tmp_path / "shards")
    write_corpus(tmp_path / "corpus", seconds=6.0)
    return tmp_path


@pytest.fixture
def work() -> Work:
    return Work()


def grid_in(folder: Path, seeds: int = 2, **evaluate: object) -> Grid:
    grid = grid_of(seeds, **({"corpus": str(folder / "corpus")} | evaluate))
    return grid.with_(data=str(folder / "shards"))


def test_everything_runs_once_and_a_second_time_starts_nothing(folder, work):
    out = folder / "deep" / "out"
    told: list[Progress] = []
    grid = grid_in(folder, peers=["mfcc"])
    ablation = ablate(grid, out, jobs=2, progress=told.append, work=work)
    assert len(work.names) == 5
    assert work.names[0] == "mfcc"
    assert (ablation.table.num_done, ablation.table.num_cells) == (4, 4)
    assert not ablation.has_failed
    assert (told[-1].done, told[-1].failed, told[-1].total) == (5, 0, 5)
    assert "4 done + 0 failed + 0 not run = 4 cells" in (out / "report.md").read_text()
    before = (out / "report.svg").read_bytes()

    again = ablate(grid, out, work=work)
    assert len(work.names) == 5
    assert again.table == ablation.table
    assert (out / "report.svg").read_bytes() == before


def test_a_failed_cell_is_kept_listed_left_alone_and_retried_when_asked(folder, work):
    out = folder / "out"
    told: list[Progress] = []
    work.broken = {"rope-2d, seed=1"}
    ablation = ablate(grid_in(folder), out, progress=told.append, work=work)
    assert ablation.has_failed
    assert (ablation.table.num_done, ablation.table.num_failed) == (3, 1)
    failures = [failure for progress in told for failure in progress.failures]
    assert failures == [("recipe=smoke, positions=rope-2d, seed=1", "it broke")]
    assert "1 of 2" in (out / "report.md").read_text()

    work.broken = set()
    assert ablate(grid_in(folder), out, work=work).has_failed
    assert len(work.names) == 4
    assert not ablate(grid_in(folder), out, retry_failed=True, work=work).has_failed
    assert work.names[4:] == ["recipe=smoke, positions=rope-2d, seed=1"]
    assert "Failed" not in (out / "report.md").read_text()


def test_a_grid_that_grew_runs_only_what_is_new(folder, work):
    out = folder / "out"
    ablate(grid_in(folder, seeds=1), out, work=work)
    ablation = ablate(grid_in(folder, seeds=2), out, work=work)
    assert len(work.names) == 4
    assert ablation.table.num_done == 4
    # Shrunk again, the others stay where they are.
    assert ablate(grid_in(folder, seeds=1), out, work=work).table.num_cells == 2
    assert len(list((out / "cells").iterdir())) == 4


def test_a_survey_writes_nothing_and_says_how_far_all_is(folder, work):
    out = folder / "out"
    grid = grid_in(folder, peers=["mfcc"])
    assert {state for _, state in survey(grid, out)} == {"not run"}
    assert not out.exists()
    work.broken = {"seed=1"}
    ablate(grid, out, work=work)
    assert [state for _, state in survey(grid, out)] == ["done", "done", "done", "failed", "failed"]


def test_sigterm_ends_it_with_a_report_and_the_next_run_goes_on(folder, work):
    out = folder / "out"

    def interrupted(job: Job, place: Place, children: Children) -> None:
        work(job, place, children)
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as ended:
        ablate(grid_in(folder), out, jobs=1, work=interrupted)
    assert ended.value.code == 143
    assert 1 <= len(work.names) < 4
    assert f"{len(work.names)} done + 0 failed" in (out / "report.md").read_text()
    assert ablate(grid_in(folder), out, work=work).table.num_done == 4
    assert len(work.names) == 4


def test_a_second_run_is_kept_out(folder, work):
    out = folder / "out"
    with acquire_lock(out / "lock"), pytest.raises(TrainingError, match="is in use by process"):
        ablate(grid_in(folder), out, work=work)
    assert not work.names


def test_other_data_is_refused(folder, work):
    out = folder / "out"
    ablate(grid_in(folder), out, work=work)
    other = grid_in(folder).with_(data=str(write_shards(folder / "other", [90] * 13)))
    for run in (ablate, survey):
        with pytest.raises(TrainingError, match="holds other tracks"):
            run(other, out)
    # The same music in another place is the same.
    (folder / "shards").rename(folder / "moved")
    moved = grid_in(folder).with_(data=str(folder / "moved"))
    ablate(moved, out, work=work)
    assert json.loads((out / "grid.json").read_text())["grid"]["data"].endswith("moved")
    assert len(work.names) == 4


@pytest.mark.parametrize(
    ("evaluate", "kind", "message"),
    [
        ({"tasks": ["packages"]}, ConfigError, "did you mean 'package'"),
        ({"tasks": ["package"], "corpus": None}, ConfigError, "needs a corpus"),
        ({"tasks": ["package"], "corpus": "nowhere"}, TaskError, "nowhere"),
        ({"tasks": ["gtzan"]}, ConfigError, 'root = {gtzan = "DIR"}'),
        ({"peers": ["mfc"]}, ConfigError, "did you mean 'mfcc'"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused_first(folder, work, evaluate, kind, message):
    with pytest.raises(kind) as refused:
        ablate(grid_in(folder, **evaluate), folder / "out", work=work)
    assert message in str(refused.value)
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [("nowhere", ShardError, "nowhere"), ("other", ConfigError, "recipe=smoke, positions=")],
)
def test_data_that_cannot_be_trained_on_is_refused_first(folder, work, data, kind, message):
    write_shards(folder / "other", [90] * 4, front_end=FRONT_ENDS["rpe-44k"])
    with pytest.raises(kind, match=message):
        ablate(grid_in(folder).with_(data=str(folder / data)), folder / "out", work=work)
    assert not (folder / "out").exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(folder, work):
    (folder / "file").write_text("")
    with pytest.raises(MynaError, match="cannot be written"):
        ablate(grid_in(folder), folder / "file" / "out", work=work)


def test_gpus_are_given_in_turn_and_cores_in_equal_shares(monkeypatch):
    monkeypatch.setattr("myna_rpe.ablation.run._cores", lambda: 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert places() == [Place(4, "2"), Place(4, "5")]
    assert [place.device for place in places(3)] == ["2", "5", "2"]
    for none in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        assert places() == [Place(8)]
    assert places(16)[0] == Place(1)
