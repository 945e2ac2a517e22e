/* Heads of HTTP/1 messages, written. */
#include <string.h>

#include "wire/http1.h"
#include "wire/http1_char.h"

void wire_http_write_request(struct a_buf *b, struct a_view method, struct a_view target)
{
    a_buf_add_view(b, method);
    a_buf_add_char(b, ' ');
    a_buf_add_view(b, target);
    a_buf_add_str(b, " HTTP/1.1\r\n");
}

void wire_http_write_status(struct a_buf *b, unsigned status)
{
    a_buf_addf(b, "HTTP/1.1 %u %s\r\n", status, wire_http_status_text(status));
}

bool wire_http_write_header(struct a_buf *b, struct a_view name, struct a_view value)
{
    if (!wire_chars_are(name, WIRE_CHAR_TOKEN) || !wire_chars_are_value(value))
        return false;
    if (!a_buf_reserve(b, name.len + value.len + 4))
        return true; /* the buffer says that it failed */
    a_buf_add_view(b, name);
    a_buf_add(b, ": ", 2);
    a_buf_add_view(b, value);
    a_buf_add(b, "\r\n", 2);
    return true;
}

bool wire_http_write_header_str(struct a_buf *b, const char *name, const char *value)
{
    return wire_http_write_header(b, a_view_str(name), a_view_str(value));
}

void wire_http_write_length(struct a_buf *b, uint64_t content_length)
{
    a_buf_addf(b, "content-length: %llu\r\n", (unsigned long long)content_length);
}

void wire_http_write_end(struct a_buf *b)
{
    a_buf_add(b, "\r\n", 2);
}
