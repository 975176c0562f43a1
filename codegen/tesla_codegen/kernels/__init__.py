"""Kernels of an instruction set: which C function computes an operation, and what it needs."""
