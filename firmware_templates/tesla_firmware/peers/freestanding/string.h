/* <string.h> for freestanding compilers: short copies become loads and stores, as they do where a
 * C library is there. Only sources of other projects are compiled with this. */
#ifndef TESLA_FREESTANDING_STRING_H
#define TESLA_FREESTANDING_STRING_H

#include <stddef.h>

#define memcpy(target, source, size)  __builtin_memcpy(target, source, size)
#define memmove(target, source, size) __builtin_memmove(target, source, size)
#define memset(target, value, size)   __builtin_memset(target, value, size)

#endif /* TESLA_FREESTANDING_STRING_H */
