/* HTTP's names: methods, headers that mean something here, statuses. */
#include <string.h>

#include "base/assert.h"
#include "wire/http1.h"

static const char *const method_names[] = {"OTHER",
#define X(name) #name,
                                           WIRE_HTTP_METHODS(X)
#undef X
};

static const struct {
    const char *name;
    uint8_t len;
    bool hop;
} known_names[] = {{"", 0, false},
#define X(name, text, hop) {text, sizeof(text) - 1, hop},
                   WIRE_HTTP_KNOWN(X)
#undef X
};

enum wire_http_method wire_http_method_parse(struct a_view text)
{
    for (unsigned m = WIRE_HTTP_OTHER + 1; m < WIRE_HTTP_METHOD_COUNT; m++)
        if (a_view_is(text, method_names[m]))
            return (enum wire_http_method)m;
    return WIRE_HTTP_OTHER;
}

const char *wire_http_method_name(enum wire_http_method m)
{
    a_assert((unsigned)m < WIRE_HTTP_METHOD_COUNT);
    return method_names[m];
}

bool wire_http_method_idempotent(enum wire_http_method m)
{
    return m == WIRE_HTTP_GET || m == WIRE_HTTP_HEAD || m == WIRE_HTTP_OPTIONS || m == WIRE_HTTP_TRACE ||
           m == WIRE_HTTP_PUT || m == WIRE_HTTP_DELETE;
}

/* The table is ordered by length: few candidates are left, and fewer after the first letter. */
enum wire_http_known wire_http_known_find(struct a_view name)
{
    for (unsigned k = 1; k < WIRE_HTTP_H_COUNT && known_names[k].len <= name.len; k++)
        if (known_names[k].len == name.len && (name.ptr[0] | 0x20) == known_names[k].name[0] &&
            a_view_is_nocase(name, known_names[k].name))
            return (enum wire_http_known)k;
    return WIRE_HTTP_H_OTHER;
}

const struct wire_http_header *wire_http_head_get(const struct wire_http_head *h, enum wire_http_known known)
{
    for (size_t i = 0; i < h->n_headers; i++)
        if (h->headers[i].known == known)
            return &h->headers[i];
    return NULL;
}

const struct wire_http_header *wire_http_head_find(const struct wire_http_head *h, const char *name)
{
    for (size_t i = 0; i < h->n_headers; i++)
        if (a_view_is_nocase(h->headers[i].name, name))
            return &h->headers[i];
    return NULL;
}

bool wire_http_list_has(struct a_view list, const char *token)
{
    while (list.len > 0)
        if (a_view_is_nocase(a_view_trim(a_view_split(list, ',', &list)), token))
            return true;
    return false;
}

static bool view_equal_nocase(struct a_view a, struct a_view b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        char x = a.ptr[i], y = b.ptr[i];
        if (x != y && ((x ^ y) != 0x20 || (x | 0x20) < 'a' || (x | 0x20) > 'z'))
            return false;
    }
    return true;
}

static bool list_names(struct a_view list, struct a_view name)
{
    while (list.len > 0)
        if (view_equal_nocase(a_view_trim(a_view_split(list, ',', &list)), name))
            return true;
    return false;
}

bool wire_http_head_is_hop(const struct wire_http_head *h, size_t i)
{
    a_assert(i < h->n_headers);
    const struct wire_http_header *header = &h->headers[i];
    if (known_names[header->known].hop)
        return true;
    /* No sender can have these two taken out: without them the message means another one. */
    if (header->known == WIRE_HTTP_H_HOST || header->known == WIRE_HTTP_H_CONTENT_LENGTH)
        return false;
    for (size_t k = 0; k < h->n_headers; k++)
        if (h->headers[k].known == WIRE_HTTP_H_CONNECTION && list_names(h->headers[k].value, header->name))
            return true;
    return false;
}

const char *wire_http_status_text(unsigned status)
{
    static const struct {
        uint16_t status;
        const char *text;
    } table[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {103, "Early Hints"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(table); i++)
        if (table[i].status == status)
            return table[i].text;
    return "Unknown";
}
