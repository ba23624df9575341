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
