/* Depthwise filters of 3 by 3 taps over planes whose lines are 64 elements apart. */
#define TESLA_PLANE_ELEMENTS 64
#define TESLA_PLANE_PITCH    "128"
#define TESLA_PLANE          tesla_plane64_dsp
#define TESLA_PLANE_STRIDE2  tesla_plane64_stride2_dsp
#include "tesla/plane_code.h"
