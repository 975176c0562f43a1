/* What the RP2350's ROM looks for before it starts anything: the smallest block that describes an
 * image. It says: an executable, secure, for Arm; enter it through the vector table at its start.
 * Facts: RP2350 data sheet, "Block Structure" and "Minimum Viable Image Metadata". */
#include <stdint.h>

#define BLOCK_START    0xFFFFDED3u
#define EXECUTABLE_ARM 0x10210142u /* an item of one word: RP2350, Arm, secure, executable */
#define LAST_ITEM      0x000001FFu /* the items before it are one word long */
#define NO_OTHER_BLOCK 0u
#define BLOCK_END      0xAB123579u

extern const uint32_t tesla_image_block[5];

__attribute__((used, section(".boot_block"))) const uint32_t tesla_image_block[5] = {
    BLOCK_START, EXECUTABLE_ARM, LAST_ITEM, NO_OTHER_BLOCK, BLOCK_END};
