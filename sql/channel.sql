--
-- channel: what can be said about a provider or an address when its row is saved
--

CREATE FUNCTION notify._check_provider(preset jsonb, settings jsonb) RETURNS void
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'notify_check_settings';
COMMENT ON FUNCTION notify._check_provider(jsonb, jsonb) IS
    'raises what is wrong with the settings of a provider of that preset; {"secret": "name"} may stand for any string';

CREATE FUNCTION notify._check_address(channel text, address text) RETURNS void
    LANGUAGE c STABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'notify_check_address';
COMMENT ON FUNCTION notify._check_address(text, text) IS
    'raises what is wrong with the form of an address for a channel';
