"""What an inference costs in energy: the export of a current probe, aligned with a profile."""
