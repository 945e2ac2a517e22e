#!/bin/sh
# Makes this machine, or virtual machine, a part of an Astra platform: systemd runs the server, a gateway or an agent out of the
# tree that this file lies in (PREFIX/share/astra/install.sh of `make install`, wherever that was unpacked).
set -eu

usage() {
    cat <<'END'
usage: install.sh server  [--api-host NAME] [--flag FLAG=VALUE ...]
       install.sh gateway --server HOST:PORT --token-file FILE [--name NAME] [--flag FLAG=VALUE ...]
       install.sh agent   --server HOST:PORT --token-file FILE [--name NAME] [--cluster NAME] [--network NAME] [--address IP]
                          [--label KEY=VALUE ...] [--flag FLAG=VALUE ...]
       install.sh uninstall ROLE [--purge]

Each: [--root DIR] a machine's root to write into, nothing is started there; [--no-start] started by hand or at the next boot.

  --server HOST:PORT    the server's Starlink (port 7701)
  --token-file FILE     the join token (astra token create --role join); copied to /etc/astra/join.token, for root alone
  --api-host NAME       the name under which others reach the server, for its certificate
  --name NAME           how people call the node or gateway (host name)
  --cluster NAME        the failure domain that the node belongs to (local)
  --network NAME        nodes of one network reach each other (local)
  --address IP          where the node's members are reached (the address that leads to the server)
  --label KEY=VALUE     a label of the node
  --flag FLAG=VALUE     any other flag of the program, as in `astra ROLE --help`: --flag cpu=8

It may be run again, with other words too: what differs is written, and the service restarted for that. An agent's restart stops no
member. uninstall leaves the data (/var/lib/astra/ROLE) and the token, unless --purge is said; members that run end then.
END
}

say() { printf 'install: %s\n' "$*"; }
die() {
    printf 'install: error: %s\n' "$*" >&2
    exit 1
}
wrong() {
    printf 'install: %s\n' "$*" >&2
    exit 2
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
prefix=$(dirname -- "$(dirname -- "$here")")
inside=$prefix # the same, as the machine of --root sees it
role='' root='' server='' token_file='' api_host='' name='' cluster='' network='' address='' labels='' flags=''
start=yes purge=no uninstall=no changed=no

# Words that become words of a command again: systemd splits at blanks and knows $, quotes and backslashes.
plain() {
    case $2 in
    '' | *[!A-Za-z0-9_.:/@%+,=-]*) wrong "$1 '$2': letters, digits and _ . : / @ % + , = - only" ;;
    esac
}

# Which of our words a role has, as part of its usage.
takes() {
    case $role:$1 in
    server:--api-host | gateway:--server | gateway:--token-file | gateway:--name) ;;
    agent:--server | agent:--token-file | agent:--name | agent:--cluster | agent:--network | agent:--address | agent:--label) ;;
    *) wrong "the $role takes no $1 (install.sh --help)" ;;
    esac
}

read_words() {
    [ $# -gt 0 ] || { usage >&2; exit 2; }
    case $1 in
    -h | --help) usage; exit 0 ;;
    uninstall) uninstall=yes; shift ;;
    esac
    role=${1-}
    case $role in
    server | gateway | agent) shift ;;
    *) wrong "ROLE is server, gateway or agent, not '$role' (install.sh --help)" ;;
    esac
    while [ $# -gt 0 ]; do
        case $1 in
        --no-start) start=no; shift; continue ;;
        --purge) [ $uninstall = yes ] || wrong '--purge is for uninstall'; purge=yes; shift; continue ;;
        --help) usage; exit 0 ;;
        --*) [ $# -gt 1 ] || wrong "$1 needs a value" ;;
        *) wrong "'$1' is not expected (install.sh --help)" ;;
        esac
        case $1 in
        --root) root=$(CDPATH='' cd -- "$2" 2>/dev/null && pwd -P) || wrong "--root $2 is no folder"; root=${root%/} ;;
        --flag) plain "$1" "$2"; flags="$flags $2" ;;
        --token-file) takes "$1"; token_file=$2 ;;
        --label) takes "$1"; plain "$1" "$2"
            case $2 in ?*=*) labels="$labels --label=$2" ;; *) wrong "--label $2: expected KEY=VALUE" ;; esac ;;
        --server) takes "$1"; plain "$1" "$2"
            case $2 in ?*:[0-9]*) server=$2 ;; *) wrong "--server $2: expected HOST:PORT, for example astra.example.org:7701" ;; esac ;;
        --api-host) takes "$1"; plain "$1" "$2"; api_host=$2 ;;
        --name) takes "$1"; plain "$1" "$2"; name=$2 ;;
        --cluster) takes "$1"; plain "$1" "$2"; cluster=$2 ;;
        --network) takes "$1"; plain "$1" "$2"; network=$2 ;;
        --address) takes "$1"; plain "$1" "$2"; address=$2 ;;
        *) wrong "$1 is not known (install.sh --help)" ;;
        esac
        shift 2
    done
}

# ---- what the machine must have ----

check_program() {
    [ -x "$prefix/bin/astra" ] || die "$prefix/bin/astra is not there: this script stays in the tree of \`make install\`"
    missing=$(ldd "$prefix/bin/astra" 2>/dev/null | sed -n 's/^[[:space:]]*\(.*\) => not found$/\1/p' | tr '\n' ' ')
    [ -z "$missing" ] || die "libraries are missing: ${missing}(on Debian 12: apt-get install libuv1 libssl3 libjansson4 libyaml-0-2 \
libsqlite3-0 libarchive13 libcurl4)"
    "$prefix/bin/astra" --help >/dev/null 2>&1 || die "$prefix/bin/astra does not run on this machine"
    [ -z "$root" ] || case $prefix in
    "$root"/*) inside=${prefix#"$root"} ;;
    esac
    case $inside in
    /home/* | /root/* | /tmp/* | /run/user/*) die "the services do not see $inside: move the tree, to /opt/astra for example" ;;
    esac
    plain 'the path of the tree' "$inside"
}

check_machine() {
    [ -z "$root" ] || return 0
    [ "$(id -u)" -eq 0 ] || die 'root is needed (or --root DIR)'
    [ -d /run/systemd/system ] || [ $start = no ] || die 'systemd does not run here; --no-start writes the files alone'
}

check_token() {
    [ "$role" != server ] || return 0
    [ -n "$server" ] || wrong "the $role needs --server HOST:PORT"
    if [ -z "$token_file" ]; then
        [ -s "$root/etc/astra/join.token" ] || wrong "the $role needs --token-file FILE"
        return 0
    fi
    [ -r "$token_file" ] || die "$token_file cannot be read"
    # never printed: only its shape is looked at
    grep -Eq '^[[:space:]]*[A-Za-z0-9-]{32,}[[:space:]]*$' "$token_file" || die "$token_file holds no join token"
    case $(ls -lLd "$token_file") in
    ???????r*) say "warning: everybody on this machine can read $token_file; remove it, a copy is kept" ;;
    esac
}

# ---- writing ----

# put MODE FILE TEXT: the file is like that, and its mode right before anything is in it.
put() {
    mkdir -p "$(dirname -- "$root$2")"
    part=$root$2.part
    rm -f "$part"
    (umask 077 && printf '%s\n' "$3" >"$part")
    chmod "$1" "$part"
    if cmp -s "$part" "$root$2"; then
        rm -f "$part"
        chmod "$1" "$root$2"
        return
    fi
    mv "$part" "$root$2"
    changed=yes
    say "$2: written"
}

units() {
    echo "astra-$role.service"
    [ "$role" != agent ] || echo astra-agent-drain.service
}

put_units() {
    for unit in $(units); do
        put 0644 "/etc/systemd/system/$unit" "$(sed "s|/usr/local/|$inside/|g" "$here/systemd/$unit")"
    done
}

setting() { [ -z "$2" ] || printf '%s=%s\n' "$1" "$2"; }

# `--flag FLAG=VALUE ...` as words of a command, and as variables.
words() {
    for flag in $flags; do
        case $flag in *=*) printf ' --%s %s' "${flag%%=*}" "${flag#*=}" ;; *) printf ' --%s' "$flag" ;; esac
    done
}

# The same for the gateway, whose every flag has a variable.
variables() {
    for flag in $flags; do
        case $flag in *=*) value=${flag#*=} ;; *) value=yes ;; esac
        setting "ASTRA_CFG_GATEWAY_$(printf '%s' "${flag%%=*}" | tr 'a-z-' 'A-Z_')" "$value"
    done
}

# By which address the server sees this machine. On the server's own machine that is loopback: the agent then takes one of its own.
own_address() {
    host=$(getent ahostsv4 "${server%:*}" 2>/dev/null | sed -n '1s/ .*//p')
    [ -n "$host" ] || die "${server%:*} has no address; once it has one run this again, or say --address IP"
    ip -4 route get "$host" 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p' | grep -v '^127\.' || :
}

settings() {
    case $role in
    server)
        printf 'ASTRA_SERVER_FLAGS="--api 0.0.0.0:7700 --starlink 0.0.0.0:7701%s%s"\n' "${api_host:+ --api-host $api_host}" "$(words)"
        ;;
    gateway)
        setting ASTRA_CFG_GATEWAY_SERVER "$server"
        setting ASTRA_CFG_GATEWAY_NAME "$name"
        variables
        ;;
    agent)
        setting ASTRA_CFG_AGENT_SERVER "$server"
        setting ASTRA_CFG_AGENT_NAME "$name"
        setting ASTRA_CFG_AGENT_CLUSTER "$cluster"
        setting ASTRA_CFG_AGENT_NETWORK "$network"
        setting ASTRA_CFG_AGENT_ADDRESS "$address"
        setting ASTRA_CFG_AGENT_ISOLATION auto
        printf 'ASTRA_AGENT_FLAGS="%s"\n' "$(printf '%s%s' "$labels" "$(words)" | sed 's/^ //')"
        ;;
    esac
}

put_settings() {
    if [ "$role" = agent ] && [ -z "$address" ] && [ -z "$root" ]; then
        address=$(own_address) || exit 1
    fi
    put 0644 "/etc/astra/$role.env" "$(settings)"
}

put_token() {
    [ -z "$token_file" ] || put 0600 /etc/astra/join.token "$(tr -d '[:space:]' <"$token_file")"
}

# The user of server and gateway; the agent is root, who gives each namespace a user of its own.
put_user() {
    [ "$role" != agent ] || return 0
    if [ -n "$root" ]; then
        put 0644 /usr/lib/sysusers.d/astra.conf 'u astra - "Astra" /var/lib/astra'
    elif ! getent passwd astra >/dev/null; then
        useradd --system --user-group --home-dir /var/lib/astra --no-create-home --shell /usr/sbin/nologin astra
        say 'user astra: made'
    fi
}

run_service() {
    [ -z "$root" ] && [ $start = yes ] || return 0
    systemctl daemon-reload
    # shellcheck disable=SC2046 # one word for each unit
    systemctl -q enable $(units)
    if systemctl -q is-active "astra-$role" && [ $changed = no ]; then
        say "astra-$role runs, nothing to do"
        return
    fi
    systemctl restart "astra-$role"
    say "astra-$role is started; journalctl -u astra-$role -f shows what it does"
}

install_role() {
    check_program
    check_machine
    check_token
    put_user
    put_token
    put_settings
    put_units
    [ $changed = yes ] || say "$role: everything is as it should be"
    run_service
}

# ---- the way back ----

# PID and START of a member's shim, by its state file; nothing where that shim is gone.
shim_of() {
    # shellcheck disable=SC2046 # two words
    set -- $(sed -n 's/^shim \([0-9]*\) \([0-9]*\)$/\1 \2/p' "$1/state" 2>/dev/null)
    [ $# -eq 2 ] && [ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20)" = "$2" ] && echo "$1"
}

members() {
    for member in "$root"/var/lib/astra/agent/members/*/; do
        [ -z "$(shim_of "$member")" ] || echo "$member"
    done
}

# Each member is ended by its shim, of whom nothing stays; then its temporary folder goes.
end_members() {
    temporary=''
    for member in $(members); do
        temporary="$temporary $(sed -n 's|^env TMPDIR=\(/.*/astra-[A-Za-z0-9]*\)/.*|\1|p' "$member/spec")"
        kill -INT "$(shim_of "$member")" 2>/dev/null || :
    done
    tries=100
    while [ -n "$(members)" ] && [ $tries -gt 0 ]; do
        sleep 0.1
        tries=$((tries - 1))
    done
    # shellcheck disable=SC2086 # one word for each folder
    [ -z "$temporary" ] || rm -rf $temporary
}

remove_role() {
    check_machine
    if [ "$role" = agent ] && [ $purge = no ] && [ -n "$(members)" ]; then
        die 'members run here: astra drain NODE --wait first, or --purge, which ends them'
    fi
    if [ -z "$root" ] && [ -d /run/systemd/system ]; then
        for unit in $(units); do
            systemctl -q disable --now "$unit" 2>/dev/null || :
        done
    fi
    [ "$role" != agent ] || [ $purge = no ] || end_members
    for unit in $(units); do
        rm -f "$root/etc/systemd/system/$unit"
    done
    rm -f "$root/etc/astra/$role.env"
    if [ $purge = yes ]; then
        rm -rf "$root/var/lib/astra/$role"
        [ -n "$(ls "$root"/etc/astra/*.env 2>/dev/null)" ] || rm -f "$root/etc/astra/join.token"
    fi
    rmdir "$root/etc/astra" "$root/var/lib/astra" 2>/dev/null || :
    [ -n "$root" ] || ! [ -d /run/systemd/system ] || systemctl daemon-reload
    say "$role: removed$([ $purge = yes ] || printf ', its data stays in /var/lib/astra/%s' "$role")"
}

read_words "$@"
if [ $uninstall = yes ]; then remove_role; else install_role; fi
