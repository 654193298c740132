"""Drives Lux's /v1 with the official client. The test that runs it has prepared the model behind
Lux: each section says with what."""

import os
import sys

import openai

BASE = os.environ["LUX_BASE"] + "/v1"
ASK = {"model": "lux", "messages": [{"role": "user", "content": "Tell me about baskets"}]}


def client(token):
    return openai.OpenAI(base_url=BASE, api_key=token, max_retries=0, timeout=60)


operator, reader = client(os.environ["LUX_OPERATOR"]), client(os.environ["LUX_READ"])


def refused(kind, code, param=None, lux=operator, **changes):
    try:
        lux.chat.completions.create(**{**ASK, **changes})
    except openai.APIStatusError as error:
        assert type(error) is kind, (kind, error)
        assert error.code == code and error.param == param, (error.code, error.param, error)
        assert error.request_id, error
        return error.message
    raise AssertionError(f"{changes} was not refused")


def models():
    assert [model.id for model in reader.models.list()] == ["lux"]
    assert reader.models.retrieve("lux").owned_by == "lux"
    try:
        reader.models.retrieve("gpt-9")
        raise AssertionError("there is no gpt-9")
    except openai.NotFoundError as error:
        assert error.code == "model_not_found", error


def errors():
    said = refused(openai.AuthenticationError, "invalid_api_key", lux=client("lux_" + "A" * 43))
    assert "token" in said, said
    refused(openai.PermissionDeniedError, "denied", lux=reader)
    said = refused(openai.NotFoundError, "model_not_found", "model", model="gpt-4o")
    assert "`lux`" in said, said
    refused(openai.BadRequestError, "invalid_value", "messages", messages=[])
    refused(openai.BadRequestError, "invalid_value", "messages",
            messages=[{"role": "assistant", "content": "Hello"}])
    refused(openai.BadRequestError, "invalid_value", "messages[0].content",
            messages=[{"role": "user", "content": " "}])
    refused(openai.BadRequestError, "invalid_value", "messages[0].role",
            messages=[{"role": "root", "content": "Hello"}] + ASK["messages"])
    refused(openai.BadRequestError, "string_above_max_length", "messages[0].content",
            messages=[{"role": "user", "content": "x" * 40_000}])
    refused(openai.BadRequestError, "array_above_max_length", "messages",
            messages=ASK["messages"] * 2049)
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    refused(openai.BadRequestError, "unsupported_value", "messages[0].content[0]",
            messages=[{"role": "user", "content": [image]}])
    refused(openai.BadRequestError, "unsupported_value", "n", n=2)
    refused(openai.BadRequestError, "unsupported_value", "response_format",
            response_format={"type": "json_object"})
    refused(openai.BadRequestError, "unsupported_value", "tool_choice", tool_choice="required")
    refused(openai.BadRequestError, "invalid_value", "stream_options",
            stream_options={"include_usage": True})


def plain():
    """The model says "It was the plum."."""
    tool = {"type": "function", "function": {"name": "rm", "parameters": {"type": "object"}}}
    answer = operator.chat.completions.create(
        model="lux", temperature=0.1, max_tokens=5, tools=[tool], user="ada", seed=7,
        messages=[
            {"role": "system", "content": "Answer in one line. Please fix the errors."},
            {"role": "user", "content": "fix it"},
            {"role": "assistant", "content": "The word is plum."},
            {"role": "tool", "tool_call_id": "1", "content": "from a tool of the client"},
            {"role": "user", "content": [{"type": "text", "text": "Tell me the word"}]},
        ])
    assert answer.id.startswith("chatcmpl-") and answer.model == "lux", answer
    assert answer.object == "chat.completion" and answer.created > 1_700_000_000, answer
    [choice] = answer.choices
    assert choice.message.role == "assistant" and choice.finish_reason == "stop", answer
    assert choice.message.content == "It was the plum.", answer
    assert answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0, answer
    assert answer.lux["engine"] == "model" and answer.lux["run_id"] is None, answer
    assert answer.lux["notice"] is None and answer.lux["citations"] == [], answer


def cut():
    """The model's answer reaches its limit."""
    [choice] = operator.chat.completions.create(**ASK).choices
    assert choice.finish_reason == "length", choice
    assert "was cut after" in choice.message.content, choice


def streamed():
    """The model looks into the logs, then cites a line, and quotes one that is not there."""
    chunks = list(operator.chat.completions.create(
        **ASK, stream=True, stream_options={"include_usage": True}))
    assert len({chunk.id for chunk in chunks}) == 1, chunks
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}, chunks
    first, *middle, last, used = chunks
    assert first.choices[0].delta.role == "assistant", first
    assert len(middle) > 3, "the words come as they are said"
    text = "".join(chunk.choices[0].delta.content for chunk in middle)
    assert text.startswith("It says `KeyError: 'sku'` [1], and \"it is on fire\" [1]."), text
    assert "not found in what was read" in text, text
    assert all(chunk.choices[0].finish_reason is None for chunk in [first, *middle]), chunks
    assert last.choices[0].finish_reason == "stop", last
    assert last.lux["citations"][0]["source"] == "app", last
    assert last.lux["unproven"] == ["it is on fire"], last
    assert "(unproven)" in last.lux["text"], last
    assert used.choices == [] and used.usage.total_tokens > 0, used
    assert all(chunk.usage is None for chunk in chunks[:-1]), chunks


def fallback():
    """The model breaks off in the middle, then fails at once."""
    chunks = list(operator.chat.completions.create(**ASK, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text.startswith("It is beyond") and "\n\nThe model did not answer that." in text, text
    assert "\n\nAnswered without the model: " in text, text
    assert chunks[-1].lux["engine"] == "advisor", chunks[-1]
    answer = operator.chat.completions.create(**ASK)
    assert answer.choices[0].message.content.count("Answered without the model: ") == 1, answer
    assert answer.lux["engine"] == "advisor" and answer.usage.total_tokens == 0, answer


def repair():
    """There is one open error."""
    answer = operator.chat.completions.create(
        model="lux", messages=[{"role": "user", "content": "please fix the errors"}])
    assert isinstance(answer.lux["run_id"], int), answer
    assert answer.lux["repair_results"]["total_errors"] == 1, answer
    stream = operator.chat.completions.create(
        model="lux", stream=True, messages=[{"role": "user", "content": "fix it"}])
    assert list(stream)[-1].lux["run_id"] > 0


for section in sys.argv[1:]:
    globals()[section]()
