/* kubeconfig: the file that kubectl uses: where the API server is and who we are to it.
 *
 *     current-context -> contexts[name] -> clusters[cluster] and users[user]
 *
 * Not strict: such files carry fields of other tools. What would need a program to run is refused,
 * for this server runs none. */
#include "sections.h"

#define KUBECONFIG_BYTES_MAX ((size_t)4 << 20)

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
    if (!url_check(out->server, reader->err) ||
        !pem_copy(reader, cluster, "certificate-authority-data", &out->ca_pem))
        return false;
    if (out->insecure_skip_verify && (out->ca_file.len > 0 || out->ca_pem.len > 0))
        return err_set(reader->err, ERR_BAD_DATA,
                       "specifying a root certificates file with the insecure flag is not allowed");
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
        !pem_copy(reader, user, "client-key-data", &out->key_pem))
        return false;
    bool cert = out->cert_file.len > 0 || out->cert_pem.len > 0;
    bool key = out->key_file.len > 0 || out->key_pem.len > 0;
    return cert == key || err_set(reader->err, ERR_BAD_DATA, "user has a client %s without its %s",
                                  cert ? "certificate" : "key", cert ? "key" : "certificate");
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
    bool good = yaml_tree_parse(&root, text, &nodes, err) && root_read(&reader, root, out);
    arena_deinit(&nodes);
    return good;
}
