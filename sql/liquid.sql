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
