"""MTG-Jamendo: tags of full tracks, official split-0; four tasks by the tags that are asked for.

The folder is the one that `myna download mtg-jamendo` makes, read by `data.sources.MtgJamendo`:
tables in ``data``, sound anywhere below. The splits divide no artist, which is verified; the tags
are those the split tables name. How many tracks a split has is taken from these tables: no such
count is published by itself (the whole subsets hold 54,380, 55,215, 25,135 and 18,486 tracks).

Source:
    Bogdanov et al. 2019, "The MTG-Jamendo Dataset for Automatic Music Tagging", ICML workshop;
    https://github.com/MTG/mtg-jamendo-dataset.
"""

from functools import partial
from pathlib import Path

from ...data.sources.mtg_jamendo import MtgJamendo
from ...errors import AudioError, DatasetError, TaskError
from ..examples import Example, Split
from .base import Listing, Task

# Their split -> ours.
_SPLITS: dict[str, Split] = {"train": "train", "validation": "valid", "test": "test"}

_SOURCE = "run myna download mtg-jamendo FOLDER (156 GB, or 508 GB with --quality full)"


def _list_files(root: Path, *, subset: str) -> Listing:
    source = MtgJamendo(root, subset=subset)
    try:
        found, tracks = source.listing(), source.in_splits()
    except (AudioError, DatasetError) as error:
        raise TaskError(str(error)) from error
    files = {entry.path: entry.file for entry in found.entries}
    examples = []
    for path, said in tracks.items():
        file = files.pop(path, root / "audio" / path)
        split = _SPLITS[said.split]
        examples.append(Example(path, file, said.tags, split, track=path, group=said.group))
    excluded = dict.fromkeys(files.values(), "in no split")
    for rejected in found.rejected:
        if rejected.kind == "second copy":
            excluded[root / rejected.path] = rejected.kind
    tags = sorted({tag for said in tracks.values() for tag in said.tags})
    return Listing(examples, tuple(tags), excluded)


def _task(subset: str, title: str, num_tags: int) -> Task:
    return Task(
        name=f"mtg-jamendo-{subset}",
        title=f"MTG-Jamendo {title}",
        kind="multilabel",
        metric="macro ROC-AUC and average precision",
        num_classes=num_tags,
        counts={},
        citation=(
            "Bogdanov et al. 2019, The MTG-Jamendo Dataset for Automatic Music Tagging; official "
            "split-0"
        ),
        licence="metadata CC BY-NC-SA 4.0; each track under its artist's Creative Commons licence",
        source=_SOURCE,
        list_files=partial(_list_files, subset=subset),
    )


TOP50 = _task("top50", "top 50 tags", 50)
GENRE = _task("genre", "genre", 87)
INSTRUMENT = _task("instrument", "instrument", 40)
MOODTHEME = _task("moodtheme", "mood and theme", 56)
