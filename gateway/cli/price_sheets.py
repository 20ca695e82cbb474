"""Prices as people and programs read them: one sheet for each place that states one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rich.table import Table
from rich.text import Text

from gateway.cli.options import out
from gateway.clock import to_text
from gateway.jobs.routes import Routes, Target
from gateway.metering.usage import TOKEN_CLASSES
from gateway.money import TOKENS_PER_PRICE, to_dollars
from gateway.prices.assembling import FALLBACK
from gateway.prices.book import CAVEATS, ModelFacts, PriceBook
from gateway.prices.rates import Price, Rates, Tier

Sheet = dict[str, Any]


def of_routes(rules: Routes | None, provider: str, model: str, moment: int) -> list[Sheet]:
    """What routes.yaml's targets of that name cost at a moment (microseconds since 1970)."""
    if rules is None:
        return []
    targets = {t.name: t for job in rules.jobs.values() for t in job.reachable}
    found = []
    for target in targets.values():
        price = target.price_at(moment)
        if target.model != model or provider not in ("", target.provider.name) or price is None:
            continue
        found.append(
            {
                "place": "routes",
                "provider": target.provider.name,
                "model": target.model,
                **_prices(price),
                "valid_until": _ends(target, price),
                "context_window": target.context_window,
                "output_limit": target.output_limit,
                "caveats": [],
            }
        )
    return found


def of_book(book: PriceBook, provider: str, model: str) -> list[Sheet]:
    """What the price book says of a model, at one provider or at each that has it."""
    owners = [provider] if provider else sorted({owner for owner, _ in book.models})
    facts = (book.find(owner, model) for owner in owners)
    return [_of_facts(one) for one in facts if one is not None]


def _of_facts(facts: ModelFacts) -> Sheet:
    return {
        "place": "book",
        "provider": facts.provider,
        "model": facts.model,
        **_prices(facts.price),
        "valid_until": None,
        "context_window": facts.context_window,
        "output_limit": facts.output_limit,
        "caveats": [CAVEATS[code] for code in facts.caveats],
    }


def _ends(target: Target, price: Price) -> str | None:
    """When the next price begins; None when there is none."""
    begins = [p.valid_from for p in target.dated if p.valid_from is not None]
    later = [moment for moment in begins if moment > (price.valid_from or 0)]
    return to_text(min(later)) if later else None


def _prices(price: Price) -> Sheet:
    return {
        "source": price.source,
        "valid_from": None if price.valid_from is None else to_text(price.valid_from),
        "free": price.free,
        "usd_per_million": _rates(price.rates),
        "usd_per_call": f"{to_dollars(price.rates.requests) / TOKENS_PER_PRICE:f}",
        "tiers": _tiers(price.tiers),
        "service_tiers": {
            name: {"usd_per_million": _rates(s.rates), "tiers": _tiers(s.tiers)}
            for name, s in sorted(price.service_tiers.items())
        },
    }


def _tiers(tiers: tuple[Tier, ...]) -> list[Sheet]:
    return [
        {"above": t.above, "at_or_above": t.at_or_above, "usd_per_million": _rates(t.rates)}
        for t in tiers
    ]


def _rates(rates: Rates) -> dict[str, str]:
    return {name: _dollars(getattr(rates, name)) for name in TOKEN_CLASSES}


def _dollars(nanos: int) -> str:
    return f"{to_dollars(nanos).normalize():f}"


def print_all(sheets: list[Sheet]) -> None:
    """Print the sheets, one table each."""
    for sheet in sheets:
        _print(sheet)


def _print(sheet: Sheet) -> None:
    since = f", from {sheet['valid_from'][:10]}" if sheet["valid_from"] else ""
    until = f" until {sheet['valid_until'][:10]}" if sheet["valid_until"] else ""
    place = "in routes.yaml" if sheet["place"] == "routes" else "in the price book"
    model = (f"{sheet['provider']}/{sheet['model']}", "bold")
    out.print(Text.assemble(model, f" {place}: {sheet['source']}{since}{until}"))
    if sheet["free"]:
        out.print("It is declared free.")
        return
    columns = _columns(sheet)
    table = Table("USD per million tokens")
    for heading in columns:
        table.add_column(heading, justify="right")
    for name in TOKEN_CLASSES:
        if any(_differs(rates, name) for rates in columns.values()):
            table.add_row(name, *(rates[name] for rates in columns.values()))
    out.print(table)
    if Decimal(sheet["usd_per_call"]):
        out.print(f"A call with a fee (web search): ${sheet['usd_per_call']}.", highlight=False)
    limits = {"context window": sheet["context_window"], "output limit": sheet["output_limit"]}
    told = [f"{name} {tokens:,} tokens" for name, tokens in limits.items() if tokens]
    if told:
        out.print("; ".join(told).capitalize() + ".", highlight=False)
    for caveat in sheet["caveats"]:
        out.print(f"Note: {caveat}.", highlight=False)


def _columns(sheet: Sheet) -> dict[str, dict[str, str]]:
    columns = {"standard": sheet["usd_per_million"]}
    columns |= _tier_columns("", sheet["tiers"])
    for name, service in sheet["service_tiers"].items():
        columns[name] = service["usd_per_million"]
        columns |= _tier_columns(f"{name} ", service["tiers"])
    return columns


def _tier_columns(prefix: str, tiers: list[Sheet]) -> dict[str, dict[str, str]]:
    return {
        f"{prefix}{'from' if t['at_or_above'] else 'above'} {t['above']:,}": t["usd_per_million"]
        for t in tiers
    }


def _differs(rates: dict[str, str], name: str) -> bool:
    """Whether a class has a rate of its own, and not its neighbour's."""
    return name not in FALLBACK or rates[name] != rates[FALLBACK[name]]
