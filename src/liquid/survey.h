/*
 * survey.h
 *		What a template refers to: the variables it reads from its data, and the
 *		partials it renders.
 */
#ifndef NOTIFY_LIQUID_SURVEY_H
#define NOTIFY_LIQUID_SURVEY_H

#include "liquid/library.h"

/* new.total is root new, member total; a member that only rendering tells is left out. */
typedef struct LiquidReference
{
	LiquidName	root;
	LiquidName	member;			/* text NULL: the root alone */
	LiquidName	partial;		/* where it stands; text NULL: in the template itself */
	const char *source;
	int			position;		/* in that source */
} LiquidReference;

typedef struct LiquidSurvey
{
	int			variables;
	LiquidReference *variable;	/* each root and member once */
	int			partials;
	LiquidName *partial;		/* text NULL: one whose name is computed */
} LiquidSurvey;

/*
 * Included partials that "library" has are surveyed, too; it may be NULL.
 * Variables that the template sets itself are left out.
 */
extern LiquidSurvey *liquid_survey(const LiquidTemplate *t, LiquidLibrary *library);

#endif							/* NOTIFY_LIQUID_SURVEY_H */
