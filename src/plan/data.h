/*
 * data.h
 *		What a template sees of an event.
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

#endif							/* NOTIFY_PLAN_DATA_H */
