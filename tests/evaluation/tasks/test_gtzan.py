import hashlib

import pytest

from myna_rpe.errors import TaskError
from myna_rpe.evaluation.tasks.gtzan import GENRES, GTZAN, filtered

from .copies import wav, write_gtzan

# As published with Castellon et al.'s code (assets/gtzan.json).
SHA256 = {
    "train": "2b04966cef1486f1a7767b74271533fa23e220388db804a1937835e1fc4fa3fa",
    "valid": "f8fbee7c52397a0e0f3a91dc54fedecb2e27f5bdc9a9daeab8cb10d077e26956",
    "test": "09cafa6a89ce0a27f30ed250d56ecb4d03c22fffb5a693f96c7ae655ee02ac72",
}
CLIPS = [clip for split in SHA256 for clip in filtered(split)]
# Bit-identical in the archive, by the MD5s of mirdata's index.
TWINS = [
    ("disco.00098", "disco.00099"),
    ("hiphop.00039", "hiphop.00045"),
    ("hiphop.00076", "hiphop.00078"),
    ("rock.00016", "metal.00058"),
    ("reggae.00081", "reggae.00082"),
    ("pop.00054", "pop.00060"),
    ("pop.00067", "pop.00071"),
    ("metal.00034", "metal.00094"),
    ("metal.00040", "metal.00061"),
    ("metal.00041", "metal.00062"),
    ("metal.00042", "metal.00063"),
    ("metal.00043", "metal.00064"),
    ("metal.00044", "metal.00065"),
    ("metal.00045", "metal.00066"),
]


@pytest.mark.parametrize("split", SHA256)
def test_the_lists_are_the_published_files_to_the_byte(split):
    text = "".join(f"{clip.partition('.')[0]}/{clip}.wav\n" for clip in filtered(split))
    assert hashlib.sha256(text.encode()).hexdigest() == SHA256[split]


def test_counts_are_published_and_no_clip_is_in_two_splits():
    assert {split: len(filtered(split)) for split in SHA256} == GTZAN.counts
    assert len(CLIPS) == len(set(CLIPS)) == 930


def test_at_most_one_of_each_bit_identical_pair_is_used():
    assert len(TWINS) == 14
    assert all(len({*pair} & {*CLIPS}) == 1 for pair in TWINS)


@pytest.mark.parametrize("below", ["genres", "Data/genres_original", "."])
def test_a_whole_copy_loads_and_is_complete_wherever_its_genres_lie(tmp_path, below):
    write_gtzan(tmp_path, CLIPS, below=below)
    dataset = GTZAN.load(tmp_path)
    assert {split: len(dataset.of_split(split)) for split in GTZAN.counts} == GTZAN.counts
    assert dataset.classes == GENRES
    assert all(e.label == e.path.parent.name == e.id.partition(".")[0] for e in dataset.examples)
    assert dataset.notes == {}


def test_the_doctor_finds_the_broken_jazz_the_twins_and_the_clips_that_are_filtered_out(tmp_path):
    write_gtzan(tmp_path, [*CLIPS, "hiphop.00039", "rock.00010", "pop.00054"])
    genres = tmp_path / "genres"
    (genres / "jazz/jazz.00054.wav").write_bytes(b"\x12\x34not RIFF" * 50)
    (genres / "blues/blues.00029.wav").unlink()
    (genres / "hiphop/hiphop.00039.wav").write_bytes(
        (genres / "hiphop/hiphop.00045.wav").read_bytes()
    )
    (genres / "rock/take.wav").write_bytes(wav(9_999))
    diagnosis = GTZAN.doctor(tmp_path)
    train = diagnosis.splits["train"]
    assert vars(train) == {
        "expected": 443, "listed": 443, "there": 441, "missing": 1, "corrupt": 1
    }  # fmt: skip
    assert {(p.id, p.state) for p in diagnosis.problems} == {
        ("jazz.00054", "corrupt"),
        ("blues.00029", "missing"),
    }
    assert diagnosis.duplicates == [
        (("genres/hiphop/hiphop.00039.wav", ""), ("genres/hiphop/hiphop.00045.wav", "test"))
    ]
    assert diagnosis.leaks == []
    assert diagnosis.excluded == {"not in the fault-filtered lists": 2}
    assert diagnosis.unlisted == ["genres/rock/take.wav"]
    assert not diagnosis.complete


def test_the_same_clip_in_two_splits_is_a_leak(tmp_path):
    write_gtzan(tmp_path, ["blues.00000", "blues.00029", "blues.00012"])
    blues = tmp_path / "genres/blues"
    (blues / "blues.00012.wav").write_bytes((blues / "blues.00029.wav").read_bytes())
    (group,) = GTZAN.doctor(tmp_path).leaks
    assert {split for _, split in group} == {"train", "test"}


def test_a_partial_copy_is_refused_unless_allowed_and_then_named(tmp_path):
    write_gtzan(tmp_path, ["blues.00000", "blues.00029", "jazz.00073"])
    with pytest.raises(TaskError, match=r"train 1 of 443, valid 1 of 197, test 1 of 290.*doctor"):
        GTZAN.load(tmp_path)
    dataset = GTZAN.load(tmp_path, allow_partial=True)
    assert dataset.notes["partial"] == "train 1 of 443, valid 1 of 197, test 1 of 290"
    assert [(e.id, e.split, e.label) for e in dataset.examples] == [
        ("blues.00029", "train", "blues"),
        ("blues.00000", "valid", "blues"),
        ("jazz.00073", "test", "jazz"),
    ]


def test_a_second_copy_of_a_clip_is_left_out(tmp_path):
    write_gtzan(tmp_path, ["blues.00000"])
    (tmp_path / "genres/blues/blues.00000.au").write_bytes(wav(1))
    listing = GTZAN.listing(tmp_path)
    assert list(listing.excluded.values()) == ["second copy"]
    assert len(listing.examples) == 930


def test_a_folder_without_clips_names_what_to_fetch(tmp_path):
    with pytest.raises(TaskError, match=r"holds no clip of GTZAN.*genres\.tar\.gz"):
        GTZAN.load(tmp_path)
    with pytest.raises(TaskError, match=r"nothing' is not a folder.*genres\.tar\.gz"):
        GTZAN.load(tmp_path / "nothing")
