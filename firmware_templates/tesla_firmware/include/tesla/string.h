/* memcpy and memset for freestanding compilers, which come without <string.h>.
 *
 * The built-ins matter for speed as well: a copy of constant size becomes a few loads and stores
 * where a declared memcpy would stay a call. */
#ifndef TESLA_STRING_H
#define TESLA_STRING_H

#include "tesla/compiler.h"

#include <stddef.h>

#if !defined(__GNUC__)
#include <string.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Copies `size` bytes; the two ranges must not overlap. */
static TESLA_INLINE void tesla_copy(void *target, const void *source, size_t size) {
#if defined(__GNUC__)
    (void)__builtin_memcpy(target, source, size);
#else
    (void)memcpy(target, source, size);
#endif
}

/* Sets `size` bytes to `value` (0 .. 255). */
static TESLA_INLINE void tesla_fill(void *target, int value, size_t size) {
#if defined(__GNUC__)
    (void)__builtin_memset(target, value, size);
#else
    (void)memset(target, value, size);
#endif
}

#ifdef __cplusplus
}
#endif

#endif /* TESLA_STRING_H */
