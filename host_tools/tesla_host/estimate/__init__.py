"""What a network will cost on a target, told before anything is built."""
