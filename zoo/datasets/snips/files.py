"""The nine files of SNIPS, three a split, and how their lines are read."""

import csv
from importlib import resources

from zoo.datasets.source_file import SourceFile

HOMEPAGE = "https://github.com/MiuLab/SlotGated-SLU"

INTENTS = (
    "AddToPlaylist",
    "BookRestaurant",
    "GetWeather",
    "PlayMusic",
    "RateBook",
    "SearchCreativeWork",
    "SearchScreeningEvent",
)
"""The intents in the order of their ids."""

_OF_SEVERAL_WORDS = (
    "album",
    "artist",
    "city",
    "country",
    "cuisine",
    "current_location",
    "entity_name",
    "facility",
    "genre",
    "geographic_poi",
    "location_name",
    "movie_name",
    "movie_type",
    "music_item",
    "object_location_type",
    "object_name",
    "object_part_of_series_type",
    "object_select",
    "object_type",
    "party_size_description",
    "playlist",
    "playlist_owner",
    "poi",
    "restaurant_name",
    "restaurant_type",
    "served_dish",
    "service",
    "sort",
    "spatial_relation",
    "state",
    "timeRange",
    "track",
)
_OF_ONE_WORD = (
    "best_rating",
    "condition_description",
    "condition_temperature",
    "party_size_number",
    "rating_unit",
    "rating_value",
    "year",
)
SLOTS = (
    "O",
    *(f"{tag}-{slot}" for slot in _OF_SEVERAL_WORDS for tag in "BI"),
    *(f"B-{slot}" for slot in _OF_ONE_WORD),
)
"""The 72 tags in the order of their ids: outside; B and I of each slot of several words; B of the
seven that have one word in all of the data."""

LENGTH = 35
"""Words of the longest request, which is in the train split."""


def source_files() -> dict[tuple[str, str], SourceFile]:
    """(part, kind) to the file, as listed in `checksums.tsv`.

    Parts are "train", "valid" and "test", kinds "seq.in", "seq.out" and "label".
    """
    listed = (resources.files(__package__) / "checksums.tsv").read_text("ascii")
    files = {}
    for url, _, sha256, _ in csv.reader(listed.splitlines(), delimiter="\t"):
        *_, part, kind = url.split("/")
        files[part, kind] = SourceFile(f"snips/{part}/{kind}", sha256, url)
    return files


def parsed(words: bytes, tags: bytes, intents: bytes) -> list[tuple[str, list[str], str]]:
    """(text, tags, intent) of each line of the three files, words between single spaces."""
    # Between words there may be several spaces, and one at the end of a line.
    columns = [
        content.decode().removesuffix("\n").split("\n") for content in (words, tags, intents)
    ]
    if len({len(column) for column in columns}) > 1:
        raise ValueError(
            "SNIPS: seq.in, seq.out and label must have as many lines. "
            f"Received: {', '.join(str(len(column)) for column in columns)} lines"
        )
    rows = [
        (words.split(), tags.split(), intent) for words, tags, intent in zip(*columns, strict=True)
    ]
    for words, tags, intent in rows:
        if len(words) != len(tags) or not set(tags) <= set(SLOTS) or intent not in INTENTS:
            raise ValueError(
                "SNIPS: a line must have one known tag a word, and a known intent. "
                f"Received: {' '.join(words)!r}, {' '.join(tags)!r}, {intent!r}"
            )
    return [(" ".join(words), tags, intent) for words, tags, intent in rows]
