"""A firmware kept running for any client: the lines that clients open, and the bridge to it."""
