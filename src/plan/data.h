/*
 * data.h
 *		What a template sees of an event and of a person.
 */
#ifndef NOTIFY_PLAN_DATA_H
#define NOTIFY_PLAN_DATA_H

#include "utils/jsonb.h"

/* An event's columns, and the message's context; what is not there is NULL. */
typedef struct EventData
{
	int64		id;
	char		op;				/* 0: there is no event, its day was dropped */
	char	   *type;
	char	   *key;
	Jsonb	   *new;
	Jsonb	   *old;
	Jsonb	   *context;
} EventData;

extern Jsonb *event_data(const EventData *data);

/* A person's columns as they are now; what is not there is NULL. */
typedef struct PersonData
{
	char	   *id;
	char	   *name;
	char	   *locale;
	char	   *time_zone;
	Jsonb	   *attributes;
} PersonData;

/* A message's context: what the rule gave, or NULL, and "recipient", null when there is none. */
extern Jsonb *context_data(Jsonb *given, const PersonData *person);

#endif							/* NOTIFY_PLAN_DATA_H */
