/* Depthwise filters of three by three taps over a plane: see tesla/plane.h. */
#include "tesla/plane.h"

#include "tesla/dsp.h"

#if TESLA_DSP
/* The stack of both functions: 0 end of a line's inputs, 4 bias, 8 multiplier, 12 rounding, 16
 * shift, 20 step, 24 plane, 28 output, 32 pitch, 36 lines, 40 length, 44 line.
 *
 * r0 .. r2: the inputs of three lines; r3: output; r4 .. r9: the taps of each line as halves (t0,
 * t1) and (t1, t2); r10, r11: inputs (x0, x1) and (x2, x3); r12 and lr: sums of two outputs. */
#define ENTER                                                                                      \
    ".syntax unified               \n"                                                             \
    "push   {r4-r11, lr}           \n"                                                             \
    "sub    sp, sp, #48            \n"                                                             \
    "ldr    r1, [r0, #8]           \n" /* the channel's four constants */                          \
    "ldm    r1, {r4-r7}            \n"                                                             \
    "ldr    r8, [r0, #28]          \n"                                                             \
    "add    r1, sp, #4             \n"                                                             \
    "stm    r1!, {r4-r8}           \n"                                                             \
    "ldr    r4, [r0]               \n"                                                             \
    "ldr    r5, [r0, #12]          \n"                                                             \
    "ldr    r6, [r0, #16]          \n"                                                             \
    "ldr    r7, [r0, #20]          \n"                                                             \
    "ldr    r8, [r0, #24]          \n"                                                             \
    "ldr    r9, [r0, #32]          \n"                                                             \
    "stm    r1, {r4-r9}            \n"                                                             \
    "ldr    r0, [r0, #4]           \n" TAPS("r4", "r5", 0, 1, 2) TAPS("r6", "r7", 3, 4, 5)         \
        TAPS("r8", "r9", 6, 7, 8)
#define TAPS(A, B, I, J, K)                                                                        \
    "ldrsb  " A ", [r0, #" #I "]   \n"                                                             \
    "ldrsb  " B ", [r0, #" #J "]   \n"                                                             \
    "ldrsb  r1, [r0, #" #K "]      \n"                                                             \
    "pkhbt  " A ", " A ", " B ", lsl #16 \n"                                                       \
    "pkhbt  " B ", " B ", r1, lsl #16    \n"
#define NEXT_LINE                                                                                  \
    "ldr    r0, [sp, #24]          \n"                                                             \
    "ldr    r10, [sp, #32]         \n"                                                             \
    "ldr    r3, [sp, #28]          \n"                                                             \
    "ldr    r11, [sp, #40]         \n"                                                             \
    "add    r1, r0, r10            \n"                                                             \
    "add    r2, r1, r10            \n"
/* Lines of inputs go on by one or two lines of the pitch in r10. */
#define LEAVE_LINE(LINES)                                                                          \
    "ldr    r0, [sp, #24]          \n"                                                             \
    "ldrd   r10, r11, [sp, #32]    \n"                                                             \
    "ldr    r3, [sp, #28]          \n"                                                             \
    "ldr    r12, [sp, #44]         \n"                                                             \
    "add    r0, r0, r10" LINES "   \n"                                                             \
    "add    r3, r3, r12            \n"                                                             \
    "subs   r11, r11, #1           \n"                                                             \
    "str    r0, [sp, #24]          \n"                                                             \
    "str    r3, [sp, #28]          \n"                                                             \
    "str    r11, [sp, #36]         \n"                                                             \
    "bne    1b                     \n"                                                             \
    "add    sp, sp, #48            \n"                                                             \
    "pop    {r4-r11, pc}           \n"

/* Two neighbouring outputs. */
#define PAIR_TAPS(X, A, B)                                                                         \
    "ldrd   r10, r11, [" X "], #4  \n"                                                             \
    "smlad  r12, r10, " A ", r12   \n" /* x0 t0 + x1 t1 */                                         \
    "smlabt r12, r11, " B ", r12   \n" /* x2 t2 */                                                 \
    "smlatb lr, r10, " A ", lr     \n" /* x1 t0 */                                                 \
    "smlad  lr, r11, " B ", lr     \n" /* x2 t1 + x3 t2 */
#define PAIR                                                                                       \
    "ldr    r12, [sp, #4]          \n"                                                             \
    "mov    lr, r12                \n" PAIR_TAPS("r0", "r4", "r5") PAIR_TAPS("r1", "r6", "r7")     \
        PAIR_TAPS("r2", "r8",                                                                      \
                  "r9") "ldrd   r10, r11, [sp, #8]     \n"                                         \
                        "smmlar r12, r12, r10, r12     \n" /* the doubling high product */         \
                        "smmlar lr, lr, r10, lr        \n"                                         \
                        "add    r12, r12, r12, asr #31 \n" /* halves away from zero */             \
                        "add    lr, lr, lr, asr #31    \n"                                         \
                        "add    r12, r12, r11          \n"                                         \
                        "add    lr, lr, r11            \n"                                         \
                        "ldrd   r10, r11, [sp, #16]    \n"                                         \
                        "asr    r12, r12, r10          \n"                                         \
                        "asr    lr, lr, r10            \n"                                         \
                        "ssat   r12, #8, r12           \n"                                         \
                        "ssat   lr, #8, lr             \n"                                         \
                        "strb   r12, [r3]              \n"                                         \
                        "strb   lr, [r3, r11]          \n"                                         \
                        "add    r3, r3, r11, lsl #1    \n"

/* A single output. */
#define SINGLE_TAPS(X, A, B)                                                                       \
    "ldrd   r10, r11, [" X "], #4  \n"                                                             \
    "smlad  r12, r10, " A ", r12   \n"                                                             \
    "smlabt r12, r11, " B ", r12   \n"
#define SINGLE                                                                                     \
    "ldr    r12, [sp, #4]          \n" SINGLE_TAPS("r0", "r4", "r5") SINGLE_TAPS("r1", "r6", "r7") \
        SINGLE_TAPS("r2", "r8", "r9") "ldrd   r10, r11, [sp, #8]     \n"                           \
                                      "smmlar r12, r12, r10, r12     \n"                           \
                                      "add    r12, r12, r12, asr #31 \n"                           \
                                      "add    r12, r12, r11          \n"                           \
                                      "ldrd   r10, r11, [sp, #16]    \n"                           \
                                      "asr    r12, r12, r10          \n"                           \
                                      "ssat   r12, #8, r12           \n"                           \
                                      "strb   r12, [r3]              \n"                           \
                                      "add    r3, r3, r11            \n"

TESLA_NAKED void tesla_plane_dsp(const tesla_plane_t *plane TESLA_UNUSED) {
    __asm__(ENTER "1:                            \n" NEXT_LINE "bic    r11, r11, #1           \n"
                  "add    r11, r0, r11, lsl #1   \n"
                  "str    r11, [sp]              \n"
                  "b      3f                     \n"
                  "2:                            \n" PAIR "3:                            \n"
                  "ldr    r10, [sp]              \n"
                  "cmp    r0, r10                \n"
                  "bne    2b                     \n"
                  "ldr    r11, [sp, #40]         \n"
                  "tst    r11, #1                \n"
                  "beq    4f                     \n" SINGLE
                  "4:                            \n" LEAVE_LINE(""));
}

TESLA_NAKED void tesla_plane_stride2_dsp(const tesla_plane_t *plane TESLA_UNUSED) {
    __asm__(ENTER "1:                            \n" NEXT_LINE "add    r11, r0, r11, lsl #2   \n"
                  "str    r11, [sp]              \n"
                  "2:                            \n" SINGLE "ldr    r10, [sp]              \n"
                  "cmp    r0, r10                \n"
                  "bne    2b                     \n" LEAVE_LINE(", lsl #1"));
}
#else
static void strided(const tesla_plane_t *plane, uint32_t stride) {
    const tesla_channel_t *channel = plane->channel;
    for (uint32_t i = 0; i < plane->lines * plane->length; ++i) {
        const uint32_t line = i / plane->length;
        const uint32_t at = i % plane->length;
        int32_t sum = channel->bias;
        for (uint32_t tap = 0; tap < 9u; ++tap) {
            const uint32_t from = (line * stride + tap / 3u) * (plane->pitch / 2u);
            sum += plane->plane[from + at * stride + tap % 3u] * plane->taps[tap];
        }
        const int32_t high = tesla_high_word_added(sum, channel->multiplier);
        const int32_t value = high + (high < 0 ? -1 : 0) + channel->rounding;
        plane->output[line * plane->line + at * plane->step] =
            (int8_t)tesla_saturated(value >> channel->shift);
    }
}

void tesla_plane_dsp(const tesla_plane_t *plane) {
    strided(plane, 1);
}

void tesla_plane_stride2_dsp(const tesla_plane_t *plane) {
    strided(plane, 2);
}
#endif
