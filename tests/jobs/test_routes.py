"""What a good routes.yaml becomes: names, prices, limits, budgets, and warnings."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import UnknownJob
from gateway.jobs.document import Document, read
from gateway.jobs.routes import Budget, Scope, Timeouts
from tests.jobs.samples import SMALL, changed, loaded, problems

DOLLAR = 1_000_000_000


def test_a_job_is_found_by_its_name_and_by_its_alias() -> None:
    routes = loaded(SMALL)
    assert routes.pick("gpt-4o") is routes.pick("extraction") is routes.jobs["extraction"]


def test_an_unknown_job_is_told_with_the_nearest_and_all_that_the_key_may_use() -> None:
    routes = loaded(SMALL)
    with pytest.raises(UnknownJob) as caught:
        routes.pick("extractoin", {"extraction"})
    assert caught.value.message == (
        "there is no job 'extractoin'; did you mean 'extraction'? "
        "Jobs for this key: extraction, gpt-4o."
    )
    assert caught.value.param == "model"


def test_where_nobody_has_a_key_the_jobs_are_simply_those_there_are() -> None:
    with pytest.raises(UnknownJob, match="Jobs: extraction, gpt-4o, private") as caught:
        loaded(SMALL).pick("nope")
    assert "key" not in caught.value.message


def test_who_names_no_job_is_told_so_and_which_there_are() -> None:
    with pytest.raises(UnknownJob, match=r"^no job is named\. Jobs: extraction, gpt-4o"):
        loaded(SMALL).pick("")


def test_a_job_that_the_key_may_not_use_is_not_named() -> None:
    with pytest.raises(UnknownJob) as caught:
        loaded(SMALL).pick("privat", {"extraction"})
    assert "private" not in caught.value.message


def test_a_name_of_any_length_and_letters_makes_a_short_ascii_message() -> None:
    with pytest.raises(UnknownJob) as caught:
        loaded(SMALL).pick("ü\n" * 5000)
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 700


def test_names_are_those_of_the_allowed_jobs_and_their_aliases() -> None:
    routes = loaded(SMALL)
    assert routes.names_for(None) == ("extraction", "gpt-4o", "private")
    assert routes.names_for({"extraction"}) == ("extraction", "gpt-4o")
    assert routes.names_for(()) == ()


@pytest.mark.parametrize(
    ("written", "budget"),
    [
        (
            "{scope: organisation, limit: 0.000000001 USD, period: day}",
            Budget("all", Scope("organisation"), 1, "usd", "day", True, ""),
        ),
        (
            "{scope: each app, limit: 600 requests, period: minute, contact: ops}",
            Budget("all", Scope("app"), 600, "requests", "minute", True, "ops"),
        ),
        (
            "{scope: {team: brand}, limit: 5000000 tokens, period: quarter, enforce: warn}",
            Budget("all", Scope("team", "brand"), 5_000_000, "tokens", "quarter", False, ""),
        ),
        (
            "{scope: {tag: run}, limit: 5 USD, period: forever}",
            Budget("all", Scope("tag", None, "run"), 5 * DOLLAR, "usd", "forever", True, ""),
        ),
        (
            "{scope: {tag: run, value: nightly}, limit: 2.50 USD, period: fiscal_year}",
            Budget(
                "all", Scope("tag", "nightly", "run"), 2_500_000_000, "usd", "fiscal_year", True, ""
            ),
        ),
    ],
)
def test_a_budget_means_what_is_written(written: str, budget: Budget) -> None:
    text = changed(("{scope: organisation, limit: 2000 USD, period: month}", written))
    assert loaded(text).budgets == (budget,)


def test_scopes_are_told_as_people_say_them() -> None:
    scopes = [
        Scope("organisation"),
        Scope("app"),
        Scope("team", "brand"),
        Scope("tag", None, "run"),
        Scope("tag", "spring", "campaign"),
    ]
    assert [str(scope) for scope in scopes] == [
        "organisation",
        "each app",
        "team brand",
        "each run",
        "campaign spring",
    ]


def test_a_team_budget_without_a_contact_has_the_teams_own() -> None:
    text = changed(
        ("budgets:", "teams: {brand: {contact: b@example.com}}\nbudgets:"),
        ("scope: organisation", "scope: {team: brand}"),
    )
    routes = loaded(text)
    assert routes.budgets[0].contact == "b@example.com"
    assert routes.team_contacts == {"brand": "b@example.com"}


def test_timeouts_come_from_the_job_then_the_provider_then_the_default() -> None:
    text = changed(
        ("    api_key_env: OPENAI_API_KEY\n", "    timeouts: {connect: 1, idle: 7}\n"),
        ("    owner: data\n", "    owner: data\n    timeouts: {idle: 9}\n"),
    )
    (target,) = loaded(text).jobs["extraction"].targets
    assert target.timeouts == Timeouts(connect=1, first_byte=60, idle=9, total=600)
    assert target.provider.timeouts.idle == 7


def test_the_environment_takes_the_place_of_an_address_and_of_nothing_else() -> None:
    text = changed(("name: Test", 'name: "${HOME}"'))
    routes = loaded(
        text, {"JOBGATE_PROVIDER_OPENAI_BASE_URL": "http://127.0.0.1:9/v1/", "HOME": "/"}
    )
    assert routes.providers["openai"].base_url == "http://127.0.0.1:9/v1"
    assert routes.organisation == "${HOME}"


def test_the_version_is_that_of_the_text() -> None:
    assert loaded(SMALL).version == loaded(SMALL).version
    assert loaded(SMALL).version != loaded(SMALL + "# a comment\n").version
    assert loaded(SMALL).text == SMALL


def test_prices_come_from_the_book_unless_the_file_states_them() -> None:
    listed = loaded(SMALL).jobs["extraction"].targets[0]
    assert listed.price is not None
    assert listed.price.rates.input == 2 * DOLLAR
    assert listed.context_window == 1_047_576
    text = changed(("models:\n", "models:\n  openai/gpt-4.1: {price: {input: 1, output: 5}}\n"))
    stated = loaded(text).jobs["extraction"].targets[0]
    assert stated.price is not None
    assert (stated.price.rates.input, stated.price.rates.output) == (DOLLAR, 5 * DOLLAR)


def test_free_is_only_what_says_so() -> None:
    price = loaded(SMALL).jobs["private"].targets[0].price
    assert price is not None
    assert price.free


WARNINGS = {
    "a model without a price": (
        [("price: free, ", "")],
        "28: jobs.private.targets[0]: house/llama has no price, so its requests are refused with "
        "402; state one under models, or `price: free`",
    ),
    "a misspelt model": (
        [("targets: [openai/gpt-4.1]", "targets: [openai/gpt-4.1-nino]")],
        "20: jobs.extraction.targets[0]: openai/gpt-4.1-nino has no price, so its requests are "
        "refused with 402; state one under models, or `price: free`; the price book has "
        "openai/gpt-4.1-nano",
    ),
    "a limit that the model has not": (
        [("output_tokens: {max: 4000}", "output_tokens: {max: 5000}")],
        "28: jobs.private.targets[0]: house/llama writes at most 4096 tokens; the job's limit of "
        "5000 is cut to that",
    ),
    "a temperature that a model refuses": (
        [("targets: [openai/gpt-4.1]", "targets: [openai/o3]")],
        "20: jobs.extraction.targets[0]: temperature dropped: openai/o3 refuses it",
    ),
    "a temperature that goes without reasoning only": (
        [("targets: [openai/gpt-4.1]", "targets: [openai/gpt-5.6]")],
        "20: jobs.extraction.targets[0]: temperature dropped: openai/gpt-5.6 refuses it unless "
        "reasoning_effort is none",
    ),
    "an effort that a model has not": (
        [
            ("targets: [openai/gpt-4.1]", "targets: [openai/gpt-5]"),
            ("    temperature: {default: 0, max: 1}\n", "    reasoning_effort: none\n"),
        ],
        "20: jobs.extraction.targets[0]: reasoning_effort dropped: openai/gpt-5 does not take none",
    ),
    "a temperature out of the provider's range": (
        [
            ("wire: openai\n    flavour: openai", "wire: anthropic"),
            ("targets: [openai/gpt-4.1]", "targets: [openai/claude-opus-4-6]"),
            ("temperature: {default: 0, max: 1}", "temperature: {default: 1.2}"),
        ],
        "19: jobs.extraction.targets[0]: temperature 1.2 is sent as the nearest that "
        "openai/claude-opus-4-6 takes, 0 to 1",
    ),
    "a key sent in clear": (
        [("https://api.openai.com", "http://api.openai.com")],
        "7: providers.openai.base_url: sends the API key and prompts unencrypted; use https",
    ),
    "a team that is not declared": (
        [
            ("budgets:", "teams: {brand: {}}\nbudgets:"),
            ("scope: organisation", "scope: {team: brnd}"),
        ],
        "34: budgets.all.scope.team: no team 'brnd' is declared; did you mean 'brand'?",
    ),
}


@pytest.mark.parametrize(("changes", "sentence"), WARNINGS.values(), ids=WARNINGS.keys())
def test_a_surprise_is_a_warning_and_the_file_loads(
    changes: list[tuple[str, str]], sentence: str
) -> None:
    (warning,) = loaded(changed(*changes)).warnings
    assert warning.startswith("routes.yaml:")
    assert sentence in warning


def test_an_override_of_no_provider_is_a_warning() -> None:
    routes = loaded(SMALL, {"JOBGATE_PROVIDER_OPNAI_BASE_URL": "http://127.0.0.1:9"})
    assert routes.warnings == (
        "routes.yaml:3: providers: the variable JOBGATE_PROVIDER_OPNAI_BASE_URL names no "
        "provider; did you mean 'JOBGATE_PROVIDER_OPENAI_BASE_URL'?",
    )


NASTY = ["&a", "*a", "!!int", "<<", "- ", "|", ">", "1e999", ".inf", ".nan", "9" * 5000, "0x1F"]
NASTY += ["?", "%YAML", "---", "\0", '"\\ud800"', '"\\UFFFFFFFF"']
WORDS = st.sampled_from([*SMALL.split(" "), *NASTY])
YAMLISH = st.one_of(
    st.text(),
    st.lists(WORDS).map(" ".join),
    st.lists(WORDS).map(lambda words: SMALL + "  ".join(words)),
)


def _never_anything_else(text: str) -> None:
    assert all(line.startswith("routes.yaml:") for line in problems(text))


@given(YAMLISH)
@example('a: "\\UFFFFFFFF"')
@example("version: !!int x")
@example("? [a]\n: b")
@example("a: !<tag:yaml.org,2002:int> 0x")
def test_any_text_loads_or_is_a_configuration_error(text: str) -> None:
    _never_anything_else(text)


@given(st.integers(0, len(SMALL)), st.integers(0, 40), st.one_of(WORDS, st.text(max_size=5)))
def test_any_slip_of_the_hand_loads_or_is_a_configuration_error(
    at: int, length: int, instead: str
) -> None:
    _never_anything_else(SMALL[:at] + instead + SMALL[at + length :])


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
PLACES = (
    "version",
    "organisation",
    "providers",
    "providers.openai",
    "providers.openai.headers",
    "models",
    "models.house/llama",
    "models.house/llama.price",
    "jobs",
    "jobs.extraction",
    "jobs.extraction.targets",
    "jobs.extraction.temperature",
    "jobs.extraction.tags",
    "aliases",
    "teams",
    "budgets",
    "budgets.all",
    "budgets.all.scope",
)


@given(st.sampled_from(PLACES), VALUES)
def test_any_value_in_any_place_loads_or_is_a_configuration_error(
    place: str, value: object
) -> None:
    document: Document = read(SMALL, "routes.yaml")
    top = document.value
    inner: object = top
    *way, last = place.split(".", 2)
    for step in way:
        assert isinstance(inner, dict)
        inner = inner[step]
    assert isinstance(inner, dict)
    inner[last] = value
    _never_anything_else(as_yaml(top))


def as_yaml(value: object) -> str:
    """Flow YAML of plain values; text always in quotes, escaped as YAML understands."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_yaml(k)}: {as_yaml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(as_yaml(item) for item in value) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(letter):08x}" for letter in value) + '"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
