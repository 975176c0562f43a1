/* The second stage of the RP2040's boot: what its ROM copies into RAM and runs first.
 *
 * It makes the flash readable in place with the serial read command 03h and 24 bits of address,
 * which every flash chip knows, at a quarter of the CPU's clock: 31 MHz at 125 MHz. Then it enters
 * the firmware through the vector table behind it. The last four bytes are the CRC of the others;
 * the build writes it. Facts: RP2040 data sheet, "Bootrom" and "SSI". */
    .syntax unified
    .cpu cortex-m0plus
    .thumb

    .section .boot2, "ax"
    .balign 4
    .global tesla_boot2
    .type tesla_boot2, %function
    .thumb_func
tesla_boot2:
    ldr r0, ssi
    movs r1, #0
    str r1, [r0, #0x08]    /* SSIENR: off while it is set up */
    movs r1, #4
    str r1, [r0, #0x14]    /* BAUDR */
    ldr r1, frame
    str r1, [r0, #0x00]    /* CTRLR0 */
    ldr r1, command
    ldr r2, command_register
    str r1, [r2]           /* SPI_CTRLR0 */
    movs r1, #0
    str r1, [r0, #0x04]    /* CTRLR1: one word at a time */
    movs r1, #1
    str r1, [r0, #0x08]    /* SSIENR: on */
    ldr r0, vectors
    ldr r1, vector_register
    str r0, [r1]
    ldr r1, [r0, #0]
    ldr r2, [r0, #4]
    msr msp, r1
    bx r2

    .balign 4
ssi:
    .word 0x18000000
frame:
    .word 31 << 16 | 3 << 8         /* frames of 32 bits, a command and then a reading */
command_register:
    .word 0x180000F4
command:
    .word 0x03 << 24 | 2 << 8 | 6 << 2  /* 03h: command of 8 bits, address of 24, one line */
vectors:
    .word 0x10000100
vector_register:
    .word 0xE000ED08

    .org 252
    .word 0                 /* the CRC */
    .size tesla_boot2, . - tesla_boot2
