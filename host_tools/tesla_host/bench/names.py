"""Lists of names, as `--only` takes them."""

from tesla_embed.errors import ConfigError


def split_names(text: str) -> tuple[str, ...]:
    """The names of a comma-separated list, each once. Raises `ConfigError` for an empty one."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if "" in names:
        kept = ",".join(filter(None, names)) or "one name or more"
        raise ConfigError(f"--only {text!r} has an empty name; write {kept}")
    return names
