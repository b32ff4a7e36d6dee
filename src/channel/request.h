/*
 * request.h
 *		An HTTP request while it is written and signed.
 *
 * Header lines stand in curl_slist nodes of our own (libcurl only reads the
 * list), the newest first.  All text is UTF-8 and palloc'd.
 */
#ifndef NOTIFY_CHANNEL_REQUEST_H
#define NOTIFY_CHANNEL_REQUEST_H

#include <curl/curl.h>

typedef struct Request
{
	const char *method;
	const char *url;
	const char *body;
	size_t		length;
	struct curl_slist *headers;
	int64		now_ms;			/* the wall clock's, since 1970 */
	const char *id;				/* of the message, "msg_…" */
	const char *nonce;			/* 32 hexadecimal digits; NULL until asked for */
	const char *signature;		/* made before the body, or NULL */
} Request;

/* Add a header.  Raises when the value has CR, LF or NUL in it (or any control). */
extern void request_header(Request *request, const char *name, const char *value);

/* The value of a header, NULL when there is none */
extern const char *request_find_header(const Request *request, const char *name);

/* Add a parameter to the URL, percent-encoded. */
extern void request_query(Request *request, const char *name, const char *value);

extern const char *request_nonce(Request *request);

/* Parts of the URL, palloc'd; the path is "/" when there is none, the query "" */
extern char *request_host(const Request *request);	/* with a port that is not the default */
extern char *request_path(const Request *request);
extern char *request_query_string(const Request *request);

/* scheme://host:port of a URL, palloc'd and in lower case; NULL when it is none */
extern char *url_origin(const char *url);
extern char *url_host(const char *url);

/* Put a line before a list; both must live as long as the list. */
extern struct curl_slist *header_node(char *line, struct curl_slist *next);

/* RFC 3986: everything but unreserved characters as %XX */
extern char *percent_encode(const char *text, const char *also_kept);

#endif							/* NOTIFY_CHANNEL_REQUEST_H */
