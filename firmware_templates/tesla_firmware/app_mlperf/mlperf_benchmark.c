#include "mlperf_benchmark.h"

#include "mlperf_text.h"
#include "tesla/string.h"
#include "tesla_app.h"

#ifndef TESLA_MLPERF_BENCHMARK
#error "define TESLA_MLPERF_BENCHMARK, for instance as TESLA_MLPERF_KWS01"
#endif

#define FLOAT_BYTES 4u

#if TESLA_MLPERF_BENCHMARK == TESLA_MLPERF_KWS01
const char tesla_mlperf_model[] = "kws01";
#elif TESLA_MLPERF_BENCHMARK == TESLA_MLPERF_IC01
const char tesla_mlperf_model[] = "ic01";
#elif TESLA_MLPERF_BENCHMARK == TESLA_MLPERF_VWW01
const char tesla_mlperf_model[] = "vww01";
#elif TESLA_MLPERF_BENCHMARK == TESLA_MLPERF_AD01
const char tesla_mlperf_model[] = "ad01";
#else
#error "no such TESLA_MLPERF_BENCHMARK"
#endif

#if TESLA_MLPERF_BENCHMARK == TESLA_MLPERF_AD01

/* The real input is kept: the result is measured against it, not against its int8 image. */
static uint8_t features[TESLA_MLPERF_FEATURES * FLOAT_BYTES];

static float feature(uint32_t i) {
    const uint8_t *bytes = features + i * FLOAT_BYTES;
    const uint32_t bits =
        bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    float value;
    tesla_copy(&value, &bits, sizeof value);
    return value;
}

bool tesla_mlperf_fits(void) {
    return tesla_app_model.input_bytes == TESLA_MLPERF_FEATURES &&
           tesla_app_model.output_bytes == TESLA_MLPERF_FEATURES;
}

uint32_t tesla_mlperf_raw_bytes(void) {
    return sizeof features;
}

uint8_t tesla_mlperf_get_raw(uint32_t at) {
    return features[at];
}

void tesla_mlperf_set_raw(uint32_t at, uint8_t byte) {
    features[at] = byte;
}

/* As the library's own quantize_input: round half away from zero, saturate. NaN becomes the
 * smallest integer, because no comparison with it is true. */
void tesla_mlperf_prepare(void) {
    const tesla_app_io_t *io = &tesla_app_model.io[0]; /* the input is the same in all regions */
    for (uint32_t i = 0; i < TESLA_MLPERF_FEATURES; i++) {
        float value = feature(i) / io->input_scale;
        value += value < 0.0f ? -0.5f : 0.5f;
        value = value > -256.0f ? value : -256.0f;
        value = value < 256.0f ? value : 256.0f;
        int32_t integer = (int32_t)value + io->input_zero_point;
        integer = integer < INT8_MIN ? INT8_MIN : integer;
        integer = integer > INT8_MAX ? INT8_MAX : integer;
        tesla_app_input[i] = (int8_t)integer;
    }
}

/* One operation a statement: a compiler may fuse those of one expression, and round otherwise. */
void tesla_mlperf_put_results(uint8_t region) {
    const tesla_app_io_t *io = &tesla_app_model.io[region];
    const double scale = (double)io->output_scale;
    double sum = 0.0;
    for (uint32_t i = 0; i < TESLA_MLPERF_FEATURES; i++) {
        const double output = scale * (double)(tesla_app_output[i] - io->output_zero_point);
        const double difference = (double)feature(i) - output;
        const double squared = difference * difference;
        sum += squared;
    }
    tesla_mlperf_put_double(sum / (double)TESLA_MLPERF_FEATURES);
}

#else

#if TESLA_MLPERF_BENCHMARK == TESLA_MLPERF_KWS01
#define OFFSET 0u
#else
#define OFFSET 0x80u /* to exchange the top bit is to subtract 128 */
#endif

bool tesla_mlperf_fits(void) {
    return true;
}

uint32_t tesla_mlperf_raw_bytes(void) {
    return tesla_app_model.input_bytes;
}

/* The bytes live in the model's input: a second buffer would be another 27 KB of RAM for vww01. */
uint8_t tesla_mlperf_get_raw(uint32_t at) {
    return (uint8_t)((uint8_t)tesla_app_input[at] ^ OFFSET);
}

void tesla_mlperf_set_raw(uint32_t at, uint8_t byte) {
    tesla_app_input[at] = (int8_t)(uint8_t)(byte ^ OFFSET);
}

void tesla_mlperf_prepare(void) {
}

void tesla_mlperf_put_results(uint8_t region) {
    const tesla_app_io_t *io = &tesla_app_model.io[region];
    for (uint32_t i = 0; i < tesla_app_model.output_bytes; i++) {
        if (i > 0) {
            tesla_mlperf_put(",");
        }
        tesla_mlperf_put_product(io->output_scale, tesla_app_output[i] - io->output_zero_point);
    }
}

#endif
