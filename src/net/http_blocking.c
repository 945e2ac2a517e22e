/* One request after the other through one curl handle, which keeps its connections. Servers of ours are
 * reached directly, whatever proxy the environment names. */
#include "net/http_blocking.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "net/problem.h"
#include "net/sse.h"
#include "sys/file.h"

#define CONNECT_TIMEOUT_MS 5000
#define TIMEOUT_MS 60000
#define BODY_MAX (64u * 1024u * 1024u)

struct net_blocking {
    CURL *curl;
    char *base_url;
    struct sys_secret token;
    char *ca; /* PEM; NULL = the system's */
    uint64_t connect_timeout_ms;
    char *user_agent;
};

/* One request under way. */
struct exchange {
    struct net_blocking *b;
    const struct net_blocking_request *request;
    struct net_blocking_answer *answer;
    struct curl_slist *headers;
    struct net_sse sse;
    int upload_fd, download_fd;
    char *download_temp;
    uint64_t upload_offset, upload_size;
    bool stopped; /* by a callback, which is no error */
    int rc;       /* of a callback of ours */
};

int net_blocking_new(const struct net_blocking_options *options, struct net_blocking **ret_session,
                     struct a_error *reterr)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return a_fail(reterr, -ENOMEM, A_CODE_INTERNAL, "cannot set libcurl up");
    CURL *curl = curl_easy_init();
    if (curl == NULL)
        return a_fail(reterr, -ENOMEM, A_CODE_INTERNAL, "cannot set libcurl up");
    struct net_blocking *b = a_new(struct net_blocking);
    size_t len = strlen(options->base_url);
    while (len > 0 && options->base_url[len - 1] == '/')
        len--;
    b->curl = curl;
    b->base_url = a_strndup(options->base_url, len);
    if (options->token != NULL)
        sys_secret_set(&b->token, sys_secret_view(options->token));
    if (options->ca.len > 0)
        b->ca = a_view_dup(options->ca);
    b->connect_timeout_ms =
        options->connect_timeout_ms != 0 ? options->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    b->user_agent = a_strdup(options->user_agent != NULL ? options->user_agent : "astra/" ASTRA_VERSION);
    *ret_session = b;
    return 0;
}

void net_blocking_free(struct net_blocking *b)
{
    if (b == NULL)
        return;
    curl_easy_cleanup(b->curl);
    sys_secret_deinit(&b->token);
    a_free(b->base_url);
    a_free(b->ca);
    a_free(b->user_agent);
    a_free(b);
}

void net_blocking_answer_deinit(struct net_blocking_answer *a)
{
    a_buf_deinit(&a->body);
}

/* --- what curl calls --- */

/* A callback's answer: goes on with 0, else ends the request with it. */
static bool callback_ended(struct exchange *x, int rc)
{
    if (rc > 0)
        x->stopped = true;
    else if (rc < 0)
        x->rc = rc;
    return rc != 0;
}

static bool status_is_ok(struct exchange *x)
{
    long status = 0;
    curl_easy_getinfo(x->b->curl, CURLINFO_RESPONSE_CODE, &status);
    return status / 100 == 2;
}

static int bytes_keep(struct exchange *x, struct a_view bytes)
{
    a_buf_add_view(&x->answer->body, bytes);
    return x->answer->body.failed ? -EFBIG : 0;
}

static int bytes_store(struct exchange *x, struct a_view bytes)
{
    if (x->download_fd < 0) {
        int rc = sys_file_remove(x->download_temp, NULL);
        if (rc == 0)
            rc = sys_file_append_open(x->download_temp, 0644, &x->download_fd, NULL);
        if (rc != 0)
            return rc;
    }
    return sys_fd_write_full(x->download_fd, bytes.ptr, bytes.len);
}

static size_t on_body(char *bytes, size_t size, size_t n, void *ctx)
{
    struct exchange *x = ctx;
    const struct net_blocking_request *q = x->request;
    struct a_view view = {bytes, size * n};
    int rc;
    if (!status_is_ok(x))
        rc = bytes_keep(x, view);
    else if (q->event != NULL)
        rc = net_sse_feed(&x->sse, view, q->event, q->ctx);
    else if (q->piece != NULL)
        rc = q->piece(q->ctx, view);
    else if (q->download_path != NULL)
        rc = bytes_store(x, view);
    else
        rc = bytes_keep(x, view);
    return callback_ended(x, rc) ? CURL_WRITEFUNC_ERROR : view.len;
}

static void header_copy(struct a_view value, char *out, size_t size)
{
    value = a_view_trim(value);
    while (value.len > 0 && (unsigned char)value.ptr[value.len - 1] <= ' ')
        value.len--;
    snprintf(out, size, A_VIEW_FMT, A_VIEW_ARG(value));
}

static size_t on_header(char *bytes, size_t size, size_t n, void *ctx)
{
    struct exchange *x = ctx;
    struct a_view value, name = a_view_split((struct a_view){bytes, size * n}, ':', &value);
    if (a_view_is_nocase(name, "content-type"))
        header_copy(value, x->answer->content_type, sizeof x->answer->content_type);
    else if (a_view_is_nocase(name, "etag"))
        header_copy(value, x->answer->etag, sizeof x->answer->etag);
    return size * n;
}

static size_t on_upload(char *bytes, size_t size, size_t n, void *ctx)
{
    struct exchange *x = ctx;
    ssize_t got = sys_fd_read_at(x->upload_fd, bytes, size * n, x->upload_offset);
    if (got < 0) {
        x->rc = (int)got;
        return CURL_READFUNC_ABORT;
    }
    x->upload_offset += (uint64_t)got;
    return (size_t)got;
}

/* curl begins again when a kept connection turned out to be closed. */
static int on_rewind(void *ctx, curl_off_t offset, int origin)
{
    if (origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    ((struct exchange *)ctx)->upload_offset = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

static int on_progress(void *ctx, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
    struct exchange *x = ctx;
    if (x->request->progress == NULL)
        return 0;
    bool upload = up_total > down_total;
    int rc = x->request->progress(x->request->ctx, (uint64_t)(upload ? up : down),
                                  (uint64_t)(upload ? up_total : down_total));
    return callback_ended(x, rc);
}

/* --- the request --- */

static void header_add(struct exchange *x, const char *name, const char *value)
{
    A_AUTOFREE char *line = a_asprintf("%s: %s", name, value);
    x->headers = curl_slist_append(x->headers, line);
    sys_secret_wipe(line, strlen(line));
}

static void headers_set(struct exchange *x)
{
    const struct net_blocking_request *q = x->request;
    bool has_body = q->body.len != 0 || q->upload_path != NULL;
    if (q->content_type != NULL || has_body)
        header_add(x, "Content-Type", q->content_type != NULL ? q->content_type : "application/json");
    if (x->b->token.len != 0) {
        A_AUTOFREE char *bearer = a_asprintf("Bearer %s", x->b->token.ptr);
        header_add(x, "Authorization", bearer);
        sys_secret_wipe(bearer, strlen(bearer));
    }
    for (size_t i = 0; i < q->n_headers; i++)
        header_add(x, q->headers[i].name, q->headers[i].value);
    curl_easy_setopt(x->b->curl, CURLOPT_HTTPHEADER, x->headers);
}

static const char *method_of(const struct net_blocking_request *q)
{
    if (q->method != NULL)
        return q->method;
    if (q->upload_path != NULL)
        return "PUT";
    return q->body.len != 0 ? "POST" : "GET";
}

static void body_set(struct exchange *x)
{
    const struct net_blocking_request *q = x->request;
    CURL *curl = x->b->curl;
    const char *method = method_of(q);
    if (q->upload_path != NULL) {
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_upload);
        curl_easy_setopt(curl, CURLOPT_READDATA, x);
        curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, on_rewind);
        curl_easy_setopt(curl, CURLOPT_SEEKDATA, x);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)x->upload_size);
    } else if (q->body.len != 0 || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.len);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, q->body.len != 0 ? q->body.ptr : "");
    } else if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
}

static void timeouts_set(struct exchange *x)
{
    const struct net_blocking_request *q = x->request;
    CURL *curl = x->b->curl;
    uint64_t ms = q->timeout_ms != 0 ? q->timeout_ms : TIMEOUT_MS;
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)x->b->connect_timeout_ms);
    if (q->upload_path == NULL && q->download_path == NULL && q->event == NULL && q->piece == NULL) {
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)ms);
        return;
    }
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L); /* silence, not length, ends a transfer */
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)((ms + 999u) / 1000u));
}

static void trust_set(struct exchange *x)
{
    CURL *curl = x->b->curl;
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
    if (x->b->ca == NULL)
        return;
    struct curl_blob blob = {.data = x->b->ca, .len = strlen(x->b->ca), .flags = CURL_BLOB_NOCOPY};
    curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &blob);
    curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
}

static void options_set(struct exchange *x, const char *url, char *errors)
{
    CURL *curl = x->b->curl;
    curl_easy_reset(curl); /* connections stay */
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, errors);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, x->b->user_agent);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, x);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    trust_set(x);
    headers_set(x);
    body_set(x);
    timeouts_set(x);
}

/* --- how it ended --- */

static int rc_of_curl(CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_COULDNT_CONNECT:
        return -ECONNREFUSED;
    case CURLE_COULDNT_RESOLVE_HOST:
        return -ENXIO;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        return -ECONNRESET;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return -EINVAL;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    default:
        return -EIO;
    }
}

static int curl_failed(const struct exchange *x, CURLcode code, const char *errors, struct a_error *reterr)
{
    int rc = rc_of_curl(code);
    const char *what = errors[0] != '\0' ? errors : curl_easy_strerror(code);
    if (code == CURLE_PEER_FAILED_VERIFICATION)
        return a_fail(
            reterr, -EACCES, A_CODE_FORBIDDEN,
            "%s shows a certificate that is not to be trusted (%s): is it the right server, and is its "
            "CA (DATA/ca.pem, or `ca` in client.json) the one you have?",
            x->b->base_url, what);
    if (rc == -ECONNREFUSED || rc == -ENXIO)
        return a_fail(reterr, rc, A_CODE_UNAVAILABLE, "cannot reach the server at %s: %s", x->b->base_url,
                      what);
    if (rc == -EINVAL)
        return a_fail(reterr, rc, A_CODE_USAGE, "\"%s\" is not an address of a server: %s", x->b->base_url,
                      what);
    return a_fail(reterr, rc, rc == -ETIMEDOUT ? A_CODE_TIMEOUT : A_CODE_UNAVAILABLE, "%s %s%s: %s",
                  method_of(x->request), x->b->base_url, x->request->path, what);
}

static int download_finish(struct exchange *x, struct a_error *reterr)
{
    int rc = x->download_fd < 0 ? bytes_store(x, (struct a_view){"", 0}) : 0; /* an empty file is one, too */
    if (rc != 0)
        return a_fail_errno(reterr, rc, "cannot write %s", x->download_temp);
    return sys_file_rename(x->download_temp, x->request->download_path, reterr);
}

static int exchange_finish(struct exchange *x, CURLcode code, const char *errors, struct a_error *reterr)
{
    long status = 0;
    curl_easy_getinfo(x->b->curl, CURLINFO_RESPONSE_CODE, &status);
    x->answer->status = (unsigned)status;
    if (x->rc == -EFBIG)
        return a_fail(reterr, x->rc, A_CODE_TOO_LARGE, "the answer of %s%s is too large", x->b->base_url,
                      x->request->path);
    if (x->rc != 0)
        return a_fail_errno(reterr, x->rc, "%s%s", x->b->base_url, x->request->path);
    if (x->stopped)
        return 0;
    if (code != CURLE_OK)
        return curl_failed(x, code, errors, reterr);
    if (status >= 400) {
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        net_problem_read((unsigned)status, a_buf_view(&x->answer->body), &e);
        a_error_move(reterr, &e);
        return -EREMOTEIO;
    }
    return x->request->download_path != NULL && status / 100 == 2 ? download_finish(x, reterr) : 0;
}

static int files_open(struct exchange *x, struct a_error *reterr)
{
    const struct net_blocking_request *q = x->request;
    if (q->download_path != NULL)
        x->download_temp = a_asprintf("%s.part", q->download_path);
    if (q->upload_path == NULL)
        return 0;
    struct sys_stat st;
    int rc = sys_file_open_read(q->upload_path, &x->upload_fd, reterr);
    if (rc == 0)
        rc = sys_file_stat(q->upload_path, &st, reterr);
    if (rc == 0)
        x->upload_size = st.size;
    return rc;
}

static void exchange_deinit(struct exchange *x)
{
    curl_slist_free_all(x->headers);
    net_sse_deinit(&x->sse);
    sys_fd_close(x->upload_fd);
    sys_fd_close(x->download_fd);
    if (x->download_temp != NULL)
        (void)!sys_file_remove(x->download_temp, NULL);
    a_free(x->download_temp);
}

int net_blocking_send(struct net_blocking *b, const struct net_blocking_request *request,
                      struct net_blocking_answer *ret_answer, struct a_error *reterr)
{
    struct exchange x = {
        .b = b, .request = request, .answer = ret_answer, .upload_fd = -1, .download_fd = -1};
    char errors[CURL_ERROR_SIZE] = "";
    A_AUTOFREE char *url = a_asprintf("%s%s", b->base_url, request->path);
    *ret_answer = (struct net_blocking_answer){.status = 0};
    ret_answer->body.max = request->body_max != 0 ? request->body_max : BODY_MAX;
    int rc = files_open(&x, reterr);
    if (rc == 0) {
        options_set(&x, url, errors);
        CURLcode code = curl_easy_perform(b->curl);
        rc = exchange_finish(&x, code, errors, reterr);
    }
    exchange_deinit(&x);
    return rc;
}
