/* What compilers spell differently. */
#ifndef TESLA_COMPILER_H
#define TESLA_COMPILER_H

#if defined(__GNUC__)
#define TESLA_NOINLINE __attribute__((noinline))
/* A function that consists of one block of assembly, which finds its parameters in registers. */
#define TESLA_NAKED  __attribute__((naked, noinline))
#define TESLA_UNUSED __attribute__((unused))
#else
#define TESLA_NOINLINE
#endif

#endif /* TESLA_COMPILER_H */
