/* Words and numbers of a command. */
#ifndef TESLA_MLPERF_PARSE_H
#define TESLA_MLPERF_PARSE_H

#include <stdbool.h>
#include <stdint.h>

bool tesla_mlperf_equal(const char *one, const char *other);

/* Cuts the next word off `rest`, which then stands behind it; empty when there is none. */
char *tesla_mlperf_next_word(char **rest);

/* Reads a decimal number below 2^32; false for anything else. */
bool tesla_mlperf_parse_number(const char *word, uint32_t *value);

/* The value of a hexadecimal digit, or -1. */
int tesla_mlperf_parse_digit(char digit);

#endif /* TESLA_MLPERF_PARSE_H */
