/* Products and outputs of two tiles: see tesla/winograd.h. */
#include "tesla/dsp.h"
#include "tesla/winograd.h"

#if TESLA_DSP
/* Two inputs of both tiles at X in r2 and r3, times those of four output channels at W in r12 and
 * lr. Sums in r4 .. r11: [channel][tile]. */
#define STEP(X, W, THEN)                                                                           \
    "ldrd   r2, r3, [r0" X "                \n"                                                    \
    "ldrd   r12, lr, [r1, #" W "]           \n"                                                    \
    "smlad  r8, r12, r2, r8                 \n"                                                    \
    "smlad  r9, r12, r3, r9                 \n"                                                    \
    "smlad  r10, lr, r2, r10                \n"                                                    \
    "smlad  r11, lr, r3, r11                \n"                                                    \
    "ldrd   r12, lr, [r1" THEN "            \n"                                                    \
    "smlad  r4, r12, r2, r4                 \n"                                                    \
    "smlad  r5, r12, r3, r5                 \n"                                                    \
    "smlad  r6, lr, r2, r6                  \n"                                                    \
    "smlad  r7, lr, r3, r7                  \n"
#define QUAD STEP(", #8]", "24", ", #16]") STEP("], #256", "8", "], #32")
/* Bytes of its code: 22 instructions. */
#define QUAD_CODE "88"

/* A row of places, ROW bytes into the sums, in which each sum goes on from the one before it: of
 * m0, m0 + m1, ..., m0 + ... + m3 this makes m1 - m2 - m3 of both tiles. */
#define DIFFERENCES(ROW, A, B)                                                                     \
    "ldrd   " A ", " B ", [r1, #" ROW "]    \n"                                                    \
    "ldrd   r12, lr, [r1, #" ROW " + 96]    \n"                                                    \
    "add    " A ", " A ", r12               \n"                                                    \
    "add    " B ", " B ", lr                \n"                                                    \
    "ldrd   r12, lr, [r1, #" ROW " + 32]    \n"                                                    \
    "rsb    " A ", " A ", r12, lsl #1       \n"                                                    \
    "rsb    " B ", " B ", lr, lsl #1        \n"

/* The same down the places 2 of the rows, whose sums go on from row to row. */
#define DIFFERENCES_DOWN(A, B)                                                                     \
    "ldrd   " A ", " B ", [r1, #64]         \n"                                                    \
    "ldrd   r12, lr, [r1, #448]             \n"                                                    \
    "add    " A ", " A ", r12               \n"                                                    \
    "add    " B ", " B ", lr                \n"                                                    \
    "ldrd   r12, lr, [r1, #192]             \n"                                                    \
    "rsb    " A ", " A ", r12, lsl #1       \n"                                                    \
    "rsb    " B ", " B ", lr, lsl #1        \n"

/* An accumulator from four times the sum without bias. */
#define BIAS(A) "add    " A ", r2, " A ", asr #2        \n"

/* Accumulators to outputs; r3 multiplier, r12 rounding, lr shift. */
#define FINISH(A)                                                                                  \
    "smmlar " A ", " A ", r3, " A "         \n" /* the doubling high product */                    \
    "add    " A ", " A ", " A ", asr #31    \n" /* halves away from zero */                        \
    "add    " A ", r12                      \n"                                                    \
    "asr    " A ", lr                       \n"                                                    \
    "ssat   " A ", #8, " A "                \n"

/* The right pixels of both tiles in a row, then the left ones; r12: bytes from pixel to pixel. */
#define STORE(TO, LEFT, LEFT2, RIGHT, RIGHT2)                                                      \
    "add    lr, " TO ", r12                 \n"                                                    \
    "strb   " RIGHT ", [lr]                 \n"                                                    \
    "strb   " RIGHT2 ", [lr, r12, lsl #1]   \n"                                                    \
    "strb   " LEFT2 ", [" TO ", r12, lsl #1]\n"                                                    \
    "strb   " LEFT ", [" TO "], #1          \n"

/* The stack: 0 end of a place's inputs, 4 where the loop over eight quads is entered, 8 the sums to
 * write next, 12 end of the row of places, then of the first sums, 16 bytes back to the inputs of
 * the next place, 20 skip, 24 first, 28 second, 32 channels, 36 end of the channels, 40 inputs, 44
 * sums, 48 apart, 52 end of the first place's inputs, 56 quads, 60 weights of the next block. */
TESLA_NAKED void tesla_winograd_blocks(const tesla_winograd_t *tiles TESLA_UNUSED) {
    __asm__(".syntax unified                \n"
            "push   {r4-r11, lr}            \n"
            "ldrd   r2, r3, [r0, #32]       \n"
            "ldm    r0, {r4-r11}            \n"
            "sub    sp, sp, #64             \n"
            "mov    r1, r5                  \n"
            "str    r2, [sp, #20]           \n"
            "str    r3, [sp, #48]           \n"
            "strd   r7, r8, [sp, #24]       \n"
            "add    r2, r6, r10, lsl #6     \n"
            "strd   r6, r2, [sp, #32]       \n"
            "strd   r4, r9, [sp, #40]       \n"
            "lsl    r2, r11, #8             \n"
            "add    r3, r4, r2              \n"
            "strd   r3, r11, [sp, #52]      \n"
            "sub    r2, r2, #16             \n"
            "str    r2, [sp, #16]           \n"
            "and    r2, r11, #7             \n" /* enter in front of the last quads % 8 */
            "rsb    r2, r2, #8              \n"
            "and    r2, r2, #7              \n"
            "mov    r3, #" QUAD_CODE "      \n"
            "mul    r2, r2, r3              \n"
            "adr    r3, 3f                  \n"
            "add    r3, r3, r2              \n"
            "orr    r3, r3, #1              \n"
            "str    r3, [sp, #4]            \n"
            "1:                             \n" /* a block of four channels */
            "ldrd   r0, r2, [sp, #40]       \n"
            "ldrd   r3, r12, [sp, #52]      \n"
            "cmp    r12, #9                 \n" /* the carry stays until the next block */
            "add    r12, r2, #128           \n"
            "str    r3, [sp]                \n"
            "strd   r2, r12, [sp, #8]       \n"
            "mov    r4, #0                  \n"
            "mov    r5, #0                  \n"
            "mov    r6, #0                  \n"
            "mov    r7, #0                  \n"
            "mov    r8, #0                  \n"
            "mov    r9, #0                  \n"
            "mov    r10, #0                 \n"
            "mov    r11, #0                 \n"
            "ldr    pc, [sp, #4]            \n"
            "2:                             \n" /* behind 8 quads, where there are more than 8 */
            "ldr    r2, [sp]                \n"
            "teq    r0, r2                  \n"
            "bne    3f                      \n"
            "add    r2, r2, #16             \n"
            "str    r2, [sp]                \n"
            "b      4f                      \n"
            ".p2align 2                     \n"
            "3:                             \n");
    __asm__(QUAD QUAD QUAD QUAD);
    __asm__(QUAD QUAD QUAD QUAD);
    __asm__("bcs    2b                      \n"
            "4:                             \n" /* the next place */
            "ldrd   r3, r12, [sp, #16]      \n"
            "sub    r0, r0, r3              \n"
            "add    r1, r1, r12             \n"
            "ldrd   lr, r12, [sp, #8]       \n"
            "stm    lr!, {r4-r11}           \n"
            "str    lr, [sp, #8]            \n"
            "teq    lr, r12                 \n"
            "beq    5f                      \n"
            "ldr    pc, [sp, #4]            \n"
            "5:                             \n" /* the next row goes on from its third place */
            "ldr    r2, [sp, #44]           \n"
            "sub    r3, lr, #512            \n"
            "teq    r2, r3                  \n"
            "beq    6f                      \n"
            "add    r12, r12, #128          \n"
            "sub    r2, lr, #64             \n"
            "str    r12, [sp, #12]          \n"
            "ldm    r2, {r4-r11}            \n"
            "ldr    pc, [sp, #4]            \n"
            "6:                             \n"
            "str    r1, [sp, #60]           \n"
            "mov    r1, r3                  \n"
            "add    r3, r3, #32             \n"
            "ldr    r0, [sp, #32]           \n"
            "str    r3, [sp, #12]           \n"
            "7:                             \n"); /* a channel: upper pixels r4 .. r7, then lower */
    __asm__(DIFFERENCES("0", "r6", "r7"));
    __asm__(DIFFERENCES("128", "r10", "r11"));
    __asm__(DIFFERENCES("256", "r2", "r3"));
    __asm__("add    r6, r6, r10             \n"
            "add    r7, r7, r11             \n"
            "sub    r10, r10, r2            \n"
            "sub    r11, r11, r3            \n"
            "add    r6, r6, r2              \n"
            "add    r7, r7, r3              \n");
    __asm__(DIFFERENCES("384", "r2", "r3"));
    __asm__("sub    r10, r10, r2            \n"
            "sub    r11, r11, r3            \n"
            "ldrd   r4, r5, [r1, #320]      \n");
    __asm__(DIFFERENCES_DOWN("r8", "r9"));
    __asm__("ldm    r0!, {r2, r3, r12, lr}  \n");
    __asm__(BIAS("r4") BIAS("r5") BIAS("r6") BIAS("r7"));
    __asm__(BIAS("r8") BIAS("r9") BIAS("r10") BIAS("r11"));
    __asm__(FINISH("r4") FINISH("r5") FINISH("r6") FINISH("r7"));
    __asm__(FINISH("r8") FINISH("r9") FINISH("r10") FINISH("r11"));
    __asm__("ldrd   r2, r3, [sp, #24]       \n"
            "ldr    r12, [sp, #48]          \n");
    __asm__(STORE("r2", "r4", "r5", "r6", "r7"));
    __asm__(STORE("r3", "r8", "r9", "r10", "r11"));
    __asm__("strd   r2, r3, [sp, #24]       \n"
            "ldr    r2, [sp, #12]           \n"
            "add    r1, r1, #8              \n"
            "cmp    r1, r2                  \n"
            "bne    7b                      \n"
            "ldr    r2, [sp, #36]           \n"
            "ldr    r1, [sp, #60]           \n"
            "str    r0, [sp, #32]           \n"
            "cmp    r0, r2                  \n"
            "bne    1b                      \n"
            "add    sp, sp, #64             \n"
            "pop    {r4-r11, pc}            \n");
}
#else
/* A' M A of one channel and tile, row by row. */
static void outputs_of(const uint32_t m[16], uint32_t y[4]) {
    uint32_t left[4];
    uint32_t right[4];
    for (uint32_t row = 0; row < 4u; ++row) {
        const uint32_t *p = &m[row * 4u];
        left[row] = p[0] + p[1] + p[2];
        right[row] = p[1] - p[2] - p[3];
    }
    y[0] = left[0] + left[1] + left[2];
    y[1] = right[0] + right[1] + right[2];
    y[2] = left[1] - left[2] - left[3];
    y[3] = right[1] - right[2] - right[3];
}

/* M of output channel `channel` of a block and one tile. */
static void products(const tesla_winograd_t *tiles, const int16_t *weights, uint32_t channel,
                     uint32_t tile, uint32_t m[16]) {
    for (uint32_t place = 0; place < 16u; ++place) {
        m[place] = 0;
        for (uint32_t i = 0; i < tiles->quads * 4u; ++i) { /* quad, half of it, input */
            const uint32_t at = i / 4u * TESLA_WINOGRAD_QUAD + place * 8u + i / 2u % 2u * 4u;
            m[place] += (uint32_t)(tiles->inputs[at + tile * 2u + i % 2u] *
                                   weights[i / 2u * 8u + channel * 2u + i % 2u]);
        }
        weights += tiles->quads * 16u + tiles->skip / 2u;
    }
}

/* The output of a channel from four times its sum without bias. */
static int8_t finished(const tesla_channel_t *channel, uint32_t sums) {
    const int32_t accumulator = channel->bias + ((int32_t)sums >> 2);
    const int32_t high = tesla_high_word_added(accumulator, channel->multiplier);
    const int32_t value = high + (high < 0 ? -1 : 0) + channel->rounding;
    return (int8_t)tesla_saturated(value >> channel->shift);
}

void tesla_winograd_blocks(const tesla_winograd_t *tiles) {
    const uint32_t pitch = 16u * (tiles->quads * 16u + tiles->skip / 2u);
    for (uint32_t i = 0; i < tiles->blocks * 8u; ++i) { /* channels, each of both tiles */
        uint32_t m[16];
        uint32_t y[4];
        products(tiles, &tiles->weights[i / 8u * pitch], i / 2u % 4u, i % 2u, m);
        outputs_of(m, y);
        for (uint32_t pixel = 0; pixel < 4u; ++pixel) {
            int8_t *row = pixel < 2u ? tiles->first : tiles->second;
            row[(i % 2u * 2u + pixel % 2u) * tiles->apart + i / 2u] =
                finished(&tiles->channels[i / 2u], y[pixel]);
        }
    }
}
#endif
