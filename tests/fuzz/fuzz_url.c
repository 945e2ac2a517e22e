/* URLs. What is decoded and encoded again decodes to the same; a plain path has no way up once it is decoded;
 * hosts hold only characters of hosts. */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "wire/url.h"

static void decode_check(struct a_view in, struct a_arena *arena)
{
    struct a_view text, again;
    if (!wire_url_decode(in, false, arena, &text))
        return;
    a_assert(text.len <= in.len && (text.len == 0 || memchr(text.ptr, 0, text.len) == NULL));
    A_BUF_AUTO struct a_buf b = {0};
    wire_url_encode(&b, text, false);
    a_assert(wire_url_decode(a_buf_view(&b), false, arena, &again) && a_view_equal(text, again));
}

static void path_check(struct a_view in, struct a_arena *arena)
{
    struct a_view path, segment;
    if (!wire_url_path_is_plain(in))
        return;
    a_assert(wire_url_decode(in, false, arena, &path) && path.len > 0 && path.ptr[0] == '/');
    while (wire_url_segment(&path, &segment))
        a_assert(!a_view_is(segment, ".") && !a_view_is(segment, ".."));
    a_assert(wire_url_prefix_covers(A_VIEW_LIT("/"), in) && wire_url_prefix_covers(in, in));
}

static void query_check(struct a_view in, struct a_arena *arena)
{
    struct a_view path, query, name, value;
    path = wire_url_path(in, &query);
    a_assert(path.len + query.len <= in.len);
    size_t left = query.len + 1;
    while (wire_url_query_next(&query, &name, &value)) {
        a_assert(query.len < left);
        left = query.len;
    }
    a_assert(query.len == 0);
    path = wire_url_path(in, &query);
    if (wire_url_query_get(query, "a", arena, &value))
        a_assert(value.len <= in.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct a_view host, in = {(const char *)data, size};
    struct wire_url url;
    uint16_t port;
    decode_check(in, &arena);
    path_check(in, &arena);
    query_check(in, &arena);
    if (wire_url_host_port(in, 80, &host, &port))
        for (size_t i = 0; i < host.len; i++)
            a_assert(strchr("/@,% \\", host.ptr[i]) == NULL && host.ptr[i] > ' ');
    if (wire_url_parse(in, &url))
        a_assert(url.host.len > 0 && url.path.len > 0);
    return 0;
}
