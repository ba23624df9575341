/* oauth2: see oauth2.h. RFC 6749 section 4.4, read as leniently as Go's oauth2 package reads it: some
 * servers answer with a form, some with a text instead of a number, some with 200 and an error. */
#include "oauth2.h"

#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/vec.h"
#include "http_form.h"

#define SHOWN_BODY_MAX 2048

/* --- the question --- */

static int param_compare(const void *a, const void *b)
{
    const struct http_oauth2_param *left = a, *right = b;
    int order = str_cmp(left->name, right->name);
    return order ? order : str_cmp(left->value, right->value);
}

static bool oauth2_has_param(const struct http_oauth2 *oauth2, struct str name)
{
    for (size_t i = 0; i < oauth2->param_count; i++)
        if (str_eq(oauth2->params[i].name, name))
            return true;
    return false;
}

static void scopes_join(struct buf *out, const struct http_oauth2 *oauth2)
{
    for (size_t i = 0; i < oauth2->scope_count; i++) {
        if (i > 0)
            buf_add_char(out, ' ');
        buf_add_str(out, oauth2->scopes[i]);
    }
}

bool oauth2_form(struct buf *out, const struct http_oauth2 *oauth2, bool secret_in_form,
                 struct err *err)
{
    VEC(struct http_oauth2_param) form = {0};
    struct buf scope;
    bool good = true;

    buf_init(&scope, 1 << 16);
    scopes_join(&scope, oauth2);
    if (scope.len > 0 && oauth2_has_param(oauth2, STR("scope")))
        good = err_set(err, ERR_BAD_DATA, "oauth2: cannot overwrite parameter \"scope\"");
    /* Some servers want another name for the grant. */
    if (!oauth2_has_param(oauth2, STR("grant_type")))
        VEC_PUSH(&form, ((struct http_oauth2_param){STR("grant_type"), STR("client_credentials")}));
    if (scope.len > 0)
        VEC_PUSH(&form, ((struct http_oauth2_param){STR("scope"), buf_str(&scope)}));
    for (size_t i = 0; i < oauth2->param_count; i++)
        VEC_PUSH(&form, oauth2->params[i]);
    if (secret_in_form)
        VEC_PUSH(&form, ((struct http_oauth2_param){STR("client_id"), oauth2->client_id}));
    if (secret_in_form && oauth2->client_secret.len > 0)
        VEC_PUSH(&form, ((struct http_oauth2_param){STR("client_secret"), oauth2->client_secret}));
    VEC_SORT(&form, param_compare);
    VEC_EACH (param, &form) {
        if (param != form.items)
            buf_add_char(out, '&');
        buf_add_url_escaped(out, param->name);
        buf_add_char(out, '=');
        buf_add_url_escaped(out, param->value);
    }
    VEC_FREE(&form);
    buf_deinit(&scope);
    return good && (!out->overflow || err_set(err, ERR_LIMIT, "oauth2: the request is too long"));
}

/* --- the answer --- */

struct fields {
    struct str access_token, token_type, error, error_description, error_uri;
    int64_t lives_s;
};

/* Seconds; what is not a sensible number is for ever, what is more than 68 years is that. */
static int64_t lives_of(double seconds)
{
    if (!isfinite(seconds) || seconds == 0)
        return 0;
    if (seconds < 0)
        return -1;
    return seconds > INT32_MAX ? INT32_MAX : (int64_t)seconds;
}

static int64_t lives_of_text(struct str text)
{
    int64_t seconds;
    return str_to_i64(str_trim(text), &seconds) ? lives_of((double)seconds) : 0;
}

static struct str field_get(const struct json *root, const char *name, struct arena *arena)
{
    return arena_str(arena, json_str(json_get(root, name)));
}

static bool fields_from_json(struct fields *out, struct str body, struct arena *arena,
                             struct err *err)
{
    struct json *root;

    if (!json_parse(&root, body, err))
        return err_wrap(err, "oauth2: cannot parse json");
    if (json_type(root) != JSON_OBJECT) {
        json_free(root);
        return err_set(err, ERR_BAD_DATA, "oauth2: cannot parse json: it is no object");
    }
    const struct json *expires = json_get(root, "expires_in");
    *out = (struct fields){
        .access_token = field_get(root, "access_token", arena),
        .token_type = field_get(root, "token_type", arena),
        .error = field_get(root, "error", arena),
        .error_description = field_get(root, "error_description", arena),
        .error_uri = field_get(root, "error_uri", arena),
        .lives_s = json_type(expires) == JSON_STRING ? lives_of_text(json_str(expires))
                                                     : lives_of(json_number(expires)),
    };
    json_free(root);
    return true;
}

static bool fields_from_form(struct fields *out, struct str body, struct arena *arena,
                             struct err *err)
{
    *out = (struct fields){0};
    for (struct str rest = body; rest.ptr;) {
        struct str value, name;
        struct str text = str_cut(str_cut(rest, '&', &rest), '=', &value);
        if (!value.ptr)
            value = STR_EMPTY;
        if (!url_unescape(arena, text, URL_QUERY, &name, err) ||
            !url_unescape(arena, value, URL_QUERY, &value, err))
            return err_wrap(err, "oauth2: cannot parse response");
        if (str_eq(name, STR("access_token")))
            out->access_token = value;
        else if (str_eq(name, STR("token_type")))
            out->token_type = value;
        else if (str_eq(name, STR("error")))
            out->error = value;
        else if (str_eq(name, STR("error_description")))
            out->error_description = value;
        else if (str_eq(name, STR("error_uri")))
            out->error_uri = value;
        else if (str_eq(name, STR("expires_in")))
            out->lives_s = lives_of_text(value);
    }
    return true;
}

static void add_quoted(struct buf *out, struct str text)
{
    if (text.len == 0)
        return;
    buf_add_char(out, ' ');
    buf_add_go_quoted(out, str_first(text, SHOWN_BODY_MAX / 4));
}

static bool token_refused(const struct oauth2_reply *reply, const struct fields *fields,
                          struct err *err)
{
    struct buf text;

    buf_init(&text, ERR_TEXT_MAX * 8);
    if (fields->error.len > 0) {
        BUF_ADD(&text, "oauth2:");
        add_quoted(&text, fields->error);
        add_quoted(&text, fields->error_description);
        add_quoted(&text, fields->error_uri);
    } else {
        buf_addf(&text, "oauth2: cannot fetch token: %d", reply->status);
        if (reply->reason.len > 0)
            buf_addf(&text, " " STR_FMT, STR_ARG(reply->reason));
        BUF_ADD(&text, "\nResponse: ");
        buf_add_str(&text, str_first(reply->body, SHOWN_BODY_MAX));
    }
    err_set_str(err, ERR_IO, buf_str(&text));
    buf_deinit(&text);
    return false;
}

/* "bearer" has been seen in all cases, and servers want the one of the RFC. */
static struct str type_spelt(struct str type)
{
    if (type.len == 0 || str_eq_nocase(type, STR("bearer")))
        return STR("Bearer");
    if (str_eq_nocase(type, STR("mac")))
        return STR("MAC");
    return str_eq_nocase(type, STR("basic")) ? STR("Basic") : type;
}

bool oauth2_token_parse(struct oauth2_token *out, const struct oauth2_reply *reply,
                        struct arena *arena, struct err *err)
{
    struct fields fields = {0};
    struct str rest;
    struct str media = str_trim(str_cut(reply->content_type, ';', &rest));
    bool form = str_eq_nocase(media, STR("application/x-www-form-urlencoded")) ||
                str_eq_nocase(media, STR("text/plain"));
    bool failed = reply->status < 200 || reply->status > 299;
    bool read = form ? fields_from_form(&fields, reply->body, arena, err)
                     : fields_from_json(&fields, reply->body, arena, err);

    *out = (struct oauth2_token){0};
    if (!read && failed)
        fields = (struct fields){0};
    else if (!read)
        return false;
    if (failed || fields.error.len > 0)
        return token_refused(reply, &fields, err);
    if (fields.access_token.len == 0)
        return err_set(err, ERR_BAD_DATA, "oauth2: server response missing access_token");
    struct str type = type_spelt(fields.token_type);
    out->authorization =
        arena_strf(arena, STR_FMT " " STR_FMT, STR_ARG(type), STR_ARG(fields.access_token));
    out->lives_s = fields.lives_s;
    return true;
}
