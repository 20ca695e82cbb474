"""The price book: what every known model costs, as dated data beside this file.

`book.jsonl` is a header and one line a model (see `importing.py`). Opening the book reads only
the names; a line is understood when somebody asks for it, and then kept.

A model that is not in the book has no price: `find` says so with None and never offers another
model's. The one liberty it takes is a date at the end of a name, because providers answer as
`gpt-4o-2024-08-06` to who asked for `gpt-4o`.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import msgspec

from gateway.clock import to_micros
from gateway.errors import ConfigurationError
from gateway.money import TOKENS_PER_PRICE, parse_dollars
from gateway.prices.assembling import Statement, TierStatement, assemble
from gateway.prices.rates import Price

BUNDLED = Path(__file__).with_name("book.jsonl")

CAVEATS: Mapping[str, str] = MappingProxyType(
    {
        "off_peak": "the provider charges less at quiet hours; the full price is used",
        "regional": "the provider charges more in some regions; the global price is used",
        "free_searches": "the provider gives some searches a day free; each is charged",
        "search_size": "the fee depends on the search size; the medium one is used",
        "video": "video tokens have a rate of their own, which is not used",
        "other_units": "images, sound or video can be billed by piece, which is not used",
    }
)
"""What `ModelFacts.caveats` mean: conditions on a price that a usage does not show."""

_MONTH_DAY = r"(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_DATED = re.compile(
    rf"-(?:20\d\d-{_MONTH_DAY}|20\d\d{_MONTH_DAY.replace(')-(', ')(')}|latest)$"
    rf"|(?<=-preview)-{_MONTH_DAY}$"
)


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the book knows about one model at one provider.

    `model` is the book's own name for it. `context_window` and `output_limit` are tokens, None
    when not known. `capabilities` are those stated: vision, tools, reasoning, response_schema,
    pdf, web_search, prompt_caching, audio_input, audio_output. `mode` is chat, completion,
    responses or embedding. `caveats` are keys of `CAVEATS`.
    """

    provider: str
    model: str
    mode: str
    price: Price
    context_window: int | None
    output_limit: int | None
    capabilities: frozenset[str]
    caveats: tuple[str, ...]


class _Header(msgspec.Struct, kw_only=True):
    from_: str = msgspec.field(name="from")
    version: str
    imported: str


class _Names(msgspec.Struct):
    provider: str
    model: str


class _Tier(msgspec.Struct, kw_only=True):
    above: int
    at_or_above: bool = False
    rates: dict[str, str]


class _Schedule(msgspec.Struct, kw_only=True):
    rates: dict[str, str]
    tiers: tuple[_Tier, ...] = ()


class _Row(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    provider: str
    model: str
    mode: str
    rates: dict[str, str]
    tiers: tuple[_Tier, ...] = ()
    service_tiers: dict[str, _Schedule] = msgspec.field(default_factory=dict)
    per_call: str | None = None
    context_window: int | None = None
    output_limit: int | None = None
    capabilities: frozenset[str] = frozenset()
    caveats: tuple[str, ...] = ()


class PriceBook:
    """Prices by provider and model. Immutable to its users; safe to share."""

    def __init__(self, text: bytes) -> None:
        """Index a book's text. Raises ConfigurationError when it is not one."""
        header, _, rest = text.partition(b"\n")
        lines = rest.splitlines()
        try:
            self._header = msgspec.json.decode(header, type=_Header)
            names = msgspec.json.Decoder(_Names).decode
            named = [(names(line), line) for line in lines]
        except msgspec.DecodeError as error:
            raise ConfigurationError([f"the price book cannot be read: {error}"]) from error
        self._lines = {(name.provider, name.model): line for name, line in named}
        self._valid_from = to_micros(
            datetime.fromisoformat(self._header.imported).replace(tzinfo=UTC)
        )
        self._siblings: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for provider, model in self._lines:
            stem = _DATED.sub("", model)
            if stem != model:
                self._siblings[provider, stem].append(model)
        self._facts: dict[tuple[str, str], ModelFacts] = {}

    @classmethod
    def bundled(cls) -> PriceBook:
        """The book that is part of this version. Reads one file."""
        return cls(BUNDLED.read_bytes())

    @property
    def version(self) -> str:
        """Where the prices come from, such as "litellm 1.106.2, imported 2026-11-22"."""
        return f"{self._header.from_} {self._header.version}, imported {self._header.imported}"

    @property
    def models(self) -> tuple[tuple[str, str], ...]:
        """Every (provider, model) in the book, sorted."""
        return tuple(sorted(self._lines))

    def find(self, provider: str, model: str) -> ModelFacts | None:
        """The facts under exactly this name, else under the same name but for a date, else None.

        A date is a trailing -YYYY-MM-DD, -YYYYMMDD or -latest, or -MM-DD after -preview. A dated
        name may stand for the undated one. An undated (or latest) name may stand for the newest
        dated one, provided that all of them cost the same; otherwise nobody knows which is meant.
        """
        if (provider, model) in self._lines:
            return self._read(provider, model)
        stem = _DATED.sub("", model)
        if stem != model and (provider, stem) in self._lines:
            return self._read(provider, stem)
        if stem != model and not model.endswith("-latest"):
            return None
        dated = [self._read(provider, name) for name in self._siblings.get((provider, stem), ())]
        if not dated or any(facts.price != dated[0].price for facts in dated):
            return None
        return max(dated, key=lambda facts: facts.model)

    def nearest(self, model: str, provider: str | None = None) -> list[str]:
        """Up to five similar names as "provider/model", for an error message; slow (a search)."""
        by_model: defaultdict[str, list[str]] = defaultdict(list)
        for owner, name in self.models:
            if provider is None or owner == provider:
                by_model[name].append(f"{owner}/{name}")
                by_model[f"{owner}/{name}"].append(f"{owner}/{name}")
        close = difflib.get_close_matches(model, by_model, n=5)
        return list(dict.fromkeys(full for name in close for full in by_model[name]))[:5]

    def _read(self, provider: str, model: str) -> ModelFacts:
        """One model's facts from its line, once."""
        facts = self._facts.get((provider, model))
        if facts is None:
            row = msgspec.json.decode(self._lines[provider, model], type=_Row)
            facts = self._facts[provider, model] = self._understood(row)
        return facts

    def _understood(self, row: _Row) -> ModelFacts:
        rates = _nanos(row.rates)
        if row.per_call is not None:
            rates["requests"] = parse_dollars(row.per_call) * TOKENS_PER_PRICE
        price = assemble(
            Statement(rates=rates, tiers=_tiers(row.tiers)),
            {
                name: Statement(rates=_nanos(schedule.rates), tiers=_tiers(schedule.tiers))
                for name, schedule in row.service_tiers.items()
            },
            source=self.version,
            valid_from=self._valid_from,
        )
        return ModelFacts(
            provider=row.provider,
            model=row.model,
            mode=row.mode,
            price=price,
            context_window=row.context_window,
            output_limit=row.output_limit,
            capabilities=row.capabilities,
            caveats=row.caveats,
        )


def _nanos(rates: dict[str, str]) -> dict[str, int]:
    """Nanos per million tokens from USD per million tokens."""
    return {name: parse_dollars(rate) for name, rate in rates.items()}


def _tiers(tiers: tuple[_Tier, ...]) -> tuple[TierStatement, ...]:
    return tuple(
        TierStatement(above=t.above, at_or_above=t.at_or_above, rates=_nanos(t.rates))
        for t in tiers
    )
