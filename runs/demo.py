"""The whole line on a little real music, top to bottom: `make demo [MUSIC=folder] [MINUTES=2]`.

1. music       MUSIC, or three freely licensed packages fetched with the system's package tool
2. shards      myna prepare
3. training    myna pretrain demo (about two minutes on two cores)
4. embeddings  myna embed, every track whole, with the trained and with an untrained encoder
5. neighbours  myna similar, for a few tracks
6. table       precision at 1 by album: trained, untrained, MFCC statistics
7. map         demo/map.png

Everything is below demo/; a second run only does what is not done yet.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import librosa
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import font_manager
from sklearn.manifold import TSNE

from myna_rpe.data.shards import ShardSet
from myna_rpe.embedding_table import EmbeddingTable
from myna_rpe.model.checkpoint import MynaModel

# Debian package -> the folder of its music. Licences are in each package's copyright file, which
# is kept beside the music: CC BY-SA (singularity), GPL-3+ (pushover), GPL-2+ (fillets).
PACKAGES = {
    "singularity-music": "usr/share/games/singularity/music",
    "pushover-data": "usr/share/pushover/themes",
    "fillets-ng-data": "usr/share/games/fillets-ng/music",
}

# The first has most scripts; the others, where installed, have the rest.
FONTS = ["DejaVu Sans", "Noto Sans CJK JP", "Hiragino Sans", "Yu Gothic", "Arial Unicode MS"]


def main() -> None:
    """Run all steps, each printed before it runs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--music", type=Path, help="a folder of your own music")
    parser.add_argument("--minutes", type=float, default=2.0, help="training time")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where results go")
    args = parser.parse_args()

    out: Path = args.out
    music = args.music or fetch_packages(out / "music")
    shards, run = out / "shards", out / "run"

    step("Spectrograms")
    myna("prepare", music, "-o", shards, "--min-seconds", 30)

    tracks = ShardSet.open(shards).tracks
    paths = [music / track.path for track in tracks]
    # A package is an album here; in anyone's own folder an album is the folder of its files.
    albums = [
        track.group or music.name if args.music else Path(track.path).parts[0] for track in tracks
    ]

    step(f"Contrastive pretraining, {args.minutes:g} minutes")
    if not (run / "model").exists():
        settings = [f"budget.max_minutes={args.minutes}", f"batch_size={min(24, len(tracks))}"]
        changes = [word for setting in settings for word in ("--set", setting)]
        resume = ["--resume"] if run.exists() else []
        myna("pretrain", "demo", "--data", shards, "--out", run, *changes, *resume)

    step("Whole-track embeddings")
    untrained = out / "untrained"
    if not untrained.exists():
        MynaModel.untrained("tiny-16k", seed=0).save(untrained)
    models = {"trained": run / "model", "untrained": untrained}
    for name, model in models.items():
        myna("embed", music, "-o", out / f"{name}.parquet", "--model", model)

    step("Nearest neighbours")
    for album in sorted(set(albums))[:3]:
        myna("similar", paths[albums.index(album)], "--in", out / "trained.parquet", "-k", 4)

    step("Does it hear the album?")
    spaces = {name: vectors_of(out / f"{name}.parquet", paths) for name in models}
    spaces["MFCC mean + std"] = mfcc_statistics(shards)
    print_table(spaces, albums)
    draw_map(spaces["trained"], albums, out / "map.png")


def step(title: str) -> None:
    """Announce the next step."""
    print(f"\n\033[1m== {title}\033[0m", flush=True)


def myna(*arguments: object) -> None:
    """Run a command of the package, shown as one would type it."""
    words = [str(argument) for argument in arguments]
    print(f"$ myna {shlex.join(words)}", flush=True)
    subprocess.run([Path(sys.executable).parent / "myna", *words], check=True)


def fetch_packages(folder: Path) -> Path:
    """Download and unpack the music packages; no root, nothing is installed."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        sys.exit("no apt-get on this machine to fetch music with; run make demo MUSIC=folder.")
    step("Music")
    for package, inside in PACKAGES.items():
        album = folder / package
        if album.exists():
            continue
        with tempfile.TemporaryDirectory() as temporary:
            print(f"$ apt-get download {package}", flush=True)
            if download(package, Path(temporary)) != 0:
                sys.exit(
                    f"package={package} could not be fetched; run `apt-get update`, check the "
                    "network, or run make demo MUSIC=folder."
                )
            (archive,) = Path(temporary).glob("*.deb")
            unpacked = Path(temporary) / "unpacked"
            subprocess.run(["dpkg-deb", "-x", archive, unpacked], check=True)
            documents = unpacked / "usr/share/doc" / package / "copyright"
            shutil.copy(documents, unpacked / inside / "COPYRIGHT")
            folder.mkdir(parents=True, exist_ok=True)
            staging = folder / f".{package}"
            shutil.rmtree(staging, ignore_errors=True)
            shutil.move(unpacked / inside, staging)
            staging.rename(album)
    return folder


def download(package: str, folder: Path) -> int:
    """Return the exit code of a download, after refreshing the package lists if need be."""
    command = ["apt-get", "download", "-qq", package]
    if subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0:
        return 0
    # Lists of one's own need no root.
    lists = folder / "lists"
    (lists / "partial").mkdir(parents=True)
    option = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={folder / 'cache'}"]
    subprocess.run(["apt-get", *option, "-qq", "update"], capture_output=True, check=False)
    return subprocess.run(
        ["apt-get", *option, *command[1:]], cwd=folder, capture_output=True, check=False
    ).returncode


def vectors_of(table: Path, paths: list[Path]) -> np.ndarray:
    """Return the embeddings (tracks, dim) of `paths`, in that order."""
    embeddings = EmbeddingTable.read(table)
    rows = [embeddings.find(path) for path in paths]
    return np.stack([row.embedding for row in rows])


def mfcc_statistics(shards: Path) -> np.ndarray:
    """Return mean and standard deviation of 20 MFCCs (tracks, 40), each scaled over the tracks."""
    shard_set = ShardSet.open(shards)
    statistics = []
    for index, track in enumerate(shard_set.tracks):
        decibels = shard_set.excerpt(index, 0, track.frames).T
        mfcc = librosa.feature.mfcc(S=decibels, n_mfcc=20)
        statistics.append(np.concatenate((mfcc.mean(axis=1), mfcc.std(axis=1))))
    vectors = np.stack(statistics)
    return (vectors - vectors.mean(axis=0)) / (vectors.std(axis=0) + 1e-9)


def precision_at_1(vectors: np.ndarray, albums: list[str]) -> np.ndarray:
    """Return, per query track, whether its cosine neighbour is of its album."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    names = np.array(albums)
    # An album of one track has no neighbour to find.
    queries = [i for i, album in enumerate(albums) if Counter(albums)[album] > 1]
    return (names[similarity.argmax(axis=1)] == names)[queries]


def print_table(spaces: dict[str, np.ndarray], albums: list[str]) -> None:
    """Print P@1 with its standard error, beside what guessing gives."""
    counts = Counter(albums)
    print(f"{len(albums)} tracks, {len(counts)} albums; cosine nearest neighbour\n")
    print(f"{'space':<20} {'P@1':>6} {'+-':>6}")
    for name, vectors in spaces.items():
        hits = precision_at_1(vectors, albums)
        error = hits.std() / max(1, len(hits)) ** 0.5
        print(f"{name:<20} {hits.mean():>6.3f} {error:>6.3f}")
    total = sum(n for n in counts.values() if n > 1)
    chance = sum(n * (n - 1) for n in counts.values()) / max(1, total * (len(albums) - 1))
    print(f"{'chance':<20} {chance:>6.3f}")
    print(
        "\nThe encoder was trained on these tracks, without labels. Albums differ in mastering and"
        "\ncodec as well as in music, which every row may use; +- is one standard error."
    )


def draw_map(vectors: np.ndarray, albums: list[str], path: Path) -> None:
    """Save a 2D map of the tracks, the ten largest albums in colour."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    perplexity = min(12.0, (len(unit) - 1) / 3)
    places = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(unit)
    installed = {font.name for font in font_manager.fontManager.ttflist}
    plt.rcParams["font.family"] = [font for font in FONTS if font in installed]
    figure, axes = plt.subplots(figsize=(8, 6), layout="constrained")
    largest = [album for album, _ in Counter(albums).most_common(10)]
    for album in [*largest, None]:
        members = np.array([(name if name in largest else None) == album for name in albums])
        if members.any():
            colour = (
                {"label": album} if album is not None else {"label": "others", "color": "lightgrey"}
            )
            axes.scatter(*places[members].T, s=50, alpha=0.8, edgecolors="white", **colour)
    axes.set(title="Whole-track embeddings, t-SNE", xticks=[], yticks=[])
    axes.legend(loc="best", frameon=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that no installed font has is drawn as a box
        figure.savefig(path, dpi=150)
    print(f"\nmap: {path}")


if __name__ == "__main__":
    main()
