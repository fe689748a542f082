"""Scores as tables, warnings and notes."""

import pytest

from myna_rpe.evaluation.compare import compare
from myna_rpe.evaluation.report.contents import clean
from myna_rpe.evaluation.report.markdown import escape, table_lines
from myna_rpe.evaluation.report.tables import by_length, make_part, ranked
from myna_rpe.evaluation.statistics import holm

from .support import probed, retrieval, searched


def part_of(*scores):
    return make_part(ranked(scores), heading="", plots=[])


def test_a_row_says_value_interval_counts_cost_and_space():
    score = retrieval([1.0, 1.0, 1.0], num_examples=5, num_failed=2, seconds_per_track=0.01234)
    table = part_of(score).results
    assert table.header == ("model", "map", "read", "failed", "s per track", "space")
    assert table.rows == (("m", "1.000 [1.000, 1.000]", "5", "2", "0.0123", "space-of-m"),)


def test_the_best_model_comes_first_and_among_equals_the_next_metric_counts():
    scores = [retrieval([value, 0.5], model=name) for value, name in ((0, "c"), (1, "a"), (1, "b"))]
    assert [score.model for score in ranked(scores)] == ["a", "b", "c"]
    probes = [
        probed("classification", ("a", "b"), model=f"m{skill}", evidence={"skill": skill})
        for skill in (0.0, 1.0, 2.0, 3.0)
    ]
    values = [tuple(metric.value for metric in score.metrics.values()) for score in ranked(probes)]
    assert values == sorted(values, reverse=True)


def test_the_deviation_over_seeds_stands_beside_the_value():
    many = probed("classification", ("a", "b"), model="many", evidence={"seeds": 3})
    one = probed("classification", ("a", "b"), model="one")
    rows = {row[0]: row[1] for row in part_of(many, one).results.rows}
    assert rows["many"].endswith(f", sd {many.spreads['accuracy'].std:.3f} of 3 seeds")
    assert rows["one"].endswith("]")


def test_spaces_that_were_searched_have_a_table():
    assert part_of(retrieval([0.5])).spaces is None
    table = part_of(searched([0.9]), retrieval([0.5], model="other")).spaces
    assert table.header == ("space of", "hubness", "alignment", "uniformity")
    assert table.rows == (("m", "1.250", "0.500", "-2.000"),)


def test_differences_are_to_the_best_and_corrected_for_the_number_of_rows(rng):
    good = rng.random(60)
    scores = [
        retrieval(good, model="best"),
        retrieval(good - 0.02 + 0.1 * rng.normal(size=60), model="near"),
        retrieval({f"t{i}": good[i] - 0.3 for i in range(50)}, model="far"),
    ]
    table = part_of(*scores).differences
    assert table.header == ("model", "difference in map", "p (Holm)", "pairs", "left out")
    rows = {row[0]: row[1:] for row in table.rows}
    raw = [compare(score, scores[0]).differences["map"].p_value for score in scores[1:]]
    assert rows["far"][1:] == (f"{holm(raw)[1]:.3f}", "50", "10")
    assert rows["far"][0].startswith("-0.300 [-0.300, -0.300]")
    assert rows["near"][1] == f"{holm(raw)[0]:.3f}"
    assert part_of(scores[0]).differences is None


def test_what_cannot_be_compared_has_a_row_and_a_reason():
    part = part_of(retrieval([1.0, 1.0], model="a"), retrieval({"x": 0.0}, model="b"))
    assert part.differences.rows == (("b", "-", "-", "-", "-"),)
    assert any("b has no difference" in note and "none is common" in note for note in part.notes)


def test_a_setting_that_was_chosen_on_test_is_a_warning_that_names_the_model():
    both = [probed("classification", ("a", "b"), model=m, protocol="myna-compat") for m in "xy"]
    (warning,) = part_of(*both).warnings
    assert warning.startswith("Protocol myna-compat: The setting was chosen on the TEST set")
    mixed = part_of(both[0], probed("classification", ("a", "b"), model="z"))
    (warning,) = mixed.warnings
    assert warning.startswith("Protocol myna-compat of x: ")
    assert "protocol of z: The setting was chosen on validation; " in "\n".join(mixed.notes)


def test_a_partial_copy_is_a_warning():
    details = {"notes": {"partial": "train 3 of 9", "licence": "CC0"}}
    part = part_of(retrieval([1.0], details=details))
    assert part.warnings == ("Partial copy of the data set: train 3 of 9",)
    assert part.notes == ("licence: CC0",)


def test_notes_that_differ_name_their_models():
    first = retrieval([1.0], model="a", details={"notes": {"tracks": "1"}})
    second = retrieval([1.0], model="b", details={"notes": {"tracks": "2"}})
    assert part_of(first, second).notes == ("tracks of a: 1", "tracks of b: 2")


@pytest.mark.parametrize("count", [1, 10, 13])
def test_failures_add_up_and_the_first_ten_are_named(count):
    failed = {f"{n}": "file is broken." for n in range(count)}
    part = part_of(retrieval([1.0, 0.0], details={"failed": failed}))
    (told,) = part.failed
    assert told.summary == f"m: {count} of {count + 2} could not be read"
    assert len(told.examples) + told.more == count
    assert len(told.examples) == min(count, 10)
    assert part.results.rows[0][3] == str(count)


def test_tasks_keep_their_order_and_whole_tracks_come_before_parts_of_them():
    scores = [
        retrieval([1.0], task=task, length=length)
        for task, length in (("b", 3.0), ("a", None), ("b", None), ("b", 10.0))
    ]
    assert {task: list(lengths) for task, lengths in by_length(scores).items()} == {
        "b": [None, 10.0, 3.0],
        "a": [None],
    }


def test_names_cannot_break_a_table():
    part = part_of(retrieval([1.0], model="a|b\nc\\|<i>\x1b[2J\udce9"))
    (row,) = part.results.rows
    assert row[0] == clean(row[0]) == "a|b c\\|<i> [2J\ufffd"
    lines = table_lines(part.results)
    assert len(lines) == 3
    assert lines[2].startswith(r"| a\|b c\\\|\<i\> \[2J")
    unescaped = lines[2].replace("\\\\", "").replace("\\|", "")
    assert unescaped.count("|") == lines[0].count("|")


def test_markdown_escapes_what_it_would_take_for_its_own():
    assert escape("plain_name (1.0), 5 %") == "plain_name (1.0), 5 %"
    assert escape("[x](y) *z* `q`") == r"\[x\](y) \*z\* \`q\`"
