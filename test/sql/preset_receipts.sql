-- What providers' reports say, by the examples of their documentation: the shipped presets' receipt maps, each entry of
-- each; and payloads that are whole requests, taken apart as notify.receipt() does. Signatures: channel_auth.sql.
SET client_min_messages = warning;
CREATE SCHEMA preset_receipts;
SET search_path = preset_receipts, pg_catalog;
CREATE TABLE said (n serial, preset text, payload text);
-- Twilio: a form for each; https://www.twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks
INSERT INTO said (preset, payload) SELECT 'twilio', v FROM unnest(ARRAY[
    'SmsSid=SM1&SmsStatus=sent&MessageStatus=sent&To=%2B15005550006&MessageSid=SM1&AccountSid=AC1&From=%2B15005550007&ApiVersion=2010-04-01',
    'MessageStatus=delivered&To=%2B15005550006&MessageSid=SM1', 'MessageStatus=read&To=%2B15005550006&MessageSid=SM1',
    'MessageStatus=undelivered&ErrorCode=30005&To=%2B15005550006&MessageSid=SM1', 'MessageStatus=undelivered&ErrorCode=30003&To=%2B15005550006&MessageSid=SM1',
    'MessageStatus=failed&ErrorCode=21610&To=%2B15005550006&MessageSid=SM1', 'MessageStatus=undelivered&ErrorCode=30034&To=%2B15005550006&MessageSid=SM1',
    'MessageStatus=canceled&To=%2B15005550006&MessageSid=SM1', 'MessageStatus=teleported&MessageSid=SM1',
    'ToCountry=US&MessageSid=SM2&From=%2B15005550006&To=%2B15005550007&Body=STOP&OptOutType=STOP', 'MessageSid=SM2&From=%2B15005550006&Body=Start&OptOutType=START',
    'MessageSid=SM2&From=%2B15005550006&Body=+stop+', 'MessageSid=SM2&From=%2B15005550006&Body=start', 'MessageSid=SM2&From=%2B8613800138000&Body=%E9%80%80%E8%AE%A2', 'MessageSid=SM2&From=%2B15005550006&Body=please+do+not+stop']) AS v;
-- Vonage: JSON or a form; https://developer.vonage.com/en/messaging/sms/guides/delivery-receipts
INSERT INTO said (preset, payload) SELECT 'vonage', v FROM unnest(ARRAY[
    '{"msisdn": "447700900000", "to": "AcmeInc", "network-code": "12345", "messageId": "0A0000001234567B", "price": "0.03330000", "status": "delivered", "scts": "2001011400", "err-code": "0", "api-key": "abcd1234", "client-ref": "42", "message-timestamp": "2020-01-01 12:00:00 +0000"}',
    'msisdn=447700900000&to=AcmeInc&messageId=0A1&status=delivered&err-code=0&client-ref=42',
    '{"msisdn": "447700900000", "messageId": "0A1", "status": "failed", "err-code": "3"}', '{"msisdn": "447700900000", "messageId": "0A1", "status": "failed", "err-code": "1"}',
    '{"msisdn": "447700900000", "messageId": "0A1", "status": "expired", "err-code": "1"}', '{"msisdn": "447700900000", "messageId": "0A1", "status": "accepted", "err-code": "0"}', '{"messageId": "0A1", "status": "lost"}',
    '{"msisdn": "447700900001", "to": "447700900000", "messageId": "0B1", "text": "Stop", "type": "text", "keyword": "STOP"}', '{"msisdn": "447700900001", "messageId": "0B1", "text": "Start"}', '{"msisdn": "447700900001", "messageId": "0B1", "text": "Hi"}']) AS v;
-- Alibaba Cloud: arrays; https://help.aliyun.com/zh/sms/developer-reference/smsreport-1 and smsup-1
INSERT INTO said (preset, payload) SELECT 'aliyun_sms', v FROM unnest(ARRAY[
    '[{"send_time": "2017-08-30 00:00:00", "report_time": "2017-08-30 00:00:05", "success": true, "err_msg": "用户接收成功", "err_code": "DELIVERED", "phone_number": "18612345678", "sms_size": "1", "biz_id": "932702304080415357^0", "out_id": "42"},
      {"success": false, "err_msg": "空号", "err_code": "MK:0001", "phone_number": "18612345679", "biz_id": "932702304080415358^0", "out_id": "43"}]',
    '[{"phone_number": "13700000000", "content": "TD", "send_time": "2017-09-01 11:56:33", "sign_name": "商店", "dest_code": "6513", "sequence_id": 1234567890}, {"phone_number": "13700000000", "content": "订阅"}, {"phone_number": "13700000000", "content": "你好"}]',
    '[{"err_code": "DELIVERED"}]']) AS v;
-- Tencent Cloud: arrays; https://cloud.tencent.com/document/product/382/37809 and 382/37808
INSERT INTO said (preset, payload) SELECT 'tencent_sms', v FROM unnest(ARRAY[
    '[{"user_receive_time": "2015-10-17 08:03:04", "nationcode": "86", "mobile": "13000000000", "report_status": "SUCCESS", "errmsg": "DELIVRD", "description": "用户短信送达成功", "sid": "8:aaaa"},
      {"user_receive_time": "2015-10-17 08:03:04", "nationcode": "86", "mobile": "13000000001", "report_status": "FAIL", "errmsg": "MK:0001", "description": "空号", "sid": "8:bbbb"}]',
    '{"nationcode": "86", "mobile": "13000000000", "text": "T", "sign": "商店", "time": 1457336869, "extend": "01"}', '{"nationcode": "86", "mobile": "13000000000", "text": "你好"}', '{"nationcode": "86", "mobile": "13000000000", "text": "START"}', '{"mobile": "13000000000"}']) AS v;
-- Amazon SES through SNS: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
INSERT INTO said (preset, payload) SELECT 'aws_ses', jsonb_build_object('Type', 'Notification', 'MessageId', 'n1', 'TopicArn', 'arn:aws:sns:eu-west-1:1:t', 'Message', v || jsonb_build_object('mail',
    jsonb_build_object('messageId', '0102018f-aaaa-000000', 'destination', '["ann@x.example"]'::jsonb, 'tags', '{"message": ["42"], "ses:configuration-set": ["all"]}'::jsonb)))::text FROM unnest(ARRAY[
    '{"eventType": "Delivery", "delivery": {"recipients": ["ann@x.example"], "smtpResponse": "250 2.6.0 Message received"}}',
    '{"eventType": "Bounce", "bounce": {"bounceType": "Permanent", "bounceSubType": "General", "bouncedRecipients": [{"emailAddress": "ann@x.example", "action": "failed", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 user unknown"}]}}',
    '{"eventType": "Bounce", "bounce": {"bounceType": "Permanent", "bounceSubType": "General", "bouncedRecipients": [{"emailAddress": "ann@x.example", "status": "5.7.1", "diagnosticCode": "smtp; 550 5.7.1 blocked"}]}}',
    '{"eventType": "Bounce", "bounce": {"bounceType": "Transient", "bounceSubType": "MailboxFull", "bouncedRecipients": [{"emailAddress": "ann@x.example", "status": "5.2.2"}]}}',
    '{"eventType": "Bounce", "bounce": {"bounceType": "Undetermined", "bouncedRecipients": [{"emailAddress": "ann@x.example"}]}}',
    '{"eventType": "Complaint", "complaint": {"complainedRecipients": [{"emailAddress": "ann@x.example"}], "complaintFeedbackType": "abuse"}}',
    '{"eventType": "Reject", "reject": {"reason": "Bad content"}}', '{"eventType": "Rendering Failure", "failure": {"errorMessage": "no attribute", "templateName": "t"}}',
    '{"eventType": "Send", "send": {}}', '{"eventType": "Open", "open": {}}', '{"eventType": "Click", "click": {}}', '{"eventType": "DeliveryDelay", "deliveryDelay": {}}', '{"eventType": "Subscription", "subscription": {}}', '{"eventType": "Sneeze"}',
    '{"notificationType": "Delivery", "delivery": {}}', '{"notificationType": "Complaint", "complaint": {}}', '{"notificationType": "Bounce", "bounce": {"bounceType": "Permanent"}}']::jsonb[]) AS v;
-- in SNS, Message is text
UPDATE said SET payload = jsonb_set(payload::jsonb, '{Message}', to_jsonb(payload::jsonb ->> 'Message'))::text WHERE preset = 'aws_ses';
INSERT INTO said (preset, payload) VALUES ('aws_ses', '{"Type": "SubscriptionConfirmation", "MessageId": "165545c9", "Token": "2336412f37", "TopicArn": "arn:aws:sns:us-west-2:123456789012:MyTopic", "Message": "You have chosen to subscribe to the topic arn:aws:sns:us-west-2:123456789012:MyTopic.\nTo confirm the subscription, visit the SubscribeURL included in this message.", "SubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription"}'),
    ('aws_ses', '{"Type": "UnsubscribeConfirmation", "Message": "You have chosen to deactivate subscription"}'), ('aws_ses', '{"Type": "Notification", "Message": "Successfully validated SNS topic for Amazon SES event publishing."}'),
    ('aws_ses', '{"Type": "Notification", "Message": "{cut off"}'), ('aws_ses', '{"Type": "Notification", "Message": "7"}');
-- SendGrid: arrays; https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
INSERT INTO said (preset, payload) SELECT 'sendgrid', jsonb_build_array(v || '{"email": "ann@x.example", "timestamp": 1714566600, "message": "42", "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0"}')::text FROM unnest(ARRAY[
    '{"event": "processed"}', '{"event": "deferred", "response": "400 try again later", "attempt": "5"}', '{"event": "delivered", "response": "250 OK"}', '{"event": "open"}', '{"event": "click", "url": "https://x.example"}',
    '{"event": "bounce", "type": "bounce", "bounce_classification": "Invalid Address", "reason": "500 unknown recipient", "status": "5.0.0"}', '{"event": "bounce", "type": "blocked", "reason": "550 5.7.1 listed", "status": "5.7.1"}', '{"event": "bounce", "type": "bounce", "status": "5.7.26", "reason": "not authenticated"}',
    '{"event": "dropped", "reason": "Bounced Address", "status": "5.0.0"}', '{"event": "dropped", "reason": "Unsubscribed Address"}', '{"event": "spamreport"}', '{"event": "unsubscribe"}', '{"event": "group_unsubscribe", "asm_group_id": 10}', '{"event": "group_resubscribe"}', '{"event": "sneeze"}']::jsonb[]) AS v;

CREATE FUNCTION read(preset text, payload text) RETURNS TABLE (n bigint, entry jsonb, by bigint) LANGUAGE sql AS $$
    SELECT i.ordinality, notify._read_entry(t.receipt, i.item, t.channel), (SELECT min(k.n) FROM jsonb_array_elements(t.receipt -> 'kinds') WITH ORDINALITY AS k (kind, n)
        WHERE notify._read_entry(jsonb_build_object('kinds', jsonb_build_array(k.kind)), i.item, t.channel) IS NOT NULL)
    FROM notify.preset t CROSS JOIN LATERAL notify._receipt_items(jsonb_populate_record(NULL::notify.provider, jsonb_build_object('name', 'p', 'preset', t.name, 'settings', '{}'::jsonb)),
        t.receipt - 'signature', convert_to(payload, 'UTF8'), '{}') WITH ORDINALITY AS i (item, ordinality) WHERE t.name = preset $$;
CREATE FUNCTION tried(preset text, payload text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT coalesce(r.entry::text, 'unclassified') FROM read(preset, payload) AS r ORDER BY r.n;
    IF NOT FOUND THEN RETURN NEXT 'no report in it'; END IF;
EXCEPTION WHEN OTHERS THEN RETURN NEXT sqlstate || ' ' || sqlerrm;
END $$;
\pset format unaligned
\pset tuples_only on
SELECT s.preset, t.entry, left(regexp_replace(CASE s.preset WHEN 'aws_ses' THEN regexp_replace(s.payload::jsonb ->> 'Message', '^{"mail": {.*?}, "messageId": "\S+", |"mail".*}}, ', '') ELSE s.payload END, '\s+', ' ', 'g'), 80) FROM said s CROSS JOIN LATERAL tried(s.preset, s.payload) AS t (entry) ORDER BY s.n;
-- Entries of maps that none of these meets; the presets of mail and of the app's own service are in t/213_receipts.pl.
SELECT p.name, k.n, k.kind FROM notify.preset p CROSS JOIN LATERAL jsonb_array_elements(p.receipt -> 'kinds') WITH ORDINALITY AS k (kind, n)
WHERE p.shipped AND p.name NOT IN ('smtp', 'webhook') AND NOT EXISTS (SELECT FROM said s CROSS JOIN LATERAL read(s.preset, s.payload) AS r WHERE s.preset = p.name AND r.by = k.n) ORDER BY 1, 2;
SELECT p.name FROM notify.preset p WHERE p.shipped AND p.receipt IS NOT NULL AND p.name NOT IN ('smtp', 'webhook') AND NOT EXISTS (SELECT FROM said s WHERE s.preset = p.name);
DROP SCHEMA preset_receipts CASCADE;
