"""The serial link: byte pipes, frames, typed replies, the client."""
