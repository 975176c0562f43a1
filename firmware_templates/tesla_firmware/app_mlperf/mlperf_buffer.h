/* The command `db`: the input as it comes over the line. */
#ifndef TESLA_MLPERF_BUFFER_H
#define TESLA_MLPERF_BUFFER_H

#include "mlperf_commands.h"

/* Executes `db load N`, `db print` or `db <hexadecimal digits>`; `rest` stands behind the `db`. */
void tesla_mlperf_buffer(tesla_mlperf_t *state, char *rest);

#endif /* TESLA_MLPERF_BUFFER_H */
