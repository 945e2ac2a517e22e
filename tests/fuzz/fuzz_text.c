/* Text in: numbers, quantities, durations, names, ids, digests. What parses must print as text that parses to
 * the same value; what is printed as JSON must hold only printable or escaped characters between its quotes.
 */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/text.h"
#include "types/digest.h"
#include "types/id.h"

typedef bool parse_fn(struct a_view v, uint64_t *ret);
typedef void print_fn(struct a_buf *b, uint64_t value);

static void quantity_round_trip(struct a_view v, parse_fn *parse, print_fn *print)
{
    uint64_t value, again;
    if (!parse(v, &value))
        return;
    A_BUF_AUTO struct a_buf text = {0};
    print(&text, value);
    a_assert(parse(a_buf_view(&text), &again) && again == value);
}

static void json_check(struct a_view v)
{
    A_BUF_AUTO struct a_buf text = {0};
    a_text_print_json(&text, v);
    a_assert(text.len >= 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"');
    for (size_t i = 1; i + 1 < text.len; i++) {
        a_assert((unsigned char)text.ptr[i] >= 0x20 && text.ptr[i] != '"');
        if (text.ptr[i] == '\\')
            a_assert(++i + 1 < text.len);
    }
}

static void ids_check(struct a_view v)
{
    struct a_claim_id claim, again;
    if (a_claim_id_parse(v, &claim)) {
        A_BUF_AUTO struct a_buf text = {0};
        a_claim_id_print(&text, &claim);
        a_assert(a_claim_id_parse(a_buf_view(&text), &again) && a_claim_id_equal(&claim, &again));
    }
    struct a_digest digest, copy;
    char hex[A_DIGEST_HEX + 1];
    if (a_digest_parse(v, &digest)) {
        a_digest_hex(&digest, hex);
        a_assert(a_digest_parse(a_view_str(hex), &copy) && a_digest_equal(&digest, &copy));
    }
    struct a_app_ref ref;
    if (a_app_ref_parse(v, &ref))
        a_assert(a_text_is_label(a_view_str(ref.name.s), A_NAME_MAX));
    struct a_uuid uuid;
    if (a_uuid_parse(v, &uuid))
        a_assert(strlen(uuid.s) == A_UUID_LEN);
    struct a_node_id node;
    if (a_node_id_parse(v, &node))
        a_assert(strlen(node.s) == A_NODE_ID_LEN);
}

/* What is made of any bytes parses. */
static void made_check(const uint8_t *data, size_t size)
{
    uint8_t bytes[16] = {0};
    struct a_uuid uuid, again;
    struct a_node_id node, copy;
    memcpy(bytes, data, size < sizeof bytes ? size : sizeof bytes);
    a_node_id_make(bytes, &node);
    a_assert(a_node_id_parse(a_view_str(node.s), &copy) && strcmp(node.s, copy.s) == 0);
    a_uuid_make_v4(bytes, &uuid);
    a_assert(a_uuid_parse(a_view_str(uuid.s), &again) && strcmp(uuid.s, again.s) == 0);
    a_uuid_make_v7(size, bytes, &uuid);
    a_assert(a_uuid_parse(a_view_str(uuid.s), &again) && strcmp(uuid.s, again.s) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct a_view v = {(const char *)data, size};
    uint64_t u;
    int64_t i;
    quantity_round_trip(v, a_text_bytes, a_text_print_bytes);
    quantity_round_trip(v, a_text_mcpu, a_text_print_mcpu);
    quantity_round_trip(v, a_text_duration, a_text_print_duration);
    if (a_text_hex64(v, &u))
        a_assert(size >= 1 && size <= 16);
    if (a_text_i64(v, &i) && i >= 0 && data[0] != '-')
        a_assert(a_text_u64(v, &u) && u == (uint64_t)i);
    json_check(v);
    ids_check(v);
    made_check(data, size);
    (void)a_text_is_utf8(v);
    return 0;
}
