"""MagnaTagATune: 25,860 clips of 29 s with the 50 most frequent of 188 tags.

On the disk, as its archive unpacks (the sixteen folders may lie in one of their own, as ``mp3``):

    annotations_final.csv         clip_id, a column of 0 or 1 per tag, mp3_path; by tabs
    0/NAME-START-END.mp3 ... f/   the clips; the folder of a clip decides its split

The split by folder, 0-b train, c valid, d-f test, is that of Castellon et al. and others. Clips
without any of the 50 tags stay in, with no tag (the split of Won et al. 2020 drops them: 15,244,
1,529 and 4,332; figures on it are not comparable). Clips are scored one by one; the excerpts of
one recording share a ``group``.

Known defects: three clips are empty where the data set is published, and are left out.

Source:
    Law et al. 2009, "Evaluation of algorithms using games: the case of music tagging", ISMIR;
    http://tagatune.org/Magnatagatune.html. Tags: https://github.com/keunwoochoi/magnatagatune-list.
    Castellon, Donahue and Liang 2021, arXiv 2107.05677, https://github.com/p-lambda/jukemir.
"""

import re
from pathlib import Path, PurePosixPath

from ...errors import TaskError
from ..examples import Example, Split
from .base import Listing, Remote, Task, read_table

# The most frequent first.
TAGS = (
    *("guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast"),
    *("piano", "ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male"),
    *("singing", "vocals", "no vocals", "harpsichord", "loud", "quiet", "flute", "woman"),
    *("male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man", "classic", "choir", "voice"),
    *("new age", "dance", "male voice", "female vocal", "beats", "harp", "cello", "no voice"),
    *("weird", "country", "metal", "female voice", "choral"),
)

EMPTY = (
    "6/norine_braun-now_and_zen-08-gently-117-146.mp3",
    "8/jacob_heringman-josquin_des_prez_lute_settings-19-gintzler__pater_noster-204-233.mp3",
    "9/american_baroque-dances_and_suites_of_rameau_and_couperin-25-"
    "le_petit_rien_xiveme_ordre_couperin-88-117.mp3",
)

_PATH = re.compile(r"[0-9a-f]/[^/\\]+\.mp3")
_EXCERPT = re.compile(r"-\d+-\d+\.mp3$")

_SOURCE = (
    "fetch annotations_final.csv and mp3.zip.001 to .003 (2.7 GB; "
    "mirg.city.ac.uk/codeapps/the-magnatagatune-dataset), join the three and unpack them there"
)


def split_of(folder: str) -> Split:
    """Return the split of a clip by the folder, ``0`` to ``f``, that it lies in."""
    return "train" if folder in "0123456789ab" else "valid" if folder == "c" else "test"


def _list_files(root: Path) -> Listing:
    table = root / "annotations_final.csv"
    if not table.is_file():
        raise TaskError(f"table={str(table)!r} is not there; {_SOURCE}.")
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    is_sound = (f for f in folders if any((f / digit).is_dir() for digit in "0123456789abcdef"))
    sound = next(is_sound, root)
    examples = []
    excluded: dict[Path, str] = {}
    untagged = 0
    for row in read_table(table, ["clip_id", "mp3_path", *TAGS], delimiter="\t"):
        name = row["mp3_path"]
        if not _PATH.fullmatch(name):
            raise TaskError(f"mp3_path={name!r} is no path of the data set; fetch {table} again.")
        if name in EMPTY:
            excluded[sound / name] = "empty where it is published"
            continue
        tags = tuple(tag for tag in TAGS if row[tag] == "1")
        untagged += not tags
        examples.append(
            Example(
                id=row["clip_id"],
                path=sound / name,
                label=tags,
                split=split_of(PurePosixPath(name).parts[0]),
                track=row["clip_id"],
                group=_EXCERPT.sub("", name),
            )
        )
    notes = {"untagged": f"{untagged} clips have none of the 50 tags"}
    return Listing(examples, TAGS, excluded, notes=notes)


_URL = "http://mi.soi.city.ac.uk/datasets/magnatagatune"

MAGNATAGATUNE = Task(
    name="magnatagatune",
    title="MagnaTagATune",
    kind="multilabel",
    metric="macro ROC-AUC and average precision",
    num_classes=len(TAGS),
    counts={"train": 18_706, "valid": 1_825, "test": 5_329},
    citation=(
        "Law et al. 2009, Evaluation of algorithms using games: the case of music tagging; split "
        "as in Castellon et al. 2021, arXiv 2107.05677"
    ),
    licence="CC BY-NC-SA 3.0",
    source=_SOURCE,
    list_files=_list_files,
    remotes=(
        Remote(
            f"{_URL}/annotations_final.csv",
            "99b94e95825d4fa576386a5367b9c96e0ec636e9f9c240aceb492f4728f68c3c",
            file="annotations_final.csv",
            tables=True,
        ),
        Remote(
            f"{_URL}/mp3.zip.001",
            "f857fe185968773058cc71662c2ef5d8f2d4b7338e3c122cfd52f82dcb9760b9",
        ),
        Remote(
            f"{_URL}/mp3.zip.002",
            "fc2e1ec441755556ed1398b1808f1b08b6034372f8bc27394510c0c58cdb52ce",
        ),
        Remote(
            f"{_URL}/mp3.zip.003",
            "83a689824c17e82f6eb81cdbc4e4ca239a4cfc1fb41f1a5c80b861caec90450f",
        ),
    ),
)
