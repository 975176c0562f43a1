/* What the harnesses share: a board without a line, and a check. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* libFuzzer's entry: one input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How often the board's counters were read. */
extern uint64_t fuzz_counter_reads;

/* Ends the program, which is a finding, unless `condition` holds. */
void fuzz_expect(bool condition, const char *what);

#endif /* FUZZ_H */
