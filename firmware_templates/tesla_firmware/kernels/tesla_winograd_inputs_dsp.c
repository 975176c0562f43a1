/* Inputs of two tiles, transformed: see tesla/winograd.h. */
#include "tesla/dsp.h"
#include "tesla/winograd.h"

#if TESLA_DSP
/* Half of a quad, as ROR says, of a column, to AT and every 64 bytes after. r0 .. r3: rows; r4:
 * output; r5: offset; r6: end; r7 .. r10: four inputs of each row; r11, r12, lr: two of them. The
 * stack: 0 columns left, 4 bytes of a column in V. */
#define HALF(ROR, AT)                                                                              \
    "sxtab16 r11, r5, r8" ROR "         \n"                                                        \
    "sxtab16 r12, r5, r9" ROR "         \n"                                                        \
    "sadd16  lr, r11, r12               \n"                                                        \
    "str     lr, [r4, #" AT " + 64]     \n"                                                        \
    "ssub16  lr, r12, r11               \n"                                                        \
    "str     lr, [r4, #" AT " + 128]    \n"                                                        \
    "sxtab16 lr, r5, r10" ROR "         \n"                                                        \
    "ssub16  lr, r11, lr                \n"                                                        \
    "str     lr, [r4, #" AT " + 192]    \n"                                                        \
    "sxtab16 lr, r5, r7" ROR "          \n"                                                        \
    "ssub16  lr, lr, r12                \n"                                                        \
    "str     lr, [r4, #" AT "]          \n"

TESLA_NAKED void tesla_winograd_columns(const tesla_winograd_columns_t *columns TESLA_UNUSED) {
    __asm__(".syntax unified                    \n"
            "push    {r4-r11, lr}               \n"
            "sub     sp, sp, #8                 \n"
            "ldm     r0, {r0-r7}                \n"
            "lsl     r8, r6, #8                 \n"
            "strd    r7, r8, [sp]               \n"
            "1:                                 \n" /* a column */
            "add     r6, r4, r8                 \n"
            "2:                                 \n"
            "ldr     r7, [r0], #4               \n"
            "ldr     r8, [r1], #4               \n"
            "ldr     r9, [r2], #4               \n"
            "ldr     r10, [r3], #4              \n");
    __asm__(HALF("", "32") HALF(", ror #8", "0"));
    __asm__("add     r4, r4, #256               \n"
            "cmp     r4, r6                     \n"
            "bne     2b                         \n"
            "ldrd    r7, r8, [sp]               \n"
            "sub     r4, r4, r8                 \n"
            "subs    r7, r7, #1                 \n"
            "beq     3f                         \n"
            "tst     r7, #1                     \n"
            "str     r7, [sp]                   \n"
            "ite     ne                         \n" /* to the column's neighbour, or the next two */
            "addne   r4, r4, #4                 \n"
            "addeq   r4, r4, #12                \n"
            "b       1b                         \n"
            "3:                                 \n"
            "add     sp, sp, #8                 \n"
            "pop     {r4-r11, pc}               \n");
}

/* Half of a quad in one row, columns at IN, of two tiles. r0: V; r1: kept; r2: end; r4 .. r9: the
 * columns; r10, r11: one place of both tiles. KEPT and OUT are 8 further for the odd inputs. */
#define ROW_HALF(KEPT, IN, OUT)                                                                    \
    "ldrd    r4, r5, [r1, #" KEPT "]      \n"                                                      \
    "ldrd    r6, r7, [r0, #" IN "]        \n"                                                      \
    "ldrd    r8, r9, [r0, #" IN " + 16]   \n"                                                      \
    "strd    r8, r9, [r1, #" KEPT "]      \n"                                                      \
    "ssub16  r4, r4, r6                   \n" /* 0 - 2 */                                          \
    "ssub16  r10, r6, r8                  \n"                                                      \
    "strd    r4, r10, [r0, #" OUT "]      \n"                                                      \
    "sadd16  r4, r5, r6                   \n" /* 1 + 2 */                                          \
    "sadd16  r10, r7, r8                  \n"                                                      \
    "strd    r4, r10, [r0, #" OUT " + 16] \n"                                                      \
    "ssub16  r6, r6, r5                   \n" /* 2 - 1 */                                          \
    "ssub16  r8, r8, r7                   \n"                                                      \
    "strd    r6, r8, [r0, #" OUT " + 32]  \n"                                                      \
    "ssub16  r5, r5, r7                   \n" /* 1 - 3 */                                          \
    "ssub16  r7, r7, r9                   \n"                                                      \
    "strd    r5, r7, [r0, #" OUT " + 48]  \n"
#define ROW(KEPT, OUT)                                                                             \
    ROW_HALF(KEPT, OUT " + 40", OUT)                                                               \
    ROW_HALF(KEPT " + 8", OUT " + 8", OUT " + 8")

TESLA_NAKED void tesla_winograd_tiles(int16_t *inputs TESLA_UNUSED, int16_t *kept TESLA_UNUSED,
                                      uint32_t quads TESLA_UNUSED) {
    __asm__(".syntax unified                    \n"
            "push    {r4-r11, lr}               \n"
            "add     r2, r0, r2, lsl #8         \n"
            "1:                                 \n");
    __asm__(ROW("0", "0") ROW("16", "64"));
    __asm__(ROW("32", "128") ROW("48", "192"));
    __asm__("add     r0, r0, #256               \n"
            "add     r1, r1, #64                \n"
            "cmp     r0, r2                     \n"
            "bne     1b                         \n"
            "pop     {r4-r11, pc}               \n");
}
#else
void tesla_winograd_columns(const tesla_winograd_columns_t *columns) {
    const int32_t offset = (int16_t)(uint16_t)columns->offset;
    const uint32_t channels = columns->quads * 4u;
    for (uint32_t i = 0; i < columns->columns * channels; ++i) {
        const uint32_t channel = i % channels;
        int16_t *output = &columns->output[channel / 4u * TESLA_WINOGRAD_QUAD];
        int32_t d[4];
        for (uint32_t row = 0; row < 4u; ++row) {
            d[row] = columns->rows[row][i] + offset;
        }
        output += i / channels / 2u * 8u + i / channels % 2u * 2u;     /* places of columns */
        output += (channel % 2u == 0u ? 16u : 0u) + channel / 2u % 2u; /* halves 0, 2 and 1, 3 */
        output[0] = (int16_t)(d[0] - d[2]);
        output[32] = (int16_t)(d[1] + d[2]);
        output[64] = (int16_t)(d[2] - d[1]);
        output[96] = (int16_t)(d[1] - d[3]);
    }
}

void tesla_winograd_tiles(int16_t *inputs, int16_t *kept, uint32_t quads) {
    for (uint32_t i = 0; i < quads * 8u; ++i) { /* rows, each of even and odd inputs */
        int16_t *row = &inputs[i / 2u * 32u];
        const int16_t *made = &row[i % 2u == 0u ? 20u : 4u];
        int16_t d[12]; /* [column][2] */
        for (uint32_t k = 0; k < 4u; ++k) {
            d[k] = kept[i * 4u + k];
            d[4u + k] = made[k];
            d[8u + k] = kept[i * 4u + k] = made[8u + k];
        }
        row += i % 2u * 4u;
        for (uint32_t k = 0; k < 4u; ++k) { /* [tile][2] */
            const int16_t *c = &d[k / 2u * 4u + k % 2u];
            row[k] = (int16_t)(c[0] - c[4]);
            row[8u + k] = (int16_t)(c[2] + c[4]);
            row[16u + k] = (int16_t)(c[4] - c[2]);
            row[24u + k] = (int16_t)(c[2] - c[6]);
        }
    }
}
#endif
