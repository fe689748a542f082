"""One folder: a model is trained there and asked, each in a process of its own.

    cell.json     what it is: values of the axes, recipe, settings, complete configuration
    run/          the folder of `myna pretrain`
    evaluation/   the folder of `myna evaluate`: its report, and scores with their evidence
    log.txt       what both said
    result.json   scores, training and time; written last, so that what has one is done
    failed.json   instead of it: command, exit status, reason, end of the log

A killed job goes on where it was: `pretrain` resumes, `evaluate` keeps what it has computed. Where
only the questions change, nothing is trained again.
"""

import json
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import TaskError
from ..evaluation.reading import Reading
from ..evaluation.scores import Evidence, read_score
from ..storage import file_sha256, write_json
from .children import Children, StoppedError
from .grid import Cell, Grid, Questions

MYNA = (sys.executable, "-m", "myna_rpe")

Stage = Literal["pretrain", "evaluate"]
State = Literal["done", "failed", "begun", "not run"]

_LINES = 20  # of the log, kept with a failure


@dataclass(frozen=True)
class Place:
    """Where a job runs: threads of the CPU, and a value of CUDA_VISIBLE_DEVICES; None: as it is."""

    threads: int
    device: str | None = None


@dataclass(frozen=True)
class Job:
    """What is to be done in a folder.

    Attributes:
        name: for people.
        folder: see the module.
        about: what `cell.json` says.
        pretrain: arguments of `myna pretrain`; empty: nothing is trained.
        evaluate: arguments of `myna evaluate`, but the model.
        asked: all that the scores depend on beside the model.
    """

    name: str
    folder: Path
    about: Mapping[str, Any]
    pretrain: tuple[str, ...]
    evaluate: tuple[str, ...]
    asked: Mapping[str, Any]

    @property
    def run(self) -> Path:
        """The folder of its training."""
        return self.folder / "run"

    @property
    def log(self) -> Path:
        """The file of what its processes say."""
        return self.folder / "log.txt"


@dataclass(frozen=True)
class TaskScore:
    """What a model reached on a task.

    Attributes:
        task: its name.
        length: seconds of each track that there were; None: all.
        reading: how the model read, as a report calls it; "" is the default.
        metrics: by name, the primary one first.
        num_examples: that were read; ``num_failed`` could not be.
        num_failed: see there.
    """

    task: str
    length: float | None
    reading: str
    metrics: Mapping[str, float]
    num_examples: int
    num_failed: int

    @classmethod
    def of(cls, score: Mapping[str, Any]) -> "TaskScore":
        """Return what a score of ``myna evaluate --json`` says."""
        return cls(
            task=score["task"],
            length=score["length"],
            reading=str(Reading(**score["reading"])) if score["reading"] else "",
            metrics={name: float(interval["value"]) for name, interval in score["metrics"].items()},
            num_examples=score["num_examples"],
            num_failed=score["num_failed"],
        )


@dataclass(frozen=True)
class Result:
    """A job that is done.

    Attributes:
        scores: of all tasks and readings.
        training: ``held_out_loss`` of the model (where it was measured), ``steps``, ``seconds``.
        evaluation_seconds: of the evaluation, or of its last part where it was interrupted.
    """

    scores: tuple[TaskScore, ...]
    training: Mapping[str, float]
    evaluation_seconds: float

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Result":
        """Return what `result.json` says."""
        scores = tuple(TaskScore(**score) for score in data["scores"])
        return cls(scores, data["training"], data["evaluation_seconds"])


@dataclass(frozen=True)
class Failure:
    """A job that ended without a result.

    Attributes:
        stage: of which command.
        command: as it can be typed.
        status: its exit status, negative after a signal; None: it did not even start.
        reason: one line.
        log: the last lines of it.
    """

    stage: Stage
    command: str
    status: int | None
    reason: str
    log: tuple[str, ...]


def cell_job(cell: Cell, grid: Grid, out: Path) -> Job:
    """Return the job of a cell."""
    settings = [word for setting in cell.settings for word in ("--set", setting)]
    about = {
        "name": cell.name,
        "values": dict(cell.values),
        "recipe": cell.recipe,
        "settings": list(cell.settings),
        "config": cell.config.to_dict(),
    }
    names = [name for name in Questions.model_fields if name != "peers"]
    return Job(
        name=cell.name,
        folder=out / "cells" / cell.id,
        about=about,
        pretrain=(cell.recipe, "--data", grid.data, *settings),
        evaluate=tuple(grid.evaluate.options(*names)),
        asked=_asked(grid.evaluate, names),
    )


def peer_jobs(grid: Grid, out: Path) -> list[Job]:
    """Return one job per peer; they have no model, and one way of reading."""
    readings = ("peers", "contexts", "layers", "poolings")
    names = [name for name in Questions.model_fields if name not in readings]
    return [
        Job(
            name=peer,
            folder=out / "peers" / peer,
            about={"name": peer},
            pretrain=(),
            evaluate=("--peers", peer, *grid.evaluate.options(*names)),
            asked=_asked(grid.evaluate, names),
        )
        for peer in dict.fromkeys(grid.evaluate.peers)
    ]


def result_of(job: Job) -> Result | None:
    """Return the answers to what is asked; None: there are none yet, or to other questions."""
    data = _read(job.folder / "result.json")
    return Result.from_dict(data) if data and data["asked"] == job.asked else None


def failure_of(job: Job) -> Failure | None:
    """Return why there is no result; None: there is one, or nothing has failed at this yet."""
    data = _read(job.folder / "failed.json")
    if not data or result_of(job) or (data["stage"] == "evaluate" and data["asked"] != job.asked):
        return None
    del data["asked"]
    return Failure(**data | {"log": tuple(data["log"])})


def evidence_of(job: Job) -> Iterator[tuple[TaskScore, Evidence]]:
    """Yield the scores of a job that is done, with what each track was given, as far as it is kept.

    Scores of earlier questions may lie beside them.
    """
    result = result_of(job)
    asked = {} if result is None else {_question(score): score for score in result.scores}
    for path in sorted((job.folder / "evaluation" / "scores").glob("*/*.json")) if asked else ():
        try:
            kept = read_score(path)
        except TaskError:
            continue
        score = TaskScore.of(kept.to_dict())
        if asked.get(_question(score)) == score:
            yield score, kept.evidence


def state_of(job: Job) -> State:
    """Return how far a job is; one whose questions have changed has begun."""
    if result_of(job):
        return "done"
    if failure_of(job):
        return "failed"
    return "begun" if (job.folder / "cell.json").exists() else "not run"


def run_job(job: Job, place: Place, children: Children, *, myna: Sequence[str] = MYNA) -> None:
    """Train and ask until there is a result or a failure; neither where all are to stop.

    Args:
        job: what is to be done.
        place: where.
        children: start its processes.
        myna: the command, before its arguments.
    """
    stage: Stage = "pretrain" if job.pretrain else "evaluate"
    command: list[str] = []
    start = 0  # of the log of the process
    status: int | None = None
    environment = {} if place.device is None else {"CUDA_VISIBLE_DEVICES": place.device}
    threads = ("--threads", str(place.threads))
    answer = job.folder / "answer.json"

    def run(name: Stage, *arguments: str, answer: Path | None = None) -> bool:
        nonlocal stage, command, start, status
        stage, command = name, [*myna, name, *arguments, *threads]
        with job.log.open("a", encoding="utf-8", errors="surrogateescape") as log:
            log.write(f"$ {shlex.join(command)}\n")
            start = log.tell()
        status = None
        status = children.run(command, log=job.log, answer=answer, environment=environment)
        return status == 0

    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        write_json(job.folder / "cell.json", job.about)
        (job.folder / "failed.json").unlink(missing_ok=True)
        model = job.run / "model"
        if job.pretrain and not (model / "config.json").exists():
            resume = ["--resume"] if (job.run / "config.json").exists() else []
            if not run("pretrain", *job.pretrain, "--out", str(job.run), *resume):
                _fail(job, _failure(job, stage, command, status, start))
                return
        began = time.monotonic()
        questions = (*job.evaluate, "--out", str(job.folder / "evaluation"), "--json")
        models = [str(model)] if job.pretrain else []
        if not run("evaluate", *models, *questions, answer=answer):
            _fail(job, _failure(job, stage, command, status, start))
            return
        scores = [TaskScore.of(score) for score in json.loads(answer.read_bytes())]
        result = {
            "name": job.name,
            "asked": dict(job.asked),
            "scores": [asdict(score) for score in scores],
            "training": _training(job.run) if job.pretrain else {},
            "evaluation_seconds": round(time.monotonic() - began, 3),
        }
        write_json(job.folder / "result.json", result)
    except StoppedError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:  # a full disk; no such answer
        reason = f"{type(error).__name__}: {error}"
        _fail(job, Failure(stage, shlex.join(command), status, reason, ()))
    finally:
        answer.unlink(missing_ok=True)


def _fail(job: Job, failure: Failure) -> None:
    write_json(job.folder / "failed.json", asdict(failure) | {"asked": dict(job.asked)})


def _failure(
    job: Job, stage: Stage, command: Sequence[str], status: int | None, start: int
) -> Failure:
    with job.log.open("rb") as file:
        file.seek(start)
        said = file.read().decode("utf-8", "replace").splitlines()
    lines = [line.rstrip() for line in said if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if status is not None and status < 0:
        reason = f"ended by {_signal_name(-status)}"
        if -status == getattr(signal, "SIGKILL", 0):
            reason += ", as where memory runs out"
    else:
        reason = (errors or lines or [f"exit status {status}"])[-1]
    return Failure(stage, shlex.join(command), status, reason, tuple(lines[-_LINES:]))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"


def _training(run: Path) -> dict[str, float]:
    """Return what the journal of a finished run says of the model it gave."""
    keys = {"steps": "step", "seconds": "seconds"}
    last = _rows(run / "metrics.jsonl")[-1:]
    facts = {name: float(last[0][key]) for name, key in keys.items()} if last else {}
    held_out = [row["loss"] for row in _rows(run / "validation.jsonl")]
    if held_out:
        config = _read(run / "config.json") or {}
        # With patience, the model is the best one instead of the last.
        patient = (config.get("validation") or {}).get("patience")
        facts["held_out_loss"] = min(held_out) if patient else held_out[-1]
    return facts


def _asked(questions: Questions, names: Sequence[str]) -> dict[str, Any]:
    """Return what scores depend on: options, and the lists of what is in the corpus."""
    asked = {name: value for name, value in questions.to_dict().items() if name in names}
    lists = sorted(Path(questions.corpus).glob("*.jsonl")) if questions.corpus else []
    return asked | {"corpus_lists": {path.name: file_sha256(path) for path in lists}}


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def _question(score: TaskScore) -> tuple[str, float | None, str]:
    return score.task, score.length, score.reading


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return data
