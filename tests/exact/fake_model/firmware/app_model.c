/* A stand-in for a generated model: two layers whose results a test can compute in one line.
 *
 * Layer 0 adds the region's percentage to each input byte, layer 1 folds the sum into the output;
 * a run leaves a count of all runs in the last output byte. Input byte 0 asks for trouble:
 * 99 reads an address that does not exist, 98 uses 1 KB of stack, 97 fails. */
#include "fake_layers.h"
#include "tesla_app.h"

#include <stddef.h>

static const uint8_t digest[32] = {0xFA, 0xCE, 3, 4, 5, 6, 7, 8, 9, 10};
#ifdef FAKE_MANY /* more regions and layers than one reply holds */
#define FAKE_LAYERS 150
#define TEN(n)      n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7, n + 8, n + 9
static const uint8_t regions[] = {TEN(1),  TEN(11), TEN(21), TEN(31), TEN(41),
                                  TEN(51), TEN(61), TEN(71), TEN(81), TEN(91)};
#define IO(n) {0.5f, n, 0.25f, -(n)}
#define TEN_IO(n)                                                                                  \
    IO(n), IO(n + 1), IO(n + 2), IO(n + 3), IO(n + 4), IO(n + 5), IO(n + 6), IO(n + 7), IO(n + 8), \
        IO(n + 9)
static const tesla_app_io_t io[] = {TEN_IO(1),  TEN_IO(11), TEN_IO(21), TEN_IO(31), TEN_IO(41),
                                    TEN_IO(51), TEN_IO(61), TEN_IO(71), TEN_IO(81), TEN_IO(91)};
#else
#define FAKE_LAYERS 2
static const uint8_t regions[] = {25, 50, 100};
static const tesla_app_io_t io[] = {
    {0.5f, -3, 0.125f, 7}, {0.25f, -2, 0.0625f, 8}, {0.0039215688f, -128, 1.5f, 0}};
#endif

int8_t tesla_app_input[FAKE_INPUT];
int8_t tesla_app_output[FAKE_OUTPUT];
uint32_t tesla_app_layer_ticks[FAKE_LAYERS * TESLA_MAX_COUNTERS];
static volatile uint32_t witness = 0x600DDA7Au; /* initialised only if start-up copies .data */
static int8_t arena[FAKE_INPUT];
static struct {
    uint8_t percent;
    int8_t runs;
#ifdef FAKE_TIRES /* how many runs succeed after a start */
    uint32_t left;
#endif
    tesla_layer_callback_t callback;
    void *user;
} fake;

static tesla_status_t set_dp(uint8_t percent) {
    for (size_t i = 0; i < sizeof regions; i++) {
        if (regions[i] == percent) {
            fake.percent = percent;
            return TESLA_OK;
        }
    }
    return TESLA_ERROR_REGION;
}

static tesla_status_t init(void) {
#ifdef FAKE_TIRES
    fake.left = FAKE_TIRES;
#endif
    return set_dp(regions[sizeof regions - 1]);
}

static tesla_status_t run(const int8_t *input, int8_t *output) {
#ifndef FAKE_NEVER_FAULTS
    if (input[0] == 99) {
        (void)*(const volatile uint8_t *)(uintptr_t)0x70000000u;
    }
#endif
#ifdef FAKE_WRITES_FLASH
    if (input[0] == 95) {
        *(volatile uint8_t *)(uintptr_t)digest = 0xFA; /* what is there anyway */
    }
#endif
    if (input[0] == 98) {
        fake_use_stack();
    } else if (input[0] == 97 || witness != 0x600DDA7Au) {
        return TESLA_ERROR_STATE;
    }
#ifdef FAKE_LONG /* more instructions than a timer of 32 bits counts: two in each round */
    if (input[0] == 96) {
        uint32_t rounds = FAKE_LONG * 400000000u;
#ifdef __riscv
        __asm__ volatile("1: addi %0, %0, -1\n\tbnez %0, 1b" : "+r"(rounds));
#else
        __asm__ volatile("1: subs %0, %0, #1\n\tbne 1b" : "+r"(rounds)::"cc");
#endif
    }
#endif
#ifdef FAKE_TIRES
    if (fake.left == 0) {
        return TESLA_ERROR_STATE;
    }
    fake.left--;
#endif
    const uint32_t size = (uint32_t)FAKE_INPUT * fake.percent / 100u;
    fake_add(input, arena, size, fake.percent);
    if (fake.callback != NULL) {
        fake.callback(fake.user, 0, arena, size);
    }
    fake_fold(arena, size, output);
    fake.runs++;
    output[FAKE_OUTPUT - 1] = fake.runs;
    for (uint16_t layer = 1; layer < FAKE_LAYERS && fake.callback != NULL; layer++) {
        fake.callback(fake.user, layer, output, FAKE_OUTPUT);
    }
    return TESLA_OK;
}

static void set_callback(tesla_layer_callback_t callback, void *user) {
    fake.callback = callback;
    fake.user = user;
}

const tesla_app_model_t tesla_app_model = {
    .name = "fake",
    .digest = digest,
    .regions = regions,
    .region_count = sizeof regions,
    .io = io,
    .layer_count = FAKE_LAYERS,
    .input_bytes = FAKE_INPUT,
    .output_bytes = FAKE_OUTPUT,
    .arena_bytes = sizeof arena,
    .init = init,
    .set_dp = set_dp,
    .run = run,
    .set_callback = set_callback,
};
