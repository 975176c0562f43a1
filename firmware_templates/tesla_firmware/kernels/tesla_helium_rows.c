/* Four neighbouring windows of 3 x 3 pixels times two filters: a pixel that several windows see is
 * loaded once for each row of the filter. */
#include "tesla/helium.h"

#if TESLA_HELIUM
/* r0, r2, r4, r6   sums of the even channel, windows 0 .. 3
 * r8, r10, r12, lr sums of the odd channel
 * r1 weights; r3, r5, r7 rows of pixels; r9 from one block of channels to the next; r11 blocks
 * left, else the channels' constants q6, q7           smallest and largest of the job */
#define MACROS                                                                                     \
    ".macro tesla_tap mac, x0, x1, x2, x3\n"                                                       \
    "\\mac r0, q0, \\x0\n"                                                                         \
    "vldrb.8 q1, [r1], #16\n"                                                                      \
    "\\mac r2, q0, \\x1\n"                                                                         \
    "\\mac r4, q0, \\x2\n"                                                                         \
    "\\mac r6, q0, \\x3\n"                                                                         \
    "vldrb.8 q0, [r1], #16\n" /* of the next tap */                                                \
    "\\mac r8, q1, \\x0\n"                                                                         \
    "\\mac r10, q1, \\x1\n"                                                                        \
    "\\mac r12, q1, \\x2\n"                                                                        \
    "\\mac lr, q1, \\x3\n"                                                                         \
    ".endm\n"                                                                                      \
    ".macro tesla_row row, mac=vmladava.s8\n"                                                      \
    "vldrb.8 q2, [\\row]\n"                                                                        \
    "vldrb.8 q3, [\\row, #16]\n"                                                                   \
    "vldrb.8 q4, [\\row, #32]\n"                                                                   \
    "vldrb.8 q5, [\\row, #48]\n"                                                                   \
    "tesla_tap \\mac, q2, q3, q4, q5\n"                                                            \
    "vldrb.8 q2, [\\row, #64]\n"                                                                   \
    "tesla_tap vmladava.s8, q3, q4, q5, q2\n"                                                      \
    "vldrb.8 q3, [\\row, #80]\n"                                                                   \
    "tesla_tap vmladava.s8, q4, q5, q2, q3\n"                                                      \
    ".endm\n"

TESLA_NAKED void tesla_helium_rows(const tesla_helium_job_t *job TESLA_UNUSED) {
    __asm__(MACROS "push {r4-r11, lr}\n"
                   "vpush {d8-d15}\n"
                   "ldr r1, [r0, #40]\n"
                   "vmsr p0, r1\n"
                   "add r1, r0, #48\n"
                   "vldrb.8 q4, [r1], #16\n"
                   "vldrb.8 q5, [r1], #16\n"
                   "vldrb.8 q6, [r1], #16\n"
                   "vldrb.8 q7, [r1]\n"
                   "ldm r0, {r2-r11}\n"
                   "sub sp, sp, #32\n"
                   "vstrb.8 q4, [sp]\n"      /* offsets */
                   "vstrb.8 q5, [sp, #16]\n" /* zero */
                   "push {r2-r11}\n"
                   "mov r1, r8\n" /* weights */

                   "ldr r9, [r0, #44]\n" /* plane */
                   "vldrb.8 q0, [r1], #16\n"
                   "1: ldrd r3, r5, [sp]\n"
                   "ldr r7, [sp, #8]\n"
                   "ldr r11, [sp, #16]\n"
                   "tesla_row r3, vmladav.s8\n" /* the first tap does not add: it sets the sums */
                   "b 3f\n"
                   "2: tesla_row r3\n" /* 16 channels of nine taps */
                   "3: tesla_row r5\n"
                   "tesla_row r7\n"
                   "add r3, r3, r9\n"
                   "add r5, r5, r9\n"
                   "add r7, r7, r9\n"
                   "subs r11, r11, #1\n"
                   "bne 2b\n"
                   "ldr r11, [sp, #28]\n"
                   "vmov q1[2], q1[0], r0, r4\n"
                   "vmov q1[3], q1[1], r2, r6\n"
                   "vmov q2[2], q2[0], r8, r12\n"
                   "vmov q2[3], q2[1], r10, lr\n"
                   "ldrd r0, r8, [r11], #24\n" /* biases */
                   "ldrd r2, r4, [r11, #-16]\n"
                   "ldrd r6, r10, [r11, #-8]\n"
                   "vadd.i32 q1, q1, r0\n"
                   "vadd.i32 q2, q2, r8\n"
                   "str r11, [sp, #28]\n"
                   "vqrdmulh.s32 q1, q1, r2\n"
                   "vqrdmulh.s32 q2, q2, r6\n"
                   "vshr.s32 q3, q1, #31\n" /* halves go away from zero */
                   "vshr.s32 q4, q2, #31\n"
                   "vadd.i32 q1, q1, q3\n"
                   "vadd.i32 q2, q2, q4\n"
                   "vrshl.s32 q1, r4\n"
                   "vrshl.s32 q2, r10\n"
                   "vqmovnb.s32 q1, q1\n"
                   "vldrb.8 q5, [sp, #56]\n" /* zero */
                   "vqmovnt.s32 q1, q2\n"
                   "vldrb.8 q4, [sp, #40]\n" /* offsets */
                   "vqadd.s16 q1, q1, q5\n"
                   "ldrd r0, r2, [sp, #32]\n" /* output and its end */
                   "vmax.s16 q1, q1, q6\n"
                   "ldr r3, [sp, #20]\n" /* skip */
                   "vmin.s16 q1, q1, q7\n"
                   "vpst\n"
                   "vstrbt.16 q1, [r0, q4]\n"
                   "adds r0, r0, #2\n"
                   "str r0, [sp, #32]\n"
                   "cbz r3, 4f\n"
                   "add r1, r1, r3\n"
                   "vldrb.8 q0, [r1, #-16]\n"
                   "4:\n"
                   "cmp r0, r2\n"
                   "bne 1b\n"
                   "add sp, sp, #72\n"
                   "vpop {d8-d15}\n"
                   "pop {r4-r11, pc}\n"
                   ".purgem tesla_tap\n"
                   ".purgem tesla_row\n");
}
#else
void tesla_helium_rows(const tesla_helium_job_t *job) {
    const int8_t *weights = job->weights;
    const int32_t *channels = job->channels;
    const uint32_t pair_bytes = 288u * job->blocks + job->skip;
    for (int8_t *output = job->output; output != job->end; output += 2) {
        for (uint32_t lane = 0; lane < 8u; ++lane) {
            int32_t sum = channels[lane % 2u];
            for (uint32_t i = 0; i < 144u * job->blocks; ++i) {
                const uint32_t tap = i / 16u;
                const int8_t *row = job->source[tap % 9u / 3u] + tap / 9u * job->plane;
                const int32_t x = row[(tap % 3u + lane / 2u) * 16u + i % 16u];
                sum += x * weights[(2u * tap + lane % 2u) * 16u + i % 16u];
            }
            tesla_helium_finish(job, channels, lane, sum, output);
        }
        weights += pair_bytes;
        channels += 6;
    }
}
#endif
