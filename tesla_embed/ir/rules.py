"""How the verifier's rules fail: with a `GraphError` that names the place and the rule."""

from tesla_embed.errors import GraphError


def require(holds: bool, where: str, what: str) -> None:
    """Raise `GraphError` unless the rule `holds`."""
    if not holds:
        raise GraphError(f"{where}: {what}", where)
