"""What the ledger remembers of past traffic, read fast: one short row an entry.

All that an entry has in common with many others (its job, target, team and so on) comes as one
text, so that whoever reads it looks at it once and then only compares. Numbers that are nearly
always nothing come as one text too, and only when they are something.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gateway.ledger.entries import (
    ADJUST,
    CHARGE,
    CHARGE_STATED,
    HOUR,
    PRESUMED,
    RELEASE,
    UNBILLED,
)
from gateway.ledger.reading import Books
from gateway.treasury.periods import MINUTE
from gateway.treasury.rerating import RERATED

PRICED, STATED, FREE, REPRICED, ASIDE, CORRECTED, GUESSED = "p", "s", "u", "r", "b", "c", "g"
"""What an entry is: usage at prices; a charge that the provider stated; what it does not bill; a
correction of a price; what an answer used beside its model; another correction; a ceiling."""

_SEPARATOR = "\x1f"
_MARK = (
    "CASE WHEN kind = :charge AND quality <> :presumed THEN"
    f" CASE WHEN request_count = 0 AND id LIKE '%.beside-%' THEN '{ASIDE}'"
    f" WHEN reason = '' THEN '{PRICED}' WHEN reason = :stated THEN '{STATED}'"
    f" WHEN reason = :unbilled THEN '{FREE}' ELSE '{PRICED}' END"
    " WHEN kind = :adjust AND author = 'gateway' AND quality <> :presumed AND tokens > 0"
    f" THEN '{PRICED}' WHEN kind = :adjust AND reason LIKE :rerated THEN '{REPRICED}'"
    f" WHEN kind = :adjust THEN '{CORRECTED}' WHEN kind = :release THEN '{PRICED}'"
    f" ELSE '{GUESSED}' END"
)
_WORDS = {
    "charge": CHARGE,
    "adjust": ADJUST,
    "release": RELEASE,
    "presumed": PRESUMED,
    "stated": CHARGE_STATED,
    "unbilled": UNBILLED,
    "rerated": f"{RERATED}: %",
}
_FORMAT = {True: "printf", False: "format"}
"""What SQLite and PostgreSQL call the function that puts texts together."""
_ALIAS = """CASE WHEN substr(decision, 1, 6) IN ('{{"alia', '{{"by":') THEN {} ELSE '' END"""
_ALIAS_IN = {
    True: "COALESCE(json_extract(decision, '$.alias'), '')",
    False: "COALESCE(CAST(decision AS json) ->> 'alias', '')",
}
_RARE = (
    *("cache_read_audio", "cache_write", "cache_write_1h", "audio_input", "audio_output"),
    *("image_input", "image_output", "requests", "tokens"),
)
"""The numbers of the text `rare`, in its order."""
_ALWAYS = (
    *("job", "alias", "target", "model_served", "service_tier", "team", "mark"),
    *("request_count", "confined", "residency"),
)
_IF_ASKED = ("app", "key_id", "tags")


@dataclass(frozen=True, slots=True)
class What:
    """What an entry has in common with others; texts as they are in the ledger."""

    job: str
    alias: str
    """What the caller called the job, if it was another name."""
    target: str
    served: str
    tier: str
    team: str
    mark: str
    request_count: int
    confined: bool
    residency: str
    app: str
    key_id: str
    tags: str


Row = tuple[int, str, int, int, int, int, str | None, int, str | None, str | None]
"""When it was admitted (microseconds); what it is; tokens of input, cache_read, output and
reasoning; the rare numbers; nano-dollars; what was changed in the request; its unit prices, when
it is so large that a tier may apply."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of time, from `start` up to and not including `end`, in microseconds."""

    start: int
    end: int
    entries: int
    """About how many there are."""
    era: int = 0
    """Which of the versions was live then."""


def parse_what(text: str) -> What:
    """What the text of a row says."""
    job, alias, target, served, tier, team, mark, *more = text.split(_SEPARATOR)
    count, confined, residency, app, key_id, tags = more
    return What(
        job=job,
        alias=alias,
        target=target,
        served=served,
        tier=tier,
        team=team,
        mark=mark,
        request_count=int(count),
        confined=confined == "1",
        residency=residency,
        app=app,
        key_id=key_id,
        tags=tags,
    )


def parse_rare(text: str) -> tuple[int, ...]:
    """The nine rare numbers: eight of a usage, and the tokens in all."""
    return tuple(map(int, text.split()))


def rows_of(books: Books, part: Part, asked: Sequence[str], large: int) -> Iterator[Row]:
    """The entries of a part, in the order of their admission.

    `asked` are those of app, key_id and tags that are needed; `large` is how many tokens an entry
    has more than, when its unit prices are needed.
    """
    made = {
        "mark": _MARK,
        "confined": "CASE WHEN confined THEN 1 ELSE 0 END",
        "alias": _ALIAS.format(_ALIAS_IN[books.sqlite]),
    }
    texts = [made.get(name, name) for name in _ALWAYS]
    texts += [name if name in asked else "''" for name in _IF_ASKED]
    form = _SEPARATOR.join(["%s"] * len(texts))
    rare = f"{_FORMAT[books.sqlite]}('{' '.join(['%s'] * len(_RARE))}', {', '.join(_RARE)})"
    sql = (
        f"SELECT admitted_at, {_FORMAT[books.sqlite]}('{form}', {', '.join(texts)}),"
        " input, cache_read, output, reasoning,"
        f" CASE WHEN tokens = input + cache_read + output + reasoning AND requests = 0"
        f" THEN NULL ELSE {rare} END,"
        " amount_nanos, CASE WHEN changed = '' THEN NULL ELSE changed END,"
        " CASE WHEN tokens > :large THEN prices ELSE NULL END"
        " FROM entries WHERE org = :org AND admitted_at >= :start AND admitted_at < :until"
        " ORDER BY admitted_at"
    )
    values = {"start": part.start, "until": part.end, "large": large, **_WORDS}
    yield from books.rows(sql, **values)


def parts_of(
    books: Books, start: int, end: int, *, borders: Sequence[int] = (), size: int
) -> list[Part]:
    """Parts that together are the time from `start` to `end`, of about `size` entries each.

    At each of the `borders` a part ends and another era begins. Parts of the same era meet at
    whole minutes.
    """
    hours = books.rows(
        "SELECT hour, SUM(entries) FROM rollups WHERE org = :org AND hour >= :first"
        " AND hour <= :last GROUP BY hour ORDER BY hour",
        first=start // HOUR,
        last=end // HOUR,
    )
    made: list[tuple[int, int, int]] = []
    for hour, count in hours:
        entries, began = int(count), int(hour) * HOUR
        if made and made[-1][2] + entries <= size:
            made[-1] = (made[-1][0], began + HOUR, made[-1][2] + entries)
            continue
        pieces = min(60, -(-entries // size))
        cuts = [began + 60 * n // pieces * MINUTE for n in range(pieces + 1)]
        made += [(a, b, entries // pieces) for a, b in pairwise(cuts)]
    return [part for one in made for part in _within(one, start, end, borders)]


def _within(
    piece: tuple[int, int, int], start: int, end: int, borders: Sequence[int]
) -> Iterator[Part]:
    """The parts of a piece that are between start and end, cut at the borders."""
    first, last, entries = max(piece[0], start), min(piece[1], end), piece[2]
    cuts = [first, *(border for border in borders if first < border < last), last]
    for begins, ends in pairwise(cuts):
        if begins < ends:
            era = sum(border <= begins for border in borders)
            yield Part(begins, ends, entries // (len(cuts) - 1), era)
