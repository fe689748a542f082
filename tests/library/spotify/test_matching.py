from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myna_rpe.library.formats import Entry
from myna_rpe.library.spotify.client import SpotifyTrack
from myna_rpe.library.spotify.matching import (
    DOUBTFUL,
    Verdict,
    Wanted,
    judge,
    judge_isrc,
    likeness,
    normalised,
    score,
    wanted_of,
)

texts = st.text("ab c", max_size=8)


def offer(title: str, *artists: str, duration: float = 0.0, isrc: str = "") -> SpotifyTrack:
    return SpotifyTrack("spotify:track:x", title, artists, "", duration, isrc)


def common(first: str, second: str) -> int:
    """Return the letters in common runs, by the definition: the longest one, then both sides."""
    best = (0, 0, 0)
    for i in range(len(first)):
        for j in range(len(second)):
            size = 0
            while (
                i + size < len(first)
                and j + size < len(second)
                and first[i + size] == second[j + size]
            ):
                size += 1
            if size > best[0]:
                best = (size, i, j)
    size, i, j = best
    if not size:
        return 0
    return size + common(first[:i], second[:j]) + common(first[i + size :], second[j + size :])


@given(first=texts, second=texts)
def test_likeness_is_the_share_of_letters_in_common_runs(first: str, second: str) -> None:
    expected = 2 * common(first, second) / (len(first) + len(second)) if first and second else 0.0
    assert likeness(first, second) == pytest.approx(expected)


@given(
    title=texts,
    artist=texts,
    names=st.lists(texts, min_size=1, max_size=3),
    seconds=st.floats(0, 400),
    theirs=st.floats(0, 400),
)
def test_the_score_is_the_mean_that_the_module_describes(
    title: str, artist: str, names: list[str], seconds: float, theirs: float
) -> None:
    parts = [(5, likeness(normalised(title), normalised("a b")))]
    if artist:
        both = [*names, " ".join(names)]
        parts.append((3, max(likeness(normalised(artist), normalised(name)) for name in both)))
    if seconds > 0 and theirs > 0:
        apart = abs(seconds - theirs)
        parts.append((2, 1.0 if apart <= 2 else 0.0 if apart >= 15 else 1 - (apart - 2) / 13))
    mean = sum(w * p for w, p in parts) / sum(w for w, _ in parts)
    expected = mean if artist else min(mean, DOUBTFUL)
    found = score(Wanted(title, artist, seconds), offer("a b", *names, duration=theirs))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Déjà Vu", "deja vu"),
        ("Jo\u0301ga", "J\u00f3ga"),
        ("Heroes - 2017 Remaster", "Heroes"),
        ("Heroes (Remastered 2017)", "heroes"),
        ("Heroes [2017 Remastered Version]", "Heroes"),
        ("Heroes - Digitally Remastered", "Heroes"),
        ("Heroes - Remastered in 2015", "Heroes"),
        ("Crazy in Love (feat. JAY-Z)", "Crazy In Love"),
        ("Crazy in Love ft. Jay-Z", "Crazy In Love"),
        ("Rock & Roll", "Rock and Roll"),
        ("Don\u2019t Stop", "Dont stop"),
        ("Étude, Op. 10 \u2013 No. 3", "etude op 10 no 3"),
    ],
)
def test_what_does_not_count_is_left_out(one: str, other: str) -> None:
    assert normalised(one) == normalised(other) != ""


@pytest.mark.parametrize(
    ("one", "other"), [("が", "か"), ("Heroes", "Zeroes"), ("!!!", "???"), ("Remaster", "Master")]
)
def test_what_counts_stays(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)
    assert normalised(one) != ""


@given(text=st.text(max_size=40))
def test_only_blank_text_has_an_empty_normal_form(text: str) -> None:
    assert bool(normalised(text)) == bool(text.strip())


def test_the_same_recording_is_matched() -> None:
    wanted = Wanted("Jóga", "Björk", 305.0)
    for found in [
        offer("Joga", "Björk", duration=305.9),
        offer("Jóga - Remastered", "Björk", "Somebody", duration=304.0),
        offer("JÓGA", "Bjork"),
    ]:
        assert judge(wanted, [found]).verdict is Verdict.matched, found


@pytest.mark.parametrize(
    "found",
    [
        offer("Jóga - Live at Shepherds Bush", "Björk", duration=305.0),
        offer("Jóga (Alec Empire Remix)", "Björk", duration=305.0),
        offer("Jóga", "Tribute Band", duration=305.0),
        offer("Jóga", "Björk", duration=430.0),
    ],
)
def test_another_version_or_artist_is_never_matched(found: SpotifyTrack) -> None:
    assert judge(Wanted("Jóga", "Björk", 305.0), [found]).verdict is not Verdict.matched


def test_two_live_recordings_may_match() -> None:
    found = offer("Jóga (Live)", "Björk", duration=305.0)
    assert judge(Wanted("Jóga - live", "Björk", 305.0), [found]).verdict is Verdict.matched


def test_without_an_artist_nothing_is_certain() -> None:
    found = judge(Wanted("Jóga", "", 305.0), [offer("Jóga", "Björk", duration=305.0)])
    assert found.verdict is Verdict.unsure
    assert found.candidates[0][0] == DOUBTFUL


def test_the_best_offer_comes_first_and_equals_stay_in_order() -> None:
    first, second = offer("Joga", "Björk", duration=310.0), offer("Jóga", "Björk", duration=305.0)
    third = SpotifyTrack("spotify:track:z", "Jóga", ("Björk",), "", 305.0)
    found = judge(Wanted("Jóga", "Björk", 305.0), [first, second, third])
    assert [track for _, track in found.candidates] == [second, third, first]


def test_nothing_alike_is_missing() -> None:
    found = judge(Wanted("Jóga", "Björk", 305.0), [offer("Waterloo", "ABBA", duration=165.0)])
    assert (found.verdict, found.candidates) == (Verdict.missing, ())
    assert judge(Wanted("Jóga"), []).verdict is Verdict.missing


def test_an_isrc_needs_less_likeness_and_a_wrong_one_is_unsure() -> None:
    wanted = Wanted("Joga (album version)", "Björk", 305.0, "GBAKW9700028")
    right = offer("Jóga", "Björk", duration=305.0, isrc="GBAKW9700028")
    assert judge(wanted, [right]).verdict is not Verdict.matched
    assert judge_isrc(wanted, [right]).verdict is Verdict.matched
    wrong = offer("Waterloo", "ABBA", duration=165.0, isrc="GBAKW9700028")
    assert judge_isrc(wanted, [wrong]).verdict is Verdict.unsure
    another = offer("Jóga", "Björk", duration=305.0, isrc="XX0000000001")
    assert judge_isrc(wanted, [another]).verdict is Verdict.missing
    assert judge_isrc(wanted, []).verdict is Verdict.missing
    assert judge_isrc(Wanted("", isrc="GBAKW9700028"), [right]).verdict is Verdict.matched


@pytest.mark.parametrize(
    ("name", "artist", "title"),
    [
        ("01 Jóga", "", "Jóga"),
        ("1-02 - Björk - Jóga", "Björk", "Jóga"),
        ("Björk - Jóga", "Björk", "Jóga"),
        ("99", "", "99"),
        ("7 Seconds", "", "7 Seconds"),
        ("7. Seconds", "", "Seconds"),
        ("caf\udce9", "", "caf\ufffd"),
    ],
)
def test_an_entry_without_a_title_is_asked_for_by_its_file_name(
    name: str, artist: str, title: str
) -> None:
    wanted = wanted_of(Entry("x", Path(f"/m/{name}.mp3"), duration=3.0))
    assert (wanted.artist, wanted.title, wanted.duration) == (artist, title, 3.0)
