/*
 * number.h
 *		Numbers as Liquid knows them: integers of any size and decimals.
 *
 * Decimals are computed exactly, as numeric, and written as the shortest text
 * that reads back as the same double, which is what the reference puts out.
 */
#ifndef NOTIFY_LIQUID_NUMBER_H
#define NOTIFY_LIQUID_NUMBER_H

#include "liquid/value.h"

extern LiquidValue liquid_from_numeric(Numeric n);

/* Reads digits with an optional sign, fraction and exponent. */
extern LiquidValue liquid_number_parse(const char *s, int len);

/* As arithmetic sees any value: a string's leading number, 0 for what has none. */
extern LiquidValue liquid_to_number(LiquidValue v);

/* A string that is a number as a whole. */
extern bool liquid_is_numeric(LiquidValue v);

/* An integer read from the start of a string, cut from a decimal, else 0. */
extern int64 liquid_to_int(LiquidValue v);

/* Strictly: an integer or a string that is one; an error otherwise. */
extern int64 liquid_need_int(LiquidValue v);

extern LiquidValue liquid_add(LiquidValue a, LiquidValue b);
extern LiquidValue liquid_subtract(LiquidValue a, LiquidValue b);
extern LiquidValue liquid_multiply(LiquidValue a, LiquidValue b);
extern LiquidValue liquid_divide(LiquidValue a, LiquidValue b);
extern LiquidValue liquid_modulo(LiquidValue a, LiquidValue b);
extern LiquidValue liquid_round(LiquidValue a, int digits);
extern LiquidValue liquid_ceil(LiquidValue a);
extern LiquidValue liquid_floor(LiquidValue a);
extern LiquidValue liquid_abs(LiquidValue a);
extern int	liquid_compare_numbers(LiquidValue a, LiquidValue b);

extern void liquid_append_number(StringInfo out, LiquidValue v);

/* Plain decimal text, all digits: what ICU is given to format. */
extern char *liquid_number_digits(LiquidValue v);

#endif							/* NOTIFY_LIQUID_NUMBER_H */
