"""The base models of all providers: their training methods, aliases and shutdown dates."""

from __future__ import annotations

from dataclasses import dataclass

CHAT = frozenset({"supervised"})
CHAT_AND_PREFERENCE = frozenset({"supervised", "dpo"})
EVERY_METHOD = CHAT_AND_PREFERENCE | {"reinforcement"}


@dataclass(frozen=True)
class Base:
    """A base model; `methods` is empty if it cannot be tuned."""

    id: str
    created: int
    methods: frozenset[str] = frozenset()
    shutdown_date: str | None = None
    chat: bool = True
    multiplier: float = 2.0
    """The learning rate multiplier that "auto" stands for."""
    provider: str = "openai"
    """The provider of the model. OpenAI's are available at Azure too."""


BASES = {
    base.id: base
    for base in (
        # OpenAI's dates are from its deprecations page of 2026.
        Base("babbage-002", 1692634615, CHAT, "2026-09-28", chat=False),
        Base("davinci-002", 1692634301, CHAT, "2026-09-28", chat=False),
        Base("gpt-3.5-turbo-0613", 1686587434, CHAT, "2024-09-13"),
        Base("gpt-3.5-turbo-1106", 1698959748, CHAT, "2026-09-28"),
        Base("gpt-3.5-turbo-0125", 1706048358, CHAT, "2026-10-23"),
        Base("gpt-4-0613", 1686588896, CHAT, "2026-10-23"),
        Base("gpt-4o-2024-08-06", 1722814719, CHAT_AND_PREFERENCE, "2027-01-14"),
        Base("gpt-4o-mini-2024-07-18", 1721172717, CHAT_AND_PREFERENCE, "2027-01-14", multiplier=1.8),
        Base("gpt-4.1-2025-04-14", 1744315746, CHAT_AND_PREFERENCE, "2027-01-14"),
        Base("gpt-4.1-mini-2025-04-14", 1744317547, CHAT_AND_PREFERENCE, "2027-01-14"),
        Base("gpt-4.1-nano-2025-04-14", 1744321025, CHAT_AND_PREFERENCE, "2026-10-23", multiplier=0.1),
        Base("o4-mini-2025-04-16", 1744133506, frozenset({"reinforcement"}), "2026-10-23", multiplier=1.0),
        Base("gpt-5-2025-08-07", 1754524800, shutdown_date="2026-12-11"),
        Base("gpt-5-mini-2025-08-07", 1754524801, shutdown_date="2026-12-11"),
        Base("meta-llama/Meta-Llama-3.1-8B-Instruct-Reference", 0, CHAT_AND_PREFERENCE, provider="together"),
        Base("Qwen/Qwen3-32B", 0, CHAT_AND_PREFERENCE, provider="together"),
        Base("accounts/fireworks/models/llama-v3p1-8b-instruct", 0, EVERY_METHOD, provider="fireworks"),
        Base("accounts/fireworks/models/qwen3-30b-a3b", 0, EVERY_METHOD, provider="fireworks"),
        Base("gemini-2.5-flash", 0, CHAT_AND_PREFERENCE, provider="vertex"),
        Base("gemini-2.5-flash-lite", 0, CHAT_AND_PREFERENCE, provider="vertex"),
        Base("amazon.nova-lite-v1:0:300k", 0, EVERY_METHOD, provider="bedrock"),
        Base("anthropic.claude-3-haiku-20240307-v1:0:200k", 0, CHAT, provider="bedrock"),
    )
}
ALIASES = {
    "gpt-3.5-turbo": "gpt-3.5-turbo-0125",
    "gpt-4": "gpt-4-0613",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
    "o4-mini": "o4-mini-2025-04-16",
    "gpt-5": "gpt-5-2025-08-07",
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
}


def base_name(model: str) -> str:
    """The base model in a model's name: OpenAI's tuned models start with `ft:`, Azure's contain `.ft-`."""
    if model.startswith("ft:") and ":" in model[3:]:
        return model.split(":")[1]
    return model.partition(".ft-")[0]


def is_tuned(model: str) -> bool:
    """Whether this is the name of a tuned model."""
    return model.startswith("ft:") or ".ft-" in model


def base_of(model: str) -> Base | None:
    """The base model of a snapshot, an alias or a tuned model."""
    name = base_name(model)
    return BASES.get(ALIASES.get(name, name))
