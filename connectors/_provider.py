"""Who is behind a URL: OpenAI's formats are spoken by many."""

from urllib.parse import urlsplit

PROVIDERS = {
    "api.openai.com": "openai",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.mistral.ai": "mistral_ai",
    "api.x.ai": "x_ai",
    "api.perplexity.ai": "perplexity",
    "api.cohere.ai": "cohere",
    "openrouter.ai": "openrouter",
}
"""OpenTelemetry's `gen_ai.provider.name` by host; another host is its own name."""


def name_provider(url: str) -> str:
    """The provider's name for the log."""
    host = urlsplit(url).hostname or url
    return "azure.ai.openai" if host.endswith(".openai.azure.com") else PROVIDERS.get(host, host)
