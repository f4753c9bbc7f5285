"""Checks examples in the formats of Bedrock, Anthropic and Gemini."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from monitor.dataset.messages import BadExample, Example, Message, check_turns, shown
from monitor.dataset.rules import Format, Images, OtherKeys, Rules, Schema

_BLOCKS: Final = frozenset(
    {"text", "image", "video", "document", "reasoningContent", "toolUse", "toolResult", "cachePoint"}
)
_PARTS: Final = ("text", "fileData", "inlineData", "functionCall", "functionResponse", "executableCode")
_MEDIA: Final = frozenset({"image", "video"})
_TOP: Final = {
    Schema.CONVERSE: frozenset({"schemaVersion", "system", "messages", "toolConfig"}),
    Schema.ANTHROPIC: frozenset({"system", "messages"}),
    Schema.GEMINI: frozenset({"contents", "systemInstruction", "tools", "toolConfig", "completions", "references"}),
}


def other_keys(example: Example, rules: Rules) -> Iterator[str]:
    """Describe top-level keys that the format does not define."""
    named = _TOP[rules.schema]
    return (f"has an unknown key: {shown(key)}" for key in example if _camel(key) not in named)


def answers(example: Example, rules: Rules) -> list[object]:
    """The answers of a valid example: the content of its last message, or of the preferred and the other output.

    An answer that consists of one text is returned as that text.
    """
    if rules.schema is Schema.GEMINI:
        pair = [one["completion"] for one in example.get("completions", ())]
        turns = pair or [turn for turn in example["contents"][-1:] if turn["role"] == "model"]
        return [_content_of(turn["parts"]) for turn in turns]
    last = example["messages"][-1]
    return [_content_of(one["content"]) for one in last.get("candidates", (last,))]


def _content_of(blocks: object) -> object:
    match blocks:
        case [{"text": str(text), **other}] if not other:
            return text
    return blocks


def texts(example: Example) -> Iterator[str]:
    """All texts of an example at any depth, except media addresses and other technical values."""
    for key, value in example.items():
        if isinstance(value, str):
            if key not in {"role", "schemaVersion", "format", "uri", "fileUri", "mimeType", "data", "preferenceLabel"}:
                yield value
        elif isinstance(value, dict):
            yield from texts(value)
        elif isinstance(value, list):
            yield from (text for item in value if isinstance(item, str | dict) for text in texts({"": item}))


def images_in(example: Example) -> int:
    """The number of images and videos in an example."""
    turns = [*example.get("messages", ()), *example.get("contents", ())]
    blocks = [part for turn in turns for part in _list(turn.get("content")) + _list(turn.get("parts"))]
    return sum(
        bool(isinstance(part, dict) and part.keys() & {"image", "video", "fileData", "file_data"}) for part in blocks
    )


def check_converse(example: Example, rules: Rules) -> None:
    """Check an example for Bedrock. Raises BadExample.

    https://docs.aws.amazon.com/nova/latest/userguide/fine-tune-prepare-data-understanding.html
    """
    for block in _objects(example.get("system", []), '"system"'):
        _text(block, '"system"')
    turns = _turns(example, "messages", rules)
    if turns[0]["role"] != "user":
        raise BadExample(f"begins with a message from the {turns[0]['role']}, where one from the user is expected")
    pairs = rules.format is Format.PREFERENCE
    for number, turn in enumerate(turns, start=1):
        if pairs and number == len(turns):
            _check_candidates(turn, f"message {number}")
        else:
            _check_blocks(turn.get("content"), turn["role"], f"message {number}", rules)
    if rules.images and rules.images.most is not None:
        _check_media(turns, rules.images)
    for text in texts(example) if rules.reserved else ():
        if word := next((word for word in rules.reserved if word in text), None):
            raise BadExample(f"has the reserved word {shown(word)} in a text")


def _check_blocks(content: object, role: str, at: str, rules: Rules) -> None:
    blocks = _objects(content, f'"content" of {at}')
    if not blocks:
        raise BadExample(f"{at} has no content")
    kinds = [_one_of(_BLOCKS, block, at) for block in blocks]
    for kind, block in zip(kinds, blocks, strict=True):
        if kind == "text":
            _text(block, at)
    if _MEDIA & set(kinds) and (rules.images is None or role != "user"):
        raise BadExample(
            f"{at} has an image or a video, which " + ("only the user can send" if rules.images else "is not taken")
        )
    if "reasoningContent" in kinds and role != "assistant":
        raise BadExample(f"{at} has reasoning, which only the assistant can have")
    if kinds == ["text"] and not blocks[0]["text"]:
        raise BadExample(f"{at} has an empty text")


def _check_media(turns: list[Message], images: Images) -> None:
    media = [
        (f"message {number}", kind, block[kind])
        for number, turn in enumerate(turns, start=1)
        for block in _list(turn.get("content"))
        for kind in sorted(_MEDIA & block.keys())
    ]
    kinds = [kind for _, kind, _ in media]
    if kinds.count("image") > (images.most or 0) or kinds.count("video") > 1 or len(set(kinds)) > 1:
        raise BadExample(f"has more than {images.most} images, more than one video, or both")
    for at, kind, item in media:
        form = item.get("format") if isinstance(item, dict) else None
        if kind == "image" and form is not None and form not in images.types:
            raise BadExample(f"{at} has an image whose format is not one of {', '.join(images.types)}: {shown(form)}")
        address = item
        for key in ("source", "s3Location", "uri"):
            address = address.get(key) if isinstance(address, dict) else None
        if not isinstance(address, str) or not address.startswith("s3://"):
            raise BadExample(f"{at} has {kind} without source.s3Location.uri of s3://…")


def _check_candidates(turn: Message, at: str) -> None:
    candidates = _objects(turn.get("candidates"), f'"candidates" of {at}')
    labels = {str(candidate.get("preferenceLabel")).lower() for candidate in candidates}
    if labels != {"preferred", "non-preferred"}:
        raise BadExample(f'{at} should have candidates with preferenceLabel "preferred" and "non-preferred"')
    for candidate in candidates:
        for block in _objects(candidate.get("content"), f'"content" of a candidate of {at}'):
            if _MEDIA & block.keys():
                raise BadExample(f"{at} has an image or a video in a candidate")


def check_anthropic(example: Example, rules: Rules) -> None:
    """Check an example for Claude on Bedrock. Raises BadExample.

    https://platform.claude.com/cookbook/finetuning-finetuning-on-bedrock
    """
    if not isinstance(example.get("system", ""), str):
        raise BadExample('"system" is not a text')
    turns = _turns(example, "messages", rules)
    for number, turn in enumerate(turns, start=1):
        if not isinstance(turn.get("content"), str) or not turn["content"]:
            raise BadExample(f"message {number} has no text as content")
        for key in turn.keys() - {"role", "content"}:
            raise BadExample(f"message {number} has an unknown key: {shown(key)}")
    if turns[0]["role"] != "user":
        raise BadExample(f"begins with a message from the {turns[0]['role']}, where one from the user is expected")
    for problem in other_keys(example, rules) if rules.other_keys is OtherKeys.REFUSED else ():
        raise BadExample(problem)


def check_gemini(example: Example, rules: Rules) -> None:
    """Check an example for Gemini. Raises BadExample.

    https://docs.cloud.google.com/vertex-ai/generative-ai/docs/models/gemini-supervised-tuning-prepare
    """
    given = {_camel(key): value for key, value in example.items()}
    if "systemInstruction" in given:
        _check_parts(given["systemInstruction"], '"systemInstruction"', images=False)
    for number, turn in enumerate(_turns(example, "contents", rules), start=1):
        _check_parts(turn, f"message {number}", images=rules.images is not None)
    if rules.format is Format.PREFERENCE:
        _check_completions(given.get("completions"))
    references = given.get("references", {})
    if not isinstance(references, dict) or not all(isinstance(value, str) for value in references.values()):
        raise BadExample('"references" is not an object of texts')


def _check_parts(turn: object, at: str, *, images: bool) -> None:
    parts = _objects(turn.get("parts") if isinstance(turn, dict) else None, f'"parts" of {at}')
    if not parts:
        raise BadExample(f"{at} has no parts")
    for part in parts:
        named = {_camel(key): value for key, value in part.items()}
        kind = _one_of(_PARTS, named, at)
        if kind == "text":
            _text(part, at)
        elif kind in {"fileData", "inlineData"} and not images:
            raise BadExample(f"{at} has a file, which is not taken")
        elif kind == "fileData" and not _text_keys(named["fileData"]) >= {"mimeType", "fileUri"}:
            raise BadExample(f"{at} has fileData without mimeType and fileUri")
        elif kind == "fileData" and not _address(named["fileData"]).startswith(("gs://", "https://", "http://")):
            raise BadExample(f"{at} has fileData whose fileUri is neither gs://… nor a web address")


def _check_completions(completions: object) -> None:
    pair = _objects(completions, '"completions"')
    if sorted(str(one.get("score")) for one in pair) not in (["0", "1"], ["0.0", "1.0"]):
        raise BadExample('"completions" should be two, one with score 1 and one with score 0')
    for one in pair:
        turn = one.get("completion")
        if not isinstance(turn, dict) or turn.get("role") != "model":
            raise BadExample('"completions" has one that is not from the model')
        _check_parts(turn, '"completion"', images=False)


def _turns(example: Example, key: str, rules: Rules) -> list[Message]:
    """The messages, checked for roles that the rules allow and for their order. Raises BadExample."""
    if key not in example:
        raise BadExample(f'has no "{key}"')
    turns: list[Message] = [*_objects(example[key], f'"{key}"')]
    if not turns:
        raise BadExample(f'"{key}" is an empty list')
    for number, turn in enumerate(turns, start=1):
        if turn.get("role") not in rules.roles:
            named = " or ".join(sorted(rules.roles & {"user", "assistant", "model"}))
            raise BadExample(f"message {number} has the role {shown(turn.get('role'))}, where {named} is expected")
    roles = [turn["role"] for turn in turns]
    if rules.alternate:
        check_turns(roles)
    if roles[-1] != rules.last:
        raise BadExample(f"ends with a message from the {roles[-1]}, where one from the {rules.last} is expected")
    return turns


def _objects(value: object, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadExample(f"{where} is not a list of objects" if value is not None else f"has no {where}")
    return value


def _one_of(kinds: Iterable[str], block: Mapping[str, Any], at: str) -> str:
    found = [kind for kind in kinds if kind in block]
    if len(found) != 1:
        raise BadExample(f"{at} has a part that is not exactly one of text, media and tool use")
    return found[0]


def _text(block: Mapping[str, Any], at: str) -> None:
    if not isinstance(block.get("text"), str):
        raise BadExample(f"{at} has a part whose text is not a string")


def _text_keys(value: object) -> set[str]:
    return {_camel(key) for key, item in value.items() if isinstance(item, str)} if isinstance(value, dict) else set()


def _address(file: Mapping[str, Any]) -> str:
    return str(next(value for key, value in file.items() if _camel(key) == "fileUri"))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _camel(key: str) -> str:
    """The key in camel case: protocol buffers' JSON accepts `system_instruction` for `systemInstruction`."""
    head, *rest = key.split("_")
    return head + "".join(part.title() for part in rest)
