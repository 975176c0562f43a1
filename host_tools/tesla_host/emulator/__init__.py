"""A Cortex-M inside this process: pip-only, deterministic to the instruction."""
