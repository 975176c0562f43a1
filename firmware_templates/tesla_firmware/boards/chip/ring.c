/* One writer, the interrupt; one reader, the application. Each moves its own index only. */
#include "tesla_ring.h"

#include "tesla_board.h"

#define SLOTS (TESLA_BOARD_RECEIVE_BYTES + 1u) /* one stays empty: full is not empty */

static struct {
    volatile uint32_t written;
    volatile uint32_t read;
    volatile uint8_t bytes[SLOTS];
} ring;

static uint32_t after(uint32_t slot) {
    return slot + 1u == SLOTS ? 0u : slot + 1u;
}

void tesla_ring_put(uint8_t byte) {
    const uint32_t slot = ring.written;
    const uint32_t next = after(slot);
    if (next != ring.read) {
        ring.bytes[slot] = byte;
        ring.written = next;
    }
}

int tesla_board_read_byte(void) {
    const uint32_t slot = ring.read;
    if (slot == ring.written) {
        return -1;
    }
    const uint8_t byte = ring.bytes[slot];
    ring.read = after(slot);
    return byte;
}

/* An interrupt ends the wait also while it is masked: none is missed between look and wait. */
bool tesla_board_idle(void) {
    __asm__ volatile("cpsid i" ::: "memory");
    if (ring.read == ring.written) {
        __asm__ volatile("dsb\n\twfi" ::: "memory");
    }
    __asm__ volatile("cpsie i\n\tisb" ::: "memory");
    return true;
}
