#include "mlperf_parse.h"

bool tesla_mlperf_equal(const char *one, const char *other) {
    while (*one != '\0' && *one == *other) {
        one++;
        other++;
    }
    return *one == *other;
}

char *tesla_mlperf_next_word(char **rest) {
    char *start = *rest;
    while (*start == ' ') {
        start++;
    }
    char *end = start;
    while (*end != ' ' && *end != '\0') {
        end++;
    }
    *rest = *end == '\0' ? end : end + 1;
    *end = '\0';
    return start;
}

bool tesla_mlperf_parse_number(const char *word, uint32_t *value) {
    uint64_t number = 0;
    const char *digit = word;
    for (; *digit >= '0' && *digit <= '9' && number <= UINT32_MAX; digit++) {
        number = number * 10u + (uint64_t)(*digit - '0');
    }
    *value = (uint32_t)number;
    return digit != word && *digit == '\0' && number <= UINT32_MAX;
}

int tesla_mlperf_parse_digit(char digit) {
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}
