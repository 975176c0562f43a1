#include "batch.h"

#include "link.h"
#include "tesla_app.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A whole number 0 .. limit, or -1. */
static long parse(const char *text, long limit) {
    char *end;
    const long value = strtol(text, &end, 10);
    return *text == '\0' || *end != '\0' || value < 0 || value > limit ? -1 : value;
}

static void write_layer(void *user, uint16_t layer, const int8_t *output, uint32_t size) {
    uint8_t header[4];
    (void)user;
    (void)layer;
    tesla_link_put_u32(header, size);
    (void)fwrite(header, 1, sizeof header, stdout);
    (void)fwrite(output, 1, size, stdout);
}

static int refuse(const char *what, tesla_status_t status) {
    (void)fprintf(stderr, "batch: %s: %s\n", what, tesla_status_name(status));
    return 1;
}

int tesla_batch(int argc, char **argv) {
    const tesla_app_model_t *model = &tesla_app_model;
    const bool layers = argc == 5 && strcmp(argv[4], "--layers") == 0;
    const long dp = argc >= 4 ? parse(argv[2], 100) : -1;
    const long count = argc >= 4 ? parse(argv[3], 0x7FFFFFFF) : -1;
    if (dp < 0 || count < 0 || (argc != 4 && !layers)) {
        (void)fprintf(stderr, "usage: %s batch DP COUNT [--layers]\n", argv[0]);
        return 2;
    }
    tesla_status_t status = model->init();
    if (status != TESLA_OK) {
        return refuse("init", status);
    }
    status = model->set_dp((uint8_t)dp);
    if (status != TESLA_OK) {
        return refuse("set_dp", status);
    }
    if (layers) {
        model->set_callback(write_layer, NULL);
    }
    for (long i = 0; i < count; i++) {
        if (fread(tesla_app_input, 1, model->input_bytes, stdin) != model->input_bytes) {
            (void)fprintf(stderr, "batch: stdin ended inside input %ld of %ld\n", i + 1, count);
            return 1;
        }
        status = model->run(tesla_app_input, tesla_app_output);
        if (status != TESLA_OK) {
            return refuse("run", status);
        }
        (void)fwrite(tesla_app_output, 1, model->output_bytes, stdout);
    }
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
        (void)fprintf(stderr, "batch: stdout: write failed\n");
        return 1;
    }
    return 0;
}
