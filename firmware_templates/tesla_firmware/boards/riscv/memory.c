/* The functions that compilers call by themselves, for toolchains that come without a C library.
 *
 * The empty assembly keeps the compiler from seeing what a loop does, or it would turn each of
 * these into a call of itself. */
#include <stddef.h>
#include <stdint.h>

#define WORD        4u
#define OPAQUE      __asm__ volatile("" ::: "memory")
#define IS_WORD(at) (((uintptr_t)(at) & (WORD - 1u)) == 0u)

typedef uint32_t __attribute__((may_alias)) word_t;

void *memcpy(void *restrict target, const void *restrict source, size_t size);
void *memmove(void *target, const void *source, size_t size);
void *memset(void *target, int value, size_t size);
int memcmp(const void *one, const void *other, size_t size);

void *memcpy(void *restrict target, const void *restrict source, size_t size) {
    uint8_t *to = target;
    const uint8_t *from = source;
    if (IS_WORD((uintptr_t)to | (uintptr_t)from)) {
        for (; size >= WORD; size -= WORD) {
            *(word_t *)(void *)to = *(const word_t *)(const void *)from;
            to += WORD;
            from += WORD;
            OPAQUE;
        }
    }
    for (; size > 0; size--) {
        *to++ = *from++;
        OPAQUE;
    }
    return target;
}

/* Not by memcpy, which may take it for granted that its ranges do not overlap. */
void *memmove(void *target, const void *source, size_t size) {
    uint8_t *to = target;
    const uint8_t *from = source;
    if ((uintptr_t)to <= (uintptr_t)from) {
        for (size_t at = 0; at < size; at++) {
            to[at] = from[at];
            OPAQUE;
        }
        return target;
    }
    while (size > 0) {
        size--;
        to[size] = from[size];
        OPAQUE;
    }
    return target;
}

void *memset(void *target, int value, size_t size) {
    uint8_t *to = target;
    const uint32_t word = (uint8_t)value * 0x01010101u;
    if (IS_WORD(to)) {
        for (; size >= WORD; size -= WORD) {
            *(word_t *)(void *)to = word;
            to += WORD;
            OPAQUE;
        }
    }
    for (; size > 0; size--) {
        *to++ = (uint8_t)value;
        OPAQUE;
    }
    return target;
}

int memcmp(const void *one, const void *other, size_t size) {
    const uint8_t *a = one;
    const uint8_t *b = other;
    for (; size > 0; size--) {
        if (*a != *b) {
            return (int)*a - (int)*b;
        }
        a++;
        b++;
        OPAQUE;
    }
    return 0;
}
