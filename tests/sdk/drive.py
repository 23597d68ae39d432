"""Drives the official OpenAI and Anthropic SDKs through hermux; ends with an error where one of them is not served.

SDK_ORIGIN is hermux's origin and SDK_TOKEN an access token; tests/clients.rs sets both and plays the upstream, whose
models `acme/cut` and `acme/cut-inside` break their streams at an event boundary and inside an event.
"""

import os

import anthropic
import openai

ORIGIN = os.environ["SDK_ORIGIN"]
TOKEN = os.environ["SDK_TOKEN"]
TEXT = "Hello there."
MESSAGES = [{"role": "user", "content": "hi"}]
CUTS = ["acme/cut", "acme/cut-inside"]


def must_raise(kinds, use):
    """Calls `use`, which must fail with one of `kinds`, and returns the failure."""
    try:
        got = use()
    except kinds as error:
        return error
    raise AssertionError(f"a cut stream looks complete: {got!r}")


def chat_text(client, model):
    chunks = client.chat.completions.create(model=model, messages=MESSAGES, stream=True)
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def responses_text(client, model):
    events = client.responses.create(model=model, input="hi", stream=True)
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def drive_openai():
    client = openai.OpenAI(base_url=f"{ORIGIN}/api/v1", api_key=TOKEN, max_retries=0)
    answer = client.chat.completions.create(model="acme/small", messages=MESSAGES)
    assert answer.choices[0].message.content == TEXT, answer
    assert answer.usage.total_tokens == 13, answer
    assert chat_text(client, "acme/small") == TEXT

    assert client.responses.create(model="acme/small", input="hi").output_text == TEXT
    assert responses_text(client, "acme/small") == TEXT

    assert [model.id for model in client.models.list()] == ["acme/small"]
    vector = client.embeddings.create(model="acme/embed", input="hi", encoding_format="float").data[0].embedding
    assert vector == [0.25, -0.5, 0.125], vector

    for model in CUTS:
        must_raise(openai.APIError, lambda: chat_text(client, model))
        must_raise(openai.APIError, lambda: responses_text(client, model))
    # At an event boundary the SDK has a reason to show, not only a broken connection.
    for use in (chat_text, responses_text):
        error = must_raise(openai.APIError, lambda: use(client, "acme/cut"))
        assert not isinstance(error, openai.APIConnectionError), repr(error)

    stranger = openai.OpenAI(base_url=f"{ORIGIN}/v1", api_key="stranger", max_retries=0)
    error = must_raise(openai.AuthenticationError, lambda: stranger.models.list())
    assert error.status_code == 401 and error.body["message"], error


def messages_text(client, model):
    with client.messages.stream(model=model, max_tokens=50, messages=MESSAGES) as stream:
        text = "".join(stream.text_stream)
        stream.get_final_message()
    return text


def raw_messages_text(client, model):
    events = client.messages.create(model=model, max_tokens=50, messages=MESSAGES, stream=True)
    return "".join(event.delta.text for event in events if event.type == "content_block_delta")


def drive_anthropic():
    for credentials in ({"api_key": TOKEN}, {"auth_token": TOKEN}):
        client = anthropic.Anthropic(base_url=f"{ORIGIN}/api", max_retries=0, **credentials)
        answer = client.messages.create(model="acme/small", max_tokens=50, messages=MESSAGES)
        assert answer.content[0].text == TEXT, answer
        assert messages_text(client, "acme/small") == TEXT
        assert raw_messages_text(client, "acme/small") == TEXT
        for model in CUTS:
            must_raise(Exception, lambda: messages_text(client, model))
            must_raise(Exception, lambda: raw_messages_text(client, model))
        error = must_raise(anthropic.APIError, lambda: raw_messages_text(client, "acme/cut"))
        assert not isinstance(error, anthropic.APIConnectionError), repr(error)

    stranger = anthropic.Anthropic(base_url=ORIGIN, api_key="stranger", max_retries=0)
    error = must_raise(
        anthropic.AuthenticationError,
        lambda: stranger.messages.create(model="acme/small", max_tokens=50, messages=MESSAGES),
    )
    assert error.body["error"]["type"] == "authentication_error", error.body


drive_openai()
drive_anthropic()
