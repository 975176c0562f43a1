/* Eight dot products with one vector: the inner loop of fully connected layers for Helium. */
#include "tesla/helium.h"

#if TESLA_HELIUM
/* r0, r2, r4, r6, r8, r10, r12, lr sums; r1 weights; r3 input; r5 blocks left; r7 where sums begin
 */
#define ROWS(A, B)                                                                                 \
    "vldrb.8 q1, [r1], #16\n"                                                                      \
    "vmladava.s8 " A ", q1, q0\n"                                                                  \
    "vldrb.8 q2, [r1], #16\n"                                                                      \
    "vmladava.s8 " B ", q2, q0\n"
#define BLOCK                                                                                      \
    "vldrb.8 q0, [r3], #16\n" ROWS("r0", "r2") ROWS("r4", "r6") ROWS("r8", "r10") ROWS("r12", "l"  \
                                                                                              "r")

TESLA_NAKED void tesla_helium_dots(const int8_t *input TESLA_UNUSED,
                                   const int8_t *weights TESLA_UNUSED, uint32_t blocks TESLA_UNUSED,
                                   const int32_t start[8] TESLA_UNUSED,
                                   int32_t sums[8] TESLA_UNUSED) {
    __asm__("push {r4-r10, lr}\n"
            "mov r7, r3\n"
            "mov r5, r2\n"
            "mov r3, r0\n"
            "ldrd r0, r2, [r7]\n"
            "ldrd r4, r6, [r7, #8]\n"
            "ldrd r8, r10, [r7, #16]\n"
            "ldrd r12, lr, [r7, #24]\n"
            "ands r9, r5, #3\n" /* blocks beside the rounds of four */
            "beq 2f\n"
            "1:\n" BLOCK "subs r9, r9, #1\n"
            "bne 1b\n"
            "2: lsrs r5, r5, #2\n"
            "beq 4f\n"
            "3:\n"
            ".rept 4\n" BLOCK ".endr\n"
            "subs r5, r5, #1\n"
            "bne 3b\n"
            "4: ldr r7, [sp, #32]\n" /* sums */
            "strd r0, r2, [r7]\n"
            "strd r4, r6, [r7, #8]\n"
            "strd r8, r10, [r7, #16]\n"
            "strd r12, lr, [r7, #24]\n"
            "pop {r4-r10, pc}\n");
}
#else
void tesla_helium_dots(const int8_t *input, const int8_t *weights, uint32_t blocks,
                       const int32_t start[8], int32_t sums[8]) {
    for (uint32_t i = 0; i < 8u; ++i) {
        sums[i] = start[i];
    }
    for (uint32_t i = 0; i < blocks * 128u; ++i) {
        sums[i / 16u % 8u] += input[i / 128u * 16u + i % 16u] * weights[i];
    }
}
#endif
