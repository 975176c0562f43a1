/* A row of depthwise windows of 3 x 3 pixels, 16 channels in the lanes of vectors. */
#include "tesla/helium_depthwise.h"

#if TESLA_HELIUM
/* r1, r2, r3 the last tap of each row; r4 the middle of the weights; r5 factors; r6 output; lr
 * pixels left; r8 from output to output; r10 zero, r11 smallest, r12 largest q0 .. q3   sums of the
 * channels 0 4 8 12, 2 6 10 14, 1 5 9 13, 3 7 11 15 q6, q7     products of bytes, of even channels
 * and of odd ones: two of them fit 16 bits, and only then they are widened */
#define MACROS                                                                                     \
    ".macro tesla_products\n"                                                                      \
    "vmullb.s8 q6, q4, q5\n"                                                                       \
    "vmullt.s8 q7, q4, q5\n"                                                                       \
    ".endm\n"                                                                                      \
    ".macro tesla_widen\n"                                                                         \
    "vmovlb.s16 q4, q6\n"                                                                          \
    "vmovlt.s16 q5, q6\n"                                                                          \
    "vadd.i32 q0, q0, q4\n"                                                                        \
    "vadd.i32 q1, q1, q5\n"                                                                        \
    "vmovlb.s16 q4, q7\n"                                                                          \
    "vmovlt.s16 q5, q7\n"                                                                          \
    "vadd.i32 q2, q2, q4\n"                                                                        \
    "vadd.i32 q3, q3, q5\n"                                                                        \
    ".endm\n"                                                                                      \
    ".macro tesla_quarter q, at\n"                                                                 \
    "vldrw.32 q4, [r5, #64 + \\at]\n"                                                              \
    "vqrdmulh.s32 \\q, \\q, q4\n"                                                                  \
    "vldrw.32 q5, [r5, #128 + \\at]\n"                                                             \
    "vshr.s32 q4, \\q, #31\n" /* halves go away from zero */                                       \
    "vadd.i32 \\q, \\q, q4\n"                                                                      \
    "vrshl.s32 \\q, \\q, q5\n"                                                                     \
    ".endm\n"
#define TAP(X, W)                                                                                  \
    "vldrb.8 q4, " X "\n"                                                                          \
    "vldrb.8 q5, [r4, #" W "]\n"                                                                   \
    "tesla_products\n"
/* The second tap of a pair is loaded twice, and the second time as AGAIN. */
#define PAIR(X0, W0, X1, AGAIN, W1)                                                                \
    TAP(X0, W0)                                                                                    \
    "vldrb.8 q4, " X1 "\n"                                                                         \
    "vldrb.8 q5, [r4, #" W1 "]\n"                                                                  \
    "vmullb.s8 q4, q4, q5\n"                                                                       \
    "vadd.i16 q6, q6, q4\n"                                                                        \
    "vldrb.8 q4, " AGAIN "\n"                                                                      \
    "vmullt.s8 q4, q4, q5\n"                                                                       \
    "vadd.i16 q7, q7, q4\n"                                                                        \
    "tesla_widen\n"
#define PIXELS                                                                                     \
    ".macro tesla_pixels stride\n"                                                                 \
    "1:\n"                                                                                         \
    "vldrw.32 q0, [r5]\n"                                                                          \
    "vldrw.32 q1, [r5, #16]\n"                                                                     \
    "vldrw.32 q2, [r5, #32]\n"                                                                     \
    "vldrw.32 q3, [r5, #48]\n" PAIR("[r1, #-32]", "-64", "[r1, #-16]", "[r1, #-16]", "-48")        \
        PAIR("[r1], #\\stride", "-32", "[r2, #-32]", "[r2, #-32]", "-16")                          \
            PAIR("[r2, #-16]", "0", "[r2]", "[r2], #\\stride", "16")                               \
                PAIR("[r3, #-32]", "32", "[r3, #-16]", "[r3, #-16]", "48")                         \
                    TAP("[r3], #\\stride", "64") "tesla_widen\n"                                   \
                                                 "tesla_quarter q0, 0\n"                           \
                                                 "tesla_quarter q1, 16\n"                          \
                                                 "tesla_quarter q2, 32\n"                          \
                                                 "tesla_quarter q3, 48\n"                          \
                                                 "vqmovnb.s32 q0, q0\n"                            \
                                                 "vqmovnt.s32 q0, q1\n"                            \
                                                 "vqmovnb.s32 q2, q2\n"                            \
                                                 "vqmovnt.s32 q2, q3\n"                            \
                                                 "vqadd.s16 q0, q0, r10\n"                         \
                                                 "vqadd.s16 q2, q2, r10\n"                         \
                                                 "vqmovnb.s16 q0, q0\n"                            \
                                                 "vqmovnt.s16 q0, q2\n"                            \
                                                 "vdup.8 q4, r11\n"                                \
                                                 "vdup.8 q5, r12\n"                                \
                                                 "vmax.s8 q0, q0, q4\n"                            \
                                                 "vmin.s8 q0, q0, q5\n"                            \
                                                 "vpst\n"                                          \
                                                 "vstrbt.8 q0, [r6]\n"                             \
                                                 "add r6, r6, r8\n"                                \
                                                 "le lr, 1b\n"                                     \
                                                 ".endm\n"

TESLA_NAKED void tesla_helium_depthwise_3x3(const tesla_helium_lanes_t *job TESLA_UNUSED) {
    __asm__(MACROS PIXELS "push {r4-r11, lr}\n"
                          "vpush {d8-d15}\n"
                          "add lr, r0, #40\n"
                          "ldm lr, {r1-r3}\n"   /* rows */
                          "ldr lr, [r0, #36]\n" /* stride */
                          "ldm r0, {r4-r12}\n"
                          "add r1, r1, #32\n"
                          "add r2, r2, #32\n"
                          "add r3, r3, #32\n"
                          "add r4, r4, #64\n"
                          "vmsr p0, r9\n"
                          "cmp lr, #2\n"
                          "dls lr, r7\n"
                          "beq 2f\n"
                          "tesla_pixels 16\n"
                          "b 3f\n"
                          "2: tesla_pixels 32\n"
                          "3: vpop {d8-d15}\n"
                          "pop {r4-r11, pc}\n"
                          ".purgem tesla_products\n"
                          ".purgem tesla_widen\n"
                          ".purgem tesla_quarter\n"
                          ".purgem tesla_pixels\n");
}
#else
void tesla_helium_depthwise_3x3(const tesla_helium_lanes_t *job) {
    for (uint32_t i = 0; i < job->pixels * TESLA_HELIUM_LANES; ++i) {
        const uint32_t channel = i % TESLA_HELIUM_LANES;
        const uint32_t x = i / TESLA_HELIUM_LANES;
        int32_t sum = 0;
        for (uint32_t tap = 0; tap < 9u; ++tap) {
            const uint32_t at = (x * job->stride + tap % 3u) * TESLA_HELIUM_LANES + channel;
            sum += job->rows[tap / 3u][at] * job->weights[tap * TESLA_HELIUM_LANES + channel];
        }
        if ((job->mask >> channel & 1u) != 0u) {
            job->output[x * job->pitch + channel] = tesla_helium_output(job, channel, sum);
        }
    }
}
#endif
