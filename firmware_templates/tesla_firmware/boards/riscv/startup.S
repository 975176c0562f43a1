/* Reset of a RISC-V core of 32 bits in machine mode: paints the stack, fills .data, clears .bss.
 *
 * It comes first in flash, where QEMU's boot ROM jumps to. All bounds are from the linker script
 * and multiples of 4. */
#include "tesla_stack.h"

    .section .start, "ax", @progbits
    .globl  Reset_Handler
    .type   Reset_Handler, @function
Reset_Handler:
    .option push
    .option norelax /* or the linker would address gp relative to gp */
    la      gp, __global_pointer$
    .option pop
    la      sp, tesla_stack_top
    la      t0, stop
    csrw    mtvec, t0
    csrw    mie, zero

    la      t0, tesla_stack_bottom
    li      t1, TESLA_STACK_PATTERN
paint:
    bgeu    t0, sp, painted
    sw      t1, 0(t0)
    addi    t0, t0, 4
    j       paint
painted:

    la      t0, tesla_data_start
    la      t1, tesla_data_end
    la      t2, tesla_data_load
fill:
    bgeu    t0, t1, filled
    lw      t3, 0(t2)
    sw      t3, 0(t0)
    addi    t0, t0, 4
    addi    t2, t2, 4
    j       fill
filled:

    la      t0, tesla_bss_start
    la      t1, tesla_bss_end
clear:
    bgeu    t0, t1, cleared
    sw      zero, 0(t0)
    addi    t0, t0, 4
    j       clear
cleared:

    call    tesla_app_main
    j       stop
    .size   Reset_Handler, . - Reset_Handler

/* Every trap ends here; a debugger shows in mcause and mepc where it came from. */
    .balign 4 /* the lowest two bits of mtvec are a mode */
    .type   stop, @function
stop:
    j       stop
    .size   stop, . - stop
