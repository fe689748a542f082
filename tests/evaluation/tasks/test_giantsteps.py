from collections.abc import Sequence
from dataclasses import replace

import pytest

from myna_rpe.errors import TaskError
from myna_rpe.evaluation.examples import cut_into_clips
from myna_rpe.evaluation.keys import KEYS
from myna_rpe.evaluation.tasks.giantsteps import GIANTSTEPS, artist_splits, parse_key

from .copies import wav, write_giantsteps

# By the SHA-1 of their names modulo 116: Lou 99 and all others below it, Eli 100, Rob 103.
METADATA = {5061: "Lou", 5881: "Eli", 10981: "Ada", 61578: "Ada", 54925: "Ada", 7217: "Ben, Rob"}
ANNOTATIONS = [
    "5061\tD# minor\t2",
    "5881\tA major\t2",
    "10981\t-\t0",
    "61578\tC minor / F# minor\t2",
    "54925\tC minor\t0",
    "7217\tB major \t2",
]
TEST = {"10089.LOFI": "D major", "0061415.LOFI": "Gb minor\t2\ta comment\n"}
SMALL = replace(GIANTSTEPS, counts={"train": 1, "valid": 2, "test": 2})


def copy(root, **changes):
    contents = {"test": TEST, "annotations": ANNOTATIONS, "metadata": METADATA}
    return write_giantsteps(root, **(contents | changes))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("C major", "C major"),
        ("D# minor", "Eb minor"),
        ("eb minor", "Eb minor"),
        (" C# major \n", "Db major"),
        ("bb minor", "Bb minor"),
        ("b  minor", "B minor"),
        ("Cb major", "B major"),
        ("E# minor", "F minor"),
        # As they are in annotations.txt.
        *((odd, None) for odd in ("-", " ", "", "C minor / F# minor", "A/E major", "F / F# minor")),
        *((odd, None) for odd in ("G minor/major", "A-A# minor", "A/A# minor/major")),
        *((odd, None) for odd in ("A#", "H major", "C Major", "C dorian")),
    ],
)  # fmt: skip
def test_a_key_is_one_of_24_or_none(text, key):
    assert parse_key(text) == key
    assert key is None or key in KEYS


def test_there_are_24_keys_that_mir_eval_knows():
    key = pytest.importorskip("mir_eval.key")
    assert len(set(KEYS)) == GIANTSTEPS.num_classes == 24
    for name in KEYS:
        key.validate_key(name)


def test_labels_and_splits_follow_both_data_sets(tmp_path):
    dataset = SMALL.load(copy(tmp_path))
    assert {(e.id, e.label, e.split) for e in dataset.examples} == {
        ("mtg-5061", "Eb minor", "train"),
        ("mtg-5881", "A major", "valid"),
        ("mtg-7217", "B major", "valid"),
        ("key-10089", "D major", "test"),
        ("key-61415", "Gb minor", "test"),
    }
    assert all(e.path.name.endswith(".LOFI.mp3") for e in dataset.examples)
    assert dataset.notes == {"left out": "2 of low confidence, 1 without a single key"}


@pytest.mark.parametrize("suffix", ["", "-c8cb8aad2cb53f165be51ea099d0dc75c64a844f"])
def test_a_whole_copy_is_complete_whatever_its_folders_suffix(tmp_path, suffix):
    diagnosis = SMALL.doctor(copy(tmp_path, suffix=suffix), deep=True)
    assert diagnosis.complete
    assert diagnosis.excluded == {"of low confidence": 2, "without a single key": 1}
    assert not diagnosis.unlisted


def test_sound_of_another_md5_is_corrupt_and_converted_sound_is_not_held_to_it(tmp_path):
    copy(tmp_path)
    test = tmp_path / "giantsteps-key-dataset-master/audio"
    (test / "10089.LOFI.mp3").write_bytes(wav(77))
    (test / "0061415.LOFI.mp3").rename(test / "61415.LOFI.wav")
    diagnosis = SMALL.doctor(tmp_path)
    (problem,) = diagnosis.problems
    assert (problem.id, problem.state) == ("key-10089", "corrupt")
    assert problem.reason.endswith("does not have its published MD5")


def test_missing_sound_is_counted_in_its_split(tmp_path):
    copy(tmp_path, sound=["10089.LOFI", "5061.LOFI"])
    diagnosis = SMALL.doctor(tmp_path)
    assert [(c.there, c.missing) for c in diagnosis.splits.values()] == [(1, 0), (0, 2), (1, 1)]
    assert not diagnosis.complete
    with pytest.raises(TaskError, match="train 1 of 1, valid 0 of 2, test 1 of 2"):
        SMALL.load(tmp_path)


def splits(*artists: str) -> Sequence[str]:
    rows = [{"ID": str(n), "ARTIST": names} for n, names in enumerate(artists)]
    found = artist_splits(rows)
    return [found.get(n, "both") for n in range(len(artists))]


def test_an_artist_is_in_one_split_by_name_alone():
    assert splits("Lou", "Eli", "LOU", " eli ", "Rob") == [
        "train",
        "valid",
        "train",
        "valid",
        "valid",
    ]


def test_who_shares_a_track_with_a_valid_artist_is_valid_over_two_hops_and_no_more():
    assert splits("Ada", "Ada, Ben", "Ben, Eli", "Cyd") == ["valid", "valid", "valid", "train"]
    assert splits("Dee, Cyd", "Cyd, Ada", "Ada, Ben", "Ben, Eli") == [
        *("train", "both", "valid", "valid")
    ]  # fmt: skip


def test_no_artist_is_in_train_and_valid(tmp_path):
    examples = SMALL.load(copy(tmp_path)).examples
    sides = {
        side: {
            name
            for e in examples
            if e.split == side
            for name in METADATA[int(e.id.removeprefix("mtg-"))].split(", ")
        }
        for side in ("train", "valid")
    }
    assert sides == {"train": {"Lou"}, "valid": {"Eli", "Ben", "Rob"}}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metadata": {5061: "Lou"}}, r"track=5881: its artists are not in the table"),
        (
            {
                "metadata": {1: "Dee, Cyd", 5061: "Cyd, Ada", 2: "Ada, Ben", 3: "Ben, Eli"},
                "annotations": ANNOTATIONS[:1],
            },
            r"track=5061: its artists are in both train and valid",
        ),
        ({"test": {"5061.LOFI": "D major"}}, r"track=5061 is in both data sets"),
        ({"annotations": ["x\tC major\t2"]}, r"ID='x' is no track number"),
    ],
)
def test_annotations_that_are_not_the_published_are_refused(tmp_path, changes, says):
    with pytest.raises(TaskError, match=says):
        SMALL.load(copy(tmp_path, **changes))


def test_each_missing_repository_is_named(tmp_path):
    with pytest.raises(TaskError, match="holds no giantsteps-key-dataset"):
        GIANTSTEPS.load(tmp_path)
    (tmp_path / "keys/annotations/key").mkdir(parents=True)
    with pytest.raises(TaskError, match="holds no giantsteps-mtg-key-dataset"):
        GIANTSTEPS.load(tmp_path)


def test_clips_of_a_track_share_it_and_the_rest_is_left_out(tmp_path):
    copy(tmp_path)
    sound = tmp_path / "giantsteps-mtg-key-dataset-master/audio/5061.LOFI.mp3"
    sound.write_bytes(wav(1, seconds=1.0))
    assert SMALL.load(tmp_path).clip_seconds == 30.0
    dataset = replace(SMALL.load(tmp_path), clip_seconds=0.3)
    assert cut_into_clips(dataset).name == f"{dataset.name}-clips"
    clips = [e for e in cut_into_clips(dataset).examples if e.track == "mtg-5061"]
    assert [(c.id, round(c.start, 6), c.duration) for c in clips] == [
        ("mtg-5061-0", 0.0, 0.3),
        ("mtg-5061-1", 0.3, 0.3),
        ("mtg-5061-2", 0.6, 0.3),
    ]
    assert {(c.label, c.split) for c in clips} == {("Eb minor", "train")}
    short = [e for e in cut_into_clips(dataset).examples if e.track == "mtg-5881"]
    assert [(e.id, e.duration) for e in short] == [("mtg-5881", None)]
