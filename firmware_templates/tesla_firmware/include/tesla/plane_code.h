/* The code of depthwise filters over a plane, once for each length of a line.
 *
 * Whoever includes this defines TESLA_PLANE_PITCH, the bytes from one line to the next as a string,
 * TESLA_PLANE_ELEMENTS, half of that as a number, and the names of both functions of tesla/plane.h:
 * TESLA_PLANE and TESLA_PLANE_STRIDE2. Lines a constant number of bytes apart need one pointer. */
#ifndef TESLA_PLANE_CODE_H
#define TESLA_PLANE_CODE_H

#include "tesla/dsp.h"
#include "tesla/plane.h"

#if !defined(TESLA_PLANE)
/* Nothing to make code for. */
#elif TESLA_DSP
/* The stack: 0 end of a line's inputs, 4 bias, 8 multiplier, 12 rounding, 16 shift, 20 step, 24
 * plane, 28 output, 32 lines, 36 length, 40 line.
 *
 * r0: inputs; r3: output; r4 .. r9: the taps of three lines as halves (t0, t1) and (t1, t2); r10,
 * r11: inputs (x0, x1) and (x2, x3); r12, lr, r1, r2: sums of up to four outputs. */
#define TAPS(A, B, I, J, K)                                                                        \
    "ldrsb  " A ", [r0, #" #I "]   \n"                                                             \
    "ldrsb  " B ", [r0, #" #J "]   \n"                                                             \
    "ldrsb  r1, [r0, #" #K "]      \n"                                                             \
    "pkhbt  " A ", " A ", " B ", lsl #16 \n"                                                       \
    "pkhbt  " B ", " B ", r1, lsl #16    \n"
#define ENTER                                                                                      \
    ".syntax unified               \n"                                                             \
    "push   {r4-r11, lr}           \n"                                                             \
    "sub    sp, sp, #44            \n"                                                             \
    "ldm    r0, {r0-r3, r8-r11}    \n" /* plane, taps, channel, output, lines ... line */          \
    "ldm    r2, {r4-r7}            \n" /* bias, multiplier, rounding, shift */                     \
    "add    r2, sp, #4             \n"                                                             \
    "stm    r2!, {r4-r7, r10}      \n"                                                             \
    "stm    r2!, {r0, r3, r8, r9, r11} \n"                                                         \
    "mov    r0, r1                 \n" TAPS("r4", "r5", 0, 1, 2) TAPS("r6", "r7", 3, 4, 5)         \
        TAPS("r8", "r9", 6, 7, 8)
#define LEAVE_LINE(LINES)                                                                          \
    "ldr    r0, [sp, #24]          \n"                                                             \
    "ldr    r3, [sp, #28]          \n"                                                             \
    "ldr    r11, [sp, #32]         \n"                                                             \
    "ldr    r12, [sp, #40]         \n"                                                             \
    "add    r0, r0, #" LINES " * " TESLA_PLANE_PITCH "\n"                                          \
    "add    r3, r3, r12            \n"                                                             \
    "subs   r11, r11, #1           \n"                                                             \
    "strd   r0, r3, [sp, #24]      \n"                                                             \
    "str    r11, [sp, #32]         \n"                                                             \
    "bne    1b                     \n"                                                             \
    "add    sp, sp, #44            \n"                                                             \
    "pop    {r4-r11, pc}           \n"

/* The first two of four outputs, the other two. */
#define LOAD(L)    "ldrd r10, r11, [r0, #" L " * " TESLA_PLANE_PITCH "] \n"
#define LOAD_ON(L) "ldr r10, [r0, #" L " * " TESLA_PLANE_PITCH " + 8] \n"
#define ADD(Y, X0, X1, A, B)                                                                       \
    "smlad  " Y ", " X0 ", " A ", " Y "  \n" /* x0 t0 + x1 t1 */                                   \
    "smlabt " Y ", " X1 ", " B ", " Y "  \n" /* x2 t2 */
#define ADD_NEXT(Y, X0, X1, A, B)                                                                  \
    "smlatb " Y ", " X0 ", " A ", " Y "  \n" /* x1 t0 */                                           \
    "smlad  " Y ", " X1 ", " B ", " Y "  \n" /* x2 t1 + x3 t2 */
#define TWO_TAPS(L, A, B) LOAD(L) ADD("r12", "r10", "r11", A, B) ADD_NEXT("lr", "r10", "r11", A, B)
#define FOUR_TAPS(L, A, B)                                                                         \
    TWO_TAPS(L, A, B) LOAD_ON(L) ADD("r1", "r11", "r10", A, B) ADD_NEXT("r2", "r11", "r10", A, B)

/* The doubling high product of r10, halves away from zero, the rounding of r11. */
#define SCALE(Y)                                                                                   \
    "smmlar " Y ", " Y ", r10, " Y "     \n"                                                       \
    "add    " Y ", " Y ", " Y ", asr #31 \n"                                                       \
    "add    " Y ", " Y ", r11            \n"
#define SATURATE(Y)                                                                                \
    "asr    " Y ", " Y ", r10            \n"                                                       \
    "ssat   " Y ", #8, " Y "             \n"
#define BIAS       "ldr    r12, [sp, #4]          \n"
#define FACTORS    "ldrd   r10, r11, [sp, #8]     \n"
#define SHIFT_STEP "ldrd   r10, r11, [sp, #16]    \n"
#define STORE(Y, Z)                                                                                \
    "strb   " Y ", [r3]            \n"                                                             \
    "strb   " Z ", [r3, r11]       \n"                                                             \
    "add    r3, r3, r11, lsl #1    \n"
#define FOUR                                                                                       \
    BIAS "mov    lr, r12                \n"                                                        \
         "mov    r1, r12                \n"                                                        \
         "mov    r2, r12                \n" FOUR_TAPS("0", "r4", "r5") FOUR_TAPS("1", "r6", "r7")  \
             FOUR_TAPS("2", "r8", "r9") FACTORS SCALE("r12") SCALE("lr") SCALE("r1") SCALE("r2")   \
                 SHIFT_STEP SATURATE("r12") SATURATE("lr") SATURATE("r1") SATURATE("r2")           \
                     STORE("r12", "lr") STORE("r1", "r2")
#define TWO                                                                                        \
    BIAS "mov    lr, r12                \n" TWO_TAPS("0", "r4", "r5") TWO_TAPS("1", "r6", "r7")    \
        TWO_TAPS("2", "r8", "r9") FACTORS SCALE("r12") SCALE("lr") SHIFT_STEP SATURATE("r12")      \
            SATURATE("lr") STORE("r12", "lr")
#define ONE                                                                                        \
    BIAS LOAD("0") ADD("r12", "r10", "r11", "r4", "r5") LOAD("1")                                  \
        ADD("r12", "r10", "r11", "r6", "r7") LOAD("2") ADD("r12", "r10", "r11", "r8", "r9")        \
            FACTORS SCALE("r12") SHIFT_STEP SATURATE("r12") "strb   r12, [r3]              \n"     \
                                                            "add    r3, r3, r11            \n"

/* Outputs of a line by fours, then two and one of the rest. In pieces, since C99 limits strings. */
TESLA_NAKED void TESLA_PLANE(const tesla_plane_t *plane TESLA_UNUSED) {
    __asm__(ENTER);
    __asm__("ldrd   r0, r3, [sp, #24]      \n"
            "1:                            \n"
            "ldr    r11, [sp, #36]         \n"
            "bic    r11, r11, #3           \n"
            "add    r11, r0, r11, lsl #1   \n"
            "str    r11, [sp]              \n"
            "b      3f                     \n"
            "2:                            \n" FOUR "add    r0, r0, #8             \n"
            "3:                            \n"
            "ldr    r10, [sp]              \n"
            "cmp    r0, r10                \n"
            "bne    2b                     \n"
            "ldrb   r11, [sp, #36]         \n"
            "tst    r11, #2                \n"
            "beq    4f                     \n");
    __asm__(TWO "add    r0, r0, #4             \n"
                "4:                            \n"
                "ldrb   r11, [sp, #36]         \n"
                "tst    r11, #1                \n"
                "beq    5f                     \n" ONE
                "5:                            \n" LEAVE_LINE("1"));
}

TESLA_NAKED void TESLA_PLANE_STRIDE2(const tesla_plane_t *plane TESLA_UNUSED) {
    __asm__(ENTER);
    __asm__("ldrd   r0, r3, [sp, #24]      \n"
            "1:                            \n"
            "ldr    r11, [sp, #36]         \n"
            "add    r11, r0, r11, lsl #2   \n"
            "str    r11, [sp]              \n"
            "2:                            \n" ONE "ldr    r10, [sp]              \n"
            "add    r0, r0, #4             \n"
            "cmp    r0, r10                \n"
            "bne    2b                     \n" LEAVE_LINE("2"));
}
#else
static void strided(const tesla_plane_t *plane, uint32_t stride) {
    const tesla_channel_t *channel = plane->channel;
    for (uint32_t i = 0; i < plane->lines * plane->length; ++i) {
        const uint32_t line = i / plane->length;
        const uint32_t at = i % plane->length;
        int32_t sum = channel->bias;
        for (uint32_t tap = 0; tap < 9u; ++tap) {
            const uint32_t from = (line * stride + tap / 3u) * TESLA_PLANE_ELEMENTS;
            sum += plane->plane[from + at * stride + tap % 3u] * plane->taps[tap];
        }
        const int32_t high = tesla_high_word_added(sum, channel->multiplier);
        const int32_t value = high + (high < 0 ? -1 : 0) + channel->rounding;
        plane->output[line * plane->line + at * plane->step] =
            (int8_t)tesla_saturated(value >> channel->shift);
    }
}

void TESLA_PLANE(const tesla_plane_t *plane) {
    strided(plane, 1);
}

void TESLA_PLANE_STRIDE2(const tesla_plane_t *plane) {
    strided(plane, 2);
}
#endif

#endif /* TESLA_PLANE_CODE_H */
