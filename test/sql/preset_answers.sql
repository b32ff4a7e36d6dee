-- What the shipped presets make of the answers their providers document: each entry of each error map.
SET client_min_messages = warning;
\set unit_dir `echo "${NOTIFY_UNIT_DIR:-$PWD/test/unit}"`
\set unit :unit_dir/channel_test.so
CREATE SCHEMA preset_answers;
SET search_path = preset_answers, pg_catalog;
CREATE FUNCTION answer(preset jsonb, status int, body text) RETURNS text LANGUAGE c STRICT AS :'unit', 'test_answer';
-- Bodies; %s is one of the codes.
CREATE TABLE sample (preset text, status int, body text, codes text);
INSERT INTO sample VALUES
    ('twilio', 400, '{"code": %s, "message": "no"}', '21211 21214 21614 21610 21408 20003 20005 20404 20008 20429 14107 30001 63038 20500 20503 30008 21602 211'),
    ('twilio', 404, '{"code": %s}', '1'), ('twilio', 502, '%s', 'oops'), ('twilio', 201, '{"sid": "%s"}', 'SM1'), ('twilio', 201, '{"%s": 1}', 'hello'),
    ('vonage', 200, '{"messages": [{"status": "%s"}]}', '0 1 4 8 9 14 5 10 29 7 33 2 3 6 12 15 22 23 99'), ('vonage', 200, '%s', '<html> {}'),
    ('aliyun_sms', 200, '{"Code": "%s"}', 'OK isv.MOBILE_NUMBER_ILLEGAL isv.MOBILE_IN_BLACK isv.BLACKLIST_HIT isv.INVALID_PHONE_NUMBER isv.BUSINESS_LIMIT_CONTROL isv.DAY_LIMIT_CONTROL isv.MONTH_LIMIT_CONTROL Throttling.User isv.OUT_OF_SERVICE isv.AMOUNT_NOT_ENOUGH isv.PRODUCT_UN_SUBSCRIPT isv.ACCOUNT_ABNORMAL isv.DENY_IP_RANGE isp.RAM_PERMISSION_DENY SignatureDoesNotMatch InvalidAccessKeyId.NotFound Forbidden.RAM NoPermission isp.SYSTEM_ERROR isp.GATEWAY_ERROR ServiceUnavailable InternalError isv.SMS_TEMPLATE_ILLEGAL Other'),
    ('aliyun_sms', 503, '%s', 'oops'),
    ('tencent_sms', 200, '{"Response": {"SendStatusSet": [{"Code": "%s"}]}}', 'Ok InvalidParameterValue.IncorrectPhoneNumber FailedOperation.PhoneNumberInBlacklist UnsupportedOperation.ChineseMainlandTemplateToGlobalPhone LimitExceeded.PhoneNumberDailyLimit FailedOperation.InsufficientBalanceInSmsPackage FailedOperation.JsonParseFail UnauthorizedOperation.SmsSdkAppIdVerifyFail InternalError.OtherError FailedOperation.ContainSensitiveWord'),
    ('tencent_sms', 200, '{"Response": {"Error": {"Code": "%s"}}}', 'AuthFailure.SecretIdNotFound UnauthorizedOperation InvalidCredential RequestLimitExceeded LimitExceeded InternalError ResourceUnavailable InvalidParameter'),
    ('aws_sns', 400, '<ErrorResponse><Error><Code>%s</Code></Error></ErrorResponse>', 'Throttling ThrottledException TooManyRequestsException OptedOut InvalidClientTokenId SignatureDoesNotMatch AuthorizationError ExpiredToken IncompleteSignature AccessDenied InternalError InternalFailure ServiceUnavailable InvalidParameter ValidationError Unknown'),
    ('aws_sns', 400, '<Message>Invalid parameter: %s</Message>', 'PhoneNumber Message'), ('aws_sns', 500, '%s', 'oops'),
    ('aws_ses', 400, '{"__type": "%s"}', 'Throttling LimitExceededException TooManyRequestsException AccountSuspendedException SendingPausedException MailFromDomainNotVerifiedException SignatureDoesNotMatch UnrecognizedClientException AccessDeniedException ExpiredTokenException BadRequestException'),
    ('aws_ses', 429, '%s', '{}'), ('aws_ses', 500, '%s', 'oops'), ('aws_ses', 200, '{"MessageId": "%s"}', '1'),
    ('sendgrid', 400, '{"errors": [{"field": "%s"}]}', 'personalizations.0.to.0.email from.email'), ('sendgrid', 401, '%s', '{}'), ('sendgrid', 403, '%s', '{}'),
    ('sendgrid', 429, '%s', '{}'), ('sendgrid', 503, '%s', '{}'), ('sendgrid', 202, '%s', '{}'),
    ('fcm', 400, '{"error": {"details": [{"errorCode": "%s"}]}}', 'UNREGISTERED SENDER_ID_MISMATCH QUOTA_EXCEEDED THIRD_PARTY_AUTH_ERROR INVALID_ARGUMENT'),
    ('fcm', 400, '{"error": {"details": [{"fieldViolations": [{"field": "%s"}]}]}}', 'message.token message.data'),
    ('fcm', 404, '%s', '{}'), ('fcm', 429, '%s', '{}'), ('fcm', 401, '%s', '{}'), ('fcm', 403, '%s', '{}'), ('fcm', 500, '%s', '{}'), ('fcm', 200, '{"name": "%s"}', 'x'),
    ('jpush', 400, '{"error": {"code": %s}}', '1011 1003 2002 2003 2008 1004 1008 1020 2004 1000 1030 3002 1002'),
    ('jpush', 429, '%s', '{}'), ('jpush', 500, '%s', '{}'), ('jpush', 401, '%s', '{}'), ('jpush', 403, '%s', '{}'),
    ('slack', 200, '{"ok": false, "error": "%s"}', 'channel_not_found is_archived user_not_found messages_tab_disabled cannot_dm_bot ratelimited rate_limited message_limit_exceeded not_authed invalid_auth account_inactive token_revoked token_expired no_permission missing_scope org_login_required ekm_access_denied access_denied not_allowed_token_type team_access_not_granted fatal_error internal_error service_unavailable request_timeout msg_too_long'),
    ('slack', 429, '%s', '{}'), ('slack', 500, '%s', '{}'), ('slack', 200, '{"%s": true, "ts": "1"}', 'ok'),
    ('telegram', 400, '{"ok": false, "description": "Bad Request: %s"}', 'chat_not_found_no PEER_ID_INVALID'),
    ('telegram', 403, '{"ok": false, "description": "Forbidden: bot was blocked by the user (%s)"}', '1'), ('telegram', 429, '%s', '{}'), ('telegram', 401, '%s', '{}'), ('telegram', 404, '%s', '{}'), ('telegram', 502, '%s', '{}'),
    ('dingtalk', 200, '{"errcode": %s}', '0 130101 90018 90030 410100 660026 310000 300001 400101 400102 400013 40035 300005 -1 71006 400105'),
    ('feishu', 200, '{"code": %s}', '0 9499 11232 99991400 230020 19001 19021 19022 19024 99991663 99991668 19002'), ('feishu', 429, '%s', '{}'), ('feishu', 500, '%s', '{}'), ('feishu', 200, '{"StatusCode": %s}', '0'),
    ('wecom', 200, '{"errcode": %s}', '0 45009 45033 43004 93000 40001 40014 41001 42001 60020 93017 93008 -1 45002'),
    ('apns', 410, '{"reason": "%s"}', 'Unregistered'), ('apns', 400, '{"reason": "%s"}', 'BadDeviceToken DeviceTokenNotForTopic PayloadEmpty'), ('apns', 403, '{"reason": "%s"}', 'InvalidProviderToken ExpiredProviderToken Forbidden'),
    ('apns', 429, '{"reason": "%s"}', 'TooManyRequests TooManyProviderTokenUpdates'), ('apns', 413, '{"reason": "%s"}', 'PayloadTooLarge'), ('apns', 500, '{"reason": "%s"}', 'InternalServerError'), ('apns', 503, '{"reason": "%s"}', 'ServiceUnavailable Shutdown'), ('apns', 502, '%s', 'oops'),
    ('webpush', 201, '%s', '-'), ('webpush', 404, '%s', '-'), ('webpush', 410, '%s', '-'), ('webpush', 400, '%s', '-'), ('webpush', 401, '%s', '-'), ('webpush', 403, '%s', '-'), ('webpush', 413, '%s', '-'), ('webpush', 429, '%s', '-'), ('webpush', 500, '%s', '-');
CREATE TABLE said AS
    SELECT s.preset, s.status, c.code, to_jsonb(p) AS row, replace(s.body, '%s', c.code) AS body
    FROM sample s JOIN notify.preset p ON p.name = s.preset CROSS JOIN LATERAL regexp_split_to_table(s.codes, ' ') AS c (code);
\pset format unaligned
\pset tuples_only on
SELECT preset, status, answer(jsonb_strip_nulls(row), status, body) AS class, string_agg(code, ' ' ORDER BY code COLLATE "C")
FROM said GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
-- Which entry it was: alone, with one class and with another, it decides.
CREATE TABLE hit AS
    SELECT s.preset, s.status, s.body, s.row, (SELECT min(e.n) FROM jsonb_array_elements(s.row -> 'errors') WITH ORDINALITY AS e (item, n)
        WHERE answer(jsonb_build_object('success', '{"status": 199}'::jsonb, 'errors', jsonb_build_array(e.item || '{"class": "auth"}')), s.status, s.body) = 'auth'
          AND answer(jsonb_build_object('success', '{"status": 199}'::jsonb, 'errors', jsonb_build_array(e.item || '{"class": "defer"}')), s.status, s.body) = 'defer') AS n
    FROM said s;
-- Entries that none of these meets, of presets over HTTP; and answers that come to something else than their entry says.
SELECT p.name, e.n, e.item FROM notify.preset p CROSS JOIN LATERAL jsonb_array_elements(p.errors) WITH ORDINALITY AS e (item, n)
WHERE p.shipped AND NOT EXISTS (SELECT FROM hit h WHERE h.preset = p.name AND h.n = e.n) ORDER BY 1, 2;
SELECT h.preset, h.status, h.body FROM hit h
WHERE h.n IS NOT NULL AND answer(jsonb_strip_nulls(h.row), h.status, h.body) NOT IN ('ok', h.row -> 'errors' -> (h.n - 1)::int ->> 'class');
SELECT p.name FROM notify.preset p WHERE p.shipped AND p.engine = 'http' AND p.errors <> '[]' AND NOT EXISTS (SELECT FROM sample s WHERE s.preset = p.name);
-- On the wire: a server here gives each of these answers to the request of its preset, and what comes of it is the same.
-- (FCM without its access token and web push, which is encrypted over TLS: t/211_presets.pl.)
CREATE FUNCTION open_guard(setting text) RETURNS void LANGUAGE c STRICT AS :'unit', 'test_open_guard';
CREATE FUNCTION exchange(preset jsonb, settings text, script text[], address text, subject text, body text, html text, letters int, at_most_once boolean, patience int) RETURNS text[] LANGUAGE c AS :'unit', 'test_exchange';
SELECT open_guard('127.0.0.0/8');
CREATE TABLE account (preset text, settings jsonb, address text);
INSERT INTO account VALUES ('twilio', '{"account_sid": "AC1", "auth_token": "token-1", "from": "+15017122661"}', '+4930123456'), ('vonage', '{"api_key": "k", "api_secret": "s", "from": "Shop"}', '+4930123456'),
    ('aliyun_sms', '{"access_key_id": "I", "access_key_secret": "K", "sign_name": "商店"}', '+8613800138000'), ('tencent_sms', '{"secret_id": "I", "secret_key": "K", "app_id": "1400006666"}', '+8613800138000'),
    ('aws_sns', '{"access_key_id": "A", "secret_access_key": "S", "region": "eu-west-1"}', '+4930123456'), ('aws_ses', '{"access_key_id": "A", "secret_access_key": "S", "region": "eu-west-1", "from": "a@b.example"}', 'c@d.example'),
    ('sendgrid', '{"api_key": "SG.x", "from": "a@b.example"}', 'c@d.example'), ('fcm', '{"service_account": "{\"project_id\": \"shop\"}"}', 'token'), ('apns', '{"key_id": "ABC123DEFG", "team_id": "DEF123GHIJ", "topic": "example.shop", "key": "k"}', 'abcdef'),
    ('jpush', '{"app_key": "k", "master_secret": "s"}', '160a3797c80c9d4e'), ('slack', '{"token": "xoxb-1"}', 'C1'), ('telegram', '{"token": "1:t"}', '42'), ('dingtalk', '{"access_token": "t", "secret": "SEC1"}', ''),
    ('feishu', '{"hook": "h", "secret": "s"}', ''), ('wecom', '{"key": "k"}', '');
CREATE TABLE heard AS
    SELECT s.preset, s.status, s.body, answer(jsonb_strip_nulls(s.row), s.status, s.body) AS class,
        exchange(jsonb_strip_nulls(s.row) - CASE WHEN s.preset IN ('fcm', 'apns') THEN 'auth' ELSE '' END, jsonb_pretty(a.settings || '{"endpoint": "http://127.0.0.1:PORT"}'),
            ARRAY[format(E'HTTP/1.1 %s Said\nContent-Length: %s\n\n%s', s.status, octet_length(s.body), s.body)], a.address, 'Subject', 'Words', NULL, 1, false, 20000) AS lines
    FROM said s JOIN account a USING (preset);
SELECT preset, count(*) AS answers, count(*) FILTER (WHERE split_part(lines[1], ' ', 1) = rtrim(class, '?')) AS the_same,
    bool_and(array_to_string(lines, E'\n') ~ ('code=' || status || ' ') AND lines[2] = 'connections: 1') AS told, min(substring(array_to_string(lines, E'\n') FROM '(POST [^ ?]*)')) FROM heard GROUP BY 1 ORDER BY 1;
SELECT preset, status, body, class, lines[1] FROM heard WHERE split_part(lines[1], ' ', 1) <> rtrim(class, '?');
SELECT DISTINCT preset FROM said EXCEPT SELECT preset FROM account;
DROP SCHEMA preset_answers CASCADE;
