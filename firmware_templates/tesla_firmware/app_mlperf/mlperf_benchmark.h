/* The four benchmarks: what one input looks like on the wire, and what a result is.
 *
 *   kws01   int8, as the model takes it          the outputs, as real numbers
 *   ic01    uint8; the model gets each less 128  the outputs, as real numbers
 *   vww01   uint8; the model gets each less 128  the outputs, as real numbers
 *   ad01    float32, little endian, quantised    the mean of the squared differences between the
 *           here                                 real input and the real output
 *
 * Which one it is, the compiler is told: -DTESLA_MLPERF_BENCHMARK=TESLA_MLPERF_KWS01 and so on. */
#ifndef TESLA_MLPERF_BENCHMARK_H
#define TESLA_MLPERF_BENCHMARK_H

#include "tesla/status.h"

#include <stdbool.h>
#include <stdint.h>

#define TESLA_MLPERF_KWS01 1
#define TESLA_MLPERF_IC01  2
#define TESLA_MLPERF_VWW01 3
#define TESLA_MLPERF_AD01  4

/* "kws01" and so on. */
extern const char tesla_mlperf_model[];

/* Whether model and benchmark fit: ad01 wants TESLA_MLPERF_FEATURES inputs and outputs. */
#define TESLA_MLPERF_FEATURES 640u
bool tesla_mlperf_fits(void);

/* Bytes of one input on the wire, and one of them, at < tesla_mlperf_raw_bytes(). */
uint32_t tesla_mlperf_raw_bytes(void);
uint8_t tesla_mlperf_get_raw(uint32_t at);
void tesla_mlperf_set_raw(uint32_t at, uint8_t byte);

/* Makes the model's input of the bytes on the wire. To be called before runs. */
void tesla_mlperf_prepare(void);

/* Sends the numbers of the last output, commas between them. `region` is the index of the region
 * that computed it. */
void tesla_mlperf_put_results(uint8_t region);

#endif /* TESLA_MLPERF_BENCHMARK_H */
