"""Each provider's export, as its console and its API write it, means the same lines."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigurationError
from gateway.ledger.export_columns import LAYOUTS
from gateway.ledger.export_models import model_of_line_item, plain_model, sku
from gateway.ledger.provider_exports import CREDIT, OTHER, USAGE, BilledLine, Export, read_export

DOLLAR = 10**9
DAY = date(2026, 11, 2)


def read(provider: str, text: str, **options: object) -> Export:
    return read_export("bill.csv", text.encode(), provider, **options)  # type: ignore[arg-type]


def one(provider: str, text: str) -> BilledLine:
    (line,) = read(provider, text).lines
    return line


OPENAI_USAGE_PAGE = """
{"object": "page", "data": [{"object": "bucket", "start_time": 1793577600, "end_time": 1793664000,
 "results": [{"object": "organization.usage.completions.result", "input_tokens": 1000,
  "input_cached_tokens": 800, "output_tokens": 500, "num_model_requests": 5,
  "project_id": "proj_a", "api_key_id": "key_a", "model": "gpt-5.4-2026-03-05", "batch": null}]}],
 "has_more": false, "next_page": null}
"""
OPENAI_USAGE_CSV = """\
start_time,end_time,start_time_iso,end_time_iso,project_id,api_key_id,model,input_tokens,\
input_cached_tokens,output_tokens
1793577600,1793664000,2026-11-02T00:00:00+00:00,2026-11-03T00:00:00+00:00,proj_a,key_a,\
gpt-5.4-2026-03-05,1000,800,500
"""
ANTHROPIC_USAGE_PAGE = """
{"data": [{"starting_at": "2026-11-02T00:00:00Z", "ending_at": "2026-11-03T00:00:00Z", "results":
 [{"uncached_input_tokens": 100, "cache_creation": {"ephemeral_1h_input_tokens": 30,
  "ephemeral_5m_input_tokens": 70}, "cache_read_input_tokens": 800, "output_tokens": 500,
  "server_tool_use": {"web_search_requests": 1}, "api_key_id": "apikey_1", "workspace_id": null,
  "model": "claude-sonnet-4-6", "service_tier": "standard"}]}], "has_more": false}
"""
ANTHROPIC_USAGE_CSV = """\
usage_date_utc,model_version,api_key,workspace,usage_type,context_window,\
usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,\
usage_input_tokens_cache_read,usage_output_tokens,web_search_count
2026-11-02,claude-sonnet-4-6,site,Default,standard,≤ 200k,100,70,30,800,500,1
"""
MISTRAL_CSV = """\
Date;Model;Input tokens;Output tokens
2026-11-02;mistral-large-2512;1,000;500
"""


@pytest.mark.parametrize(
    ("provider", "text", "tokens"),
    [
        ("openai", OPENAI_USAGE_PAGE, {"input": 1000, "cache_read": 800, "output": 500}),
        ("openai", OPENAI_USAGE_CSV, {"input": 1000, "cache_read": 800, "output": 500}),
        (
            "anthropic",
            ANTHROPIC_USAGE_PAGE,
            {"input": 1000, "cache_read": 800, "cache_write": 100, "output": 500},
        ),
        (
            "anthropic",
            ANTHROPIC_USAGE_CSV,
            {"input": 1000, "cache_read": 800, "cache_write": 100, "output": 500},
        ),
        ("mistral", MISTRAL_CSV, {"input": 1000, "output": 500}),
        (
            "generic",
            "date,model,input_tokens,output_tokens\n2026-11-02,m,1000,500\n",
            {"input": 1000, "output": 500},
        ),
    ],
    ids=["OpenAI API", "OpenAI CSV", "Anthropic API", "Anthropic CSV", "Mistral", "generic"],
)
def test_usage_is_read_into_the_same_figures_whatever_the_convention(
    provider: str, text: str, tokens: dict[str, int]
) -> None:
    line = one(provider, text)
    assert (line.day, line.kind, line.tokens, line.nanos) == (DAY, USAGE, tokens, None)


@pytest.mark.parametrize(
    ("provider", "text", "nanos", "model"),
    [
        (
            "openai",
            '{"data": [{"start_time": 1793577600, "results": [{"amount": {"value": 0.06,'
            ' "currency": "usd"}, "line_item": "gpt-5.4-2026-03-05, cached input"}]}]}',
            Fraction(60_000_000),
            "gpt-5.4-2026-03-05",
        ),
        (
            "openai",
            "start_time,start_time_iso,amount_value,amount_currency,line_item\n"
            "1793577600,2026-11-02T00:00:00,0.0038359800000000000000000,usd,\n",
            Fraction(3_835_980),
            "",
        ),
        (
            "anthropic",
            '{"data": [{"starting_at": "2026-11-02T00:00:00Z", "results": [{"amount": "123.78912",'
            ' "currency": "USD", "cost_type": "tokens", "model": "claude-sonnet-4-6"}]}]}',
            Fraction(1_237_891_200),
            "claude-sonnet-4-6",
        ),
        (
            "anthropic",
            "usage_date_utc,model,workspace,api_key,token_type,cost_usd,cost_type\n"
            "2026-11-02,Claude Sonnet 4.6,Default,site,output,1.23,token\n",
            Fraction(1_230_000_000),
            "Claude Sonnet 4.6",
        ),
        (
            "mistral",
            "date,model,cost,currency\n2026-11-02,mistral-large-2512,$1.50,USD\n",
            Fraction(1_500_000_000),
            "mistral-large-2512",
        ),
    ],
    ids=["OpenAI API", "OpenAI CSV", "Anthropic cents", "Anthropic CSV", "Mistral"],
)
def test_money_is_exact_whatever_its_unit(
    provider: str, text: str, nanos: Fraction, model: str
) -> None:
    line = one(provider, text)
    assert (line.day, line.nanos, line.model) == (DAY, nanos, model)


GOOGLE_COST_TABLE = """\
Invoice number,123
Project name,Project ID,Service description,SKU description,Usage start date,Usage end date,\
Usage amount,Usage unit,Cost type,Unrounded cost ($),Cost ($),Discounts ($)
site,site-1,Gemini API,Generate content input token count gemini 2.5 flash short input text,\
2026-11-02,2026-11-02,"1,000",count,Usage,0.0003,0.00,-0.0001
site,site-1,Gemini API,Generate content cached input token count gemini 2.5 flash short input text,\
2026-11-02,2026-11-02,200,count,Usage,0.000006,0.00,
site,site-1,Gemini API,Generate content output token count gemini 2.5 flash short input text,\
2026-11-02,2026-11-02,500,count,Usage,0.00125,0.00,
site,site-1,Cloud Storage,Standard Storage US,2026-11-02,2026-11-02,1,gibibyte month,Usage,2,2,
site,site-1,Gemini API,,2026-11-02,2026-11-02,,,Tax,0.1,0.10,
,,,,,,,,Total,2.1,2.10,
"""


def test_google_names_model_and_class_in_its_skus() -> None:
    export = read("google", GOOGLE_COST_TABLE)
    told = [(line.kind, line.model, dict(line.tokens)) for line in export.lines]
    assert told == [
        (USAGE, "gemini-2.5-flash", {"input": 1000}),
        (CREDIT, "gemini-2.5-flash", {}),
        (USAGE, "gemini-2.5-flash", {"cache_read": 200, "input": 200}),
        (USAGE, "gemini-2.5-flash", {"output": 500}),
        (OTHER, "", {}),
    ]
    assert sum(line.nanos or 0 for line in export.lines if line.kind == USAGE) == 1_556_000
    assert export.passed_over == 1


SAMPLES = [
    text.encode()
    for text in (OPENAI_USAGE_PAGE, OPENAI_USAGE_CSV, ANTHROPIC_USAGE_PAGE, GOOGLE_COST_TABLE)
]


def test_googles_days_begin_at_midnight_in_california() -> None:
    row = (
        '{"service": {"description": "Gemini API"}, "sku": {"description":'
        ' "Generate content output token count gemini 3 flash text batch"},'
        ' "usage_start_time": "%s", "project": {"id": "site-1"}, "cost": 1.5, "currency": "USD",'
        ' "usage": {"amount": 10.0, "unit": "count"}, "credits": [{"name": "trial", "amount": -1},'
        ' {"name": "more", "amount": -0.25}], "cost_type": "regular"}\n'
    )
    times = ("2026-11-02 07:00:00 UTC", "2026-11-02 08:00:00 UTC")
    lines = read("google", "".join(row % time for time in times)).lines
    assert [line.day.day for line in lines if line.kind == USAGE] == [1, 2]
    assert [line.nanos for line in lines if line.kind == CREDIT] == [Fraction(-1.25) * DOLLAR] * 2


def test_a_negative_line_is_a_credit() -> None:
    line = one("generic", "date,model,amount_usd\n2026-11-02,,(25.00)\n")
    assert (line.kind, line.nanos) == (CREDIT, -25 * DOLLAR)


def test_another_currency_needs_a_rate() -> None:
    bill = "date,model,cost,currency\n2026-11-02,mistral-large-2512,2.00,EUR\n"
    with pytest.raises(ConfigurationError, match="row 2, column currency: EUR"):
        read("mistral", bill)
    (line,) = read("mistral", bill, usd_per_unit=Decimal("1.0832")).lines
    assert line.nanos == Fraction(2_166_400_000)


def test_the_decimals_of_an_export_are_those_of_its_finest_amount_and_at_least_cents() -> None:
    bill = "date,model,amount_usd\n2026-11-02,m,%s\n2026-11-02,m,%s\n"
    assert read("generic", bill % ("15", "1")).places == 2
    assert read("generic", bill % ("15", "1.2345")).places == 4
    assert read("generic", bill % ("15", "1.50000")).unit == DOLLAR // 100


@pytest.mark.parametrize(
    ("provider", "text", "said"),
    [
        ("generic", "date,amount_usd\n2026-11-02,much\n", "row 2, column amount_usd: 'much'"),
        ("generic", "date,amount_usd\n2026-11-02,nan\n", "row 2, column amount_usd: 'nan'"),
        ("generic", "date,input_tokens\n2026-11-02,1.5\n", "column input_tokens: '1.5' is not a"),
        ("generic", "date,input_tokens\n2026-11-02,-5\n", "column input_tokens: '-5' is not a"),
        ("generic", "date,model,amount_usd\n\n,m,5\n", "row 3, column date: there is no day"),
        ("generic", "date,amount_usd\nsoon,5\n", "row 2, column date: 'soon' is not a day"),
        ("generic", "model,amount_usd\nm,5\n", "no row has a column for the day"),
        ("generic", "date,amount_usd\n", "there are no lines in it"),
        ("generic", '[{"date": "2026-11-02"}, 3]', "item 2 is not an object"),
        ("generic", '{"date": "2026-11-02"}\n{oops', "line 2: "),
        ("openai", '{"data": [], "has_more": true}', "has_more: export the pages that follow"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_row_and_column(
    provider: str, text: str, said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(provider, text)
    assert said in caught.value.problems[0]
    assert caught.value.problems[0].startswith("bill.csv: ")


@given(
    st.sampled_from(sorted(LAYOUTS)), st.binary(max_size=200) | st.sampled_from(SAMPLES), st.data()
)
def test_whatever_a_file_has_it_is_read_or_refused(
    provider: str, content: bytes, data: st.DataObject
) -> None:
    if content:
        at = data.draw(st.integers(0, len(content)))
        content = content[:at] + data.draw(st.binary(max_size=5)) + content[at + 1 :]
    with suppress(ConfigurationError):
        read_export("bill.csv", content, provider)


@pytest.mark.parametrize("written", ["[" * 100_000, '{"a":' * 100_000, "[[[1]]]", "[]", "{}", ""])
def test_a_file_of_nothing_but_brackets_is_refused(written: str) -> None:
    with pytest.raises(ConfigurationError):
        read("generic", written)


def test_pages_of_a_report_may_come_as_one_list() -> None:
    page = OPENAI_USAGE_PAGE.strip()
    pages = f"[{page.replace('false', 'true')}, {page}]"
    assert len(read("openai", pages).lines) == 2


def test_what_is_not_utf_8_is_told() -> None:
    with pytest.raises(ConfigurationError, match="not UTF-8 at byte 4"):
        read_export("bill.csv", b"date\xff", "generic")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gpt-5.4-2026-03-05", "gpt-5.4"),
        ("Claude Haiku 4.5", "claude-haiku-4-5-20251001"),
        ("gemini 2.5 flash", "models/gemini-2.5-flash-preview-05-20"),
        ("mistral-large-2512", "mistral-large-latest"),
    ],
)
def test_two_names_of_one_model_are_reduced_to_the_same(one: str, other: str) -> None:
    assert plain_model(one) == plain_model(other)


def test_names_of_different_models_stay_different() -> None:
    names = ("gpt-5.4", "gpt-5.4-mini", "gemini-3-flash", "gemini-3.1-flash", "gemini-3-flash-lite")
    assert len({plain_model(name) for name in names}) == len(names)


def test_a_name_can_be_mapped_by_hand() -> None:
    mapping = {"Claude 3.5 Sonnet": "claude-sonnet-3-5"}
    assert plain_model("Claude 3.5 Sonnet", mapping) == "claude-sonnet-3-5"


def test_stored_caches_count_no_tokens_of_requests() -> None:
    found = sku("Generate_content cached text storage token hours for gemini 3 flash")
    assert (found.model, found.figure) == ("gemini-3-flash", "")
    assert sku("Grounding with Google Search").model == ""


def test_a_line_item_without_a_model_is_not_taken_for_one() -> None:
    assert model_of_line_item("web search tool calls") == ""
    assert model_of_line_item("gpt-5.4-mini, audio input") == "gpt-5.4-mini"
