"""A Cortex-M4 inside this process: pip-only, deterministic to the instruction."""
