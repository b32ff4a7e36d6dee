/*
 * guard.c
 *		Which network addresses a delivery may connect to.
 *
 * Every address is brought to one form, the 16 bytes of an IPv6 address (an
 * IPv4 address as ::ffff:a.b.c.d), and the networks of the setting likewise.
 * An address is private when it lies in one of the ranges below, or when it
 * carries an IPv4 address that does (NAT64, 6to4, ISATAP).  In IPv6, only
 * global unicast space is public at all.  A private address is allowed when
 * the setting says 'on' or names a network that holds it.
 *
 * The check is made where the socket is opened and again before each request,
 * on the address really connected to, so what a name resolved to earlier does
 * not matter.
 *
 * State: the setting, parsed, in static memory of this process.  Nothing here
 * allocates, and nothing raises.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "net/guard.h"

#define GUARD_MAX_NETWORKS 64
#define ADDRESS_BYTES 16
#define MAPPED_BITS 96			/* ::ffff:0:0/96 holds IPv4 */

typedef struct GuardNetwork
{
	uint8		address[ADDRESS_BYTES];
	int			bits;
} GuardNetwork;

typedef struct GuardSetting
{
	bool		all;
	int			count;
	GuardNetwork networks[GUARD_MAX_NETWORKS];
} GuardSetting;

static GuardSetting current;
static char parse_error[128];

/*
 * Ranges that are no public destination: the IANA special-purpose registries,
 * multicast, and the one metadata service that sits on a public address.
 */
static const char *const private_ranges[] = {
	"0.0.0.0/8",				/* this network */
	"10.0.0.0/8",
	"100.64.0.0/10",			/* carrier-grade NAT; some clouds' metadata */
	"127.0.0.0/8",
	"168.63.129.16/32",			/* Azure's host agent */
	"169.254.0.0/16",			/* link-local, metadata */
	"172.16.0.0/12",
	"192.0.0.0/24",				/* protocol assignments; Oracle's metadata */
	"192.0.2.0/24",				/* documentation */
	"192.88.99.0/24",			/* 6to4 relays */
	"192.168.0.0/16",
	"198.18.0.0/15",			/* benchmarking */
	"198.51.100.0/24",			/* documentation */
	"203.0.113.0/24",			/* documentation */
	"224.0.0.0/4",				/* multicast */
	"240.0.0.0/4",				/* reserved, broadcast */
	"2001::/23",				/* protocol assignments, Teredo */
	"2001:db8::/32",			/* documentation */
	"3fff::/20"					/* documentation */
};

static GuardNetwork private_networks[lengthof(private_ranges)];
static bool private_ready = false;

static void
map_ipv4(uint8 *address, const void *ipv4)
{
	memset(address, 0, 10);
	address[10] = address[11] = 0xff;
	memcpy(address + 12, ipv4, 4);
}

static bool
address_from_text(const char *text, uint8 *address, bool *ipv4)
{
	uint8		four[4];

	*ipv4 = inet_pton(AF_INET, text, four) == 1;
	if (*ipv4)
	{
		map_ipv4(address, four);
		return true;
	}
	return inet_pton(AF_INET6, text, address) == 1;
}

static bool
in_network(const uint8 *address, const GuardNetwork *network)
{
	int			bytes = network->bits / 8;
	int			rest = network->bits % 8;

	if (memcmp(address, network->address, bytes) != 0)
		return false;
	return rest == 0 ||
		((address[bytes] ^ network->address[bytes]) >> (8 - rest)) == 0;
}

static bool
in_any(const uint8 *address, const GuardNetwork *networks, int count)
{
	int			i;

	for (i = 0; i < count; i++)
		if (in_network(address, &networks[i]))
			return true;
	return false;
}

/* The number of bits after the slash, or -1 */
static int
prefix_length(const char *text, int limit)
{
	int			bits = 0;

	if (*text == '\0' || strlen(text) > 3)
		return -1;
	for (; *text; text++)
	{
		if (*text < '0' || *text > '9')
			return -1;
		bits = bits * 10 + (*text - '0');
	}
	return bits <= limit ? bits : -1;
}

/* One network, "10.0.0.0/8", "fd00::/8" or a lone address */
static bool
network_from_text(const char *text, GuardNetwork *network)
{
	char		copy[INET6_ADDRSTRLEN + 8];
	char	   *slash;
	bool		ipv4;
	int			bits;

	if (strlen(text) >= sizeof(copy))
		return false;
	strcpy(copy, text);
	slash = strchr(copy, '/');
	if (slash)
		*slash++ = '\0';
	if (!address_from_text(copy, network->address, &ipv4))
		return false;
	bits = ipv4 ? 32 : 128;
	if (slash && (bits = prefix_length(slash, bits)) < 0)
		return false;
	network->bits = ipv4 ? bits + MAPPED_BITS : bits;
	return true;
}

/*
 * Cut the next comma-separated item out of *rest, without its white space.
 * *rest becomes NULL when no other follows.
 */
static bool
next_item(const char **rest, char *item, size_t size)
{
	const char *start = *rest + strspn(*rest, " \t");
	size_t		whole = strcspn(start, ",");
	size_t		length = whole;

	*rest = start[whole] == ',' ? start + whole + 1 : NULL;
	while (length > 0 && (start[length - 1] == ' ' || start[length - 1] == '\t'))
		length--;
	if (length == 0 || length >= size)
		return false;
	memcpy(item, start, length);
	item[length] = '\0';
	return true;
}

static bool
parse_networks(const char *setting, GuardSetting *result)
{
	const char *rest = setting;
	char		item[INET6_ADDRSTRLEN + 8];

	do
	{
		if (result->count == GUARD_MAX_NETWORKS)
		{
			snprintf(parse_error, sizeof(parse_error),
					 "At most %d networks can be named.", GUARD_MAX_NETWORKS);
			return false;
		}
		if (!next_item(&rest, item, sizeof(item)) ||
			!network_from_text(item, &result->networks[result->count]))
		{
			snprintf(parse_error, sizeof(parse_error),
					 "Item %d is neither a network such as 10.0.0.0/8 or fd00::/8 nor an address.",
					 result->count + 1);
			return false;
		}
		result->count++;
	} while (rest != NULL);
	return true;
}

static bool
parse_setting(const char *setting, GuardSetting *result)
{
	memset(result, 0, sizeof(*result));
	if (setting == NULL || *setting == '\0' ||
		pg_strcasecmp(setting, "off") == 0 || pg_strcasecmp(setting, "false") == 0)
		return true;
	if (pg_strcasecmp(setting, "on") == 0 || pg_strcasecmp(setting, "true") == 0)
	{
		result->all = true;
		return true;
	}
	return parse_networks(setting, result);
}

bool
guard_parse(const char *setting, char **error)
{
	GuardSetting parsed;

	if (parse_setting(setting, &parsed))
		return true;
	if (error)
		*error = parse_error;
	return false;
}

/* A setting that does not parse leaves the guard shut. */
void
guard_configure(const char *setting)
{
	GuardSetting parsed;

	if (!parse_setting(setting, &parsed))
		memset(&parsed, 0, sizeof(parsed));
	current = parsed;
}

static bool
is_mapped(const uint8 *address)
{
	static const uint8 prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	return memcmp(address, prefix, sizeof(prefix)) == 0;
}

/* The IPv4 address that a translating network would take out of this one */
static bool
embedded_ipv4(const uint8 *address, uint8 *ipv4)
{
	static const uint8 nat64[12] = {0x00, 0x64, 0xff, 0x9b};
	const uint8 *at = NULL;

	if (memcmp(address, nat64, sizeof(nat64)) == 0)
		at = address + 12;
	else if (address[0] == 0x20 && address[1] == 0x02)	/* 6to4 */
		at = address + 2;
	else if ((address[8] & ~0x02) == 0 && address[9] == 0 &&
			 address[10] == 0x5e && address[11] == 0xfe)	/* ISATAP */
		at = address + 12;
	if (at == NULL)
		return false;
	map_ipv4(ipv4, at);
	return true;
}

static bool
is_global_unicast(const uint8 *address)
{
	return (address[0] & 0xe0) == 0x20;
}

static bool
is_nat64(const uint8 *address)
{
	return address[0] == 0x00 && address[1] == 0x64;
}

static void
prepare_private(void)
{
	size_t		i;

	for (i = 0; i < lengthof(private_ranges); i++)
		(void) network_from_text(private_ranges[i], &private_networks[i]);
	private_ready = true;
}

static bool
is_private(const uint8 *address)
{
	uint8		inner[ADDRESS_BYTES];
	bool		has_inner;

	if (!private_ready)
		prepare_private();
	if (in_any(address, private_networks, lengthof(private_networks)))
		return true;
	if (is_mapped(address))
		return false;
	has_inner = embedded_ipv4(address, inner);
	if (has_inner &&
		in_any(inner, private_networks, lengthof(private_networks)))
		return true;
	return !is_global_unicast(address) && !(has_inner && is_nat64(address));
}

static bool
is_allowed(const uint8 *address)
{
	uint8		inner[ADDRESS_BYTES];

	if (current.all || !is_private(address))
		return true;
	if (in_any(address, current.networks, current.count))
		return true;
	return embedded_ipv4(address, inner) &&
		in_any(inner, current.networks, current.count);
}

bool
guard_allows(const struct sockaddr *address)
{
	uint8		bytes[ADDRESS_BYTES];

	if (address->sa_family == AF_INET)
		map_ipv4(bytes, &((const struct sockaddr_in *) address)->sin_addr);
	else if (address->sa_family == AF_INET6)
		memcpy(bytes, &((const struct sockaddr_in6 *) address)->sin6_addr, ADDRESS_BYTES);
	else
		return false;
	return is_allowed(bytes);
}

bool
guard_allows_text(const char *address)
{
	uint8		bytes[ADDRESS_BYTES];
	bool		ipv4;

	return address != NULL && address_from_text(address, bytes, &ipv4) &&
		is_allowed(bytes);
}
