/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "port/port.h"

/* Finds `key=` at the beginning of a line; its value is `*size` bytes. */
static const char *find(const char *options, const char *key, size_t *size)
{
    size_t key_size = strlen(key);

    for (const char *line = options; *line; line += strspn(line, "\n")) {
        size_t line_size = strcspn(line, "\n");

        if (line_size > key_size && !strncmp(line, key, key_size) && line[key_size] == '=') {
            *size = line_size - key_size - 1;
            return line + key_size + 1;
        }
        line += line_size;
    }
    return NULL;
}

const char *port_option(const struct port *port, const char *key, char *value, uint32_t size)
{
    size_t found = 0;
    const char *at = find(port->options, key, &found);

    if (!at)
        return NULL;
    snprintf(value, size, "%.*s", (int)found, at);
    return value;
}

/* The number of a text, base 10 or 0x. */
static bool number_of(const char *text, unsigned long *number)
{
    char *end;

    errno = 0;
    *number = strtoul(text, &end, 0);
    return !errno && !*end && end != text && text[0] != '-';
}

int port_option_number(const struct port *port, const char *key, uint32_t least, uint32_t most, uint32_t fallback, uint32_t *value)
{
    unsigned long number;
    char text[32];

    *value = fallback;
    if (!port_option(port, key, text, sizeof text))
        return 0;
    if (!number_of(text, &number) || number < least || number > most)
        return error_set(EINVAL, "option %s is \"%s\", expected a number from %u to %u", key, text,
                         least, most);
    *value = (uint32_t)number;
    return 0;
}

int port_setting_unknown(const struct port *port, const char *key)
{
    const char *known = port->class->set_config ? "mtu, pmd-rxq-affinity" : "pmd-rxq-affinity";

    return error_set(EINVAL, "ports of type %s have no setting \"%s\" (there are: %s); options are for new ports",
                     port->type, key, known);
}

int port_setting_mtu(const struct port *port, const char *key, const char *value, uint32_t most, uint32_t *mtu)
{
    unsigned long number;

    if (strcmp(key, "mtu") && strcmp(key, "mtu_request"))
        return port_setting_unknown(port, key);
    if (!number_of(value, &number) || number < PORT_MTU_LEAST || number > most)
        return error_set(EINVAL, "setting %s is \"%s\", expected a number from %u to %u", key, value,
                         PORT_MTU_LEAST, most);
    *mtu = (uint32_t)number;
    return 0;
}

int port_option_l3(const struct port *port, bool *l3)
{
    char text[32];

    *l3 = false;
    if (!port_option(port, "packet_type", text, sizeof text) || !strcmp(text, "legacy_l2"))
        return 0;
    *l3 = !strcmp(text, "legacy_l3");
    return *l3 ? 0 : error_set(EINVAL, "option packet_type is \"%s\", expected legacy_l2 or legacy_l3", text);
}

/* Whether `word` is one of the blank separated words of `words`. */
static bool listed(const char *words, const char *word, size_t size)
{
    for (const char *at = words; *at; at += strspn(at, " ")) {
        size_t n = strcspn(at, " ");

        if (n == size && !strncmp(at, word, n))
            return true;
        at += n;
    }
    return false;
}

int port_options_check(const struct port *port, const char *known)
{
    for (const char *line = port->options; *line; line += strspn(line, "\n")) {
        size_t line_size = strcspn(line, "\n"), key_size = strcspn(line, "=\n");

        if (line_size && key_size == line_size)
            return error_set(EINVAL, "option \"%.*s\" has no value", (int)line_size, line);
        if (line_size && !listed(known, line, key_size))
            return error_set(EINVAL, "ports of type %s have no option \"%.*s\" (there are: %s)", port->type,
                             (int)key_size, line, *known ? known : "none");
        line += line_size;
    }
    return 0;
}

struct link_user port_user(const struct port *port)
{
    char shared[8];

    return (struct link_user){ .name = port->name, .set = port->table, .no = port->no,
                               .l3 = port->caps & PORT_CAP_L3,
                               .shared = port_option(port, "shared", shared, sizeof shared) && !strcmp(shared, "yes") };
}

void port_make_mac(struct port *port)
{
    uint64_t hash = 0xcbf29ce484222325ull; /* FNV-1a. */
    uint8_t mac[6];

    for (const char *at = port->name; *at; at++)
        hash = (hash ^ (uint8_t)*at) * 0x100000001b3ull;
    mac[0] = 0x02; /* Locally administered, one station. */
    for (int i = 1; i < 6; i++)
        mac[i] = (uint8_t)(hash >> (8 * i));
    port_set_mac(port, mac);
}
