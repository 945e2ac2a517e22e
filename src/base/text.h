/* Text without a locale: numbers, quantities, durations, names. All parsers take a whole view (nothing may be
 * left over) and return false on anything else; outputs are written only on success. */
#ifndef A_BASE_TEXT_H
#define A_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

bool a_text_u64(struct a_view v, uint64_t *ret) A_MUST_CHECK; /* decimal */
bool a_text_i64(struct a_view v, int64_t *ret) A_MUST_CHECK;
bool a_text_hex64(struct a_view v, uint64_t *ret) A_MUST_CHECK; /* 1..16 hex digits, no prefix */
/* Kubernetes quantities of bytes: 2Gi, 512Mi, 100M, 1.5Gi, 1024. */
bool a_text_bytes(struct a_view v, uint64_t *ret_bytes) A_MUST_CHECK;
/* Kubernetes quantities of CPU: 2, 0.5, 250m. */
bool a_text_mcpu(struct a_view v, uint64_t *ret_mcpu) A_MUST_CHECK;
/* 250ms, 30s, 5m, 2h, 7d and sums of them (1h30m). */
bool a_text_duration(struct a_view v, uint64_t *ret_ms) A_MUST_CHECK;
/* Nothing but well-formed UTF-8 (RFC 3629). */
bool a_text_is_utf8(struct a_view v);
/* A DNS label (RFC 1123): a-z 0-9 and inner '-', 1..max characters. */
bool a_text_is_label(struct a_view v, size_t max);
/* Levenshtein distance, at most 64 characters a side; for "did you mean". */
size_t a_text_distance(const char *a, const char *b);
/* The nearest of the NULL-terminated candidates, or NULL when none is near (distance > 1 + len / 3). */
const char *a_text_nearest(const char *word, const char *const *candidates);

void a_text_print_bytes(struct a_buf *b, uint64_t bytes); /* 2Gi, 512Mi, 1000 */
void a_text_print_mcpu(struct a_buf *b, uint64_t mcpu);   /* 2, 0.5 */
void a_text_print_duration(struct a_buf *b, uint64_t ms); /* 250ms, 30s, 1h30m */
/* JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void a_text_print_json(struct a_buf *b, struct a_view v);

#endif
