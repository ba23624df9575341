/* check_sd: the rules of service discovery blocks. */
#include "base/buf.h"
#include "sections.h"

static bool fail(struct decoder *decoder, const char *text)
{
    return err_set(decoder->err, ERR_BAD_DATA, "%s", text);
}

bool sd_check(struct decoder *decoder, const struct section *section)
{
    const struct section_type *type = section_type(section->id);

    for (size_t i = 0; i < type->field_count; i++) {
        const struct value *list = &section->values[i];
        struct str name = str_of(type->fields[i].name);
        if (type->fields[i].type != T_SECTIONS ||
            !(str_ends(name, STR("_sd_configs")) || str_eq(name, STR("static_configs"))))
            continue;
        for (size_t k = 0; k < list->as.sections.count; k++)
            if (!list->as.sections.items[k])
                return err_set(decoder->err, ERR_BAD_DATA, "empty or null section in " STR_FMT,
                               STR_ARG(name));
    }
    return true;
}

bool section_check_http_sd(struct decoder *decoder, struct section *section)
{
    struct value *v = section->values;
    struct str url = v[HTTP_SD_url].as.text;
    struct str scheme = url_scheme(url);

    if (url.len == 0)
        return fail(decoder, "URL is missing");
    if (!url_check(url, decoder->err))
        return false;
    if (!str_eq_nocase(scheme, STR("http")) && !str_eq_nocase(scheme, STR("https")))
        return fail(decoder, "URL scheme must be 'http' or 'https'");
    if (url_host(url).len == 0)
        return fail(decoder, "host is missing in URL");
    return http_check(decoder, &v[HTTP_SD_basic_auth]);
}

bool section_check_dns_sd(struct decoder *decoder, struct section *section)
{
    static const char *const with_port[] = {"A", "AAAA", "MX", "NS"};
    const struct value *v = section->values;
    struct str type = v[DNS_SD_type].as.text;

    if (v[DNS_SD_names].as.texts.count == 0)
        return fail(decoder, "DNS-SD config must contain at least one SRV record name");
    if (str_eq_nocase(type, STR("SRV")))
        return true;
    for (size_t i = 0; i < COUNT_OF(with_port); i++)
        if (str_eq_nocase(type, str_of(with_port[i])))
            return v[DNS_SD_port].as.integer != 0 ||
                   fail(decoder,
                        "a port is required in DNS-SD configs for all record types except SRV");
    return err_set(decoder->err, ERR_BAD_DATA, "invalid DNS-SD records type " STR_FMT,
                   STR_ARG(str_first(type, ERR_TEXT_MAX / 4)));
}

static const struct {
    const char *role, *selectors;
} kubernetes_roles[] = {
    {"pod", "pod, node"},
    {"service", "service"},
    {"endpointslice", "pod, service, endpointslice"},
    {"endpoints", "pod, service, endpoints"},
    {"node", "node"},
    {"ingress", "ingress"},
};

/* Index in the table, or its length. */
static size_t kubernetes_role_find(struct str role)
{
    size_t at = 0;
    while (at < COUNT_OF(kubernetes_roles) && !str_eq(role, str_of(kubernetes_roles[at].role)))
        at++;
    return at;
}

static bool role_check(struct decoder *decoder, const struct value *role)
{
    return !role->set || kubernetes_role_find(role->as.text) < COUNT_OF(kubernetes_roles) ||
           quoted_error(decoder->err, "unknown Kubernetes SD role ", role->as.text, "");
}

/* name=value, name==value or name!=value, with commas between. The rest is for the API server. */
static bool field_selector_check(struct decoder *decoder, struct str selector)
{
    for (struct str rest = selector; rest.ptr && selector.len > 0;) {
        struct str term = str_cut(rest, ',', &rest);
        if (term.len > 0 && str_find_char(term, '=') == term.len)
            return err_set(decoder->err, ERR_BAD_DATA,
                           "invalid selector: '" STR_FMT "'; can't understand '" STR_FMT "'",
                           STR_ARG(str_first(selector, 200)), STR_ARG(str_first(term, 200)));
    }
    return true;
}

bool section_check_kubernetes_selector(struct decoder *decoder, struct section *section)
{
    return role_check(decoder, &section->values[KUBERNETES_SELECTOR_role]);
}

static bool list_has(struct str list, struct str name)
{
    for (struct str rest = list; rest.ptr;)
        if (str_eq(str_trim(str_cut(rest, ',', &rest)), name))
            return true;
    return false;
}

static bool selectors_check(struct decoder *decoder, struct str role, const struct value *list)
{
    struct str allowed = str_of(kubernetes_roles[kubernetes_role_find(role)].selectors);
    struct str seen[COUNT_OF(kubernetes_roles)];

    for (size_t i = 0; i < list->as.sections.count; i++) {
        struct section *selector = list->as.sections.items[i];
        struct str name = selector ? selector->values[KUBERNETES_SELECTOR_role].as.text : STR_EMPTY;
        for (size_t k = 0; k < i; k++)
            if (str_eq(seen[k], name))
                return err_set(decoder->err, ERR_BAD_DATA, "duplicated selector role: " STR_FMT,
                               STR_ARG(name));
        if (!list_has(allowed, name))
            return err_set(decoder->err, ERR_BAD_DATA, STR_FMT " role supports only %s selectors",
                           STR_ARG(role), allowed.ptr);
        const struct value *v = selector->values;
        if (!field_selector_check(decoder, v[KUBERNETES_SELECTOR_field].as.text) ||
            !label_selector_check(v[KUBERNETES_SELECTOR_label].as.text, decoder->err))
            return false;
        seen[i] = name; /* Distinct allowed names: no more than the table has. */
    }
    return true;
}

/* Whether the HTTP options are other than the defaults; some empty ones are not those. */
static bool http_is_custom(struct decoder *decoder, const struct section *section)
{
    const struct value *v = section->values;
    if (v[KUBERNETES_SD_http_headers].set || v[KUBERNETES_SD_proxy_connect_header].set ||
        v[KUBERNETES_SD_proxy_url].set)
        return true;
    const struct section *plain = section_new(decoder->arena, SECTION_KUBERNETES_SD);
    struct buf ours, theirs;

    buf_init(&ours, YAML_TEXT_MAX);
    buf_init(&theirs, YAML_TEXT_MAX);
    section_print_fields(&ours, section, KUBERNETES_SD_basic_auth, KUBERNETES_SD_namespaces, false);
    section_print_fields(&theirs, plain, KUBERNETES_SD_basic_auth, KUBERNETES_SD_namespaces, false);
    bool custom = !str_eq(buf_str(&ours), buf_str(&theirs));
    buf_deinit(&ours);
    buf_deinit(&theirs);
    return custom;
}

bool section_check_kubernetes_sd(struct decoder *decoder, struct section *section)
{
    struct value *v = section->values;
    struct str role = v[KUBERNETES_SD_role].as.text;
    bool server = v[KUBERNETES_SD_api_server].as.text.len > 0;
    bool file = v[KUBERNETES_SD_kubeconfig_file].as.text.len > 0;
    const struct section *namespaces = v[KUBERNETES_SD_namespaces].as.section;
    bool own = namespaces->values[KUBERNETES_NAMESPACES_own_namespace].as.boolean;

    if (!role_check(decoder, &v[KUBERNETES_SD_role]))
        return false;
    if (role.len == 0)
        return fail(decoder, "role missing (one of: pod, service, endpoints, endpointslice, node, "
                             "ingress)");
    if (!http_check(decoder, &v[KUBERNETES_SD_basic_auth]))
        return false;
    if (server && file)
        return fail(decoder, "cannot use 'kubeconfig_file' and 'api_server' simultaneously");
    bool custom = http_is_custom(decoder, section);
    if (file && custom)
        return fail(decoder, "cannot use a custom HTTP client configuration together with "
                             "'kubeconfig_file'");
    if (!server && custom)
        return fail(decoder, "to use custom HTTP client configuration please provide the "
                             "'api_server' URL explicitly");
    if (server && own)
        return fail(decoder,
                    "cannot use 'api_server' and 'namespaces.own_namespace' simultaneously");
    if (file && own)
        return fail(decoder,
                    "cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously");
    return selectors_check(decoder, role, &v[KUBERNETES_SD_selectors]);
}
