#include "types/id.h"

#include <string.h>

#include "base/assert.h"
#include "base/text.h"

static void copy(char *out, size_t size, struct a_view v)
{
    a_assert(v.len < size);
    memset(out, 0, size);
    memcpy(out, v.ptr, v.len);
}

bool a_name_parse(struct a_view v, struct a_name *ret)
{
    if (!a_text_is_label(v, A_NAME_MAX))
        return false;
    copy(ret->s, sizeof ret->s, v);
    return true;
}

bool a_unit_name_parse(struct a_view v, struct a_unit_name *ret)
{
    if (!a_text_is_label(v, A_UNIT_NAME_MAX))
        return false;
    copy(ret->s, sizeof ret->s, v);
    return true;
}

void a_unit_name_make(struct a_random *random, const struct a_name *app, struct a_unit_name *ret)
{
    size_t n = strlen(app->s);
    memset(ret, 0, sizeof *ret);
    memcpy(ret->s, app->s, n);
    ret->s[n] = '-';
    a_random_name(random, ret->s + n + 1, 5);
}

static bool all_in(struct a_view v, const char *alphabet)
{
    for (size_t i = 0; i < v.len; i++)
        if (v.ptr[i] == '\0' || strchr(alphabet, v.ptr[i]) == NULL)
            return false;
    return true;
}

bool a_node_id_parse(struct a_view v, struct a_node_id *ret)
{
    if (v.len != A_NODE_ID_LEN || !all_in(v, "abcdefghijklmnopqrstuvwxyz234567"))
        return false;
    copy(ret->s, sizeof ret->s, v);
    return true;
}

void a_node_id_make(const uint8_t digest[16], struct a_node_id *ret)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint32_t bits = 0;
    int n_bits = 0, out = 0;
    for (int i = 0; i < 16; i++) {
        bits = bits << 8 | digest[i];
        for (n_bits += 8; n_bits >= 5; n_bits -= 5)
            ret->s[out++] = alphabet[(bits >> (n_bits - 5)) & 31];
    }
    ret->s[out++] = alphabet[(bits << (5 - n_bits)) & 31];
    ret->s[out] = '\0';
}

bool a_uuid_parse(struct a_view v, struct a_uuid *ret)
{
    if (v.len != A_UUID_LEN || !all_in(v, "0123456789abcdef-"))
        return false;
    for (size_t i = 0; i < v.len; i++)
        if ((v.ptr[i] == '-') != (i == 8 || i == 13 || i == 18 || i == 23))
            return false;
    copy(ret->s, sizeof ret->s, v);
    return true;
}

static void uuid_print(const uint8_t bytes[16], int version, struct a_uuid *ret)
{
    static const char hex[] = "0123456789abcdef";
    int out = 0;
    for (int i = 0; i < 16; i++) {
        uint8_t b = bytes[i];
        if (i == 6)
            b = (uint8_t)((b & 0x0f) | version << 4);
        if (i == 8)
            b = (uint8_t)((b & 0x3f) | 0x80);
        if (i == 4 || i == 6 || i == 8 || i == 10)
            ret->s[out++] = '-';
        ret->s[out++] = hex[b >> 4];
        ret->s[out++] = hex[b & 15];
    }
    ret->s[out] = '\0';
}

void a_uuid_make_v4(const uint8_t random[16], struct a_uuid *ret)
{
    uuid_print(random, 4, ret);
}

void a_uuid_make_v7(uint64_t unix_ms, const uint8_t random[10], struct a_uuid *ret)
{
    uint8_t bytes[16];
    for (int i = 0; i < 6; i++)
        bytes[i] = (uint8_t)(unix_ms >> (40 - 8 * i));
    memcpy(bytes + 6, random, 10);
    uuid_print(bytes, 7, ret);
}

bool a_app_ref_parse(struct a_view v, struct a_app_ref *ret)
{
    struct a_view name, namespace = a_view_split(v, '/', &name);
    struct a_app_ref ref;
    if (namespace.len == v.len) {
        name = v;
        namespace = A_VIEW_LIT("default");
    }
    if (!a_name_parse(namespace, &ref.namespace) || !a_name_parse(name, &ref.name))
        return false;
    *ret = ref;
    return true;
}

bool a_app_ref_equal(const struct a_app_ref *a, const struct a_app_ref *b)
{
    return strcmp(a->name.s, b->name.s) == 0 && strcmp(a->namespace.s, b->namespace.s) == 0;
}

bool a_claim_id_equal(const struct a_claim_id *a, const struct a_claim_id *b)
{
    return a->attempt == b->attempt && strcmp(a->unit.s, b->unit.s) == 0 &&
           strcmp(a->member.s, b->member.s) == 0 && strcmp(a->app_uid.s, b->app_uid.s) == 0;
}

void a_claim_id_print(struct a_buf *b, const struct a_claim_id *id)
{
    a_buf_addf(b, "%s/%s/%s/%u", id->app_uid.s, id->unit.s, id->member.s, id->attempt);
}

bool a_claim_id_parse(struct a_view v, struct a_claim_id *ret)
{
    struct a_claim_id id = {0};
    uint64_t attempt;
    struct a_view uid = a_view_split(v, '/', &v), unit = a_view_split(v, '/', &v),
                  member = a_view_split(v, '/', &v);
    if (!a_uuid_parse(uid, &id.app_uid) || !a_unit_name_parse(unit, &id.unit) ||
        !a_name_parse(member, &id.member) || !a_text_u64(v, &attempt) || attempt > UINT32_MAX)
        return false;
    id.attempt = (uint32_t)attempt;
    *ret = id;
    return true;
}
