"""The rules that providers publish for training files: a table with a row per format and family of models.

`estimate` rejects what a row forbids and warns of keys that it does not define. Every row names its source; what the
vendor's pages leave open is not checked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto
from typing import Final

from monitor.providers.openai.naming import base_model


class Format(StrEnum):
    """The format of the examples in a training file."""

    CHAT = "chat"
    PREFERENCE = "preference"
    REINFORCEMENT = "reinforcement"
    COMPLETION = "completion"
    TEXT = "text"


METHODS: Final = {Format.PREFERENCE: "dpo", Format.REINFORCEMENT: "reinforcement"}
"""The training methods of the formats; all other formats are for supervised training."""


class Schema(Enum):
    """The vocabulary of keys in which an example is written."""

    OPENAI = auto()
    """OpenAI's `messages` with `role` and `content`."""
    CONVERSE = auto()
    """Bedrock's `bedrock-conversation-2024`: content is a list of blocks, the system prompt is a key of its own."""
    ANTHROPIC = auto()
    """Anthropic's `system` and `messages`, whose contents are texts."""
    GEMINI = auto()
    """Gemini's `contents` with `role` and `parts`."""


class OtherKeys(Enum):
    """How keys are treated that a format does not define."""

    REFUSED = auto()
    IGNORED = auto()
    """A warning, since the provider publishes nothing about them."""
    KEPT = auto()
    """They are passed to the grader; only the keys of messages are checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """The images that an example may contain."""

    most: int | None = None
    types: tuple[str, ...] = ()
    """The subtypes of `image/` that a data URL may have; empty: any."""
    embedded: bool = False
    """Whether only data URLs are allowed, and no web addresses."""
    details: tuple[str, ...] = ()
    """The allowed values of `detail`; empty: any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of one provider for one format and some models."""

    provider: str
    format: Format
    source: str
    """The page on which they are published."""
    models: str = ""
    """A regular expression for the base models to which they apply."""
    schema: Schema = Schema.OPENAI
    fewest: int = 1
    """The minimum number of examples in a file."""
    most: int | None = None
    other_keys: OtherKeys = OtherKeys.IGNORED
    roles: frozenset[str] = frozenset({"system", "user", "assistant", "tool"})
    weighted: frozenset[str] = frozenset({"assistant"})
    """The roles whose messages may have a `weight` of 0 or 1."""
    first: tuple[str, ...] = ()
    """The roles that the first message may have; empty: any."""
    last: str | None = None
    """The role that the last message must have."""
    open_input: bool = False
    """Whether the input of a preference must not end with a message from the assistant."""
    system_first: bool = False
    """Whether only the first message may be a system message."""
    alternate: bool = False
    """Whether user and assistant must alternate."""
    images: Images | None = None
    vision: str = ""
    """A regular expression for the base models that can be trained with images."""
    output_roles: frozenset[str] = frozenset({"assistant"})
    one_output: bool = True
    """Whether each output of a preference must be exactly one message."""
    one_format: bool = False
    """Whether a line with the keys of two formats is rejected."""
    call_ids: bool = True
    """Whether a tool call needs an `id` and a `type`, and a tool's definition a `type` and a valid name."""
    reserved: tuple[str, ...] = ()
    """Words that no text may contain."""
    byte_order_mark: bool = False
    """Whether the file should begin with one."""


# https://platform.openai.com/docs/api-reference/fine-tuning (chat-input, preference-input, reinforcement-input) defines
# roles and keys; the guides define the last message, images and the minimum number of examples.
_GUIDES: Final = "https://developers.openai.com/api/docs/guides/"
_WEB_IMAGES: Final = Images(most=64, types=("jpeg", "png", "webp"), details=("auto", "low", "high"))
_COMPLETION_MODELS: Final = r"(?:babbage|davinci|curie|ada)\b"
_CHAT: Final = Rules(
    provider="openai", format=Format.CHAT, source=_GUIDES + "supervised-fine-tuning",
    models=rf"^(?!{_COMPLETION_MODELS}|o\d)", fewest=10, other_keys=OtherKeys.REFUSED,
    roles=frozenset({"system", "developer", "user", "assistant", "tool", "function"}), last="assistant",
    images=_WEB_IMAGES,  # guides/vision-fine-tuning
    vision=r"^gpt-4o(?:-2024-08-06)?$",
)  # fmt: skip
_PREFERENCE: Final = replace(
    _CHAT, format=Format.PREFERENCE, source=_GUIDES + "direct-preference-optimization", last=None, images=None,
    vision="",
)  # fmt: skip
_REINFORCEMENT: Final = replace(
    _CHAT, format=Format.REINFORCEMENT, source=_GUIDES + "reinforcement-fine-tuning",
    models=rf"^(?!gpt-[34]|{_COMPLETION_MODELS})", other_keys=OtherKeys.KEPT,
    roles=frozenset({"developer", "user", "assistant", "tool"}), last="user", vision="",
)  # fmt: skip
_COMPLETION: Final = replace(
    _CHAT, format=Format.COMPLETION,
    source="https://platform.openai.com/docs/api-reference/fine-tuning/completions-input", models=r"^(?!gpt-|o\d)",
    last=None,
)  # fmt: skip
_AZURE: Final = "https://learn.microsoft.com/azure/foundry/openai/how-to/"

_TOGETHER: Final = Rules(
    provider="together", format=Format.CHAT, source="https://docs.together.ai/docs/fine-tuning/data-preparation",
    weighted=frozenset({"system", "user", "assistant", "tool"}), first=("system", "user"), system_first=True,
    alternate=True, open_input=True,
    images=Images(most=10, types=("jpeg", "png", "webp"), embedded=True),  # docs/fine-tuning/vision
    one_format=True, call_ids=False,
)  # fmt: skip
_FIREWORKS: Final = Rules(
    provider="fireworks", format=Format.CHAT, source="https://docs.fireworks.ai/fine-tuning/fine-tuning-models",
    fewest=3, most=3_000_000, weighted=frozenset({"system", "user", "assistant", "tool"}), system_first=True,
    images=Images(types=("jpeg", "jpg", "png"), embedded=True),  # fine-tuning/fine-tuning-vlm
    call_ids=False,
)  # fmt: skip
_GEMINI: Final = Rules(
    provider="vertex", format=Format.CHAT,
    source="https://docs.cloud.google.com/vertex-ai/generative-ai/docs/models/gemini-supervised-tuning-prepare",
    models="gemini", schema=Schema.GEMINI, roles=frozenset({"user", "model", "function", "tool"}), last="model",
    images=Images(),
)  # fmt: skip
_VERTEX_OPEN: Final = Rules(
    provider="vertex", format=Format.CHAT,
    source="https://docs.cloud.google.com/vertex-ai/generative-ai/docs/models/open-model-tuning",
    models="^(?!.*gemini)", last="assistant",
)  # fmt: skip
_NOVA: Final = Rules(
    provider="bedrock",
    format=Format.CHAT,
    # The same rules as code: https://github.com/aws-samples/amazon-nova-samples, nova_ft_dataset_validator.py
    source="https://docs.aws.amazon.com/nova/latest/userguide/fine-tune-prepare-data-understanding.html",
    models="nova",
    schema=Schema.CONVERSE,
    fewest=8,
    most=20_000,
    roles=frozenset({"user", "assistant"}),
    last="assistant",
    alternate=True,
    images=Images(most=10, types=("jpeg", "png", "gif", "webp")),
    vision="^(?!.*micro)",
    reserved=(
        *("System:", "SYSTEM:", "User:", "USER:", "Bot:", "BOT:", "Assistant:", "ASSISTANT:", "Thought:"),
        *("[EOS]", "<image>", "<video>", "<unk>"),
    ),
)
_BEDROCK_RFT: Final = Rules(
    provider="bedrock", format=Format.REINFORCEMENT,
    source="https://docs.aws.amazon.com/bedrock/latest/userguide/rft-prepare-data.html",
    models="^(?!.*(?:claude|anthropic|titan))", fewest=100, most=20_000, other_keys=OtherKeys.KEPT, system_first=True,
)  # fmt: skip
_BEDROCK_TEXT: Final = Rules(
    provider="bedrock", format=Format.COMPLETION,
    source="https://docs.aws.amazon.com/bedrock/latest/userguide/preparing-text-data.html",
    models="^(?!.*(?:nova|claude|anthropic))",
)  # fmt: skip
_CLAUDE: Final = Rules(
    provider="bedrock", format=Format.CHAT,
    source="https://platform.claude.com/cookbook/finetuning-finetuning-on-bedrock", models="claude|anthropic",
    schema=Schema.ANTHROPIC, fewest=32,  # and the most: docs.aws.amazon.com/general/latest/gr/bedrock.html
    most=10_000, other_keys=OtherKeys.REFUSED, roles=frozenset({"user", "assistant"}), last="assistant",
    alternate=True,
)  # fmt: skip

RULES: Final = (
    _CHAT,
    _PREFERENCE,
    _REINFORCEMENT,
    _COMPLETION,
    replace(
        _CHAT, provider="azure", source=_AZURE + "fine-tuning", vision=r"^gpt-4(?:o|\.1)(?:-\d{4}|$)",
        byte_order_mark=True,
    ),
    replace(
        _PREFERENCE, provider="azure", source=_AZURE + "fine-tuning-direct-preference-optimization",
        output_roles=frozenset({"assistant", "tool"}), one_output=False, byte_order_mark=True,
    ),
    replace(
        _REINFORCEMENT, provider="azure", source=_AZURE + "reinforcement-fine-tuning", images=None, most=50_000,
        byte_order_mark=True,
    ),
    replace(_COMPLETION, provider="azure", source=_AZURE + "fine-tuning", byte_order_mark=True),
    _TOGETHER,
    replace(_TOGETHER, format=Format.COMPLETION),
    replace(_TOGETHER, format=Format.PREFERENCE, source="https://docs.together.ai/docs/fine-tuning/preference-tuning"),
    replace(_TOGETHER, format=Format.TEXT),
    _FIREWORKS,
    replace(_FIREWORKS, format=Format.PREFERENCE, source="https://docs.fireworks.ai/fine-tuning/dpo-fine-tuning"),
    replace(
        _FIREWORKS, format=Format.REINFORCEMENT,
        source="https://fireworks.ai/docs/fine-tuning/reinforcement-fine-tuning-models", other_keys=OtherKeys.KEPT,
    ),
    _GEMINI,
    replace(
        _GEMINI, format=Format.PREFERENCE,
        source="https://docs.cloud.google.com/vertex-ai/generative-ai/docs/models/gemini-preference-tuning-prepare",
        last="user", images=None, most=10_000_000,
    ),
    replace(
        _GEMINI,
        format=Format.REINFORCEMENT,
        source="https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/tuning/reinforcement-tuning/"
        "reinforcement-tuning-job/tuning-dataset",
        last="user",
        most=5_000,
    ),
    _VERTEX_OPEN,
    replace(_VERTEX_OPEN, format=Format.COMPLETION, last=None),
    _NOVA,
    replace(_NOVA, format=Format.PREFERENCE),
    _CLAUDE,
    _BEDROCK_TEXT,
    replace(
        _BEDROCK_TEXT, format=Format.CHAT, schema=Schema.CONVERSE, roles=frozenset({"user", "assistant"}),
        last="assistant", alternate=True,
    ),
    _BEDROCK_RFT,
)  # fmt: skip

PROVIDERS: Final = tuple(dict.fromkeys(rules.provider for rules in RULES))


def lenient(form: Format) -> Rules:
    """Rules for a file that a provider has accepted: every line that can be counted is valid."""
    return Rules(
        provider="",
        format=form,
        source="",
        other_keys=OtherKeys.KEPT,
        roles=_CHAT.roles,
        weighted=_CHAT.roles,
        images=Images(),
        output_roles=_CHAT.roles,
        one_output=False,
        call_ids=False,
    )


def applicable(provider: str, model: str, method: str | None) -> tuple[Rules, ...]:
    """The rows for a model and, where one is given, a method. A model that no row matches gets all rows of the method.

    Empty where the provider publishes nothing for the method.
    """
    offered = [
        rules
        for rules in RULES
        if rules.provider == provider and method in {None, METHODS.get(rules.format, "supervised")}
    ]
    base = base_model(model).lower()
    return tuple(rules for rules in offered if re.search(rules.models, base)) or tuple(offered)


def chosen(rows: Sequence[Rules], seen: Format | None) -> Rules:
    """The row for the format that a file seems to have; the first row where none has it."""
    return next((rules for rules in rows if rules.format is seen), rows[0])


# https://platform.openai.com/docs/guides/supervised-fine-tuning and the earlier guide on fine-tuning, "token limits".
_LIMITS: Final = (
    ("gpt-4.1", 65_536),
    ("gpt-4o", 65_536),
    ("gpt-4-0613", 8_192),
    ("gpt-3.5-turbo-0613", 4_096),
    ("gpt-3.5-turbo", 16_385),
    ("babbage-002", 16_384),
    ("davinci-002", 16_384),
)


def example_limit(model: str) -> int | None:
    """The maximum number of tokens per example, beyond which training truncates it; None if it is unknown."""
    base = base_model(model)
    return next((limit for family, limit in _LIMITS if base.startswith(family)), None)
