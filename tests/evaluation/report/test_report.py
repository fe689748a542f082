"""The files of a report."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import myna_rpe
from myna_rpe.errors import TaskError
from myna_rpe.evaluation.reading import Reading
from myna_rpe.evaluation.report import write_report
from myna_rpe.evaluation.scores import Score

from .support import many_scores, retrieval

_VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Notes elements, and which are not closed where they should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.wrong: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def scores() -> list[Score]:
    return many_scores()


@pytest.fixture(scope="module")
def maps() -> dict:
    features = np.random.default_rng(0).normal(size=(12, 6))
    return {"small: composers": (features, list("abcabcabcabc"))}


def test_all_files_are_there_and_the_json_holds_the_scores(tmp_path, scores, maps):
    report = write_report(scores, tmp_path / "out", maps=maps)
    there = {path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert there == {report.markdown, report.html, report.json, *report.plots}
    data = json.loads(report.json.read_bytes())
    assert data["scores"] == [score.to_dict() for score in scores]
    assert data["versions"]["myna-rpe"] == myna_rpe.__version__
    assert {"python", "torch", "numpy", "scikit-learn"} <= set(data["versions"])
    assert set(data["platform"]) == {"system", "machine", "processor"}
    assert data["plots"] == [path.name for path in report.plots]


def test_the_same_scores_give_the_same_bytes(tmp_path, scores, maps):
    one = write_report(scores, tmp_path / "one", maps=maps)
    read_again = [Score.from_dict(json.loads(json.dumps(score.to_dict()))) for score in scores]
    other = write_report(read_again, tmp_path / "other", maps=maps)
    for name in ("markdown", "html", "json"):
        assert getattr(one, name).read_bytes() == getattr(other, name).read_bytes(), name
    assert [path.name for path in one.plots] == [path.name for path in other.plots]
    for path, same in zip(one.plots, other.plots, strict=True):
        assert path.read_bytes() == same.read_bytes(), path.name


def test_every_score_has_one_row_in_both_pages(tmp_path, scores):
    report = write_report(scores, tmp_path)
    markdown = report.markdown.read_text("utf-8")
    page = report.html.read_text("utf-8")
    for score in scores:
        value = score.metrics[score.primary]
        cell = f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"
        assert f"| {score.label} | {cell}" in markdown
        assert f"<td>{cell}" in page
    rows = [line for line in markdown.splitlines() if line.endswith(f"| {scores[0].space_id} |")]
    assert len(rows) == sum(score.space_id == scores[0].space_id for score in scores)
    assert "x: is broken." in markdown
    assert "x: is broken." in page
    headings = [line for line in markdown.splitlines() if re.match("##+ ", line)]
    assert headings == [
        "## rendered-key",
        "### whole tracks",
        "### 10 s of each track",
        "## tags",
        "## mood",
        "## composer",
        "## How to read this",
    ]


def test_the_page_is_well_formed_and_loads_nothing(tmp_path, scores, maps):
    report = write_report(scores, tmp_path, maps=maps)
    text = report.html.read_text("utf-8")
    page = Page(text)
    assert (page.wrong, page.open) == ([], [])
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "image", "iframe", "object", "foreignobject"}
    assert "://" not in text
    assert "@import" not in text
    for _, attributes in page.elements:
        for name in ("href", "xlink:href", "src"):
            assert (attributes.get(name) or "#").startswith("#")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    links = {
        attributes[name][1:]
        for _, attributes in page.elements
        for name in ("href", "xlink:href")
        if attributes.get(name)
    }
    assert links <= set(ids)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)
    assert sum(tag == "svg" for tag in (tag for tag, _ in page.elements)) == len(report.plots)
    assert len(ids) == len(set(ids))


def test_links_of_the_markdown_are_files(tmp_path, scores):
    report = write_report(scores, tmp_path)
    linked = re.findall(r"\]\((plots/[^)]*)\)", report.markdown.read_text("utf-8"))
    assert [tmp_path / link for link in linked] == list(report.plots)


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "\"><img src=x onerror='y'>", "{{ 7 * 7 }}", "a&b"]
)
def test_names_are_text_and_never_markup(tmp_path, name):
    scores = [
        retrieval([value, 0.5], task=name, model=name, reading=Reading(window), space_id=name)
        for value, window in ((1.0, None), (0.5, 5.0))
    ]
    maps = {name: (np.eye(3), [name, name, "x"])}
    report = write_report(scores, tmp_path, maps=maps, heading=name)
    page = Page(report.html.read_text("utf-8"))
    assert (page.wrong, page.open) == ([], [])
    assert not {tag for tag, _ in page.elements} & {"script", "img"}
    assert sum(name in text for text in page.text) >= 8
    assert "<script" not in report.markdown.read_text("utf-8").replace("\\<", "")


def test_tasks_whose_names_would_be_one_file_name_have_plots_of_their_own(tmp_path):
    scores = [
        retrieval([0.5, value], task=task, model=str(value))
        for task in ("a/b", "a b", "../../a")
        for value in (0.5, 1.0)
    ]
    report = write_report(scores, tmp_path / "out")
    assert len(set(report.plots)) == 3
    assert {path.parent for path in report.plots} == {tmp_path / "out" / "plots"}
    assert all(path.exists() for path in report.plots)


def test_plots_of_the_report_before_are_removed_and_other_files_stay(tmp_path, scores):
    first = write_report(scores, tmp_path)
    mine = tmp_path / "plots" / "mine.svg"
    mine.write_text("mine")
    outside = tmp_path / "outside.svg"
    outside.write_text("outside")
    data = json.loads(first.json.read_bytes())
    first.json.write_text(json.dumps({**data, "plots": [*data["plots"], "../outside.svg", 3]}))
    second = write_report(scores[-1:], tmp_path)
    assert second.plots == ()
    assert list((tmp_path / "plots").iterdir()) == [mine]
    assert outside.exists()


def test_a_report_that_fails_leaves_the_one_before(tmp_path, scores, monkeypatch):
    report = write_report(scores[-1:], tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.setattr("myna_rpe.evaluation.report.to_html", lambda contents: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report([retrieval([1.0], model=model) for model in "ab"], tmp_path)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before
    assert report.html in after


def test_no_score_is_no_report(tmp_path):
    with pytest.raises(TaskError, match="scores=0"):
        write_report([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_file_names_that_are_not_utf_8_survive(tmp_path: Path):
    score = retrieval({"a\udce9": 1.0}, model="m\udce9", details={"failed": {"\udce9": "\udce9"}})
    report = write_report([score], tmp_path)
    assert "m\ufffd" in report.markdown.read_text("utf-8")
    assert json.loads(report.json.read_bytes())["scores"][0]["model"] == "m\udce9"
