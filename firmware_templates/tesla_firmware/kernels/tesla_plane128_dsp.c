/* Depthwise filters of 3 by 3 taps over planes whose lines are 128 elements apart. */
#define TESLA_PLANE_ELEMENTS 128
#define TESLA_PLANE_PITCH    "256"
#define TESLA_PLANE          tesla_plane128_dsp
#define TESLA_PLANE_STRIDE2  tesla_plane128_stride2_dsp
#include "tesla/plane_code.h"
