/* Status codes of every tesla function: 0 is success, errors are negative.
 *
 * The values travel over the serial link as one signed byte (docs/protocol.md), so an entry keeps
 * its number for ever; -1 .. -15 belong to the library, -16 .. -127 to the link. */
#ifndef TESLA_STATUS_H
#define TESLA_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#define TESLA_STATUS_LIST(X)                                                                       \
    X(TESLA_OK, 0)                                                                                 \
    X(TESLA_ERROR_ARGUMENT, -1) /* a null pointer, or a value out of its range */                  \
    X(TESLA_ERROR_REGION, -2)   /* the model has no operating region of this DP percentage */      \
    X(TESLA_ERROR_STATE, -3)    /* called too early, or after a failed initialisation */

typedef enum {
#define TESLA_STATUS_ENTRY(name, value) name = (value),
    TESLA_STATUS_LIST(TESLA_STATUS_ENTRY)
#undef TESLA_STATUS_ENTRY
} tesla_status_t;

/* The name of a status, e.g. "TESLA_ERROR_REGION"; never NULL. */
static inline const char *tesla_status_name(tesla_status_t status) {
    switch (status) {
#define TESLA_STATUS_CASE(name, value)                                                             \
    case name:                                                                                     \
        return #name;
        TESLA_STATUS_LIST(TESLA_STATUS_CASE)
#undef TESLA_STATUS_CASE
    }
    return "TESLA_ERROR_UNKNOWN";
}

#ifdef __cplusplus
}
#endif

#endif /* TESLA_STATUS_H */
