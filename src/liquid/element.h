/*
 * element.h
 *		What filters on arrays share: the elements, and a property of one.
 */
#ifndef NOTIFY_LIQUID_ELEMENT_H
#define NOTIFY_LIQUID_ELEMENT_H

#include "liquid/filters.h"

/*
 * What a filter on arrays works with, in a new array: an array's elements with
 * arrays in them taken apart, a range's numbers, or the value by itself.
 */
extern LiquidArray *liquid_elements(LiquidRender *r, LiquidValue v);

/*
 * A property as the reference's index operator gives it: an object's member, a
 * part of a string, a bit of an integer.  False for what cannot be indexed; an
 * error when the property does not suit.
 */
extern bool liquid_element_get(LiquidValue element, LiquidValue property, LiquidValue *result);

/* Characters or elements; 0 for what has no size. */
extern int64 liquid_length(LiquidValue v);

/* sort.c */
extern LiquidValue liquid_filter_sort(LiquidRender *r, LiquidValue input,
									  const LiquidArguments *args);
extern LiquidValue liquid_filter_sort_natural(LiquidRender *r, LiquidValue input,
											  const LiquidArguments *args);

#endif							/* NOTIFY_LIQUID_ELEMENT_H */
