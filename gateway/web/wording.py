"""Figures as people read them: by their locale, and times in the organisation's zone.

The locale is the best of those that the browser names (Accept-Language); the words around the
figures are English. Amounts come as whole nano-dollars and are written as decimals, exactly as far
as they are written: no float is in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from zoneinfo import ZoneInfo

from babel import Locale, localedata
from babel.core import negotiate_locale
from babel.dates import format_date, format_datetime, format_skeleton, format_time
from babel.numbers import format_compact_decimal, format_currency, format_decimal, format_percent

from gateway.clock import to_datetime, to_micros
from gateway.money import NANOS_PER_DOLLAR, to_dollars

DEFAULT_LOCALE = "en"
_LANGUAGES_AT_MOST = 20
_CENT = NANOS_PER_DOLLAR // 100


class Locales:
    """Every locale that figures can be written in."""

    def __init__(self) -> None:
        self._known = sorted(localedata.locale_identifiers())

    def best(self, accept_language: str | None) -> Locale:
        """The best of an Accept-Language header; the default where it names none that is known."""
        named = preferred(accept_language or "")
        found = negotiate_locale(named, self._known, sep="_") if named else None
        return Locale.parse(found or DEFAULT_LOCALE)


def preferred(accept_language: str) -> list[str]:
    """The locales of an Accept-Language header as Babel writes them, the best first."""
    ranked: list[tuple[float, str]] = []
    for part in accept_language.split(",")[:_LANGUAGES_AT_MOST]:
        tag, _, weight = part.strip().partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        if tag and tag != "*" and quality > 0:
            ranked.append((-quality, tag.strip().replace("-", "_")))
    return [tag for _, tag in sorted(ranked, key=lambda one: one[0])]


class Wording:
    """How one visitor reads figures."""

    def __init__(self, locale: Locale, zone: ZoneInfo) -> None:
        self.locale, self.zone = locale, zone

    def money(self, nanos: int) -> str:
        """Dollars and cents; an amount below a cent with six places."""
        return self._dollars(nanos, 2 if nanos == 0 or abs(nanos) >= _CENT else 6)

    def fine(self, nanos: int) -> str:
        """Dollars with six places: what a single request costs."""
        return self._dollars(nanos, 6)

    def exact(self, nanos: int) -> str:
        """Dollars to the nano."""
        return self._dollars(nanos, 9)

    def price(self, nanos: int) -> str:
        """A unit price: nano-dollars for a million tokens, with as few places as say it."""
        text = f"{to_dollars(nanos).normalize():f}"
        return self._dollars(nanos, max(2, len(text.partition(".")[2])))

    def amount(self, value: int, unit: str) -> str:
        """What a budget counts, in its unit."""
        if unit == "usd":
            return self.money(value)
        return f"{self.count(value)} {unit.removesuffix('s') if value == 1 else unit}"

    def count(self, number: int) -> str:
        """A whole number."""
        return str(format_decimal(number, locale=self.locale))

    def compact(self, number: int) -> str:
        """A large number in short, such as 1.2M; the whole one belongs beside it."""
        if abs(number) < 10_000:
            return self.count(number)
        return str(format_compact_decimal(number, fraction_digits=1, locale=self.locale))

    def share(self, part: int, whole: int) -> str:
        """A part of a whole in per cent, or a dash where there is no whole."""
        if not whole:
            return "\N{EN DASH}"
        percent = (Decimal(part) / Decimal(whole) * 100).quantize(Decimal("0.1"), ROUND_HALF_EVEN)
        return str(format_percent(percent / 100, "0.0%", locale=self.locale))

    def change(self, now: int, before: int) -> str:
        """By how much something has changed, in per cent with its sign; empty without a before."""
        if not before:
            return ""
        percent = (Decimal(now - before) / Decimal(abs(before)) * 100).quantize(Decimal(1))
        if not percent:
            return str(format_percent(0, "0%", locale=self.locale))
        return str(format_percent(percent / 100, "+0%;-0%", locale=self.locale))

    def seconds(self, micros: int) -> str:
        """A duration in seconds, with two places."""
        text = format_decimal(Decimal(micros) / 1_000_000, "#,##0.00", locale=self.locale)
        return f"{text} s"

    def day(self, day: date) -> str:
        """A day, such as Nov 2, 2026."""
        return str(format_date(day, "medium", locale=self.locale))

    def short_day(self, day: date) -> str:
        """A day without its year, such as Nov 2."""
        return str(format_skeleton("MMMd", day, locale=self.locale))

    def month(self, day: date) -> str:
        """The month of a day, such as November 2026."""
        return str(format_skeleton("yMMMM", day, locale=self.locale))

    def local(self, micros: int) -> datetime:
        """A moment (microseconds since 1970) where the organisation is."""
        return to_datetime(micros).astimezone(self.zone)

    def date(self, micros: int) -> str:
        """The day of a moment."""
        return self.day(self.local(micros).date())

    def moment(self, micros: int) -> str:
        """A moment with its day, to the second."""
        local = self.local(micros)
        return str(format_datetime(local, "medium", tzinfo=self.zone, locale=self.locale))

    def told(self, text: str) -> str:
        """A moment that stands as ISO 8601 in what is told to programs."""
        return self.moment(to_micros(datetime.fromisoformat(text)))

    def time(self, micros: int) -> str:
        """A moment's time of day, to the minute."""
        return str(format_time(self.local(micros), "short", tzinfo=self.zone, locale=self.locale))

    def iso(self, micros: int) -> str:
        """A moment for programs, in the organisation's zone."""
        return self.local(micros).isoformat()

    def _dollars(self, nanos: int, places: int) -> str:
        amount = to_dollars(nanos).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
        pattern = self.locale.currency_formats["standard"].pattern
        wanted = "0." + "0" * places
        return str(
            format_currency(
                amount,
                "USD",
                _with_places(pattern, wanted),
                locale=self.locale,
                currency_digits=False,
            )
        )


def _with_places(pattern: str, number: str) -> str:
    """A currency pattern such as `¤#,##0.00` with other places."""
    return pattern.replace("0.00", number)


def listed(names: Iterable[str]) -> str:
    """Names as a sentence has them: "a, b and c"."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
