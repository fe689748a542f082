"""Results made by hand -> the table, and every file that shows it."""

import csv
import json
from dataclasses import astuple, replace
from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from myna_rpe.ablation.grid import cells
from myna_rpe.ablation.job import Result, TaskScore
from myna_rpe.ablation.report import to_csv, to_markdown, write_report
from myna_rpe.ablation.table import HELD_OUT, SECONDS, Done, Measure, gather
from myna_rpe.evaluation.scores import Queries
from myna_rpe.evaluation.statistics import bootstrap, of_values, paired_bootstrap

from .support import FAILURE, all_done, done, grid_of, result

WHOLE = Measure("package", None, "", "map")
NAMES = [f"track {number}" for number in range(40)]


def test_a_row_is_the_mean_and_deviation_of_its_seeds():
    table = gather(all_done(grid_of()), [])
    first, second = table.rows
    assert first.values == {"positions": "alibi-2d"}
    assert first.spread(WHOLE).mean == pytest.approx(0.6)
    assert first.spread(WHOLE).std == pytest.approx(0.1 * sqrt(2))
    assert first.spread(WHOLE).n == 2
    assert second.spread(WHOLE).std == 0
    assert first.spread(HELD_OUT).mean == pytest.approx(1.4)
    assert table.constants == {"recipe": "smoke"}


def test_only_primary_metrics_are_columns_and_all_are_in_the_files():
    table = gather(all_done(grid_of()), [])
    assert [m.title for m in table.columns] == [
        "package, map",
        "package, map, windows of 4 s",
        "held out loss",
        "training seconds",
    ]
    lines = list(csv.DictReader(to_csv(table).splitlines()))
    assert {line["metric"] for line in lines} == {
        *("map", "p1", "held_out_loss", "training_seconds", "steps", "evaluation_seconds")
    }
    assert lines[0]["positions"] == "alibi-2d"
    assert float(lines[0]["mean"]) == pytest.approx(0.6)
    assert table.rows[0].spread(SECONDS).mean == 10


def test_cells_add_up_and_a_row_says_which_seeds_it_lacks():
    grid = grid_of(seeds=3)
    outcomes = [result(0.5), FAILURE, result(0.7), None, None, None]
    listed = [done(cell, outcome) for cell, outcome in zip(cells(grid), outcomes, strict=True)]
    table = gather(listed, [])
    assert (table.num_done, table.num_failed, table.num_not_run, table.num_cells) == (2, 1, 3, 6)
    page = to_markdown(table)
    assert "2 done + 1 failed + 3 not run = 6 cells." in page
    assert "| alibi-2d | 2 of 3 | 0.600 ± 0.141 |" in page
    assert "| rope-2d | 0 of 3 | - | - | - | - |" in page
    assert "- recipe=smoke, positions=rope-2d, seed=0: pretrain: loss=nan | is not" in page
    assert table.rows[0].seeds == ("0", "1")


def test_one_seed_has_no_deviation():
    page = to_markdown(gather([done(cell, result(0.5)) for cell in cells(grid_of(1))], []))
    assert "| alibi-2d | 1 | 0.500 | 0.400 | 1.500 | 10 |" in page


def test_a_row_that_could_not_read_all_files_says_so():
    grid = grid_of(1)
    first, second = cells(grid)
    table = gather([done(first, result(0.5, failed=2)), done(second, result(0.5))], [])
    assert "up to 2 of a task could not be read (alibi-2d)" in to_markdown(table)


def test_peers_have_a_table_of_their_own_and_failed_ones_are_listed():
    peers = [
        Done("mfcc", result(0.3), None, Path("log.txt")),
        Done("musicnn", None, FAILURE, Path("peers/musicnn/log.txt")),
    ]
    table = gather(all_done(grid_of()), peers)
    page = to_markdown(table)
    assert "| mfcc | 0.300 |" in page
    assert "- musicnn: pretrain: " in page
    assert table.num_failed == 0
    assert table.num_peers == 2


def at_lengths(value: float) -> Result:
    """The same score at 3 s and of all, whole and in windows."""
    scores = [
        TaskScore("package", length, reading, {"map": value + gain - loss}, 6, 0)
        for length, gain in ((None, 0.1), (3.0, 0.0))
        for reading, loss in (("", 0.0), ("windows of 4 s", value / 10))
    ]
    return Result(tuple(scores), {}, 1.5)


def test_lengths_have_tables_of_their_own_and_columns_are_of_the_greatest():
    listed = [done(c, at_lengths(0.2 + 0.1 * n)) for n, c in enumerate(cells(grid_of(1)))]
    peers = [Done("mfcc", Result(at_lengths(0.3).scores[::2], {}, 1.0), None, Path("log.txt"))]
    table = gather(listed, peers)
    assert [m.title for m in table.columns] == ["package, map", "package, map, windows of 4 s"]
    page = to_markdown(table).split("## By length")[1]
    assert "### package, map" in page
    assert "| positions | 3 s | 3 s, windows of 4 s | all | all, windows of 4 s |" in page
    assert "| alibi-2d | 0.200 | 0.180 | 0.300 | 0.280 |" in page
    assert "| mfcc | 0.300 | - | 0.400 | - |" in page
    assert "## By length" not in to_markdown(gather(all_done(grid_of()), []))


def given(rng, mean, names=NAMES):
    return Queries(names, {"map": mean + 0.1 * rng.normal(size=len(names))})


def test_ways_of_reading_are_compared_on_the_same_tracks_by_means_over_seeds(rng):
    grid = grid_of()
    listed, kept = [], {}
    windows = Measure("package", None, "windows of 4 s", "map")
    for cell in cells(grid):
        found = {WHOLE: given(rng, 0.5), windows: given(rng, 0.3)}
        kept.setdefault(cell.values["positions"], []).append(found)
        scores = tuple(
            TaskScore("package", None, m.reading, {"map": float(e.values["map"].mean())}, 40, 0)
            for m, e in found.items()
        )
        cell, ended = done(cell, Result(scores, {}, 1.0))
        listed.append((cell, replace(ended, evidence=found)))
    table = gather(listed, [])
    for row in table.rows:
        means = {
            measure: np.mean([e[measure].values["map"] for e in kept[row.label]], axis=0)
            for measure in (WHOLE, windows)
        }
        slow = bootstrap(of_values(means[WHOLE]), 40)
        assert astuple(row.answers(WHOLE).interval) == pytest.approx(astuple(slow))
        assert row.answers(WHOLE).interval.value == pytest.approx(row.spread(WHOLE).mean)
        expected = paired_bootstrap(of_values(means[WHOLE]), of_values(means[windows]), 40)
        assert astuple(row.answers(WHOLE).minus(row.answers(windows))) == pytest.approx(
            astuple(expected)
        )
    page = to_markdown(table)
    shown = table.rows[0].answers(WHOLE).interval
    assert f"[{shown.low:.3f}, {shown.high:.3f}]" in page
    first, second = table.rows
    paired = first.answers(WHOLE).minus(first.answers(windows))
    assert f"| alibi-2d | {paired.value:+.3f} [" in page
    ahead = max(table.rows, key=lambda row: row.spread(WHOLE).mean)
    behind = second if ahead is first else first
    found = ahead.answers(WHOLE).minus(behind.answers(WHOLE))
    assert f"## {ahead.label}, minus the others" in page
    assert f"| {behind.label} | {found.value:+.3f} [{found.low:+.3f}" in page
    assert "## one pass, minus windows of 4 s" in page


def test_seeds_that_answered_on_other_tracks_have_no_interval(rng):
    listed = []
    for number, cell in enumerate(cells(grid_of())):
        names = NAMES[:-1] if number == 0 else NAMES
        cell, ended = done(cell, result(0.5))
        listed.append((cell, replace(ended, evidence={WHOLE: given(rng, 0.5, names)})))
    first, second = gather(listed, []).rows
    assert first.answers(WHOLE) is None
    assert second.answers(WHOLE).interval.level == 0.95
    assert second.answers(WHOLE).minus(None) is None


def test_score_against_length_is_a_plot_of_its_own(tmp_path):
    listed = [done(cell, at_lengths(0.2)) for cell in cells(grid_of())]
    write_report(gather(listed, []), tmp_path)
    assert "](report-lengths.svg)" in (tmp_path / "report.md").read_text()
    drawing = (tmp_path / "report-lengths.svg").read_text()
    assert "rope-2d" in drawing
    assert "windows of 4 s" in drawing


def test_nothing_done_is_a_report_too(tmp_path):
    table = gather([done(cell, None) for cell in cells(grid_of())], [])
    write_report(table, tmp_path)
    assert "0 done + 0 failed + 4 not run = 4 cells." in (tmp_path / "report.md").read_text()
    assert not (tmp_path / "report.svg").exists()


def test_the_same_table_gives_the_same_bytes(tmp_path):
    peers = [Done("mfcc", result(0.3), None, Path("log.txt"))]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_report(gather(all_done(grid_of()), peers), tmp_path / name)
    names = ["report.csv", "report.json", "report.md", "report.svg"]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    report = json.loads((tmp_path / "one" / "report.json").read_bytes())
    assert report["rows"][0]["measures"][0]["values"] == [0.5, 0.7]
