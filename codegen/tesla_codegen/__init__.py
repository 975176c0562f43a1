"""Turn a quantised model into a C99 project: plan the memory, lower, render, write."""
