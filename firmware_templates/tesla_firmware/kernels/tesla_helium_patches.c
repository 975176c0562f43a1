/* Four patches times two filters: the inner loops of convolutions for Helium. */
#include "tesla/helium.h"

#if TESLA_HELIUM
/* r0, r2, r4, r6   sums of the even channel, pixels 0 .. 3
 * r8, r10, r12, lr sums of the odd channel
 * r1 weights; r3, r5, r7, r9 patches; r11 blocks left
 * q4 .. q7         offsets, zero, smallest, largest of the job */
#define MACROS                                                                                     \
    ".macro tesla_block mac\n"                                                                     \
    "vldrb.8 q0, [r1], #16\n"                                                                      \
    "vldrb.8 q2, [r3], #16\n"                                                                      \
    "\\mac r0, q0, q2\n"                                                                           \
    "vldrb.8 q1, [r1], #16\n"                                                                      \
    "\\mac r8, q1, q2\n"                                                                           \
    "vldrb.8 q3, [r5], #16\n"                                                                      \
    "\\mac r2, q0, q3\n"                                                                           \
    "vldrb.8 q2, [r7], #16\n"                                                                      \
    "\\mac r10, q1, q3\n"                                                                          \
    "\\mac r4, q0, q2\n"                                                                           \
    "vldrb.8 q3, [r9], #16\n"                                                                      \
    "\\mac r12, q1, q2\n"                                                                          \
    "\\mac r6, q0, q3\n"                                                                           \
    "\\mac lr, q1, q3\n"                                                                           \
    ".endm\n"
/* Pairs of channels until the end, `count` blocks in each round of the inner loop. The first block
 * does not add: it sets the sums. */
#define PAIRS                                                                                      \
    ".macro tesla_pairs count\n"                                                                   \
    "2: .rept \\count\n"                                                                           \
    "tesla_block vmladava.s8\n"                                                                    \
    ".endr\n"                                                                                      \
    "subs r11, r11, #\\count\n"                                                                    \
    "bne 2b\n"                                                                                     \
    "b 3f\n"                                                                                       \
    "1: ldrd r3, r5, [sp]\n"                                                                       \
    "ldrd r7, r9, [sp, #8]\n"                                                                      \
    "ldr r11, [sp, #16]\n"                                                                         \
    "tesla_block vmladav.s8\n"                                                                     \
    ".rept \\count - 1\n"                                                                          \
    "tesla_block vmladava.s8\n"                                                                    \
    ".endr\n"                                                                                      \
    "subs r11, r11, #\\count\n"                                                                    \
    "bne 2b\n"                                                                                     \
    "3: ldr r11, [sp, #28]\n"                                                                      \
    "vmov q0[2], q0[0], r0, r4\n"                                                                  \
    "vmov q0[3], q0[1], r2, r6\n"                                                                  \
    "vmov q1[2], q1[0], r8, r12\n"                                                                 \
    "vmov q1[3], q1[1], r10, lr\n"                                                                 \
    "ldrd r0, r8, [r11], #24\n" /* biases */                                                       \
    "ldrd r2, r4, [r11, #-16]\n"                                                                   \
    "ldrd r6, r10, [r11, #-8]\n"                                                                   \
    "vadd.i32 q0, q0, r0\n"                                                                        \
    "vadd.i32 q1, q1, r8\n"                                                                        \
    "vqrdmulh.s32 q0, q0, r2\n"                                                                    \
    "vqrdmulh.s32 q1, q1, r6\n"                                                                    \
    "vshr.s32 q2, q0, #31\n" /* halves go away from zero */                                        \
    "vshr.s32 q3, q1, #31\n"                                                                       \
    "vadd.i32 q0, q0, q2\n"                                                                        \
    "vadd.i32 q1, q1, q3\n"                                                                        \
    "vrshl.s32 q0, r4\n"                                                                           \
    "vrshl.s32 q1, r10\n"                                                                          \
    "vqmovnb.s32 q0, q0\n"                                                                         \
    "ldrd r0, r2, [sp, #32]\n" /* output and its end */                                            \
    "vqmovnt.s32 q0, q1\n"                                                                         \
    "ldr r3, [sp, #20]\n" /* skip */                                                               \
    "vqadd.s16 q0, q0, q5\n"                                                                       \
    "add r1, r1, r3\n"                                                                             \
    "vmax.s16 q0, q0, q6\n"                                                                        \
    "str r11, [sp, #28]\n"                                                                         \
    "vmin.s16 q0, q0, q7\n"                                                                        \
    "vpst\n"                                                                                       \
    "vstrbt.16 q0, [r0, q4]\n"                                                                     \
    "adds r0, r0, #2\n"                                                                            \
    "str r0, [sp, #32]\n"                                                                          \
    "cmp r0, r2\n"                                                                                 \
    "bne 1b\n"                                                                                     \
    "b 9f\n"                                                                                       \
    ".endm\n"

TESLA_NAKED void tesla_helium_patches(const tesla_helium_job_t *job TESLA_UNUSED) {
    __asm__(MACROS PAIRS "push {r4-r11, lr}\n"
                         "vpush {d8-d15}\n"
                         "ldr r1, [r0, #40]\n"
                         "vmsr p0, r1\n"
                         "add r1, r0, #48\n"
                         "vldrb.8 q4, [r1], #16\n"
                         "vldrb.8 q5, [r1], #16\n"
                         "vldrb.8 q6, [r1], #16\n"
                         "vldrb.8 q7, [r1]\n"
                         "ldm r0, {r2-r11}\n"
                         "push {r2-r11}\n"
                         "mov r1, r8\n" /* weights */

                         "tst r6, #3\n" /* blocks */
                         "bne 5f\n"
                         "b 1f\n"
                         "tesla_pairs 4\n"
                         "5: mov r3, #3\n"
                         "udiv r4, r6, r3\n"
                         "mls r4, r4, r3, r6\n"
                         "cmp r4, #0\n"
                         "bne 6f\n"
                         "b 1f\n"
                         "tesla_pairs 3\n"
                         "6: tst r6, #1\n"
                         "bne 7f\n"
                         "b 1f\n"
                         "tesla_pairs 2\n"
                         "7: b 1f\n"
                         "tesla_pairs 1\n"
                         "9: add sp, sp, #40\n"
                         "vpop {d8-d15}\n"
                         "pop {r4-r11, pc}\n"
                         ".purgem tesla_block\n"
                         ".purgem tesla_pairs\n");
}
#else
void tesla_helium_patches(const tesla_helium_job_t *job) {
    const int8_t *weights = job->weights;
    const int32_t *channels = job->channels;
    const uint32_t pair_bytes = 32u * job->blocks + job->skip;
    for (int8_t *output = job->output; output != job->end; output += 2) {
        for (uint32_t lane = 0; lane < 8u; ++lane) {
            int32_t sum = channels[lane % 2u];
            for (uint32_t i = 0; i < 16u * job->blocks; ++i) {
                const uint32_t block = i / 16u;
                sum +=
                    job->source[lane / 2u][i] * weights[(2u * block + lane % 2u) * 16u + i % 16u];
            }
            tesla_helium_finish(job, channels, lane, sum, output);
        }
        weights += pair_bytes;
        channels += 6;
    }
}
#endif
