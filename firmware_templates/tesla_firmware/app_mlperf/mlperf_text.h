/* Text of the benchmark's protocol: words and decimal numbers, sent as they are made.
 *
 * Nothing is collected in memory and nothing needs printf: numbers are made with integers only. */
#ifndef TESLA_MLPERF_TEXT_H
#define TESLA_MLPERF_TEXT_H

#include <stdint.h>

void tesla_mlperf_put(const char *text);

/* Sends text that came from outside: whatever cannot be printed becomes '?'. */
void tesla_mlperf_put_foreign(const char *text);

/* Two lower-case hexadecimal digits. */
void tesla_mlperf_put_hex(uint8_t byte);

void tesla_mlperf_put_number(uint64_t value);

/* Sends factor * scale with three decimals, for a finite scale >= 0 and |factor| < 512: the exact
 * product, ties to the even digit, so as printf writes it; a small negative one is "-0.000". */
void tesla_mlperf_put_product(float scale, int32_t factor);

/* The same of one value; also "inf" and "nan". From 2^64 on, the largest integer below it. */
void tesla_mlperf_put_double(double value);

/* Sends "e-[text]" and the end of the line. */
void tesla_mlperf_put_error(const char *text);

#endif /* TESLA_MLPERF_TEXT_H */
