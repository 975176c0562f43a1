/* What compilers spell differently. */
#ifndef TESLA_COMPILER_H
#define TESLA_COMPILER_H

#if defined(__GNUC__)
#define TESLA_NOINLINE __attribute__((noinline))
/* What is a few instructions wherever it stands, also where the compiler saves flash. */
#define TESLA_INLINE inline __attribute__((always_inline))
/* A function that consists of one block of assembly, which finds its parameters in registers. ADR
 * counts from multiples of 4 bytes, so that code which takes addresses must begin at one. */
#define TESLA_NAKED  __attribute__((naked, noinline, aligned(4)))
#define TESLA_UNUSED __attribute__((unused))
/* Weights that several are loaded of at a time; compilers without it have no such kernels. */
#define TESLA_ALIGNED __attribute__((aligned(8)))
#else
#define TESLA_NOINLINE
#define TESLA_UNUSED
#define TESLA_INLINE inline
#define TESLA_ALIGNED
#endif

#endif /* TESLA_COMPILER_H */
