"""One job with a `myna` that is a few lines of Python: what it is told, what it leaves behind."""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from myna_rpe.ablation.children import Children
from myna_rpe.ablation.grid import cells
from myna_rpe.ablation.job import (
    Job,
    Place,
    cell_job,
    failure_of,
    peer_jobs,
    result_of,
    run_job,
    state_of,
)

from .support import grid_of

# Trains by writing the files of a run, evaluates by one score; `told.jsonl` is what it was told.
MYNA = """
import json, os, pathlib, sys, time
words = sys.argv[1:]
here = pathlib.Path(__file__).parent
told = {"words": words, "device": os.environ.get("CUDA_VISIBLE_DEVICES")}
with (here / "told.jsonl").open("a") as file:
    print(json.dumps(told), file=file)
out = pathlib.Path(words[words.index("--out") + 1])
out.mkdir(parents=True, exist_ok=True)
print("said by", words[0], file=sys.stderr)
broken = here / f"broken-{words[0]}"
if words[0] == "pretrain":
    (out / "config.json").write_text("{}")
if broken.exists():
    exec(broken.read_text())
if words[0] == "pretrain":
    rows = ['{"step": 1, "loss": 1}', '{"step": 3, "loss": 1, "seconds": 2.5}']
    (out / "metrics.jsonl").write_text("\\n".join(rows))
    (out / "validation.jsonl").write_text('{"loss": 1.5}\\n{"loss": 1.75}\\n')
    (out / "model").mkdir(exist_ok=True)
    (out / "model" / "config.json").write_text("{}")
else:
    interval = {"value": 0.5, "low": 0.4, "high": 0.6, "level": 0.95}
    reading = {"window": 4.0, "layer": None, "pooling": None}
    print(json.dumps([{"task": "package", "length": None, "reading": reading,
                       "metrics": {"map": interval}, "num_examples": 6, "num_failed": 0}]))
"""


class Fake:
    """A job that is run by the fake command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "myna.py"
        self.script.write_text(MYNA)
        grid = grid_of()
        self.job = cell_job(cells(grid)[0], grid, folder / "out")

    def run(self, job: Job | None = None, children: Children | None = None) -> None:
        myna = [sys.executable, str(self.script)]
        run_job(job or self.job, Place(2, "7"), children or Children(), myna=myna)

    def broken(self, command: str, code: str | None) -> None:
        path = self.folder / f"broken-{command}"
        path.write_text(code) if code else path.unlink()

    @property
    def told(self) -> list[dict]:
        path = self.folder / "told.jsonl"
        return [json.loads(line) for line in path.open()] if path.exists() else []


@pytest.fixture
def fake(tmp_path) -> Fake:
    return Fake(tmp_path)


def test_a_cell_is_trained_then_asked_and_leaves_its_result(fake):
    assert state_of(fake.job) == "not run"
    fake.run()
    assert state_of(fake.job) == "done"
    trained, asked = (told["words"] for told in fake.told)
    folder = fake.job.folder
    assert trained[:4] == ["pretrain", "smoke", "--data", "shards"]
    assert trained[-4:] == ["--out", str(folder / "run"), "--threads", "2"]
    assert "budget.max_steps=3" in trained
    assert asked[:4] == ["evaluate", str(folder / "run" / "model"), "--tasks", "package"]
    assert asked[-5:] == ["--out", str(folder / "evaluation"), "--json", "--threads", "2"]
    assert {told["device"] for told in fake.told} == {"7"}

    result = result_of(fake.job)
    assert result.scores[0].reading == "windows of 4 s"
    assert result.scores[0].metrics == {"map": 0.5}
    assert result.training == {"steps": 3, "seconds": 2.5, "held_out_loss": 1.75}
    log = (folder / "log.txt").read_text()
    assert "said by pretrain" in log
    assert "said by evaluate" in log
    about = json.loads((folder / "cell.json").read_text())
    assert about["values"] == {"recipe": "smoke", "positions": "alibi-2d", "seed": "0"}
    assert not (folder / "answer.json").exists()


def test_other_questions_are_asked_without_training_again(fake):
    fake.run()
    grid = grid_of(contexts=["track", 4.0])
    job = cell_job(cells(grid)[0], grid, fake.folder / "out")
    assert job.folder == fake.job.folder
    assert state_of(job) == "begun"
    fake.run(job)
    assert state_of(job) == "done"
    assert [told["words"][0] for told in fake.told] == ["pretrain", "evaluate", "evaluate"]


def test_other_music_of_the_corpus_is_another_question(fake, tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    grid = grid_of(corpus=str(corpus))
    (corpus / "corpus.jsonl").write_text("one\n")
    before = cell_job(cells(grid)[0], grid, tmp_path)
    (corpus / "corpus.jsonl").write_text("one\ntwo\n")
    assert cell_job(cells(grid)[0], grid, tmp_path).asked != before.asked


def test_a_failure_keeps_reason_status_and_log_and_a_retry_resumes(fake):
    fake.broken("pretrain", "sys.exit('error: loss=nan is not a number.')")
    fake.run()
    assert state_of(fake.job) == "failed"
    failure = failure_of(fake.job)
    assert failure.stage == "pretrain"
    assert failure.status == 1
    assert failure.reason == "loss=nan is not a number."
    assert failure.log == ("said by pretrain", "error: loss=nan is not a number.")
    assert "pretrain smoke --data shards" in failure.command
    fake.broken("pretrain", None)
    fake.run()
    assert state_of(fake.job) == "done"
    assert failure_of(fake.job) is None
    assert ["--resume" in told["words"] for told in fake.told] == [False, True, False]


def test_a_process_that_is_killed_is_a_failure_that_says_by_what(fake):
    fake.broken("evaluate", f"os.kill(os.getpid(), {int(signal.SIGKILL)})")
    fake.run()
    failure = failure_of(fake.job)
    assert failure.stage == "evaluate"
    assert failure.status == -signal.SIGKILL
    assert failure.reason == "ended by SIGKILL, as where memory runs out"


def test_an_answer_that_is_none_is_a_failure(fake):
    fake.broken("evaluate", "print('nonsense'); sys.exit()")
    fake.run()
    assert failure_of(fake.job).reason.startswith("JSONDecodeError: ")


def test_a_question_that_failed_is_not_held_against_another_one(fake):
    fake.broken("evaluate", "sys.exit('error: no such window.')")
    fake.run()
    assert state_of(fake.job) == "failed"
    assert state_of(replace(fake.job, asked={"contexts": ["track"]})) == "begun"


def test_a_command_that_does_not_exist_is_a_failure(fake):
    run_job(fake.job, Place(1), Children(), myna=[str(fake.folder / "nothing")])
    failure = failure_of(fake.job)
    assert failure.status is None
    assert "No such file" in failure.reason


def test_a_stopped_job_is_neither_done_nor_failed_and_goes_on(fake):
    fake.broken("pretrain", "time.sleep(60)")
    children = Children()
    thread = threading.Thread(target=fake.run, args=(None, children))
    thread.start()
    while not (fake.job.folder / "run" / "config.json").exists():
        time.sleep(0.01)
    children.stop()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert state_of(fake.job) == "begun"
    fake.run(None, children)  # starts nothing any more
    assert len(fake.told) == 1
    fake.broken("pretrain", None)
    fake.run()
    assert state_of(fake.job) == "done"


def test_peers_are_asked_once_each_without_a_model_or_a_way_of_reading(fake):
    grid = grid_of(peers=["mfcc", "chroma"], contexts=[4.0])
    first, second = peer_jobs(grid, fake.folder / "out")
    assert second.folder.name == "chroma"
    fake.run(first)
    words = fake.told[0]["words"]
    assert words[:5] == ["evaluate", "--peers", "mfcc", "--tasks", "package"]
    assert "--contexts" not in words
    assert len(fake.told) == 1
    assert result_of(first).training == {}


@pytest.mark.skipif(os.name != "posix", reason="locks are inherited on POSIX only")
def test_a_process_holds_the_lock_of_its_parent(fake):
    lock = (fake.folder / "lock").open("w")
    fake.broken("pretrain", f"os.fstat({lock.fileno()})")
    fake.run(None, Children(lock))
    assert state_of(fake.job) == "done"
