"""What the entries come to: sums over the ledger itself, never over what pages are made from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import accumulate

from gateway.clock import to_datetime
from gateway.ledger.entries import HOUR
from gateway.ledger.months import parse_month
from gateway.ledger.queries import Range
from tests.gateways import RunningGateway
from tests.treasury.booking import rows

REQUESTS_TOKENS_NANOS = ("request_count", "tokens", "amount_nanos")


class Truth:
    """What the entries of a period come to, of one team or of all."""

    def __init__(self, gateway: RunningGateway, period: Range, team: str = "") -> None:
        self.gateway, self.database = gateway, gateway.gateway.database
        self.period, self.team = period, team
        self.where = "admitted_at >= :start AND admitted_at < :end"
        self.values: dict[str, object] = {"start": period.start, "end": period.end}
        if team:
            self.where += " AND team = :team"
            self.values["team"] = team

    @classmethod
    def of_month(cls, gateway: RunningGateway, month: str, team: str = "") -> Truth:
        """Of a month of the organisation."""
        zone = gateway.gateway.routes.time_zone
        return cls(gateway, Range(*parse_month(month).bounds(zone)), team)

    def sums(
        self, names: Sequence[str], whats: Sequence[str], also: str = ""
    ) -> dict[tuple[str, ...], list[int]]:
        """Sums for each combination of the values of columns, of the entries that `also` names."""
        columns = ", ".join((*names, *(f"SUM({what})" for what in whats)))
        found = rows(
            self.database,
            f"SELECT {columns} FROM entries WHERE {self.where}{also} GROUP BY {', '.join(names)}",
            **self.values,
        )
        return {
            tuple("(none)" if value == "" else value for value in row[: len(names)]): [
                int(total) for total in row[len(names) :]
            ]
            for row in found
        }

    def by(self, column: str, what: str = "amount_nanos", also: str = "") -> dict[str, int]:
        """Sums for each value of a column."""
        found = self.sums((column,), (what,), also)
        return {name: total for (name,), (total,) in found.items()}

    def total(self, what: str = "amount_nanos", also: str = "") -> int:
        """The sum of all."""
        return sum(self.by("org", what, also).values())

    def days(self, also: str = "", what: str = "amount_nanos") -> list[int]:
        """The sum of each day of the period where the organisation is, days without any included.

        Where midnight is within an hour, the hour counts for the day in which it begins.
        """
        zone = self.gateway.gateway.routes.time_zone
        found: dict[date, int] = {}
        for (hour,), (total,) in self.sums((f"admitted_at / {HOUR}",), (what,), also).items():
            begins = max(int(hour) * HOUR, self.period.start)
            day = to_datetime(begins).astimezone(zone).date()
            found[day] = found.get(day, 0) + total
        first, last = (
            to_datetime(at).astimezone(zone).date()
            for at in (self.period.start, self.period.end - 1)
        )
        return [
            found.get(first + timedelta(days=number), 0)
            for number in range((last - first).days + 1)
        ]

    def adding_up(self, also: str = "", what: str = "amount_nanos") -> list[int]:
        """What was spent at the end of each day."""
        return list(accumulate(self.days(also, what)))
