"""The column rules of FOCUS 1.2: a row that keeps them all, and what each change to it breaks."""

from __future__ import annotations

import pytest

from gateway.ledger.focus_columns import COLUMNS, PARENTS, SUBCATEGORIES
from gateway.ledger.focus_rules import check

GOOD: dict[str, str | None] = {
    "BilledCost": "0.02",
    "BillingAccountId": "main",
    "BillingAccountName": "Test",
    "BillingAccountType": "Organisation",
    "BillingCurrency": "USD",
    "BillingPeriodEnd": "2026-11-01T00:00:00Z",
    "BillingPeriodStart": "2026-10-01T00:00:00Z",
    "ChargeCategory": "Usage",
    "ChargeClass": None,
    "ChargeDescription": "Input tokens",
    "ChargeFrequency": "Usage-Based",
    "ChargePeriodEnd": "2026-10-02T13:00:00Z",
    "ChargePeriodStart": "2026-10-02T12:00:00Z",
    "ConsumedQuantity": "10000",
    "ConsumedUnit": "Tokens",
    "ContractedCost": "0.02",
    "ContractedUnitPrice": "2.00",
    "EffectiveCost": "0.02",
    "InvoiceIssuerName": "openai",
    "ListCost": "2.5E-2",
    "ListUnitPrice": "2.5",
    "PricingCategory": "Standard",
    "PricingQuantity": "0.01",
    "PricingUnit": "1000000 Tokens",
    "ProviderName": "openai",
    "PublisherName": "openai",
    "RegionId": None,
    "RegionName": None,
    "ResourceId": "main/site",
    "ResourceName": "site",
    "ResourceType": "App",
    "ServiceCategory": "AI and Machine Learning",
    "ServiceName": "Models of openai",
    "ServiceSubcategory": "Generative AI",
    "SkuId": "gpt:input",
    "SkuMeter": "Input Tokens",
    "SkuPriceDetails": '{"x_TokenClass": "input", "CoreCount": 1}',
    "SkuPriceId": "gpt:input@2.5",
    "SubAccountId": "brand",
    "SubAccountName": "brand",
    "SubAccountType": "Team",
    "Tags": '{"jobgate/job": "extraction", "billable": true}',
    "x_Job": "extraction",
}
NO_PRICE = (
    *("ListUnitPrice", "ContractedUnitPrice", "PricingQuantity", "PricingUnit"),
    *("PricingCategory", "SkuId", "SkuMeter", "SkuPriceId", "SkuPriceDetails"),
    *("ConsumedQuantity", "ConsumedUnit"),
)
TAX: dict[str, str | None] = {**dict.fromkeys(NO_PRICE), "ChargeCategory": "Tax"}
BROKEN: dict[str, tuple[dict[str, str | None], str, str]] = {
    "a cost may not be null": ({"BilledCost": None}, "BilledCost", "may not be null"),
    "a name may not be null": ({"ServiceName": None}, "ServiceName", "may not be null"),
    "spaces are not null": ({"ChargeDescription": "  "}, "ChargeDescription", "empty"),
    "words are not null": ({"RegionId": "N/A", "RegionName": "x"}, "RegionId", "stands for null"),
    "a comma in a number": ({"BilledCost": "1,000"}, "BilledCost", "is not a number"),
    "a plus in front": ({"EffectiveCost": "+1"}, "EffectiveCost", "is not a number"),
    "a currency sign": ({"ListCost": "$0.025"}, "ListCost", "is not a number"),
    "local time": ({"ChargePeriodEnd": "2026-10-02T13:00:00+02:00"}, "ChargePeriodEnd", "UTC"),
    "a day": ({"ChargePeriodStart": "2026-10-02"}, "ChargePeriodStart", "UTC"),
    "the 31st of September": (
        {"ChargePeriodStart": "2026-09-31T00:00:00Z"},
        "ChargePeriodStart",
        "UTC",
    ),
    "a period without a length": (
        {"ChargePeriodEnd": "2026-10-02T12:00:00Z"},
        "ChargePeriodEnd",
        "not after",
    ),
    "a currency in words": ({"BillingCurrency": "dollar"}, "BillingCurrency", "currency code"),
    "an unknown category": ({"ChargeCategory": "Refund"}, "ChargeCategory", "is not one of"),
    "an unknown class": ({"ChargeClass": "correction"}, "ChargeClass", "is not one of"),
    "an unknown frequency": ({"ChargeFrequency": "Daily"}, "ChargeFrequency", "is not one of"),
    "another parent": ({"ServiceCategory": "Web"}, "ServiceSubcategory", "belongs to"),
    "a product that is not exact": (
        {"ListCost": "0.02500000000000001"},
        "ListCost",
        "is not 2.5 times",
    ),
    "a contract that is not kept": (
        {"ContractedUnitPrice": "2.01"},
        "ContractedCost",
        "times 0.01",
    ),
    "a negative price": (
        {"ListUnitPrice": "-2.5", "ListCost": "-0.025"},
        "ListUnitPrice",
        "negative",
    ),
    "use without a price": ({"ListUnitPrice": None}, "ListUnitPrice", "may not be null for use"),
    "use without a SKU": (
        {"SkuPriceId": None, "SkuPriceDetails": None},
        "SkuPriceId",
        "may not be null",
    ),
    "use without a quantity": (
        {"ConsumedQuantity": None, "ConsumedUnit": None},
        "ConsumedQuantity",
        "may not be null",
    ),
    "a quantity that nobody used": (
        {"ChargeCategory": "Credit"},
        "ConsumedQuantity",
        "has to be null",
    ),
    "a quantity without a unit": ({"ConsumedUnit": None}, "ConsumedUnit", "is null exactly when"),
    "a unit that is none": ({"PricingUnit": "per 1000"}, "PricingUnit", "is not a unit"),
    "a team without a name": ({"SubAccountName": None}, "SubAccountName", "is null exactly when"),
    "a type of nothing": ({"ResourceId": None}, "ResourceType", "is null exactly when"),
    "details of nothing": (
        {"SkuPriceId": None, "ChargeClass": "Correction"},
        "SkuPriceDetails",
        "has to be null",
    ),
    "a meter of nothing": (
        {"SkuId": None, "ChargeClass": "Correction"},
        "SkuMeter",
        "has to be null",
    ),
    "somebody else's invoice": ({"InvoiceIssuerName": "shop"}, "BilledCost", "has to be 0"),
    "a purchase by use": (
        {"ChargeCategory": "Purchase", "ConsumedQuantity": None, "ConsumedUnit": None},
        "ChargeFrequency",
        "may not be Usage-Based",
    ),
    "a taxed SKU": (TAX | {"SkuId": "x"}, "SkuId", "has to be null for a tax"),
    "tags that are a list": ({"Tags": "[]"}, "Tags", "is not a JSON object"),
    "tags that are no JSON": ({"Tags": "job=x"}, "Tags", "is not a JSON object"),
    "a tag in a tag": ({"Tags": '{"a": {"b": 1}}'}, "Tags", "an object or an array"),
    "a tag twice": ({"Tags": '{"a": 1, "a": 2}'}, "Tags", "a key twice"),
    "an own detail without x_": (
        {"SkuPriceDetails": '{"Model": "x"}'},
        "SkuPriceDetails",
        "no x_ in front",
    ),
}


def said(*rows: dict[str, str | None], heading: list[str] | None = None) -> list[tuple[str, str]]:
    """What is wrong with these rows: columns and sentences."""
    return [(v.column, v.message) for v in check(heading or list(GOOD), rows)]


def test_a_good_row_is_good() -> None:
    assert said(GOOD, GOOD) == []


@pytest.mark.parametrize(("change", "column", "message"), BROKEN.values(), ids=BROKEN)
def test_one_change_breaks_one_rule(
    change: dict[str, str | None], column: str, message: str
) -> None:
    assert [name for name, text in said(GOOD | change) if message in text] == [column]


@pytest.mark.parametrize(
    "change",
    [
        TAX,
        {
            "ChargeClass": "Correction",
            "ListCost": "-1",
            "ConsumedQuantity": None,
            "ConsumedUnit": None,
        },
        {"ChargeClass": "Correction", "SkuPriceId": None, "SkuPriceDetails": None},
        {"ChargeCategory": "Adjustment", "ConsumedQuantity": None, "ConsumedUnit": None},
        {"InvoiceIssuerName": "shop", "BilledCost": "0.0"},
        {"Tags": None, "SkuPriceDetails": None, "SkuMeter": None},
        {"PricingUnit": "GB-Hours", "ConsumedUnit": "Requests/Day"},
        {"PricingQuantity": "-0.01", "ListCost": "-0.025", "ContractedCost": "-0.02"},
    ],
)
def test_what_the_specification_allows_is_allowed(change: dict[str, str | None]) -> None:
    assert said(GOOD | change) == []


def test_a_sku_price_has_one_sku_and_a_service_one_category() -> None:
    other = GOOD | {
        "SkuId": "gpt:output",
        "ServiceCategory": "Web",
        "ServiceSubcategory": "Application Platforms",
    }
    assert [column for column, _ in said(GOOD, other)] == ["SkuPriceId", "ServiceName"]


@pytest.mark.parametrize("missing", [c.name for c in COLUMNS.values() if c.mandatory])
def test_every_mandatory_column_has_to_be_there(missing: str) -> None:
    heading = [name for name in GOOD if name != missing]
    assert said(heading=heading) == [(missing, "is mandatory and missing")]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["Team"], "is not a column of FOCUS"),
        (["x_team"], "is not in Pascal case"),
        (["BilledCost"], "is there more than once"),
        (["x_Team", "InvoiceId"], "custom columns stand after"),
    ],
)
def test_other_columns_are_marked_and_stand_at_the_end(names: list[str], message: str) -> None:
    assert any(message in text for _, text in said(heading=[*GOOD, *names]))


def test_every_category_has_its_other_subcategory() -> None:
    assert all(PARENTS[f"Other ({category})"] == category for category in SUBCATEGORIES)
    assert len(PARENTS) == sum(len(names) + 1 for names in SUBCATEGORIES.values())
