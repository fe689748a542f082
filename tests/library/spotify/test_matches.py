import json
from pathlib import Path

import pytest

from myna_rpe.errors import ExportError
from myna_rpe.library.formats import Entry
from myna_rpe.library.spotify import Client, match_entries, take_decisions, write_review
from myna_rpe.library.spotify.matching import Verdict

from .conftest import new_client
from .fake import FakeSpotify, Fault, song, uri


def entry(number: int, **changes: object) -> Entry:
    known = {"title": f"Title {number}", "artist": f"Artist {number}", "duration": 200.0}
    return Entry("", **{**known, **changes})


def searches(fake: FakeSpotify) -> int:
    return len(fake.asked("GET", "/search"))


def test_the_isrc_comes_first_and_one_search_is_enough(client: Client, fake: FakeSpotify) -> None:
    fake.catalogue = [song(1), song(2, hidden_isrc="YY0000000002", external_ids={})]
    found = match_entries(client, [entry(1, isrc="XX0000000001"), entry(2, isrc="YY0000000002")])
    assert found.uris == [uri(1), uri(2)]
    assert [match.how for match in found.matches] == ["isrc", "isrc"]
    assert [path.partition("q=")[2][:6] for path in fake.asked("GET", "/search")] == ["isrc%3"] * 2


def test_without_an_isrc_title_artist_and_duration_decide(
    client: Client, fake: FakeSpotify
) -> None:
    fake.catalogue = [
        song(1, duration_ms=400_000, uri="spotify:track:" + "l" * 22),
        song(1),
        song(2),
    ]
    found = match_entries(client, [entry(1), entry(2, isrc="XX9999999999"), entry(3)])
    assert found.uris == [uri(1), uri(2)]
    assert [match.how for match in found.matches] == ["search", "search", ""]
    assert [match.verdict for match in found.matches][-1] is Verdict.missing
    assert found.asked == 3


def test_counts_add_up_and_order_is_kept(client: Client, fake: FakeSpotify) -> None:
    fake.catalogue = [song(i) for i in range(5)]
    entries = [entry(4), entry(9), entry(0), entry(1, artist=""), entry(4), entry(2)]
    found = match_entries(client, entries)
    assert [match.entry for match in found.matches] == entries
    assert sum(len(found.of(verdict)) for verdict in Verdict) == len(entries)
    assert found.uris == [uri(4), uri(0), uri(4), uri(2)]
    assert found.asked == 5


def test_a_second_run_asks_nothing_again(
    client: Client, fake: FakeSpotify, folder: Path, waits: list[float]
) -> None:
    fake.catalogue = [song(i) for i in range(3)]
    entries = [entry(0), entry(1, artist=""), entry(9)]
    first = match_entries(client, entries)
    fake.requests.clear()
    second = match_entries(new_client(fake, folder, waits), entries)
    assert second.matches == first.matches
    assert (second.asked, fake.requests) == (0, [])
    again = (Verdict.unsure, Verdict.missing)
    third = match_entries(new_client(fake, folder, waits), entries, retried=again)
    assert third.asked == 2


def test_what_was_found_before_a_failure_is_kept(
    client: Client, fake: FakeSpotify, folder: Path, waits: list[float]
) -> None:
    fake.catalogue = [song(i) for i in range(4)]
    fake.faults = [Fault("GET", "/search", 429, {"Retry-After": "20000"}, skip=2)]
    with pytest.raises(ExportError, match="asks to wait until"):
        match_entries(client, [entry(i) for i in range(4)])
    fake.now += 20_000
    fake.requests.clear()
    found = match_entries(new_client(fake, folder, waits), [entry(i) for i in range(4)])
    assert found.uris == [uri(i) for i in range(4)]
    assert found.asked == 2


@pytest.mark.parametrize(
    "location", [uri(7), f"https://open.spotify.com/intl-de/track/{7:022d}?si=x"]
)
def test_a_track_of_spotify_is_not_asked_for(
    client: Client, fake: FakeSpotify, location: str
) -> None:
    found = match_entries(client, [Entry(location, title="anything")])
    assert (found.uris, found.asked, fake.requests) == ([uri(7)], 0, [])


def test_an_entry_that_says_nothing_is_missing(client: Client, fake: FakeSpotify) -> None:
    found = match_entries(client, [Entry("http://radio.example/")])
    assert [match.verdict for match in found.matches] == [Verdict.missing]
    assert fake.requests == []


def test_quotes_and_fields_in_titles_are_no_syntax(client: Client, fake: FakeSpotify) -> None:
    fake.catalogue = [song(1, name='Say "isrc:x" artist:y')]
    match_entries(client, [entry(1, title='Say "isrc:x" artist:y')])
    asked = fake.asked("GET", "/search")[0]
    assert asked.count("%22") == 4
    assert asked.count("%3A") == 2


def test_decisions_on_the_review_list_are_taken_and_kept(
    client: Client, fake: FakeSpotify, folder: Path, waits: list[float], tmp_path: Path
) -> None:
    fake.catalogue = [song(i) for i in range(3)]
    entries = [entry(0, artist=""), entry(1, artist=""), entry(2, artist=""), entry(2, artist="")]
    review = tmp_path / "review.json"
    assert take_decisions(review, folder) == 0
    write_review(match_entries(client, entries), review)
    data = json.loads(review.read_bytes())
    assert [item["title"] for item in data["unsure"]] == ["Title 0", "Title 1", "Title 2"]
    assert data["unsure"][0]["candidates"][0]["uri"] == uri(0)
    data["unsure"][0]["choice"] = uri(0)
    data["unsure"][1]["choice"] = "none"
    review.write_text(json.dumps(data))
    assert take_decisions(review, folder) == 2
    again = (Verdict.unsure, Verdict.missing)
    found = match_entries(new_client(fake, folder, waits), entries, retried=again)
    assert [match.verdict.value for match in found.matches] == [
        *("matched", "missing", "unsure", "unsure"),
    ]
    assert [match.how for match in found.matches[:2]] == ["choice", "choice"]
    assert found.uris == [uri(0)]
    write_review(found, review)
    assert [item["title"] for item in json.loads(review.read_bytes())["unsure"]] == ["Title 2"]


def test_a_choice_that_is_no_track_is_refused_and_none_is_taken(
    client: Client, fake: FakeSpotify, folder: Path, tmp_path: Path
) -> None:
    items = [{"key": "a", "choice": uri(1)}, {"key": "b", "choice": "yes"}]
    (tmp_path / "review.json").write_text(json.dumps({"unsure": items}))
    with pytest.raises(ExportError, match=r"choice='yes' in .*review\.json' is no track"):
        take_decisions(tmp_path / "review.json", folder)
    assert not (folder / "matches.json").exists()


def test_a_damaged_memory_is_named_and_left(client: Client, folder: Path) -> None:
    (folder / "matches.json").write_text("{")
    with pytest.raises(ExportError, match=r"matches\.json' is damaged"):
        match_entries(client, [entry(1)])
    assert (folder / "matches.json").read_text() == "{"
