/*
 * liquid.sql
 *		The words of messages: Liquid templates over jsonb.
 */
CREATE FUNCTION notify.render(template text, data jsonb, format text DEFAULT 'text', partials jsonb DEFAULT '{}')
RETURNS text
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'notify_render';

COMMENT ON FUNCTION notify.render(text, jsonb, text, jsonb) IS
'Renders a Liquid template with data. Format html escapes every output unless it goes through "| raw". partials maps names to the sources that render and include use. Numbers, amounts and dates read as data.recipient.locale and time_zone have them.';

-- Saving a template calls this.
CREATE FUNCTION notify._check_liquid(source text) RETURNS void
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'notify_check_liquid';

COMMENT ON FUNCTION notify._check_liquid(text) IS
'Raises a syntax error with line and column unless the source is a Liquid template. Internal.';

-- What a template refers to (src/liquid/survey.c)
CREATE FUNCTION notify._liquid_partials(source text) RETURNS text[]
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'notify_liquid_partials';

COMMENT ON FUNCTION notify._liquid_partials(text) IS
'The partials that a Liquid source itself names; a NULL among them stands for a name that is computed. Internal.';

CREATE FUNCTION notify._liquid_variables(source text, partials jsonb)
RETURNS TABLE (root text, member text, partial text, line integer, col integer)
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'notify_liquid_variables';

COMMENT ON FUNCTION notify._liquid_variables(text, jsonb) IS
'The variables that a Liquid source and the partials it includes read from their data, each root and member once, and where. Internal.';

CREATE FUNCTION notify._similar_name(name text, names text[]) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'notify_similar_name';

COMMENT ON FUNCTION notify._similar_name(text, text[]) IS
'The one of the names that somebody who wrote this one may have meant; NULL when none is near. Internal.';

CREATE FUNCTION notify.sms_length(body text, OUT encoding text, OUT characters integer, OUT units integer, OUT segments integer)
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'notify_sms_length';

COMMENT ON FUNCTION notify.sms_length(text) IS
'What a text is as an SMS. encoding: GSM-7 when the GSM default alphabet and its extension table (3GPP TS 23.038) hold every character, else UCS-2. units: septets, or units of 16 bits. segments: what providers bill: one of up to 160 or 70 units, or several of 153 or 67. NULL for NULL.';
