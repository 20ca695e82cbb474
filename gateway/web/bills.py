"""A provider's bill on a page: sent, held against the ledger, and what differs told by its kind.

Nothing is kept between the two steps but in the browser: the page that tells the differences has
the files in its form. Whoever then posts the corrections sends them back; all of it is worked out
again, and only what the page has shown is posted.
"""

from __future__ import annotations

import hashlib
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from gateway.errors import BadRequest, ConfigurationError
from gateway.ledger.export_columns import LAYOUTS
from gateway.ledger.reconciliation import PRICE, SAME, Difference, Plan
from gateway.treasury.bills import (
    Bill,
    Vendor,
    days_of,
    differences,
    our_providers,
    post_in_batches,
    price_corrections_of,
    rate_of,
    read_bill,
    totals,
)
from gateway.web.pages import Answer, Html, Page, Redirect, Upload, Visit, link
from gateway.web.sources import Sources

PLACE = "/reports/bills"
FILES_AT_MOST = 8 * 1024 * 1024
"""Bytes of all files together; larger ones are for the command."""
_PACKED_AT_MOST = FILES_AT_MOST * 3 // 2
"""Bytes of the form that carries them a second time, packed."""
_SHOWN = 500
"""Differences in the table; those that need somebody come first."""
_NAME_AT_MOST = 100
_Named = list[tuple[str, bytes]]

MEANING: Mapping[str, str] = {
    "rounding": "both sides round",
    "midnight": "a request across midnight, dated otherwise by each side",
    "credit": "money given back",
    "beside": "charged beside traffic, such as taxes",
    "around": "did not come through the gateway",
    "missing": "booked, and not billed",
    "tokens": "one side has read the classes wrongly",
    "presumed": "was presumed after a failure",
    "price": "the same tokens at another price",
    "money": "the bill does not tell enough to know why",
}
"""What each kind of difference is, in short; docs/reconciliation.md says what to do."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A bill beside the ledger."""

    bill: Bill
    found: list[Difference]

    @property
    def told(self) -> list[Difference]:
        """What differs; what needs somebody first."""
        return sorted((d for d in self.found if d.kind != SAME), key=lambda d: d.explained)

    @property
    def kinds(self) -> dict[str, int]:
        """How many places are of which kind."""
        return dict(sorted(Counter(difference.kind for difference in self.found).items()))

    @property
    def unexplained(self) -> int:
        """How many need somebody."""
        return sum(not difference.explained for difference in self.found)

    @property
    def sums(self) -> Mapping[str, int | None]:
        """Both sides in nano-dollars; None for a bill without amounts."""
        return totals(self.found)

    @property
    def prices(self) -> list[Difference]:
        """What can be corrected: the same tokens at another price."""
        return [difference for difference in self.found if difference.kind == PRICE]

    @property
    def to_post(self) -> int:
        """Nano-dollars that the corrections would add."""
        return sum(difference.nanos for difference in self.prices)

    @property
    def shown(self) -> str:
        """A fingerprint of what would be corrected."""
        listed = [(d.place.period, d.place.provider, d.place.model, d.nanos) for d in self.prices]
        return hashlib.sha256(msgspec.json.encode(listed)).hexdigest()


class Bills:
    """What the pages of this room ask."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def empty(self, visit: Visit) -> Html:
        """The form."""
        return self._page(visit)

    def compared(self, visit: Visit) -> Html:
        """The differences; nothing is written."""
        files = [(_plain(file), file.content) for file in visit.files if file.field == "files"]
        try:
            found = self._compare(visit, files)
        except ConfigurationError as error:
            return self._page(visit, problem="; ".join(error.problems))
        return self._page(visit, found, packed(files))

    def corrected(self, visit: Visit) -> Answer:
        """Post what the page has shown."""
        files = unpacked(visit.form.get("packed", ""))
        try:
            found = self._compare(visit, files)
        except ConfigurationError as error:
            return self._page(visit, problem="; ".join(error.problems))
        if visit.form.get("shown") != found.shown:
            said = "The books have changed since; look at the differences again"
            return self._page(visit, found, packed(files), problem=said)
        database, org = self._sources.database, self._sources.org
        fresh = price_corrections_of(database, org, found.bill, found.found, visit.by.who)
        clock, calendar = self._sources.clock, self._sources.calendar()
        post_in_batches(database, org, calendar, fresh, visit.by, clock)
        many = "entry is" if len(fresh) == 1 else "entries are"
        said = f"{len(fresh):,} correcting {many} posted: {visit.say.exact(found.to_post)}."
        first = found.bill.days[0].isoformat()
        return Redirect(link("/requests", kind="adjust", **{"from": first}), said)

    def _compare(self, visit: Visit, files: _Named) -> Compared:
        """Read the files and hold them against the ledger. Raises ConfigurationError."""
        form, rules = visit.form, self._sources.live()
        if form.get("vendor") not in list(Vendor):
            raise ConfigurationError(["say whose bill it is"])
        if not files:
            raise ConfigurationError(["choose a file: a usage or cost export, CSV or JSON"])
        vendor, ours = Vendor(form["vendor"]), form.get("ours", "")
        names = our_providers(rules, vendor, [ours] if ours else [])
        plan = Plan(providers=names, by_month=form.get("by") == "month")
        zone = ZoneInfo(LAYOUTS[vendor].zone)
        rate = rate_of(form.get("usd_per_unit", ""), "dollars for one")
        export = read_bill(files, vendor, zone, rate)
        if export.spans and not plan.by_month:
            raise ConfigurationError(["lines of the bill are about several days: compare months"])
        source = ", ".join(name for name, _ in files)
        bill = Bill(export, plan, days_of(export), zone, source)
        return Compared(bill, differences(self._sources.database, self._sources.org, bill))

    def _page(
        self, visit: Visit, found: Compared | None = None, carried: str = "", problem: str = ""
    ) -> Html:
        values: dict[str, Any] = {
            "vendors": list(Vendor),
            "providers": list(self._sources.live().providers),
            "entered": visit.form,
            "compared": found,
            "at_most": _SHOWN,
            "meaning": MEANING,
            "packed": carried,
            "problem": problem,
        }
        return Html("bills.html", values, 400 if problem else 200)


def bills_pages(sources: Sources) -> list[Page]:
    """The pages of this room."""
    bills = Bills(sources)
    more = 64 * 1024  # what a form has beside its files
    return [
        Page("GET", PLACE, bills.empty),
        Page("POST", PLACE, bills.compared, FILES_AT_MOST + more, takes_files=True),
        Page("POST", f"{PLACE}/corrections", bills.corrected, _PACKED_AT_MOST + more),
    ]


def packed(files: Sequence[tuple[str, bytes]]) -> str:
    """Files as a text that a form can carry."""
    return urlsafe_b64encode(zlib.compress(msgspec.json.encode(files))).decode()


def unpacked(text: str) -> _Named:
    """The same files again. Raises BadRequest for anything else."""
    try:
        reading = zlib.decompressobj()
        found = reading.decompress(urlsafe_b64decode(text), 2 * FILES_AT_MOST)
        return msgspec.json.decode(found, type=_Named)
    except (ValueError, zlib.error):
        raise BadRequest("this form cannot be read; send the files again") from None


def _plain(file: Upload) -> str:
    """The name of a file without folders, fit to stand in the books."""
    name = file.name.replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in name if letter.isprintable())[:_NAME_AT_MOST] or "bill"
