/* What compilers spell differently. */
#ifndef TESLA_COMPILER_H
#define TESLA_COMPILER_H

#if defined(__GNUC__)
#define TESLA_NOINLINE __attribute__((noinline))
#else
#define TESLA_NOINLINE
#endif

#endif /* TESLA_COMPILER_H */
