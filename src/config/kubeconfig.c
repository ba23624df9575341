/* kubeconfig: the file that kubectl uses: where the API server is and who we are to it.
 *
 *     current-context -> contexts[name] -> clusters[cluster] and users[user]
 *
 * Not strict: such files carry fields of other tools. What would need a program to run is refused,
 * for this server runs none. What client-go calls ambiguous (two ways to say who we are, a file beside its -data)
 * is refused, too. */
#include "sections.h"

#define KUBECONFIG_BYTES_MAX    ((size_t)4 << 20)
#define IMPERSONATE_HEADERS_MAX ((size_t)256)

struct reader {
    struct arena *arena;
    struct err *err;
    struct str dir; /* Of the file. */
};

static const struct yaml_node *child(const struct yaml_node *node, const char *name)
{
    for (size_t i = 0; node && node->kind == YAML_MAPPING && i < node->count; i++) {
        const struct yaml_pair *pair = &node->as.pairs[i];
        if (pair->name->kind == YAML_SCALAR && str_eq(pair->name->text, str_of(name)))
            return yaml_is_null(pair->value) ? NULL : pair->value;
    }
    return NULL;
}

static struct str text_of(const struct yaml_node *node, const char *name)
{
    const struct yaml_node *found = child(node, name);

    return found && found->kind == YAML_SCALAR ? found->text : STR_EMPTY;
}

static struct str text_copy(const struct reader *reader, const struct yaml_node *node,
                            const char *name)
{
    return arena_str(reader->arena, text_of(node, name));
}

static struct str path_copy(const struct reader *reader, const struct yaml_node *node,
                            const char *name)
{
    struct str path = text_copy(reader, node, name);

    return path.len > 0 ? path_join(reader->arena, reader->dir, path) : STR_EMPTY;
}

static bool pem_copy(const struct reader *reader, const struct yaml_node *node, const char *name,
                     struct str *out)
{
    struct str text = text_of(node, name);

    *out = STR_EMPTY;
    return text.len == 0 || yaml_base64_decode(text, reader->arena, out) ||
           err_set(reader->err, ERR_BAD_DATA, "%s: illegal base64 data", name);
}

/* clusters, users and contexts are lists of {name, cluster|user|context}. */
static bool entry_find(const struct reader *reader, const struct yaml_node *root, const char *list,
                       const char *item, struct str wanted, const struct yaml_node **out)
{
    const struct yaml_node *entries = child(root, list);

    *out = NULL;
    for (size_t i = 0; entries && entries->kind == YAML_SEQUENCE && i < entries->count; i++) {
        const struct yaml_node *entry = entries->as.items[i];
        if (!str_eq(text_of(entry, "name"), wanted) || !child(entry, "name"))
            continue;
        *out = child(entry, item);
        if (!*out || (*out)->kind == YAML_MAPPING)
            return true;
        return err_set(reader->err, ERR_BAD_DATA, "line %u: %s is not a mapping", (*out)->line,
                       item);
    }
    return err_set(reader->err, ERR_BAD_DATA, "%s \"" STR_FMT "\" does not exist", item,
                   STR_ARG(str_first(wanted, 200)));
}

/* A file and its embedded bytes: kubectl takes neither. */
static bool one_source(const struct reader *reader, struct str file, struct str pem,
                       const char *name)
{
    return file.len == 0 || pem.len == 0 ||
           err_set(reader->err, ERR_BAD_DATA, "%s-data and %s are both specified", name, name);
}

static bool proxy_check(const struct reader *reader, struct str url)
{
    static const char *const schemes[] = {"http://", "https://", "socks5://"};

    if (url.len == 0)
        return true;
    for (size_t i = 0; i < COUNT_OF(schemes); i++)
        if (str_starts(url, str_of(schemes[i])))
            return url_check(url, reader->err) || err_wrap(reader->err, "invalid 'proxy-url'");
    return err_set(reader->err, ERR_BAD_DATA,
                   "invalid 'proxy-url' \"" STR_FMT
                   "\": unsupported scheme, must be http, https, or socks5",
                   STR_ARG(str_first(url, 200)));
}

static bool cluster_read(const struct reader *reader, const struct yaml_node *cluster,
                         struct config_kubeconfig *out)
{
    out->server = text_copy(reader, cluster, "server");
    out->server_name = text_copy(reader, cluster, "tls-server-name");
    out->proxy_url = text_copy(reader, cluster, "proxy-url");
    out->insecure_skip_verify =
        str_eq_nocase(text_of(cluster, "insecure-skip-tls-verify"), STR("true"));
    out->ca_file = path_copy(reader, cluster, "certificate-authority");
    if (out->server.len == 0)
        return err_set(reader->err, ERR_BAD_DATA, "cluster has no server");
    if (!proxy_check(reader, out->proxy_url) ||
        !pem_copy(reader, cluster, "certificate-authority-data", &out->ca_pem) ||
        !one_source(reader, out->ca_file, out->ca_pem, "certificate-authority"))
        return false;
    if (out->insecure_skip_verify && (out->ca_file.len > 0 || out->ca_pem.len > 0))
        return err_set(reader->err, ERR_BAD_DATA,
                       "specifying a root certificates file with the insecure flag is not allowed");
    return true;
}

/* --- impersonation: as whom we ask --- */

struct headers {
    struct str *items;
    size_t count, count_max;
};

static bool header_add(const struct reader *reader, struct headers *headers, struct str name,
                       const struct yaml_node *value)
{
    if (value->kind != YAML_SCALAR)
        return err_set(reader->err, ERR_BAD_DATA, "line %u: the value is not a text", value->line);
    for (size_t i = 0; i < value->text.len; i++)
        if ((unsigned char)value->text.ptr[i] < ' ' && value->text.ptr[i] != '\t')
            return err_set(reader->err, ERR_BAD_DATA,
                           "net/http: invalid header field value for \"" STR_FMT "\"",
                           STR_ARG(name));
    if (headers->count == headers->count_max)
        return err_set(reader->err, ERR_LIMIT, "more than %zu values to impersonate",
                       headers->count_max);
    headers->items[headers->count++] =
        arena_strf(reader->arena, STR_FMT ": " STR_FMT, STR_ARG(name), STR_ARG(value->text));
    return true;
}

static bool header_list_add(const struct reader *reader, struct headers *headers, struct str name,
                            const struct yaml_node *list)
{
    if (list && list->kind != YAML_SEQUENCE)
        return err_set(reader->err, ERR_BAD_DATA, "line %u: the values are not a list", list->line);
    for (size_t i = 0; list && i < list->count; i++)
        if (!header_add(reader, headers, name, list->as.items[i]))
            return false;
    return true;
}

/* Keys may be URLs: what no header's name may have is escaped, and so is the percent sign. */
static struct str extra_name(const struct reader *reader, struct str key)
{
    struct buf name;

    buf_init(&name, 4096);
    BUF_ADD(&name, "Impersonate-Extra-");
    for (size_t i = 0; i < key.len; i++) {
        unsigned char byte = (unsigned char)key.ptr[i];
        if (byte > ' ' && byte < 127 && !strchr("%()<>@,;:\\\"/[]?={}", byte))
            buf_add_char(&name, (char)byte);
        else
            buf_addf(&name, "%%%02X", byte);
    }
    struct str out = arena_str(reader->arena, buf_str(&name));
    buf_deinit(&name);
    return out;
}

static bool extra_add(const struct reader *reader, struct headers *headers,
                      const struct yaml_node *extra)
{
    if (extra && extra->kind != YAML_MAPPING)
        return err_set(reader->err, ERR_BAD_DATA, "line %u: as-user-extra is not a mapping",
                       extra->line);
    for (size_t i = 0; extra && i < extra->count; i++) {
        const struct yaml_pair *pair = &extra->as.pairs[i];
        if (!header_list_add(reader, headers, extra_name(reader, pair->name->text),
                             yaml_is_null(pair->value) ? NULL : pair->value))
            return false;
    }
    return true;
}

static bool impersonation_read(const struct reader *reader, const struct yaml_node *user,
                               struct config_kubeconfig *out)
{
    struct headers headers = {.count_max = IMPERSONATE_HEADERS_MAX};
    const struct yaml_node *as = child(user, "as"), *uid = child(user, "as-uid");
    const struct yaml_node *groups = child(user, "as-groups");
    const struct yaml_node *extra = child(user, "as-user-extra");

    if (uid && uid->kind == YAML_SCALAR && uid->text.len == 0)
        uid = NULL;
    if (!as || (as->kind == YAML_SCALAR && as->text.len == 0))
        return (!uid && (!groups || groups->count == 0) && (!extra || extra->count == 0)) ||
               err_set(reader->err, ERR_BAD_DATA,
                       "requesting uid, groups or user-extra without impersonating a user");
    headers.items = arena_alloc_array(reader->arena, headers.count_max, sizeof(*headers.items));
    if (!header_add(reader, &headers, STR("Impersonate-User"), as) ||
        (uid && !header_add(reader, &headers, STR("Impersonate-Uid"), uid)) ||
        !header_list_add(reader, &headers, STR("Impersonate-Group"), groups) ||
        !extra_add(reader, &headers, extra))
        return false;
    out->headers = headers.items;
    out->header_count = headers.count;
    return true;
}

static bool user_read(const struct reader *reader, const struct yaml_node *user,
                      struct config_kubeconfig *out)
{
    static const char *const programs[] = {"exec", "auth-provider"};

    for (size_t i = 0; i < COUNT_OF(programs); i++)
        if (child(user, programs[i]))
            return err_set(reader->err, ERR_BAD_DATA,
                           "user has %s credentials, which need a program to run: not supported; "
                           "use a token, a tokenFile or a client certificate",
                           programs[i]);
    out->token = text_copy(reader, user, "token");
    out->token_file = path_copy(reader, user, "tokenFile");
    out->user = text_copy(reader, user, "username");
    out->password = text_copy(reader, user, "password");
    out->cert_file = path_copy(reader, user, "client-certificate");
    out->key_file = path_copy(reader, user, "client-key");
    if (!pem_copy(reader, user, "client-certificate-data", &out->cert_pem) ||
        !pem_copy(reader, user, "client-key-data", &out->key_pem) ||
        !one_source(reader, out->cert_file, out->cert_pem, "client-certificate") ||
        !one_source(reader, out->key_file, out->key_pem, "client-key"))
        return false;
    if (out->token.len > 0 && (out->user.len > 0 || out->password.len > 0))
        return err_set(reader->err, ERR_BAD_DATA,
                       "more than one authentication method found; found [token basicAuth], only "
                       "one is allowed");
    bool cert = out->cert_file.len > 0 || out->cert_pem.len > 0;
    bool key = out->key_file.len > 0 || out->key_pem.len > 0;
    if (cert && !key)
        return err_set(reader->err, ERR_BAD_DATA, "user has a client certificate without its key");
    if (!cert)
        out->key_file = out->key_pem = STR_EMPTY; /* Of no use alone. */
    return impersonation_read(reader, user, out);
}

static bool root_read(const struct reader *reader, const struct yaml_node *root,
                      struct config_kubeconfig *out)
{
    const struct yaml_node *context, *cluster, *user;
    struct str current = text_of(root, "current-context");

    if (!root || root->kind != YAML_MAPPING)
        return err_set(reader->err, ERR_BAD_DATA, "not a kubeconfig");
    if (current.len == 0)
        return err_set(reader->err, ERR_BAD_DATA, "current-context is not set");
    if (!entry_find(reader, root, "contexts", "context", current, &context) ||
        !entry_find(reader, root, "clusters", "cluster", text_of(context, "cluster"), &cluster) ||
        !cluster_read(reader, cluster, out))
        return false;
    if (text_of(context, "user").len == 0)
        return true; /* Nobody in particular. */
    return entry_find(reader, root, "users", "user", text_of(context, "user"), &user) &&
           user_read(reader, user, out);
}

/* host:port is enough, as kubectl has it: what speaks of certificates speaks of TLS. */
static bool server_complete(const struct reader *reader, struct config_kubeconfig *out)
{
    bool tls = out->insecure_skip_verify || out->ca_file.len > 0 || out->ca_pem.len > 0 ||
               out->cert_file.len > 0 || out->cert_pem.len > 0;

    if (str_find(out->server, STR("://")) == out->server.len)
        out->server = arena_strf(reader->arena, "%s://" STR_FMT, tls ? "https" : "http",
                                 STR_ARG(out->server));
    return url_check(out->server, reader->err);
}

bool config_kubeconfig_parse(struct config_kubeconfig *out, struct str text, struct str path,
                             struct arena *arena, struct err *err)
{
    struct reader reader = {.arena = arena, .err = err, .dir = path_dir(path)};
    struct yaml_node *root;
    struct arena nodes;

    *out = (struct config_kubeconfig){0};
    if (text.len > KUBECONFIG_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "%zu bytes are over the limit of %zu", text.len,
                       KUBECONFIG_BYTES_MAX);
    arena_init(&nodes, 0);
    bool good = yaml_tree_parse(&root, text, &nodes, err) && root_read(&reader, root, out) &&
                server_complete(&reader, out);
    arena_deinit(&nodes);
    return good;
}
