/*
 * missing.h
 *		What a rendering put out although its data does not have it.
 */
#ifndef NOTIFY_LIQUID_MISSING_H
#define NOTIFY_LIQUID_MISSING_H

#include "liquid/render.h"

/* Notes an output whose variable is not there, unless a default stands in for it. */
extern void liquid_note_missing(LiquidRender *r, const LiquidOutput *output);

#endif							/* NOTIFY_LIQUID_MISSING_H */
