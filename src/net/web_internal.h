/* What the files of the web client share. Nobody else includes this. */
#ifndef A_NET_WEB_INTERNAL_H
#define A_NET_WEB_INTERNAL_H

#include <curl/curl.h>

#include "base/list.h"
#include "net/web.h"

/* What a server showed in a handshake, in words, for errors. */
struct web_seen {
    char names[256];   /* that its certificate is for */
    char subject[128]; /* of it */
    char issuer[128];
    const char *fault; /* OpenSSL's word for what is wrong with the chain; NULL = nothing. Static */
};

/* A set of connections to the server that live and die together. There is one for new calls; one whose
 * connections are condemned goes away with its last call. */
struct web_hub {
    struct net_web *w;
    CURLM *multi;
    struct sys_timer timer; /* libcurl's */
    struct a_list calls;    /* struct net_web_call.link: given to `multi` */
    struct a_list sockets;  /* struct web_socket.link */
    uint64_t heard_ms;      /* when a byte came on any of its connections */
    struct web_seen seen;   /* in the last handshake */
};

struct net_web {
    struct sys_loop *loop;
    char *base_url, *url_root; /* as people read it; as libcurl dials it: with server_name for the host */
    char *host;
    char *ca, *certificate, *proxy, *user_agent, *user;
    struct curl_slist *connect_to;
    struct sys_secret key, bearer, password;
    bool insecure;
    uint64_t connect_timeout_ms;
    unsigned connections_max;
    struct web_hub *hub; /* NULL: made with the next call */
    struct a_list calls; /* struct net_web_call.of_web: all of them */
    struct a_list ready; /* struct net_web_call.ready: something is to be told */
    struct sys_defer tell;
    bool *gone; /* set when it is freed while it tells */
    uint64_t n_connections, n_calls;
};

struct net_web_call {
    struct a_list of_web, link, ready;
    struct net_web *w;
    struct web_hub *hub; /* NULL once it has ended */
    CURL *curl;
    struct curl_slist *headers;
    char *method, *path;
    struct sys_secret body_out; /* bodies carry tokens and keys */
    void (*open)(void *ctx);
    void (*piece)(void *ctx, struct a_view bytes);
    void (*done)(void *ctx, const struct net_web_answer *answer);
    void *ctx;

    uint64_t ends_at_ms, idle_ms, heard_ms;
    struct sys_timer timer;
    struct a_buf pieces; /* came, not told yet */
    struct a_buf body;
    bool paused;            /* by the owner */
    bool held;              /* libcurl's side of it: `pieces` is full */
    bool opened, open_told; /* the head of an answer in pieces came */
    bool ended;
    bool *gone; /* set when it is freed while a piece is told */
    int rc;     /* of a callback of ours, and in the end of the call */
    struct a_error error;
    unsigned status;
    char content_type[64];
    uint64_t retry_after_ms;
    bool http2;
    char errors[CURL_ERROR_SIZE];
};

/* ---- web.c ---- */

/* It is over: what is to be told is told later. Takes it out of its hub. Takes what *error has. */
void web_call_end(struct net_web_call *call, int rc, struct a_error *error);
/* Something came. */
void web_call_heard(struct net_web_call *call);
/* Its pieces or its end are to be told. */
void web_call_ready(struct net_web_call *call);

/* ---- web_hub.c ---- */

int web_hub_new(struct net_web *w, struct web_hub **ret, struct a_error *reterr) A_MUST_CHECK;
/* It has no calls. NULL allowed. */
void web_hub_free(struct web_hub *hub);
/* Hands the call over; from here on it is one of hub->calls. */
int web_hub_add(struct web_hub *hub, struct net_web_call *call, struct a_error *reterr) A_MUST_CHECK;
void web_hub_remove(struct net_web_call *call);

/* ---- web_call.c: what libcurl is told of a call, and what it tells ---- */

int web_call_options_set(struct net_web_call *call, const struct net_web_request *q,
                         struct a_error *reterr) A_MUST_CHECK;
/* How it ended, in words. */
int web_call_outcome(struct net_web_call *call, CURLcode code, struct a_error *reterr) A_MUST_CHECK;

/* ---- web_tls.c ---- */

/* Has the certificates of a handshake noted in hub->seen. */
CURLcode web_tls_watch(CURL *curl, void *ssl_ctx, void *hub);
/* The certificate and its key belong together. */
int web_tls_check(struct a_view certificate, struct a_view key, struct a_error *reterr) A_MUST_CHECK;

#endif
