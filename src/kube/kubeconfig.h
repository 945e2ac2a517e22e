/* A kubeconfig and a context to what is needed to call an API server. Files are named, not read: the caller
 * inlines them. Nothing is merged: one file, one context (kubectl's own rules for $KUBECONFIG lists are not
 * taken over).
 *
 * What needs a program of the user's machine (exec, auth-provider) is refused by name, as is impersonation:
 * the server that uses the credentials runs elsewhere and for months. */
#ifndef KUBE_KUBECONFIG_H
#define KUBE_KUBECONFIG_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "wire/value.h"

enum kube_credentials {
    KUBE_CREDENTIALS_NONE,
    KUBE_CREDENTIALS_TOKEN,       /* token, or token_file until it is read */
    KUBE_CREDENTIALS_CERTIFICATE, /* certificate and key, or their files */
    KUBE_CREDENTIALS_PASSWORD,    /* user_name and password */
};

/* A text that a kubeconfig gives by value or by the path of a file (relative to the kubeconfig's folder when
 * it does not begin with '/'). At most one is set; both are NULL when neither was given. */
struct kube_text {
    const char *value;
    const char *file;
};

/* All texts live in the arena of the call that made it. */
struct kube_access {
    const char *context, *cluster, *user; /* the names that were chosen */
    const char *server;      /* https://host:port or https://host/path, without a '/' at its end */
    const char *server_name; /* tls-server-name: for SNI and the certificate; NULL = the host of `server` */
    const char *proxy;       /* proxy-url, or NULL */
    const char *namespace;   /* the context's; "default" when it names none */
    bool insecure;           /* the server's certificate is not checked */
    struct kube_text ca;     /* PEM; neither: the system's */
    enum kube_credentials credentials;
    struct kube_text token;
    struct kube_text certificate, key; /* PEM */
    const char *user_name, *password;
};

/* `file` is how errors call the text: "FILE:LINE:COLUMN: users[0].user.exec: ...". `context` NULL =
 * current-context. -EINVAL (A_CODE_INVALID) for everything that is wrong with the text, -ENOENT
 * (A_CODE_NOT_FOUND) when it has no such context, with the nearest; -E2BIG past 1 MiB, -ENOMEM. */
int kube_kubeconfig_read(struct a_arena *arena, struct a_view text, const char *file, const char *context,
                         struct kube_access *ret, struct a_error *reterr) A_MUST_CHECK;

/* The one document that travels from the CLI to the server and lies encrypted in the store: every text
 * inlined. Asserts that no file is left to be read. */
struct wire_value *kube_access_print(struct a_arena *arena, const struct kube_access *access);
/* Reads it back; the texts stay in `v`. -EINVAL with the field's name. */
int kube_access_parse(struct a_arena *arena, const struct wire_value *v, struct kube_access *ret,
                      struct a_error *reterr) A_MUST_CHECK;

const char *kube_credentials_name(enum kube_credentials c); /* "none", "token", "certificate", "password" */
/* When a bearer token that is a JWT ends (its exp, seconds since 1970); 0 when it is none or has no end. Its
 * signature is not looked at: for people. */
int64_t kube_token_expiry(struct a_view token);

#endif
