/* Depthwise filters of 3 by 3 taps over planes whose lines are 32 elements apart. */
#define TESLA_PLANE_ELEMENTS 32
#define TESLA_PLANE_PITCH    "64"
#define TESLA_PLANE          tesla_plane32_dsp
#define TESLA_PLANE_STRIDE2  tesla_plane32_stride2_dsp
#include "tesla/plane_code.h"
