/* One kernel of a user's CMSIS-NN as the firmware's model, so that it is run and counted like ours.
 *
 * What is generated and stands before this text says which kernel and on which sizes (PEER_...),
 * and has its data (peer_...). Scratch memory and what need be computed only once are made ready by
 * init(), outside what is counted. */
#include "arm_nnfunctions.h"
#include "tesla_app.h"

#define SCRATCH_BYTES 32768
#define FAILED        TESLA_ERROR_STATE

int8_t tesla_app_input[PEER_INPUT_BYTES] __attribute__((aligned(8)));
int8_t tesla_app_output[PEER_OUTPUT_BYTES] __attribute__((aligned(8)));
uint32_t tesla_app_layer_ticks[TESLA_MAX_COUNTERS];

static uint64_t scratch[SCRATCH_BYTES / sizeof(uint64_t)];
static cmsis_nn_context context = {scratch, 0};
static const cmsis_nn_dims input_dims = {1, PEER_HEIGHT, PEER_WIDTH, PEER_CHANNELS};
static const cmsis_nn_dims output_dims = {1, PEER_ROWS, PEER_COLUMNS, PEER_OUTPUTS};

#if PEER_CONV || PEER_DEPTHWISE
/* The interface takes pointers to what it never writes. */
static cmsis_nn_per_channel_quant_params factors = {peer_multiplier, peer_shift};
static const cmsis_nn_dims bias_dims = {1, 1, 1, PEER_OUTPUTS};
#endif

#if PEER_CONV
static const cmsis_nn_dims filter_dims = {PEER_OUTPUTS, PEER_TAP_ROWS, PEER_TAP_COLUMNS,
                                          PEER_CHANNELS};
static const cmsis_nn_conv_params params = {PEER_INPUT_OFFSET,
                                            PEER_OUTPUT_OFFSET,
                                            {PEER_STRIDE_WIDTH, PEER_STRIDE_HEIGHT},
                                            {PEER_PAD_LEFT, PEER_PAD_TOP},
                                            {1, 1},
                                            {-128, 127}};

static int32_t scratch_bytes(void) {
    return arm_convolve_wrapper_s8_get_buffer_size(&params, &input_dims, &filter_dims,
                                                   &output_dims);
}

static arm_cmsis_nn_status compute(const int8_t *input, int8_t *output) {
    return arm_convolve_wrapper_s8(&context, &params, &factors, &input_dims, input, &filter_dims,
                                   peer_weights, &bias_dims, peer_bias, &output_dims, output);
}
#elif PEER_DEPTHWISE
static const cmsis_nn_dims filter_dims = {1, PEER_TAP_ROWS, PEER_TAP_COLUMNS, PEER_OUTPUTS};
static const cmsis_nn_dw_conv_params params = {PEER_INPUT_OFFSET,
                                               PEER_OUTPUT_OFFSET,
                                               1,
                                               {PEER_STRIDE_WIDTH, PEER_STRIDE_HEIGHT},
                                               {PEER_PAD_LEFT, PEER_PAD_TOP},
                                               {1, 1},
                                               {-128, 127}};

static int32_t scratch_bytes(void) {
    return arm_depthwise_conv_wrapper_s8_get_buffer_size(&params, &input_dims, &filter_dims,
                                                         &output_dims);
}

static arm_cmsis_nn_status compute(const int8_t *input, int8_t *output) {
    return arm_depthwise_conv_wrapper_s8(&context, &params, &factors, &input_dims, input,
                                         &filter_dims, peer_weights, &bias_dims, peer_bias,
                                         &output_dims, output);
}
#elif PEER_DENSE
static const cmsis_nn_dims bias_dims = {1, 1, 1, PEER_OUTPUTS};
static const cmsis_nn_dims filter_dims = {PEER_CHANNELS, 1, 1, PEER_OUTPUTS};
static const cmsis_nn_fc_params params = {PEER_INPUT_OFFSET, 0, PEER_OUTPUT_OFFSET, {-128, 127}};
static cmsis_nn_per_tensor_quant_params factor;

static int32_t scratch_bytes(void) {
    factor.multiplier = peer_multiplier[0];
    factor.shift = peer_shift[0];
    return arm_fully_connected_s8_get_buffer_size(&filter_dims);
}

static arm_cmsis_nn_status compute(const int8_t *input, int8_t *output) {
    return arm_fully_connected_s8(&context, &params, &factor, &input_dims, input, &filter_dims,
                                  peer_weights, &bias_dims, peer_bias, &output_dims, output);
}
#else
static const cmsis_nn_dims filter_dims = {1, PEER_TAP_ROWS, PEER_TAP_COLUMNS, 1};
static const cmsis_nn_pool_params params = {
    {PEER_STRIDE_WIDTH, PEER_STRIDE_HEIGHT}, {PEER_PAD_LEFT, PEER_PAD_TOP}, {-128, 127}};

static int32_t scratch_bytes(void) {
    return 0;
}

static arm_cmsis_nn_status compute(const int8_t *input, int8_t *output) {
    return arm_max_pool_s8(&context, &params, &input_dims, input, &filter_dims, &output_dims,
                           output);
}
#endif

static tesla_status_t init(void) {
    const int32_t size = scratch_bytes();
    if (size < 0 || size > SCRATCH_BYTES) {
        return FAILED;
    }
    context.size = size;
#if PEER_DENSE && defined(ARM_MATH_MVEI)
    /* Sums of the weights: a runtime computes them once, before the first inference. */
    if (arm_vector_sum_s8((int32_t *)scratch, PEER_CHANNELS, PEER_OUTPUTS, peer_weights,
                          PEER_INPUT_OFFSET, 0, peer_bias) != ARM_CMSIS_NN_SUCCESS) {
        return FAILED;
    }
#endif
    return TESLA_OK;
}

static tesla_status_t set_dp(uint8_t percent) {
    return percent == 100 ? TESLA_OK : TESLA_ERROR_REGION;
}

static tesla_status_t run(const int8_t *input, int8_t *output) {
    return compute(input, output) == ARM_CMSIS_NN_SUCCESS ? TESLA_OK : FAILED;
}

static void set_callback(tesla_layer_callback_t callback, void *user) {
    (void)callback;
    (void)user;
}

static const uint8_t digest[32];
static const uint8_t regions[1] = {100};
static const tesla_app_io_t io[1] = {{1.0f, 0, 1.0f, 0}};

const tesla_app_model_t tesla_app_model = {
    .name = "peer",
    .digest = digest,
    .regions = regions,
    .region_count = 1,
    .io = io,
    .layer_count = 1,
    .input_bytes = PEER_INPUT_BYTES,
    .output_bytes = PEER_OUTPUT_BYTES,
    .arena_bytes = SCRATCH_BYTES,
    .init = init,
    .set_dp = set_dp,
    .run = run,
    .set_callback = set_callback,
};
