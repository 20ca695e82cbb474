"""What Gemini answers reaches the caller in OpenAI's words, with every token."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import UpstreamBroken
from gateway.wire.gemini_reply import GeminiStream, from_gemini, gemini_usage
from gateway.wire.gemini_request import to_gemini

Json = dict[str, Any]

USAGE = {
    "promptTokenCount": 100,
    "toolUsePromptTokenCount": 20,
    "cachedContentTokenCount": 60,
    "candidatesTokenCount": 30,
    "thoughtsTokenCount": 45,
    "totalTokenCount": 195,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 90},
        {"modality": "AUDIO", "tokenCount": 10},
    ],
}
OPENAI_USAGE = {
    "prompt_tokens": 120,
    "completion_tokens": 75,
    "total_tokens": 195,
    "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 45},
}


def candidate(*parts: Json, finish: object = None, index: int = 0) -> Json:
    made: Json = {"content": {"role": "model", "parts": list(parts)}, "index": index}
    return made if finish is None else {**made, "finishReason": finish}


def reply(*candidates: Json, **more: Any) -> Json:
    return {
        "candidates": list(candidates),
        "modelVersion": "gemini-x",
        "responseId": "resp-1",
        "usageMetadata": USAGE,
        **more,
    }


def call(town: str, **more: Any) -> Json:
    return {"functionCall": {"name": "weather", "args": {"town": town}}, **more}


def translated(given: Json) -> Json:
    return from_gemini(given, created=7, answer_id="chatcmpl-1")


def test_a_whole_answer_is_a_completion() -> None:
    parts = [{"text": "hm", "thought": True}, {"text": "It is "}, {"executableCode": {}}]
    assert translated(reply(candidate(*parts, {"text": "sunny."}, finish="STOP"))) == {
        "id": "resp-1",
        "object": "chat.completion",
        "created": 7,
        "model": "gemini-x",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "It is sunny.",
                    "reasoning_content": "hm",
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": OPENAI_USAGE,
    }


def test_calls_have_ids_of_their_own_and_keep_their_signature() -> None:
    named = {"functionCall": {"id": "fc-9", "name": "now"}}
    given = reply(
        candidate(call("Rome", thoughtSignature="sig"), call("Bonn"), named, finish="STOP")
    )
    answer = translated(given)["choices"][0]
    assert answer["finish_reason"] == "tool_calls"
    assert answer["message"]["content"] is None
    calls = answer["message"]["tool_calls"]
    assert [each["id"] for each in calls] == ["call_resp-1_0_0", "call_resp-1_0_1", "fc-9"]
    assert calls[0]["function"] == {"name": "weather", "arguments": '{"town":"Rome"}'}
    assert calls[2]["function"] == {"name": "now", "arguments": "{}"}
    assert calls[0]["extra_content"] == {"google": {"thought_signature": "sig"}}
    assert "extra_content" not in calls[1]


def test_an_id_made_for_a_call_fits_where_openai_wants_it() -> None:
    given = reply(candidate(call("Rome")), responseId="äé" + "x" * 60 + "/1")
    made = translated(given)["choices"][0]["message"]["tool_calls"][0]["id"]
    assert len(made) <= 40
    assert made.isascii()


def test_an_answer_sent_back_is_what_the_model_said() -> None:
    parts = [{"text": "looking"}, call("Rome", thoughtSignature="sig"), call("Bonn")]
    message = translated(reply(candidate(*parts, finish="STOP")))["choices"][0]["message"]
    again = to_gemini({"messages": [message]}, max_tokens=None, model="gemini-2.5-pro")
    assert again.body["contents"] == [{"role": "model", "parts": parts}]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "stop"),
        ("OTHER", "content_filter"),
        ("UNEXPECTED_TOOL_CALL", "stop"),
        (1, "stop"),
        (2, "length"),
        (3, "content_filter"),
    ],
)
def test_the_reason_for_the_end_is_said(reason: object, finish: str) -> None:
    given = reply({"finishReason": reason})
    assert translated(given)["choices"][0]["finish_reason"] == finish


def test_a_call_cut_by_the_limit_is_not_a_whole_call() -> None:
    given = reply(candidate(call("Rome"), finish="MAX_TOKENS"))
    assert translated(given)["choices"][0]["finish_reason"] == "length"


def test_a_blocked_prompt_is_a_filtered_answer_of_unknown_usage() -> None:
    blocked = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"trafficType": "ON_DEMAND"},
    }
    answer = translated(blocked)
    assert answer["choices"][0]["finish_reason"] == "content_filter"
    assert answer["id"] == "chatcmpl-1"
    assert answer["usage"] is None
    stream = GeminiStream(created=7)
    ends = [chunk["choices"][0]["finish_reason"] for chunk in stream.feed(blocked)]
    assert ends == [None, "content_filter"]
    assert stream.finished
    assert stream.usage == {}


def test_an_answer_without_candidates_still_has_its_usage() -> None:
    answer = translated({"usageMetadata": USAGE})
    assert answer["choices"][0]["message"]["content"] == ""
    assert answer["usage"] == OPENAI_USAGE


def test_something_else_than_an_answer_is_a_broken_answer() -> None:
    with pytest.raises(UpstreamBroken):
        translated({"hello": 1})


def test_nothing_written_is_no_output_but_thoughts_are() -> None:
    usage = gemini_usage({"promptTokenCount": 9, "thoughtsTokenCount": 5, "totalTokenCount": 14})
    assert usage is not None
    assert (usage["completion_tokens"], usage["total_tokens"]) == (5, 14)


def test_images_and_logprobs_come_through() -> None:
    image = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0="}}
    chosen = {"token": "é", "logProbability": -0.5}
    result = {"chosenCandidates": [chosen], "topCandidates": [{"candidates": [chosen]}]}
    given = reply({**candidate(image, finish="STOP"), "logprobsResult": result})
    choice = translated(given)["choices"][0]
    assert choice["message"]["images"][0]["image_url"]["url"] == "data:image/png;base64,iVBORw0="
    said = {"token": "é", "logprob": -0.5, "bytes": [195, 169]}
    assert choice["logprobs"]["content"] == [{**said, "top_logprobs": [said]}]


def played(*pieces: Json) -> tuple[GeminiStream, list[Json]]:
    stream = GeminiStream(created=7, answer_id="chatcmpl-1")
    chunks = [chunk for piece in pieces for chunk in stream.feed(piece)]
    assert all(chunk["id"] == "resp-1" and chunk["model"] == "gemini-x" for chunk in chunks)
    return stream, [chunk["choices"][0] for chunk in chunks]


def test_a_stream_says_the_same_chunk_by_chunk() -> None:
    stream, choices = played(
        reply(candidate({"text": "hm", "thought": True})),
        reply(candidate({"text": "It is "})),
        reply(candidate({"text": "sunny."}, call("Rome", thoughtSignature="sig"))),
        reply(candidate(call("Bonn"))),
        reply(candidate({"text": "", "thoughtSignature": "x"}, finish="STOP")),
    )
    assert [choice["delta"] for choice in choices[:4]] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm"},
        {"content": "It is "},
        {
            "content": "sunny.",
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call_resp-1_0_0",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"town":"Rome"}'},
                    "extra_content": {"google": {"thought_signature": "sig"}},
                }
            ],
        },
    ]
    second = choices[4]["delta"]["tool_calls"][0]
    assert (second["index"], second["id"]) == (1, "call_resp-1_0_1")
    assert choices[5] == {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    assert len(choices) == 6
    assert stream.finished


def test_the_last_usage_with_counts_is_the_usage() -> None:
    early = {"promptTokenCount": 99, "totalTokenCount": 99}
    stream, _ = played(
        reply(candidate({"text": "a"}), usageMetadata=early),
        reply(candidate({"text": "b"}, finish="STOP")),
        reply(usageMetadata={"trafficType": "ON_DEMAND"}),
    )
    assert stream.usage == USAGE
    last = stream.final_usage_chunk()
    assert last["choices"] == []
    assert last["usage"] == OPENAI_USAGE


def test_candidates_end_one_by_one() -> None:
    stream, choices = played(
        reply(candidate({"text": "a"}), candidate({"text": "b"}, index=1)),
        reply(candidate(finish="STOP")),
    )
    assert not stream.finished
    assert [choice["index"] for choice in choices] == [0, 0, 1, 1, 0]
    for chunk in stream.feed(reply(candidate(finish="MAX_TOKENS", index=1))):
        assert chunk["choices"][0]["finish_reason"] == "length"
    assert stream.finished
    assert stream.feed(reply(candidate(finish="STOP"))) == []


def test_an_error_in_the_stream_is_kept() -> None:
    error = {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}
    stream, _ = played(reply(candidate({"text": "a"})), {"error": error})
    assert stream.error == error
    assert not stream.finished
    assert stream.usage == USAGE


def test_a_stream_that_said_nothing_has_no_usage() -> None:
    stream = GeminiStream(created=7)
    assert stream.feed({}) == []
    assert not stream.finished
    assert stream.final_usage_chunk()["usage"] is None
