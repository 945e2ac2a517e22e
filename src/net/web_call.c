/* One call of the web client, as libcurl sees it: its options, its callbacks, its end in words. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "net/web_internal.h"

#define PIECES_MAX (256u * 1024u)
#define BODY_MAX (16u * 1024u * 1024u)
/* A network that drops a connection silently is noticed by the kernel, too: after 15 s + 4 x 5 s. */
#define KEEPALIVE_S 15L
#define KEEPALIVE_EVERY_S 5L

static bool status_is_ok(struct net_web_call *call)
{
    long status = 0;
    curl_easy_getinfo(call->curl, CURLINFO_RESPONSE_CODE, &status);
    return status / 100 == 2;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *ctx)
{
    struct net_web_call *call = ctx;
    size_t len = size * n;
    web_call_heard(call);
    if (call->piece != NULL && status_is_ok(call)) {
        if (call->pieces.len > 0 && call->pieces.len + len > PIECES_MAX) {
            call->held = true;
            return CURL_WRITEFUNC_PAUSE;
        }
        a_buf_add(&call->pieces, bytes, len);
        web_call_ready(call);
        return len;
    }
    a_buf_add(&call->body, bytes, len);
    if (!call->body.failed)
        return len;
    call->rc = -EFBIG;
    return CURL_WRITEFUNC_ERROR;
}

static size_t on_header(char *bytes, size_t size, size_t n, void *ctx)
{
    struct net_web_call *call = ctx;
    struct a_view value, name = a_view_split((struct a_view){bytes, size * n}, ':', &value);
    uint64_t seconds;
    while (value.len > 0 && (unsigned char)value.ptr[value.len - 1] <= ' ')
        value.len--;
    value = a_view_trim(value);
    web_call_heard(call);
    if (a_view_is_nocase(name, "content-type"))
        snprintf(call->content_type, sizeof call->content_type, A_VIEW_FMT, A_VIEW_ARG(value));
    else if (a_view_is_nocase(name, "retry-after") && a_text_u64(value, &seconds) && seconds <= 86400)
        call->retry_after_ms = seconds * 1000;
    if (name.len <= 2 && size * n <= 2 && call->open != NULL && status_is_ok(call)) { /* the empty line */
        call->opened = true;
        web_call_ready(call);
    }
    return size * n;
}

static void header_add(struct net_web_call *call, const char *name, const char *value)
{
    A_AUTOFREE char *line = a_asprintf("%s: %s", name, value);
    call->headers = curl_slist_append(call->headers, line);
    sys_secret_wipe(line, strlen(line));
}

static void headers_set(struct net_web_call *call, const struct net_web_request *q)
{
    header_add(call, "Accept", q->accept != NULL ? q->accept : "application/json");
    if (q->body.len > 0)
        header_add(call, "Content-Type", q->content_type != NULL ? q->content_type : "application/json");
    header_add(call, "Expect", ""); /* no 100-continue: a body goes out at once */
    if (call->w->bearer.len > 0) {
        A_AUTOFREE char *bearer = a_asprintf("Bearer %s", call->w->bearer.ptr);
        header_add(call, "Authorization", bearer);
        sys_secret_wipe(bearer, strlen(bearer));
    }
    if (call->w->user != NULL) {
        curl_easy_setopt(call->curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(call->curl, CURLOPT_USERNAME, call->w->user);
        curl_easy_setopt(call->curl, CURLOPT_PASSWORD,
                         call->w->password.len > 0 ? call->w->password.ptr : "");
    }
    curl_easy_setopt(call->curl, CURLOPT_HTTPHEADER, call->headers);
}

static void body_set(struct net_web_call *call)
{
    CURL *curl = call->curl;
    if (call->body_out.len > 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_out.len);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body_out.ptr);
    }
    if (strcmp(call->method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
}

static struct curl_blob blob_of(const char *pem)
{
    return (struct curl_blob){.data = (void *)(uintptr_t)pem, .len = strlen(pem), .flags = CURL_BLOB_NOCOPY};
}

static void certificate_set(struct net_web_call *call)
{
    const struct net_web *w = call->w;
    CURL *curl = call->curl;
    if (w->certificate != NULL) {
        struct curl_blob certificate = blob_of(w->certificate), key = blob_of(w->key.ptr);
        curl_easy_setopt(curl, CURLOPT_SSLCERTTYPE, "PEM");
        curl_easy_setopt(curl, CURLOPT_SSLKEYTYPE, "PEM");
        curl_easy_setopt(curl, CURLOPT_SSLCERT_BLOB, &certificate);
        curl_easy_setopt(curl, CURLOPT_SSLKEY_BLOB, &key);
    }
}

static void tls_set(struct net_web_call *call)
{
    const struct net_web *w = call->w;
    CURL *curl = call->curl;
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    certificate_set(call);
    if (w->insecure) {
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
        return;
    }
    curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, web_tls_watch);
    curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, w->hub);
    if (w->ca != NULL) {
        struct curl_blob ca = blob_of(w->ca);
        curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &ca);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }
}

static void connection_set(struct net_web_call *call)
{
    const struct net_web *w = call->w;
    CURL *curl = call->curl;
    A_AUTOFREE char *url = a_asprintf("%s%s", w->url_root, call->path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_PROXY, w->proxy != NULL ? w->proxy : "");
    if (w->connect_to != NULL)
        curl_easy_setopt(curl, CURLOPT_CONNECT_TO, w->connect_to);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, w->user_agent);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(curl, CURLOPT_PIPEWAIT, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)w->connect_timeout_ms);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_S);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_EVERY_S);
}

int web_call_options_set(struct net_web_call *call, const struct net_web_request *q, struct a_error *reterr)
{
    CURL *curl = curl_easy_init();
    if (curl == NULL)
        return a_fail(reterr, -ENOMEM, A_CODE_INTERNAL, "cannot set libcurl up");
    call->curl = curl;
    call->body.max = q->body_max != 0 ? q->body_max : BODY_MAX;
    curl_easy_setopt(curl, CURLOPT_PRIVATE, call);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, call->errors);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, call);
    connection_set(call);
    tls_set(call);
    headers_set(call, q);
    body_set(call);
    return 0;
}

/* ---- how it ended ---- */

static int trust_failed(const struct net_web_call *call, const char *what, struct a_error *reterr)
{
    const struct web_seen *seen = &call->hub->seen;
    const char *of = seen->subject[0] != '\0' ? seen->subject : "no subject";
    if (seen->fault != NULL)
        return a_fail(
            reterr, -EACCES, A_CODE_UNAVAILABLE,
            "%s shows a certificate (%s, for %s, issued by %s) that the CA given for it does not vouch "
            "for: %s",
            call->w->base_url, of, seen->names[0] != '\0' ? seen->names : "no name", seen->issuer,
            seen->fault);
    if (seen->subject[0] != '\0' || seen->names[0] != '\0')
        return a_fail(reterr, -EACCES, A_CODE_UNAVAILABLE,
                      "%s shows a certificate for %s and not for \"%s\" (%s): a server name may be told "
                      "(tls-server-name)",
                      call->w->base_url, seen->names[0] != '\0' ? seen->names : "no name", call->w->host,
                      what);
    return a_fail(reterr, -EACCES, A_CODE_UNAVAILABLE, "%s: %s", call->w->base_url, what);
}

static int rc_of_curl(CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return -ECONNREFUSED;
    case CURLE_COULDNT_RESOLVE_HOST:
        return -ENXIO;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_HTTP2:
    case CURLE_SSL_CONNECT_ERROR:
        return -EPROTO;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    default: /* sent or received in part, a stream or a connection that ended */
        return -ECONNRESET;
    }
}

static void facts_note(struct net_web_call *call)
{
    long status = 0, version = 0, connects = 0;
    curl_easy_getinfo(call->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(call->curl, CURLINFO_HTTP_VERSION, &version);
    curl_easy_getinfo(call->curl, CURLINFO_NUM_CONNECTS, &connects);
    call->status = (unsigned)status;
    call->http2 = version == CURL_HTTP_VERSION_2_0;
    call->w->n_connections += connects > 0 ? (uint64_t)connects : 0;
}

int web_call_outcome(struct net_web_call *call, CURLcode code, struct a_error *reterr)
{
    const char *what = call->errors[0] != '\0' ? call->errors : curl_easy_strerror(code);
    facts_note(call);
    if (call->rc == -EFBIG)
        return a_fail(reterr, call->rc, A_CODE_TOO_LARGE, "%s %s%s: the answer is larger than %zu bytes",
                      call->method, call->w->base_url, call->path, call->body.max);
    if (code == CURLE_OK)
        return 0;
    if (code == CURLE_PEER_FAILED_VERIFICATION)
        return trust_failed(call, what, reterr);
    int rc = rc_of_curl(code);
    return a_fail(reterr, rc, rc == -ETIMEDOUT ? A_CODE_TIMEOUT : A_CODE_UNAVAILABLE, "%s %s%s: %s",
                  call->method, call->w->base_url, call->path, what);
}
