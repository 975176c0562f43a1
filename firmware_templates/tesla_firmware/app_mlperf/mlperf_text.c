#include "mlperf_text.h"

#include "tesla/string.h"
#include "tesla_board.h"

#include <stdbool.h>

#define FLOAT_BITS   23 /* of the mantissa, without the leading one */
#define FLOAT_BIAS   150u
#define DOUBLE_BITS  52
#define DOUBLE_BIAS  1075u
#define DOUBLE_CLASS 0x7FFu /* the exponent of infinity and NaN */

static void put_char(char c) {
    tesla_board_write_byte((uint8_t)c);
}

void tesla_mlperf_put(const char *text) {
    for (; *text != '\0'; text++) {
        put_char(*text);
    }
}

void tesla_mlperf_put_foreign(const char *text) {
    for (; *text != '\0'; text++) {
        put_char(*text >= ' ' && *text <= '~' ? *text : '?');
    }
}

void tesla_mlperf_put_hex(uint8_t byte) {
    static const char digits[] = "0123456789abcdef";
    put_char(digits[byte >> 4]);
    put_char(digits[byte & 15u]);
}

void tesla_mlperf_put_number(uint64_t value) {
    char digits[20]; /* 2^64 has as many */
    uint8_t count = 0;
    do {
        digits[count] = (char)('0' + (int)(value % 10u));
        count++;
        value /= 10u;
    } while (value != 0);
    while (count > 0) {
        count--;
        put_char(digits[count]);
    }
}

/* Sends mantissa * 2^exponent, mantissa < 2^53: thousandths, rounded to the nearest, ties to even.
 */
static void put_thousandths(uint64_t mantissa, int exponent) {
    if (exponent >= 0) {
        const bool fits = exponent < 64 && mantissa <= UINT64_MAX >> exponent;
        tesla_mlperf_put_number(mantissa == 0 || fits ? mantissa << (exponent & 63) : UINT64_MAX);
        tesla_mlperf_put(".000");
        return;
    }
    const uint64_t scaled = mantissa * 1000u; /* below 2^63 */
    const unsigned shift = (unsigned)-exponent;
    uint64_t thousandths = 0;
    if (shift < 64) {
        const uint64_t rest = scaled & (((uint64_t)1 << shift) - 1u);
        const uint64_t half = (uint64_t)1 << (shift - 1u);
        thousandths = scaled >> shift;
        if (rest > half || (rest == half && (thousandths & 1u) != 0)) {
            thousandths++;
        }
    }
    tesla_mlperf_put_number(thousandths / 1000u);
    const uint32_t decimals = (uint32_t)(thousandths % 1000u);
    put_char('.');
    put_char((char)('0' + (int)(decimals / 100u)));
    put_char((char)('0' + (int)(decimals / 10u % 10u)));
    put_char((char)('0' + (int)(decimals % 10u)));
}

void tesla_mlperf_put_product(float scale, int32_t factor) {
    uint32_t bits;
    tesla_copy(&bits, &scale, sizeof bits);
    const uint32_t exponent = (bits >> FLOAT_BITS) & 0xFFu;
    const uint32_t fraction = bits & ((1u << FLOAT_BITS) - 1u);
    const uint32_t mantissa = exponent == 0 ? fraction : fraction | 1u << FLOAT_BITS;
    if (factor < 0) {
        put_char('-');
    }
    const uint32_t magnitude = factor < 0 ? 0u - (uint32_t)factor : (uint32_t)factor;
    put_thousandths((uint64_t)mantissa * magnitude,
                    (int)(exponent == 0 ? 1u : exponent) - (int)FLOAT_BIAS);
}

void tesla_mlperf_put_double(double value) {
    uint64_t bits;
    tesla_copy(&bits, &value, sizeof bits);
    const uint32_t exponent = (uint32_t)(bits >> DOUBLE_BITS) & DOUBLE_CLASS;
    const uint64_t fraction = bits & (((uint64_t)1 << DOUBLE_BITS) - 1u);
    if (exponent == DOUBLE_CLASS && fraction != 0) {
        tesla_mlperf_put("nan");
        return;
    }
    if (bits >> 63 != 0) {
        put_char('-');
    }
    if (exponent == DOUBLE_CLASS) {
        tesla_mlperf_put("inf");
        return;
    }
    const uint64_t mantissa = exponent == 0 ? fraction : fraction | (uint64_t)1 << DOUBLE_BITS;
    put_thousandths(mantissa, (int)(exponent == 0 ? 1u : exponent) - (int)DOUBLE_BIAS);
}

void tesla_mlperf_put_error(const char *text) {
    tesla_mlperf_put("e-[");
    tesla_mlperf_put(text);
    tesla_mlperf_put("]\r\n");
}
