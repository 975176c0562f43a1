/* Softmax, int8, in fixed point: the same steps as gemmlowp's functions, hence the same bits. */
#include "tesla/kernels.h"
#include "tesla/requantize.h"

enum {
    QUARTER = 1 << 24,     /* 1/4 in Q5.26 */
    SUM_FRACTION_BITS = 19 /* sums of exponentials are Q12.19 */
};

/* exp(-1/4), exp(-1/2), .. exp(-16) in Q0.31 */
static const int32_t factors[7] = {1672461947, 1302514674, 790015084, 290630308,
                                   39332535,   720401,     242};

/* exp(x) for x in -1/4 .. 0, both in Q0.31: a Taylor series around -1/8. */
static int32_t exp_of_small(int32_t value) {
    const int32_t eighth = 1895147668; /* exp(-1/8) */
    const int32_t third = 715827883;
    const int32_t x = value + ((int32_t)1 << 28);
    const int32_t x2 = tesla_high_mul(x, x);
    const int32_t x3 = tesla_high_mul(x2, x);
    const int32_t quarter_x4 = tesla_shift_right(tesla_high_mul(x2, x2), 2);
    const int32_t tail = tesla_high_mul(quarter_x4 + x3, third) + x2;
    return eighth + tesla_high_mul(eighth, x + tesla_shift_right(tail, 1));
}

/* exp(x) in Q0.31 for x in -32 .. 0 in Q5.26. */
static int32_t exp_of_negative(int32_t value) {
    const int32_t part = (value & (QUARTER - 1)) - QUARTER;
    const int32_t remainder = part - value;
    int32_t result = exp_of_small(part * 32);
    for (uint32_t i = 0; i < 7u; ++i) {
        if (((uint32_t)remainder & ((uint32_t)QUARTER << i)) != 0u) {
            result = tesla_high_mul(result, factors[i]);
        }
    }
    return value == 0 ? INT32_MAX : result;
}

/* 1 / (1 + x) in Q0.31 for x in 0 .. 1 in Q0.31, by three steps of Newton in Q2.29. */
static int32_t reciprocal(int32_t value) {
    const int32_t half = (int32_t)(((uint32_t)value + (uint32_t)INT32_MAX + 1u) >> 1);
    int32_t found = 1515870810 + tesla_high_mul(half, -1010580540); /* 48/17 - 32/17 half */
    for (uint32_t i = 0; i < 3u; ++i) {
        const int32_t error = ((int32_t)1 << 29) - tesla_high_mul(half, found);
        found += tesla_high_mul(found, error) * 4;
    }
    return found < (int32_t)1 << 30 ? found * 2 : INT32_MAX;
}

/* The exponential of a difference to the largest value that is not too small to count. */
static int32_t exp_of_difference(const tesla_softmax_region_t *region, int32_t difference) {
    const int32_t left = (int32_t)((uint32_t)difference << region->shift);
    return exp_of_negative(tesla_high_mul(left, region->multiplier));
}

static int32_t largest_of(const int8_t *values, uint32_t length) {
    int32_t largest = values[0];
    for (uint32_t i = 1; i < length; ++i) {
        largest = values[i] > largest ? values[i] : largest;
    }
    return largest;
}

static void one_row(const tesla_softmax_region_t *region, const int8_t *input, int8_t *output) {
    const int32_t largest = largest_of(input, region->length);
    uint32_t sum = 0; /* below 2^28 */
    for (uint32_t i = 0; i < region->length; ++i) {
        const int32_t difference = input[i] - largest;
        if (difference >= region->smallest) {
            const int32_t term = exp_of_difference(region, difference);
            sum += (uint32_t)tesla_shift_right(term, 31 - SUM_FRACTION_BITS);
        }
    }
    int32_t headroom = 0;
    while ((sum & 0x80000000u) == 0u) {
        sum <<= 1;
        ++headroom;
    }
    const int32_t inverse = reciprocal((int32_t)(sum - 0x80000000u));
    for (uint32_t i = 0; i < region->length; ++i) {
        const int32_t difference = input[i] - largest;
        int32_t share = 0;
        if (difference >= region->smallest) {
            const int32_t term = exp_of_difference(region, difference);
            share = tesla_shift_right(tesla_high_mul(inverse, term), 35 - headroom);
        }
        output[i] = tesla_clamp(share + INT8_MIN, INT8_MIN, INT8_MAX);
    }
}

void tesla_softmax_s8(const tesla_softmax_region_t *region, const int8_t *input, int8_t *output) {
    for (uint32_t row = 0; row < region->rows; ++row) {
        one_row(region, input, output);
        input += region->length;
        output += region->length;
    }
}
