/* The chunked coding. The first byte says how the rest is cut into reads: one read and many must agree on the
 * code, the body and where it ends. A body that was read is written as chunks and must be read again the
 * same. */
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "wire/http1.h"

struct result {
    int code;
    size_t used;
    const char *what;
    struct a_buf body;
};

static void decode(struct a_view in, size_t step, struct result *ret)
{
    static const struct wire_http_head head = {.body = WIRE_HTTP_BODY_CHUNKED};
    struct wire_http_decoder d;
    size_t at = 0, end = 0;
    wire_http_decoder_init(&d, &head);
    for (ret->code = WIRE_E_MORE; !d.done && (ret->code == 0 || ret->code == WIRE_E_MORE);) {
        if (ret->code == WIRE_E_MORE) {
            if (end == in.len)
                break;
            end = A_MIN(end + step, in.len);
        }
        size_t used;
        struct a_view data;
        char *copy = a_strndup(in.ptr + at, end - at);
        ret->code = wire_http_decoder_step(&d, (struct a_view){copy, end - at}, &used, &data);
        a_assert(used <= end - at && data.len <= used);
        a_buf_add_view(&ret->body, data);
        a_free(copy);
        at += used;
    }
    ret->used = d.done ? at : 0;
    ret->what = d.what;
    a_assert((d.what != NULL) == (ret->code == WIRE_E_MALFORMED || ret->code == WIRE_E_TOO_LARGE));
}

static void round_trip(struct a_view body, size_t piece)
{
    A_BUF_AUTO struct a_buf out = {0};
    struct result back = {0};
    for (size_t at = 0, n; at < body.len; at += n) {
        char line[WIRE_HTTP_CHUNK_HEADER_MAX];
        n = A_MIN(piece, body.len - at);
        a_buf_add(&out, line, wire_http_chunk_header(line, n));
        a_buf_add(&out, body.ptr + at, n);
        a_buf_add_str(&out, "\r\n");
    }
    a_buf_add_str(&out, WIRE_HTTP_CHUNK_LAST);
    decode(a_buf_view(&out), SIZE_MAX, &back);
    a_assert(back.code == 0 && back.used == out.len && a_view_equal(a_buf_view(&back.body), body));
    a_buf_deinit(&back.body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct result whole = {0}, pieces = {0};
    if (size < 1)
        return 0;
    struct a_view in = {(const char *)data + 1, size - 1};
    decode(in, SIZE_MAX / 2, &whole);
    decode(in, 1 + data[0] % 16, &pieces);
    a_assert(whole.code == pieces.code && whole.used == pieces.used);
    a_assert((whole.what == NULL) == (pieces.what == NULL));
    a_assert(whole.what == NULL || strcmp(whole.what, pieces.what) == 0);
    a_assert(a_view_equal(a_buf_view(&whole.body), a_buf_view(&pieces.body)));
    if (whole.code == 0)
        round_trip(a_buf_view(&whole.body), 1 + data[0]);
    a_buf_deinit(&whole.body);
    a_buf_deinit(&pieces.body);
    return 0;
}
