"""Which Debian packages hold free music, what in them is music, and who composed it.

A literal table, made by hand from the Vorbis comments, copyright files and credits of the packages
of Debian 12. What nobody says is "", never a guess. Patterns are those of `fnmatch`, on a file's
path inside its package; ``*`` matches slashes too.

``dev`` is what tasks are evaluated on and what anything may be chosen by; ``train`` is for
pretraining. All other music stays unseen.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from ...errors import ConfigError, unknown_name

Role = Literal["train", "dev"]

ROLES = ("train", "dev", "all")


@dataclass(frozen=True)
class Package:
    """One package.

    Attributes:
        name: as `apt-get download` knows it.
        role: ``train`` or ``dev``.
        licence: of its music, in short; in full in the package's copyright file, which is kept.
        root: the folder of its music, above its albums, or the archive that holds it.
        leave_out: patterns of what is not music, or is music that is there already.
        composers: pattern -> composer, the first match counts, before what the file itself says.
        albums: what an album is: the ``folder`` of a file below `root`, its ``tag``, or the whole
            ``package``.
        stems: pattern -> file beside it that must be mixed in to make it the whole music.
    """

    name: str
    role: Role
    licence: str
    root: str
    leave_out: Sequence[str] = ()
    composers: Mapping[str, str] = field(default_factory=dict)
    albums: Literal["folder", "tag", "package"] = "folder"
    stems: Mapping[str, str] = field(default_factory=dict)


# Near-duplicates of files beside them.
VARIANTS = ("*_fast.*", "*_enhanced.*")

# What files call a composer -> one name; "" where that is no name at all.
ALIASES = {
    "<Unknown>": "",
    'Braden Walters;Braden "meoblast001" Walters': "Braden Walters",
    'Braden "meoblast001" Walters': "Braden Walters",
    'Christian "Crystan" Hoffmann': "Crystan",
    "Gerd (elysis) Raudenbusch": "elysis",
    "Guilherme Bazenga (girix8)": "girix8",
    "Manuel 'Vanethian' Marino": "Manuel Marino",
    "http://zhaymusic.com/": "zhaymusic",
    "paulb": "Paul Bee",
    "www.elysis.de": "elysis",
    "www.indiedb.com/members/crystan": "Crystan",
    "www.karlmacklin.com": "Karl Macklin",
}

_FRETS_ON_FIRE = "usr/share/games/fretsonfire/data/songs"

_TABLE = (
    Package(
        "supertux-data",
        "dev",
        "GPL-2+",
        "usr/share/games/supertux2/music",
    ),
    Package(
        "nexuiz-music",
        "dev",
        "GPL-2+",
        "usr/share/games/nexuiz/data/music.pk3",
        leave_out=["*/thunder.ogg"],
    ),
    Package(
        "freecol",
        "dev",
        "CC-BY-4.0 (the introduction: GPL-2+)",
        "usr/share/games/freecol",
        leave_out=["*/sound/anthem/*", "*/sound/attack/*", "*/sound/event/*", "*/video/*"],
        # default/resources/music/default/README.md
        composers={
            "*/music/default/musicbox.ogg": "Stian Grenborgen",
            "*/music/default/*": "Alexander Zhelanov",
        },
    ),
    Package(
        "fretsonfire-songs-sectoid",
        "dev",
        "MIT",
        f"{_FRETS_ON_FIRE}/sectoid",
        composers={"*": "Carlos Viola Iborra"},
        albums="package",
        stems={"*/song.ogg": "guitar.ogg"},
    ),
    Package(
        "fretsonfire-songs-muldjord",
        "dev",
        "CC-BY-SA-3.0",
        f"{_FRETS_ON_FIRE}/muldjord",
        composers={"*": "Muldjord"},
        albums="package",
        stems={"*/song.ogg": "guitar.ogg"},
    ),
    Package(
        "lincity-ng-data",
        "dev",
        "GPL-2+",
        "usr/share/games/lincity-ng/music",
        composers={"*pronobozo*": "pronobozo", "*Robert van Herk*": "Robert van Herk"},
    ),
    Package(
        "warzone2100-music",
        "train",
        "GPL-2+",
        "usr/share/games/warzone2100/music",
    ),
    Package(
        "ufoai-music",
        "train",
        "GPL-2, CC-BY-3.0, CC-BY-SA-3.0, public domain",
        "usr/share/games/ufoai/base/0music.pk3",
        composers={
            "*/AlexFightmare.ogg": "Alex Parker",
            "*/Crystan-*": "Crystan",
            "*/David0*": "David Reeves",
            "*/Marine*": "Marine Baklund",
            "*/Psymong*": "Psymong",
            "*/TheThings-Slippycurb.ogg": "Slippycurb",
            "*/azrael1.ogg": "azrael1322",
            "*/karlmacklin_*": "Karl Macklin",
            "*/van_*": "Manuel Marino",
        },
    ),
    Package(
        "planetblupi-music-ogg",
        "train",
        "GPL-3+",
        "usr/share/planetblupi/music",
    ),
    Package(
        "hedgewars-data",
        "train",
        "GPL-2",
        "usr/share/games/hedgewars/Data/Music",
    ),
    Package(
        "colobot-common-sounds",
        "train",
        "GPL-3+",
        "usr/share/games/colobot/music",
        albums="tag",
    ),
    Package(
        "singularity-music",
        "train",
        "CC-BY-SA-3.0",
        "usr/share/games/singularity/music",
        albums="tag",
    ),
    Package(
        "freedroidrpg-data",
        "train",
        "GPL-2+",
        "usr/share/freedroidrpg/data/sound/music",
    ),
    Package(
        "drascula-music",
        "train",
        "free to use, copy and change, not to be sold alone (Drascula licence)",
        "usr/share/scummvm/drascula/audio",
    ),
    Package(
        "unknown-horizons",
        "train",
        "CC-BY-SA-3.0",
        "usr/share/unknown-horizons/content/audio/music",
    ),
    Package(
        "flare-game",
        "train",
        "CC-BY-SA-3.0+",
        "usr/share/games/flare/mods/fantasycore/music",
        leave_out=["*/wind_ambient.ogg"],
    ),
    Package(
        "pushover-data",
        "train",
        "GPL-3+",
        "usr/share/pushover/themes",
        composers={"*": "Roberto Lorenz"},
    ),
    Package(
        "fillets-ng-data",
        "train",
        "GPL-2+",
        "usr/share/games/fillets-ng/music",
    ),
    Package(
        "asc-music",
        "train",
        "GPL-2+",
        "usr/share/games/asc/music",
        composers={"*": "Michael Kievernagel"},
    ),
)

PACKAGES: dict[str, Package] = {package.name: package for package in _TABLE}


def packages_of(role: str) -> list[Package]:
    """Return the packages of a role: ``train``, ``dev`` or ``all``.

    Raises:
        ConfigError: there is no such role.
    """
    if role not in ROLES:
        raise ConfigError(unknown_name("role", role, ROLES))
    return [package for package in PACKAGES.values() if role in (package.role, "all")]


def composer_of(package: Package, path: str, said: str) -> str:
    """Return the composer of a file, "" where nobody says.

    Args:
        package: its package.
        path: of the file, inside the package.
        said: what its own tags say.

    >>> composer_of(PACKAGES["nexuiz-music"], "sound/cdtracks/infight.ogg", "www.elysis.de")
    'elysis'
    """
    for pattern, composer in package.composers.items():
        if fnmatchcase(path, pattern):
            return composer
    name = " ".join(said.split())
    return ALIASES.get(name, name)


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Tell whether a path matches any of the patterns."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)
