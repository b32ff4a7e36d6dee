/*
 * presets.sql
 *		The presets the extension brings.
 *
 * An upgrade runs this file again, so a preset is put in or brought up to date;
 * one of a user's that has the same name stays as it is.
 */
CREATE FUNCTION notify._ship_preset(name text, channel text, description text, engine text DEFAULT 'http',
									settings jsonb DEFAULT '{}', addressed boolean DEFAULT true,
									http_version text DEFAULT '1.1', method text DEFAULT 'POST',
									url text DEFAULT NULL, hosts text[] DEFAULT NULL, headers jsonb DEFAULT '{}',
									body text DEFAULT NULL, auth jsonb DEFAULT NULL, success jsonb DEFAULT NULL,
									reference jsonb DEFAULT NULL, errors jsonb DEFAULT '[]', retry_after text DEFAULT NULL,
									rate numeric DEFAULT NULL, receipt jsonb DEFAULT NULL)
RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO notify.preset AS t (name, channel, description, engine, settings, addressed, http_version, method, url,
									hosts, headers, body, auth, success, reference, errors, retry_after, rate, receipt)
	VALUES (name, channel, description, engine, settings, addressed, http_version, method, url,
			hosts, headers, body, auth, success, reference, errors, retry_after, rate, receipt)
	ON CONFLICT ON CONSTRAINT preset_pkey DO UPDATE
	SET (channel, description, engine, settings, addressed, http_version, method, url,
		 hosts, headers, body, auth, success, reference, errors, retry_after, rate, receipt)
		= (excluded.channel, excluded.description, excluded.engine, excluded.settings, excluded.addressed,
		   excluded.http_version, excluded.method, excluded.url, excluded.hosts, excluded.headers, excluded.body,
		   excluded.auth, excluded.success, excluded.reference, excluded.errors, excluded.retry_after,
		   excluded.rate, excluded.receipt)
	WHERE t.shipped;
$$;

COMMENT ON FUNCTION notify._ship_preset(text, text, text, text, jsonb, boolean, text, text, text, text[], jsonb, text, jsonb, jsonb, jsonb, jsonb, text, numeric, jsonb) IS
'Puts a preset of the extension''s in. Internal.';

SELECT notify._ship_preset('inbox', 'inbox', 'Rows of notify.inbox, written in the transaction that settles the message.',
	engine => 'inbox');

SELECT notify._ship_preset('smtp', 'email', 'A mail server (RFC 5321).', engine => 'smtp',
	receipt => '{"format": "mail", "message": "$.message", "code": "$.status", "detail": "$.diagnostic", "kinds": [{"kind": "complained", "path": "$.feedback", "match": "^(abuse|fraud|virus|other|opt-out|opt-out-list)$"}, {"kind": "ignored", "path": "$.feedback", "match": "^(not-spam|auth-failure)$"}, {"kind": "refused", "path": "$ ? (@.action == \"failed\").class", "match": "^auth$"}, {"kind": "bounced", "path": "$ ? (@.action == \"failed\").class", "match": "^permanent_recipient$"}, {"kind": "failed", "path": "$.action", "match": "(?i)^failed$"}, {"kind": "delivered", "path": "$.action", "match": "(?i)^delivered$"}, {"kind": "ignored", "path": "$.action", "match": "(?i)^(delayed|relayed|expanded)$"}]}');

SELECT notify._ship_preset('webhook', 'webhook',
	'A POST as Standard Webhooks has it: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md',
	settings => '{"url": {"kind": "url", "description": "Where to POST when the recipient has no address."},
		"signing_secret": {"secret": true, "description": "whsec_ and the base64 text of a key; without it nothing is signed."},
		"receipt_secret": {"secret": true, "description": "whsec_...: what receipts are signed with; without it they are refused."}}',
	hosts => '{*}',
	auth => '{"scheme": "standard_webhooks", "secret": "{{ settings.signing_secret }}"}',
	reference => '{"header": ["x-message-id", "x-request-id"]}',
	receipt => '{"message": "$.message", "reference": "$.reference", "code": "$.code", "detail": "$.detail", "kinds": [{"kind": "delivered", "path": "$.kind", "match": "^delivered$"}, {"kind": "failed", "path": "$.kind", "match": "^failed$"}, {"kind": "bounced", "path": "$.kind", "match": "^bounced$"}, {"kind": "refused", "path": "$.kind", "match": "^refused$"}, {"kind": "complained", "path": "$.kind", "match": "^complained$"}, {"kind": "unsubscribed", "path": "$.kind", "match": "^unsubscribed$"}, {"kind": "ignored", "path": "$.kind", "match": "^ignored$"}], "signature": {"scheme": "standard_webhooks", "secret": "receipt_secret"}}');

/* ----------------------------------------------------------------- sms --- */

SELECT notify._ship_preset('twilio', 'sms',
	'Twilio Programmable Messaging: https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource; errors: https://www.twilio.com/docs/api/errors',
	settings => '{"account_sid": {"required": true}, "auth_token": {"required": true, "secret": true},
		"from": {"description": "A number of yours (E.164) or a sender name; or give messaging_service_sid."},
		"messaging_service_sid": {}, "status_callback": {"kind": "url"},
		"endpoint": {"kind": "url", "default": "https://api.twilio.com"}}',
	url => '{{ settings.endpoint }}/2010-04-01/Accounts/{{ settings.account_sid | url_encode }}/Messages.json',
	headers => '{"Content-Type": "application/x-www-form-urlencoded"}',
	body => $b$To={{ address | url_encode }}{% if settings.from %}&From={{ settings.from | url_encode }}{% endif %}{% if settings.messaging_service_sid %}&MessagingServiceSid={{ settings.messaging_service_sid | url_encode }}{% endif %}{% if settings.status_callback %}&StatusCallback={{ settings.status_callback | url_encode }}{% endif %}{% if message.template.id %}&ContentSid={{ message.template.id | url_encode }}{% if message.template.parameters %}&ContentVariables={{ message.template.parameters | json | url_encode }}{% endif %}{% else %}&Body={{ message.body | url_encode }}{% endif %}$b$,
	auth => '{"scheme": "basic", "username": "{{ settings.account_sid }}", "password": "{{ settings.auth_token }}"}',
	success => '{"status": "2xx", "path": "$.sid"}',
	reference => '{"path": "$.sid"}',
	errors => '[{"path": "$.code", "match": "^(21211|21214|21614|21610|21408)$", "class": "permanent_recipient", "note": "21610: STOP; 21408: no permission for the region"},
		{"path": "$.code", "match": "^(20003|20005|20404|20008)$", "class": "auth"},
		{"path": "$.code", "match": "^(20429|14107|30001|63038)$", "class": "defer"},
		{"path": "$.code", "match": "^(20500|20503|30008)$", "class": "provider_down"},
		{"status": 404, "class": "auth", "note": "no such account"}, {"status": "5xx", "class": "provider_down"}]',
	rate => 100,
	receipt => '{"reference": "$.MessageSid", "address": "$.To", "code": "$.ErrorCode", "kinds": [{"kind": "stopped", "path": "$.OptOutType", "match": "^STOP$", "address": "$.From"}, {"kind": "resumed", "path": "$.OptOutType", "match": "^START$", "address": "$.From"}, {"kind": "stopped", "path": "$ ? (!exists(@.MessageStatus)).Body", "match": "(?i)^\\s*(stop|stopall|unsubscribe|cancel|end|quit|退订|退|td|t)\\s*$", "address": "$.From"}, {"kind": "resumed", "path": "$ ? (!exists(@.MessageStatus)).Body", "match": "(?i)^\\s*(start|unstop|yes|订阅)\\s*$", "address": "$.From"}, {"kind": "stopped", "path": "$.ErrorCode", "match": "^21610$"}, {"kind": "bounced", "path": "$.ErrorCode", "match": "^(30005|30006|21211|21614)$"}, {"kind": "refused", "path": "$.ErrorCode", "match": "^(30002|30034|30038)$"}, {"kind": "delivered", "path": "$.MessageStatus", "match": "^(delivered|read)$"}, {"kind": "failed", "path": "$.MessageStatus", "match": "^(failed|undelivered|canceled)$"}, {"kind": "ignored", "path": "$.MessageStatus", "match": "^(accepted|scheduled|queued|sending|sent)$"}, {"kind": "ignored", "path": "$.Body"}], "signature": {"scheme": "twilio", "secret": "auth_token"}}');

SELECT notify._ship_preset('vonage', 'sms',
	'Vonage SMS API: https://developer.vonage.com/en/api/sms; errors: https://developer.vonage.com/en/messaging/sms/guides/troubleshooting-sms',
	settings => '{"api_key": {"required": true}, "api_secret": {"required": true, "secret": true}, "from": {"required": true}, "signature_secret": {"secret": true, "description": "Signs web hooks, when the account is set so; without it receipts are refused."},
		"endpoint": {"kind": "url", "default": "https://rest.nexmo.com"}}',
	url => '{{ settings.endpoint }}/sms/json',
	headers => '{"Content-Type": "application/x-www-form-urlencoded"}',
	body => $b$from={{ settings.from | url_encode }}&to={{ address | remove_first: '+' | url_encode }}&type=unicode&client-ref={{ message.id | url_encode }}&text={{ message.body | url_encode }}$b$,
	auth => '{"scheme": "basic", "username": "{{ settings.api_key }}", "password": "{{ settings.api_secret }}"}',
	success => '{"status": 200, "path": "$.messages[0].status ? (@ == \"0\")"}',
	reference => '{"path": "$.messages[0].\"message-id\""}',
	errors => '[{"path": "$.messages[0].status", "match": "^1$", "class": "defer"},
		{"path": "$.messages[0].status", "match": "^(4|8|9|14)$", "class": "auth", "note": "9: no credit"},
		{"path": "$.messages[0].status", "match": "^(5|10|29)$", "class": "provider_down"},
		{"path": "$.messages[0].status", "match": "^(7|33)$", "class": "permanent_recipient"},
		{"path": "$.messages[0].status", "match": "^(2|3|6|12|15|22|23)$", "class": "permanent_message"}]',
	rate => 30,
	receipt => '{"message": "$.\"client-ref\"", "reference": "$.messageId", "address": "$.msisdn", "code": "$.\"err-code\"", "kinds": [{"kind": "stopped", "path": "$ ? (exists(@.text)).text", "match": "(?i)^\\s*(stop|stopall|unsubscribe|cancel|end|quit|退订|退|td|t)\\s*$"}, {"kind": "resumed", "path": "$ ? (exists(@.text)).text", "match": "(?i)^\\s*(start|unstop|yes|订阅)\\s*$"}, {"kind": "ignored", "path": "$.text"}, {"kind": "bounced", "path": "$.\"err-code\"", "match": "^(3|5|6)$"}, {"kind": "delivered", "path": "$.status", "match": "^delivered$"}, {"kind": "failed", "path": "$.status", "match": "^(failed|rejected|expired)$"}, {"kind": "ignored", "path": "$.status", "match": "^(accepted|buffered|submitted|unknown)$"}], "signature": {"scheme": "jwt_hs256", "secret": "signature_secret"}}');

SELECT notify._ship_preset('aliyun_sms', 'sms',
	'Alibaba Cloud SMS, SendSms: https://help.aliyun.com/zh/sms/developer-reference/api-dysmsapi-2017-05-25-sendsms; signature: https://help.aliyun.com/zh/sdk/product-overview/v3-request-structure-and-signature',
	settings => '{"access_key_id": {"required": true}, "access_key_secret": {"required": true, "secret": true},
		"sign_name": {"required": true, "description": "The approved signature; provider_template.sign replaces it."},
		"endpoint": {"kind": "url", "default": "https://dysmsapi.aliyuncs.com"}}',
	url => '{{ settings.endpoint }}/',
	headers => '{"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", "x-acs-action": "SendSms", "x-acs-version": "2017-05-25"}',
	body => $b$PhoneNumbers={{ address | remove_first: '+' | url_encode }}&SignName={{ message.template.sign | default: settings.sign_name | url_encode }}&TemplateCode={{ message.template.id | url_encode }}{% if message.template.parameters %}&TemplateParam={{ message.template.parameters | json | url_encode }}{% endif %}&OutId={{ message.id | url_encode }}$b$,
	auth => '{"scheme": "acs3", "access_key_id": "{{ settings.access_key_id }}", "access_key_secret": "{{ settings.access_key_secret }}"}',
	success => '{"status": 200, "path": "$.Code ? (@ == \"OK\")"}',
	reference => '{"path": "$.BizId"}',
	errors => '[{"path": "$.Code", "match": "^isv\\.(MOBILE_NUMBER_ILLEGAL|MOBILE_IN_BLACK|BLACKLIST.*|INVALID_PHONE.*)$", "class": "permanent_recipient"},
		{"path": "$.Code", "match": "^(isv\\.(BUSINESS_LIMIT_CONTROL|DAY_LIMIT_CONTROL|MONTH_LIMIT_CONTROL)|Throttling.*)$", "class": "defer"},
		{"path": "$.Code", "match": "^(isv\\.(OUT_OF_SERVICE|AMOUNT_NOT_ENOUGH|PRODUCT_UN_SUBSCRIPT|ACCOUNT_.*|DENY_IP_RANGE)|isp\\.RAM_PERMISSION_DENY|SignatureDoesNotMatch|InvalidAccessKeyId.*|Forbidden.*|NoPermission)$", "class": "auth"},
		{"path": "$.Code", "match": "^(isp\\.(SYSTEM_ERROR|GATEWAY_ERROR)|ServiceUnavailable|InternalError)$", "class": "provider_down"},
		{"path": "$.Code", "match": "^isv\\.", "class": "permanent_message"}, {"status": "5xx", "class": "provider_down"}]',
	rate => 5000,
	receipt => '{"message": "$.out_id", "reference": "$.biz_id", "address": "$.phone_number", "prefix": "+86", "code": "$.err_code", "detail": "$.err_msg", "kinds": [{"kind": "stopped", "path": "$.content", "match": "(?i)^\\s*(stop|stopall|unsubscribe|cancel|end|quit|退订|退|td|t)\\s*$"}, {"kind": "resumed", "path": "$.content", "match": "(?i)^\\s*(start|unstop|yes|订阅)\\s*$"}, {"kind": "ignored", "path": "$.content"}, {"kind": "delivered", "path": "$.success", "match": "^true$"}, {"kind": "failed", "path": "$.success", "match": "^false$"}]}');

SELECT notify._ship_preset('tencent_sms', 'sms',
	'Tencent Cloud SMS, SendSms 2021-01-11: https://cloud.tencent.com/document/product/382/55981; signature: https://cloud.tencent.com/document/api/382/52072',
	settings => '{"secret_id": {"required": true}, "secret_key": {"required": true, "secret": true}, "app_id": {"required": true, "description": "SmsSdkAppId"},
		"sign_name": {"description": "The approved signature; needed for numbers in mainland China. provider_template.sign replaces it."},
		"region": {"default": "ap-guangzhou"}, "endpoint": {"kind": "url", "default": "https://sms.tencentcloudapi.com"}}',
	url => '{{ settings.endpoint }}/',
	headers => '{"X-TC-Action": "SendSms", "X-TC-Version": "2021-01-11", "X-TC-Region": "{{ settings.region }}"}',
	body => $b${"PhoneNumberSet": [{{ address | json }}], "SmsSdkAppId": {{ settings.app_id | json }}, "TemplateId": {{ message.template.id | json }}{% assign sign = message.template.sign | default: settings.sign_name %}{% if sign %}, "SignName": {{ sign | json }}{% endif %}{% if message.template.parameters %}, "TemplateParamSet": {{ message.template.parameters | json }}{% endif %}, "SessionContext": {{ message.id | json }}}$b$,
	auth => '{"scheme": "tc3", "secret_id": "{{ settings.secret_id }}", "secret_key": "{{ settings.secret_key }}", "service": "sms"}',
	success => '{"status": 200, "path": "$.Response.SendStatusSet[0].Code ? (@ == \"Ok\")"}',
	reference => '{"path": "$.Response.SendStatusSet[0].SerialNo"}',
	errors => '[{"path": "$.Response.SendStatusSet[0].Code", "match": "^(InvalidParameterValue\\.IncorrectPhoneNumber|FailedOperation\\.PhoneNumberInBlacklist|UnsupportedOperation\\..*)$", "class": "permanent_recipient"},
		{"path": "$.Response.SendStatusSet[0].Code", "match": "^LimitExceeded\\.", "class": "defer"},
		{"path": "$.Response.SendStatusSet[0].Code", "match": "^(FailedOperation\\.(InsufficientBalanceInSmsPackage|JsonParseFail)|UnauthorizedOperation\\..*)$", "class": "auth"},
		{"path": "$.Response.SendStatusSet[0].Code", "match": "^InternalError", "class": "provider_down"},
		{"path": "$.Response.SendStatusSet[0].Code", "match": ".", "class": "permanent_message"},
		{"path": "$.Response.Error.Code", "match": "^(AuthFailure|UnauthorizedOperation|InvalidCredential)", "class": "auth"},
		{"path": "$.Response.Error.Code", "match": "^(RequestLimitExceeded|LimitExceeded)", "class": "defer"},
		{"path": "$.Response.Error.Code", "match": "^(InternalError|ResourceUnavailable)", "class": "provider_down"},
		{"path": "$.Response.Error.Code", "match": ".", "class": "permanent_message"}]',
	rate => 3000,
	receipt => '{"reference": "$.sid", "address": "$.mobile", "prefix": "+86", "code": "$.errmsg", "detail": "$.description", "kinds": [{"kind": "stopped", "path": "$.text", "match": "(?i)^\\s*(stop|stopall|unsubscribe|cancel|end|quit|退订|退|td|t)\\s*$"}, {"kind": "resumed", "path": "$.text", "match": "(?i)^\\s*(start|unstop|yes|订阅)\\s*$"}, {"kind": "ignored", "path": "$.text"}, {"kind": "delivered", "path": "$.report_status", "match": "^SUCCESS$"}, {"kind": "failed", "path": "$.report_status", "match": "^FAIL$"}]}');

SELECT notify._ship_preset('aws_sns', 'sms',
	'Amazon SNS, Publish to a phone number: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html',
	settings => '{"access_key_id": {"required": true}, "secret_access_key": {"required": true, "secret": true}, "session_token": {"secret": true},
		"region": {"required": true}, "sender_id": {}, "sms_type": {"default": "Transactional"},
		"endpoint": {"kind": "url", "description": "Left out: https://sns.REGION.amazonaws.com"}}',
	url => $u${% if settings.endpoint %}{{ settings.endpoint }}{% else %}https://sns.{{ settings.region }}.amazonaws.com{% endif %}/$u$,
	headers => '{"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}',
	body => $b$Action=Publish&Version=2010-03-31&PhoneNumber={{ address | url_encode }}&Message={{ message.body | url_encode }}&MessageAttributes.entry.1.Name=AWS.SNS.SMS.SMSType&MessageAttributes.entry.1.Value.DataType=String&MessageAttributes.entry.1.Value.StringValue={{ settings.sms_type | url_encode }}{% if settings.sender_id %}&MessageAttributes.entry.2.Name=AWS.SNS.SMS.SenderID&MessageAttributes.entry.2.Value.DataType=String&MessageAttributes.entry.2.Value.StringValue={{ settings.sender_id | url_encode }}{% endif %}$b$,
	auth => '{"scheme": "sigv4", "access_key_id": "{{ settings.access_key_id }}", "secret_access_key": "{{ settings.secret_access_key }}", "session_token": "{{ settings.session_token }}", "region": "{{ settings.region }}", "service": "sns"}',
	reference => '{"match": "MessageId[\">]+\\s*:?\\s*\"?([0-9a-fA-F-]+)"}',
	errors => '[{"match": "Throttl|TooManyRequests", "class": "defer"},
		{"match": "OptedOut|opted out|PhoneNumberOptedOut", "class": "permanent_recipient"}, {"match": "Invalid parameter: PhoneNumber", "class": "permanent_recipient"},
		{"match": "InvalidClientTokenId|SignatureDoesNotMatch|AuthorizationError|ExpiredToken|IncompleteSignature|AccessDenied", "class": "auth"},
		{"match": "InternalError|InternalFailure|ServiceUnavailable", "class": "provider_down"},
		{"match": "InvalidParameter|ValidationError", "class": "permanent_message"}, {"status": "5xx", "class": "provider_down"}]',
	rate => 20);

/* --------------------------------------------------------------- e-mail --- */

SELECT notify._ship_preset('aws_ses', 'email',
	'Amazon SES v2, SendEmail: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html',
	settings => '{"access_key_id": {"required": true}, "secret_access_key": {"required": true, "secret": true}, "session_token": {"secret": true},
		"region": {"required": true}, "from": {"required": true}, "reply_to": {}, "configuration_set": {}, "sns_certificate": {"kind": "text", "description": "What SigningCertURL of SNS gives (PEM), for receipts."}, "unsubscribe_url": {"kind": "url", "description": "Your page for RFC 8058; ?token=... is added."},
		"endpoint": {"kind": "url", "description": "Left out: https://email.REGION.amazonaws.com"}}',
	url => $u${% if settings.endpoint %}{{ settings.endpoint }}{% else %}https://email.{{ settings.region }}.amazonaws.com{% endif %}/v2/email/outbound-emails$u$,
	body => $b${% capture files %}{% if message.attachments %}, "Attachments": [{% for file in message.attachments %}{% unless forloop.first %}, {% endunless %}{"FileName": {{ file.filename | json }}, "ContentType": {{ file.type | json }}, "ContentDisposition": {% if file.cid %}"INLINE", "ContentId": {{ file.cid | json }}{% else %}"ATTACHMENT"{% endif %}, "ContentTransferEncoding": "BASE64", "RawContent": {{ file.content | json }}}{% endfor %}]{% endif %}{% endcapture %}{"FromEmailAddress": {{ settings.from | json }}, "Destination": {"ToAddresses": [{{ address | json }}]}{% if settings.reply_to %}, "ReplyToAddresses": [{{ settings.reply_to | json }}]{% endif %}{% if settings.configuration_set %}, "ConfigurationSetName": {{ settings.configuration_set | json }}{% endif %}, "EmailTags": [{"Name": "message", "Value": {{ message.id | json }}}], "Content": {% if message.template.id %}{"Template": {"TemplateName": {{ message.template.id | json }}, "TemplateData": {{ message.template.parameters | json | json }}{{ files }}}}{% else %}{"Simple": {"Subject": {"Data": {{ message.subject | json }}, "Charset": "UTF-8"}, "Body": { {% if message.body %}"Text": {"Data": {{ message.body | json }}, "Charset": "UTF-8"}{% endif %}{% if message.body and message.html %}, {% endif %}{% if message.html %}"Html": {"Data": {{ message.html | json }}, "Charset": "UTF-8"}{% endif %}}{% if settings.unsubscribe_url and message.unsubscribe %}, "Headers": [{"Name": "List-Unsubscribe", "Value": "<{{ settings.unsubscribe_url }}{% if settings.unsubscribe_url contains '?' %}&{% else %}?{% endif %}token={{ message.unsubscribe }}>"}, {"Name": "List-Unsubscribe-Post", "Value": "List-Unsubscribe=One-Click"}]{% endif %}{{ files }}}}{% endif %}}$b$,
	auth => '{"scheme": "sigv4", "access_key_id": "{{ settings.access_key_id }}", "secret_access_key": "{{ settings.secret_access_key }}", "session_token": "{{ settings.session_token }}", "region": "{{ settings.region }}", "service": "ses"}',
	success => '{"status": 200, "path": "$.MessageId"}',
	reference => '{"path": "$.MessageId"}',
	errors => '[{"status": 429, "class": "defer"}, {"match": "Throttling|LimitExceeded|TooManyRequests", "class": "defer"},
		{"match": "AccountSuspended|SendingPaused|MailFromDomainNotVerified|not verified|SignatureDoesNotMatch|UnrecognizedClient|security token|AccessDenied|ExpiredToken", "class": "auth"},
		{"status": "5xx", "class": "provider_down"}]',
	rate => 14,
	receipt => '{"unwrap": "$.Message", "message": "$.mail.tags.message[0]", "reference": "$.mail.messageId", "code": "$.bounce.bouncedRecipients[0].status", "detail": "$.bounce.bouncedRecipients[0].diagnosticCode", "kinds": [{"kind": "complained", "path": "$ ? (@.eventType == \"Complaint\" || @.notificationType == \"Complaint\")"}, {"kind": "failed", "path": "$.bounce.bouncedRecipients[0].status", "match": "^5\\.7"}, {"kind": "bounced", "path": "$.bounce.bounceType", "match": "^Permanent$"}, {"kind": "failed", "path": "$.bounce.bounceType"}, {"kind": "delivered", "path": "$ ? (@.eventType == \"Delivery\" || @.notificationType == \"Delivery\")"}, {"kind": "failed", "path": "$ ? (@.eventType == \"Reject\" || @.eventType == \"Rendering Failure\")"}, {"kind": "ignored", "path": "$.eventType", "match": "^(Send|Open|Click|DeliveryDelay|Subscription)$"}, {"kind": "ignored", "path": "$.Type", "match": "^(SubscriptionConfirmation|UnsubscribeConfirmation)$"}, {"kind": "ignored", "path": "$.Message", "match": "^Successfully validated SNS topic"}], "signature": {"scheme": "sns", "secret": "sns_certificate"}}');

SELECT notify._ship_preset('sendgrid', 'email',
	'Twilio SendGrid v3, Mail Send: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send',
	settings => '{"api_key": {"required": true, "secret": true}, "from": {"required": true}, "from_name": {}, "reply_to": {}, "webhook_public_key": {"description": "The verification key of the signed event webhook, for receipts."}, "unsubscribe_url": {"kind": "url", "description": "Your page for RFC 8058; ?token=... is added."},
		"endpoint": {"kind": "url", "default": "https://api.sendgrid.com", "description": "https://api.eu.sendgrid.com for regional subusers in the EU"}}',
	url => '{{ settings.endpoint }}/v3/mail/send',
	body => $b${ {% if settings.unsubscribe_url and message.unsubscribe %}"headers": {"List-Unsubscribe": "<{{ settings.unsubscribe_url }}{% if settings.unsubscribe_url contains '?' %}&{% else %}?{% endif %}token={{ message.unsubscribe }}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}, {% endif %}"personalizations": [{"to": [{"email": {{ address | json }}}], "custom_args": {"message": {{ message.id | json }}}{% if message.template.parameters %}, "dynamic_template_data": {{ message.template.parameters | json }}{% endif %}}], "from": {"email": {{ settings.from | json }}{% if settings.from_name %}, "name": {{ settings.from_name | json }}{% endif %}}{% if settings.reply_to %}, "reply_to": {"email": {{ settings.reply_to | json }}}{% endif %}{% if message.template.id %}, "template_id": {{ message.template.id | json }}{% else %}, "subject": {{ message.subject | json }}, "content": [{% if message.body %}{"type": "text/plain", "value": {{ message.body | json }}}{% endif %}{% if message.body and message.html %}, {% endif %}{% if message.html %}{"type": "text/html", "value": {{ message.html | json }}}{% endif %}]{% endif %}{% if message.attachments %}, "attachments": [{% for file in message.attachments %}{% unless forloop.first %}, {% endunless %}{"filename": {{ file.filename | json }}, "type": {{ file.type | json }}, "disposition": {% if file.cid %}"inline", "content_id": {{ file.cid | json }}{% else %}"attachment"{% endif %}, "content": {{ file.content | json }}}{% endfor %}]{% endif %}}$b$,
	auth => '{"scheme": "bearer", "token": "{{ settings.api_key }}"}',
	success => '{"status": 202}',
	reference => '{"header": "X-Message-Id"}',
	errors => '[{"status": 429, "class": "defer"}, {"status": 401, "class": "auth"}, {"status": 403, "class": "auth"},
		{"status": 400, "path": "$.errors[*].field", "match": "^personalizations\\..*\\.to", "class": "permanent_recipient"},
		{"status": "5xx", "class": "provider_down"}]',
	rate => 100,
	receipt => '{"message": "$.message", "code": "$.status", "detail": "$.reason", "kinds": [{"kind": "complained", "path": "$.event", "match": "^spamreport$"}, {"kind": "unsubscribed", "path": "$.event", "match": "^(unsubscribe|group_unsubscribe)$"}, {"kind": "delivered", "path": "$.event", "match": "^delivered$"}, {"kind": "failed", "path": "$ ? (@.event == \"bounce\" && (@.type == \"blocked\" || @.status starts with \"5.7\"))"}, {"kind": "bounced", "path": "$.event", "match": "^bounce$"}, {"kind": "bounced", "path": "$ ? (@.event == \"dropped\").reason", "match": "^(Bounced Address|Invalid)"}, {"kind": "failed", "path": "$.event", "match": "^dropped$"}, {"kind": "ignored", "path": "$.event", "match": "^(processed|deferred|open|click|group_resubscribe)$"}], "signature": {"scheme": "ecdsa", "secret": "webhook_public_key"}}');

/* ----------------------------------------------------------------- push --- */

SELECT notify._ship_preset('fcm', 'push',
	'Firebase Cloud Messaging HTTP v1: https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send; token: https://developers.google.com/identity/protocols/oauth2/service-account#httprest; errors: https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode',
	settings => '{"service_account": {"required": true, "secret": true, "kind": "json", "description": "The key file of a service account, as Google gives it."},
		"endpoint": {"kind": "url", "default": "https://fcm.googleapis.com"}}',
	url => '{{ settings.endpoint }}/v1/projects/{{ settings.service_account.project_id | url_encode }}/messages:send',
	body => $b${"message": {"token": {{ address | json }}, "notification": { {% if message.subject %}"title": {{ message.subject | json }}, {% endif %}"body": {{ message.body | json }}}, "data": {"message": {{ message.id | json }}{% if message.template.data %}{% for d in message.template.data %}, {{ d[0] | json }}: {{ d[1] | json }}{% endfor %}{% endif %}}}}$b$,
	auth => '{"scheme": "oauth2_jwt_bearer", "key": "{{ settings.service_account.private_key }}", "key_id": "{{ settings.service_account.private_key_id }}", "issuer": "{{ settings.service_account.client_email }}", "token_url": "{{ settings.service_account.token_uri }}", "scope": "https://www.googleapis.com/auth/firebase.messaging"}',
	success => '{"status": 200, "path": "$.name"}',
	reference => '{"path": "$.name"}',
	errors => '[{"path": "$.error.details[*].errorCode ? (@ == \"UNREGISTERED\")", "class": "permanent_recipient"},
		{"path": "$.error.details[*].fieldViolations[*].field ? (@ == \"message.token\")", "class": "permanent_recipient"},
		{"path": "$.error.details[*].errorCode ? (@ == \"SENDER_ID_MISMATCH\")", "class": "permanent_recipient"},
		{"path": "$.error.details[*].errorCode ? (@ == \"QUOTA_EXCEEDED\")", "class": "defer"},
		{"path": "$.error.details[*].errorCode ? (@ == \"THIRD_PARTY_AUTH_ERROR\")", "class": "auth"},
		{"status": 404, "class": "permanent_recipient"}, {"status": 429, "class": "defer"}, {"status": 401, "class": "auth"}, {"status": 403, "class": "auth"},
		{"status": "5xx", "class": "provider_down"}]',
	rate => 10000);

SELECT notify._ship_preset('apns', 'push',
	'Apple Push Notification service over HTTP/2: https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns; errors: https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns',
	settings => '{"key": {"required": true, "secret": true, "kind": "text", "description": "The .p8 file of the authentication key (PEM)."}, "key_id": {"required": true}, "team_id": {"required": true},
		"topic": {"required": true, "description": "The app''s bundle id"}, "push_type": {"default": "alert"}, "priority": {"default": "10"}, "sound": {"default": "default"},
		"endpoint": {"kind": "url", "default": "https://api.push.apple.com", "description": "https://api.sandbox.push.apple.com for builds in development"}}',
	http_version => '2',
	url => '{{ settings.endpoint }}/3/device/{{ address | url_encode }}',
	headers => '{"apns-topic": "{{ settings.topic }}", "apns-push-type": "{{ settings.push_type }}", "apns-priority": "{{ settings.priority }}", "apns-id": "{{ message.uuid }}"}',
	body => $b${"aps": {"alert": { {% if message.subject %}"title": {{ message.subject | json }}, {% endif %}"body": {{ message.body | json }}}{% if settings.push_type == 'alert' %}, "sound": {{ settings.sound | json }}{% endif %}}, "message": {{ message.id | json }}{% if message.template.data %}, "data": {{ message.template.data | json }}{% endif %}}$b$,
	auth => '{"scheme": "jwt_es256", "key": "{{ settings.key }}", "key_id": "{{ settings.key_id }}", "issuer": "{{ settings.team_id }}"}',
	success => '{"status": 200}',
	reference => '{"header": "apns-id"}',
	errors => '[{"status": 410, "class": "permanent_recipient"},
		{"path": "$.reason", "match": "^(BadDeviceToken|DeviceTokenNotForTopic|Unregistered|ExpiredToken)$", "class": "permanent_recipient"},
		{"path": "$.reason", "match": "^(TooManyRequests|TooManyProviderTokenUpdates)$", "class": "defer"},
		{"path": "$.reason", "match": "^ExpiredProviderToken$", "class": "retry"},
		{"path": "$.reason", "match": "^(InvalidProviderToken|MissingProviderToken|Forbidden|BadCertificate.*|TopicDisallowed|BadTopic|MissingTopic|BadEnvironmentKeyInToken)$", "class": "auth"},
		{"path": "$.reason", "match": "^(ServiceUnavailable|InternalServerError|Shutdown)$", "class": "provider_down"},
		{"status": "5xx", "class": "provider_down"}]');

SELECT notify._ship_preset('jpush', 'push',
	'JPush (极光) Push API v3: https://docs.jiguang.cn/jpush/server/push/rest_api_v3_push',
	settings => '{"app_key": {"required": true}, "master_secret": {"required": true, "secret": true},
		"production": {"default": "true", "description": "Which APNs environment iOS devices are reached in: true or false."},
		"endpoint": {"kind": "url", "default": "https://api.jpush.cn"}}',
	url => '{{ settings.endpoint }}/v3/push',
	body => $b${"platform": "all", "audience": {"registration_id": [{{ address | json }}]}, "notification": {"alert": {{ message.body | json }}, "android": {"alert": {{ message.body | json }}{% if message.subject %}, "title": {{ message.subject | json }}{% endif %}, "extras": {"message": {{ message.id | json }}}}, "ios": {"alert": { {% if message.subject %}"title": {{ message.subject | json }}, {% endif %}"body": {{ message.body | json }}}, "extras": {"message": {{ message.id | json }}}}}, "options": {"apns_production": {% if settings.production == 'false' %}false{% else %}true{% endif %}}}$b$,
	auth => '{"scheme": "basic", "username": "{{ settings.app_key }}", "password": "{{ settings.master_secret }}"}',
	success => '{"status": 200, "path": "$.msg_id"}',
	reference => '{"path": "$.msg_id"}',
	errors => '[{"path": "$.error.code", "match": "^(1011|1003)$", "class": "permanent_recipient", "note": "no device has this registration id"},
		{"path": "$.error.code", "match": "^(2002|2003|2008)$", "class": "defer"},
		{"path": "$.error.code", "match": "^(1004|1008|1020|2004)$", "class": "auth"},
		{"path": "$.error.code", "match": "^(1000|1030|3002)$", "class": "provider_down"},
		{"status": 429, "class": "defer"}, {"status": "5xx", "class": "provider_down"}, {"status": 401, "class": "auth"}, {"status": 403, "class": "auth"}]',
	rate => 10);

SELECT notify._ship_preset('webpush', 'webpush', engine => 'webpush', description =>
	'Web Push (RFC 8030), encrypted for the browser (RFC 8291), signed with one VAPID key (RFC 8292). The page subscribes with the key''s public point as applicationServerKey.',
	settings => '{"private_key": {"required": true, "secret": true, "description": "VAPID: base64url of 32 bytes, as npx web-push generate-vapid-keys makes it"}, "subject": {"required": true, "description": "mailto: or https: of whoever operates this"},
		"ttl": {"default": "86400", "description": "Seconds the push service keeps it for a browser that is away"}, "urgency": {"default": "normal"}}',
	http_version => '2',
	url => '{{ address.endpoint }}',
	hosts => '{fcm.googleapis.com,*.push.services.mozilla.com,*.push.apple.com,*.notify.windows.com,*.push.samsungosp.com}',
	headers => '{"Content-Type": "application/octet-stream", "Content-Encoding": "aes128gcm", "TTL": "{{ settings.ttl }}", "Urgency": "{{ settings.urgency }}"}',
	body => $b${"title": {{ message.subject | json }}, "body": {{ message.body | json }}, "message": {{ message.id | json }}{% if message.template.data %}, "data": {{ message.template.data | json }}{% endif %}}$b$,
	auth => '{"scheme": "vapid", "private_key": "{{ settings.private_key }}", "subject": "{{ settings.subject }}"}',
	success => '{"status": "2xx"}',
	reference => '{"header": "location"}',
	errors => '[{"status": 404, "class": "permanent_recipient"}, {"status": 410, "class": "permanent_recipient"}, {"status": 429, "class": "defer"},
		{"status": 401, "class": "auth"}, {"status": 403, "class": "auth"}, {"status": "5xx", "class": "provider_down"}]');

/* ----------------------------------------------------------------- chat --- */

SELECT notify._ship_preset('slack', 'chat',
	'Slack, chat.postMessage: https://docs.slack.dev/reference/methods/chat.postMessage. The address is a channel''s, a direct message''s or a user''s id.',
	settings => '{"token": {"required": true, "secret": true, "description": "xoxb-…, with chat:write"}, "endpoint": {"kind": "url", "default": "https://slack.com"}}',
	url => '{{ settings.endpoint }}/api/chat.postMessage',
	headers => '{"Content-Type": "application/json; charset=utf-8"}',
	body => $b${"channel": {{ address | json }}, "text": {{ message.body | json }}, "unfurl_links": false}$b$,
	auth => '{"scheme": "bearer", "token": "{{ settings.token }}"}',
	success => '{"status": 200, "path": "$.ok ? (@ == true)"}',
	reference => '{"path": "$.ts"}',
	errors => '[{"path": "$.error", "match": "^(channel_not_found|is_archived|user_not_found|messages_tab_disabled|cannot_dm_bot)$", "class": "permanent_recipient"},
		{"path": "$.error", "match": "^(rate_?limited|message_limit_exceeded)$", "class": "defer"}, {"status": 429, "class": "defer"},
		{"path": "$.error", "match": "^(not_authed|invalid_auth|account_inactive|token_revoked|token_expired|no_permission|missing_scope|org_login_required|ekm_access_denied|access_denied|not_allowed_token_type|team_access_not_granted)$", "class": "auth"},
		{"path": "$.error", "match": "^(fatal_error|internal_error|service_unavailable|request_timeout)$", "class": "provider_down"},
		{"path": "$.error", "match": ".", "class": "permanent_message"}, {"status": "5xx", "class": "provider_down"}]',
	rate => 1);

SELECT notify._ship_preset('telegram', 'chat',
	'Telegram Bot API, sendMessage: https://core.telegram.org/bots/api#sendmessage. The address is a chat''s id, or @channel.',
	settings => '{"token": {"required": true, "secret": true}, "endpoint": {"kind": "url", "default": "https://api.telegram.org"}}',
	url => '{{ settings.endpoint }}/bot{{ settings.token }}/sendMessage',
	body => $b${"chat_id": {{ address | json }}, "text": {{ message.body | json }}}$b$,
	success => '{"status": 200, "path": "$.ok ? (@ == true)"}',
	reference => '{"path": "$.result.message_id"}',
	errors => '[{"status": 429, "class": "defer"}, {"status": 401, "class": "auth"}, {"status": 404, "class": "auth", "note": "no bot has this token"},
		{"path": "$.description", "match": "bot was blocked|user is deactivated|chat not found|bot was kicked|have no rights|group chat was upgraded|PEER_ID_INVALID", "class": "permanent_recipient"},
		{"status": "5xx", "class": "provider_down"}]',
	retry_after => '$.parameters.retry_after',
	rate => 30);

SELECT notify._ship_preset('dingtalk', 'chat',
	'DingTalk (钉钉), a group''s custom robot: https://open.dingtalk.com/document/robots/custom-robot-access; signature: https://open.dingtalk.com/document/robots/customize-robot-security-settings',
	settings => '{"access_token": {"required": true, "secret": true}, "secret": {"secret": true, "description": "SEC…, when the robot asks for signatures"},
		"endpoint": {"kind": "url", "default": "https://oapi.dingtalk.com"}}',
	addressed => false,
	url => '{{ settings.endpoint }}/robot/send?access_token={{ settings.access_token | url_encode }}',
	body => $b${"msgtype": "text", "text": {"content": {{ message.body | json }}}{% if address != blank %}, "at": {"atMobiles": [{{ address | json }}]}{% endif %}}$b$,
	auth => $a${"scheme": "hmac", "key": "{{ settings.secret }}", "message": "{{ request.timestamp_ms }}\n{{ settings.secret }}",
		"query": {"timestamp": "{{ request.timestamp_ms }}", "sign": "{{ signature }}"}}$a$,
	success => '{"status": 200, "path": "$.errcode ? (@ == 0)"}',
	errors => '[{"path": "$.errcode", "match": "^(130101|90018|90030|410100|660026)$", "class": "defer"},
		{"path": "$.errcode", "match": "^(310000|300001|400101|400102|400013|40035|300005)$", "class": "auth", "note": "310000: keyword, signature or address of ours not accepted"},
		{"path": "$.errcode", "match": "^(-1|71006)$", "class": "provider_down"},
		{"path": "$.errcode", "match": ".", "class": "permanent_message"}]',
	rate => 0.33);

SELECT notify._ship_preset('feishu', 'chat',
	'Feishu (飞书) or Lark, a group''s custom bot: https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot',
	settings => '{"hook": {"required": true, "secret": true, "description": "What follows /bot/v2/hook/ in the bot''s URL"}, "secret": {"secret": true, "description": "When the bot asks for signatures"},
		"endpoint": {"kind": "url", "default": "https://open.feishu.cn", "description": "https://open.larksuite.com for Lark"}}',
	addressed => false,
	url => '{{ settings.endpoint }}/open-apis/bot/v2/hook/{{ settings.hook | url_encode }}',
	body => $b${ {% if signature %}"timestamp": {{ request.timestamp | json }}, "sign": {{ signature | json }}, {% endif %}"msg_type": "text", "content": {"text": {{ message.body | json }}}}$b$,
	auth => $a${"scheme": "hmac", "key": "{% if settings.secret %}{{ request.timestamp }}\n{{ settings.secret }}{% endif %}", "message": ""}$a$,
	success => '{"status": 200, "path": "$ ? (@.code == 0 || @.StatusCode == 0)"}',
	errors => '[{"path": "$.code", "match": "^(9499|11232|99991400|230020)$", "class": "defer"}, {"status": 429, "class": "defer"},
		{"path": "$.code", "match": "^(19001|19021|19022|19024|99991663|99991668)$", "class": "auth", "note": "19021: signature or clock; 19022: our address; 19024: keyword"},
		{"status": "5xx", "class": "provider_down"}, {"path": "$.code", "match": ".", "class": "permanent_message"}]',
	rate => 1.6);

SELECT notify._ship_preset('wecom', 'chat',
	'WeCom (企业微信), a group''s robot: https://developer.work.weixin.qq.com/document/path/91770; errors: https://developer.work.weixin.qq.com/document/path/90313',
	settings => '{"key": {"required": true, "secret": true}, "endpoint": {"kind": "url", "default": "https://qyapi.weixin.qq.com"}}',
	addressed => false,
	url => '{{ settings.endpoint }}/cgi-bin/webhook/send?key={{ settings.key | url_encode }}',
	body => $b${"msgtype": "text", "text": {"content": {{ message.body | json }}{% if address != blank %}, "mentioned_list": [{{ address | json }}]{% endif %}}}$b$,
	success => '{"status": 200, "path": "$.errcode ? (@ == 0)"}',
	errors => '[{"path": "$.errcode", "match": "^(45009|45033|43004)$", "class": "defer"},
		{"path": "$.errcode", "match": "^(93000|40001|40014|41001|42001|60020|93017|93008)$", "class": "auth", "note": "93000: no robot has this key"},
		{"path": "$.errcode", "match": "^-1$", "class": "provider_down"},
		{"path": "$.errcode", "match": ".", "class": "permanent_message"}]',
	rate => 0.33);
