/*
 * inspect.h
 *		An object or array in the reference's notation, and as JSON.
 */
#ifndef NOTIFY_LIQUID_INSPECT_H
#define NOTIFY_LIQUID_INSPECT_H

#include "liquid/value.h"

/* {"a"=>1, "b"=>[nil, "x"]} : what an object reads as when put out. */
extern void liquid_inspect(StringInfo out, LiquidValue v);

/* {"a":1,"b":[null,"x"]} */
extern void liquid_json(StringInfo out, LiquidValue v);

#endif							/* NOTIFY_LIQUID_INSPECT_H */
