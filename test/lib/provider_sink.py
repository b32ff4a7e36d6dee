#!/usr/bin/python3
"""Providers on the loopback: each checks a request as the real one does, by
code that shares nothing with ours, and answers as it is told to.

    provider_sink.py DIRECTORY [--port N] [--tls CERT KEY]

The first part of a path names the provider: http://127.0.0.1:PORT/twilio is
what stands for https://api.twilio.com. Over TLS it offers HTTP/2. Every request
becomes a line of DIRECTORY/provider.jsonl: provider, address, faults (what the
provider would not accept), http (version), headers, text (the words it holds).

DIRECTORY/script.json {"twilio": {"+4930...": [ANSWER, ...]}} says how an address
is answered, one after the other, the last for ever; without one it is success.
An ANSWER is {"status", "body", "headers"}, or {"do": "stall" | "garbage" | "close"}.
DIRECTORY/keys.json says what the providers know of us: see KEYS.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
import ssl
import time
from urllib.parse import parse_qs, parse_qsl, quote, unquote, urlsplit

import h2.config
import h2.connection
import h2.events
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import sink

SCRIPT = {}
KEYS = {}  # rsa, ec: public keys (PEM); push: private number and auth of a subscription, base64url
TOKENS = []  # access tokens given out


class Fault(Exception):
    pass


def need(true, what):
    if not true:
        raise Fault(what)


def b64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Request:
    def __init__(self, http, method, target, headers, body):
        self.http, self.method, self.target, self.headers, self.body = http, method, target, headers, body
        parts = urlsplit(target)
        self.raw_path, self.query = parts.path, dict(parse_qsl(parts.query, keep_blank_values=True))
        _, self.provider, rest = (parts.path + "/").split("/", 2)
        self.path = "/" + rest.rstrip("/") if rest.rstrip("/") else "/"

    def json(self):
        need("json" in self.headers.get("content-type", ""), "content type is not JSON")
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Fault(f"body is not JSON: {error}")

    def form(self):
        need(self.headers.get("content-type") == "application/x-www-form-urlencoded", "content type is no form")
        found = parse_qs(self.body.decode(), keep_blank_values=True, strict_parsing=True)
        need(all(len(v) == 1 for v in found.values()), "a field is there twice")
        return {k: v[0] for k, v in found.items()}

    def basic(self, user, password):
        want = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        need(self.headers.get("authorization") == want, "not authorized")

    def at(self, method, path):
        need(self.method == method, f"method {self.method}")
        need(self.path == path, f"path {self.path}")


def canonical(request, signed, path):
    lines = "".join(f"{name}:{request.headers.get(name, '').strip()}\n" for name in signed.split(";"))
    query = "&".join(sorted(f"{quote(k, '-_.~')}={quote(v, '-_.~')}" for k, v in request.query.items()))
    return "\n".join([request.method, path, query, lines, signed, sha256(request.body)])


def authorization(request, algorithm):
    value = request.headers.get("authorization", "")
    need(value.startswith(algorithm + " "), "not signed")
    return dict(re.findall(r"(\w+)=([^,\s]+)", value))


def recent(when):
    need(abs(time.time() - when) < 300, "the clock is wrong")


def clock(text, form):
    import calendar

    return calendar.timegm(time.strptime(text, form))


def sigv4(request, service):
    found = authorization(request, "AWS4-HMAC-SHA256")
    key_id, date, region, of, end = found["Credential"].split("/")
    need((key_id, region, of, end) == ("AKIDEXAMPLE", "eu-west-1", service, "aws4_request"), "wrong scope")
    when = request.headers["x-amz-date"]
    recent(clock(when, "%Y%m%dT%H%M%SZ"))
    need({"host", "x-amz-date", "content-type"} <= set(found["SignedHeaders"].split(";")), "headers are not signed")
    need(("x-amz-security-token" in request.headers) == ("x-amz-security-token" in found["SignedHeaders"]), "token is not signed")
    path = quote(request.raw_path, "/-_.~")
    text = "\n".join(["AWS4-HMAC-SHA256", when, "/".join([date, region, of, end]), sha256(canonical(request, found["SignedHeaders"], path).encode())])
    key = mac(mac(mac(mac(b"AWS4" + b"aws-secret/1234567890", date), region), of), end)
    need(mac(key, text).hex() == found["Signature"], "SignatureDoesNotMatch")


def acs3(request):
    found = authorization(request, "ACS3-HMAC-SHA256")
    need(found["Credential"] == "LTAIexample", "InvalidAccessKeyId")
    recent(clock(request.headers["x-acs-date"], "%Y-%m-%dT%H:%M:%SZ"))
    must = {n for n in request.headers if n.startswith("x-acs-")} | {"host", "content-type"}
    need(must <= set(found["SignedHeaders"].split(";")), "headers are not signed")
    need(request.headers["x-acs-content-sha256"] == sha256(request.body), "body hash")
    text = "ACS3-HMAC-SHA256\n" + sha256(canonical(request, found["SignedHeaders"], request.raw_path).encode())
    need(mac(b"ali-secret-1234567890", text).hex() == found["Signature"], "SignatureDoesNotMatch")


def tc3(request):
    found = authorization(request, "TC3-HMAC-SHA256")
    key_id, date, service, end = found["Credential"].split("/")
    need((key_id, service, end) == ("AKIDtencent", "sms", "tc3_request"), "wrong scope")
    when = request.headers["x-tc-timestamp"]
    recent(int(when))
    need({"host", "content-type"} <= set(found["SignedHeaders"].split(";")), "headers are not signed")
    text = "\n".join(["TC3-HMAC-SHA256", when, f"{date}/{service}/{end}", sha256(canonical(request, found["SignedHeaders"], request.raw_path).encode())])
    key = mac(mac(mac(b"TC3" + b"tencent-secret-1234567890", date), service), end)
    need(mac(key, text).hex() == found["Signature"], "AuthFailure.SignatureFailure")


def jwt(token, key, algorithm):
    head, claims, signature = token.split(".")
    data, sign = f"{head}.{claims}".encode(), b64url(signature)
    need(json.loads(b64url(head))["alg"] == algorithm, "wrong algorithm")
    try:
        if algorithm == "RS256":
            key.verify(sign, data, padding.PKCS1v15(), hashes.SHA256())
        else:
            need(len(sign) == 64, "signature is not of 64 bytes")
            der = encode_dss_signature(int.from_bytes(sign[:32], "big"), int.from_bytes(sign[32:], "big"))
            key.verify(der, data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise Fault("bad signature")
    return json.loads(b64url(head)), json.loads(b64url(claims))


def public(name):
    return serialization.load_pem_public_key(KEYS[name].encode())


# Each returns (address, what the person reads).


def twilio(r):
    r.at("POST", "/2010-04-01/Accounts/AC0123456789/Messages.json")
    r.basic("AC0123456789", "twilio-token-1234567890")
    form = r.form()
    need(form["From"] == "+15017122661", "from")
    return form["To"], form["Body"]


def vonage(r):
    r.at("POST", "/sms/json")
    r.basic("vonage-key", "vonage-secret-1234567890")
    form = r.form()
    need(form["from"] == "Shop" and form["type"] == "unicode", "fields")
    return "+" + form["to"], form["text"]


def aliyun_sms(r):
    r.at("POST", "/")
    acs3(r)
    need((r.headers["x-acs-action"], r.headers["x-acs-version"]) == ("SendSms", "2017-05-25"), "action")
    form = r.form()
    need(form["SignName"] == "商店" and form["TemplateCode"] == "SMS_154950909", "template")
    return "+" + form["PhoneNumbers"], json.loads(form["TemplateParam"])["text"]


def tencent_sms(r):
    r.at("POST", "/")
    tc3(r)
    need((r.headers["x-tc-action"], r.headers["x-tc-version"], r.headers["x-tc-region"]) == ("SendSms", "2021-01-11", "ap-guangzhou"), "action")
    body = r.json()
    need((body["SmsSdkAppId"], body["TemplateId"], body["SignName"]) == ("1400006666", "449739", "商店"), "template")
    return body["PhoneNumberSet"][0], body["TemplateParamSet"][0]


def aws_sns(r):
    r.at("POST", "/")
    sigv4(r, "sns")
    form = r.form()
    need((form["Action"], form["Version"]) == ("Publish", "2010-03-31"), "action")
    return form["PhoneNumber"], form["Message"]


def aws_ses(r):
    r.at("POST", "/v2/email/outbound-emails")
    sigv4(r, "ses")
    body = r.json()
    simple = body["Content"]["Simple"]
    need(body["FromEmailAddress"] == "Shop <shop@shop.example>" and simple["Subject"]["Data"], "fields")
    return body["Destination"]["ToAddresses"][0], simple["Body"]["Text"]["Data"]


def sendgrid(r):
    r.at("POST", "/v3/mail/send")
    need(r.headers.get("authorization") == "Bearer SG.sendgrid-key-1234567890", "not authorized")
    body = r.json()
    need(body["from"] == {"email": "shop@shop.example"} and body["subject"], "fields")
    need([c["type"] for c in body["content"]] == ["text/plain", "text/html"], "content")
    return body["personalizations"][0]["to"][0]["email"], body["content"][0]["value"]


def oauth(r):
    r.at("POST", "/token")
    form = r.form()
    need(form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer", "grant type")
    head, claims = jwt(form["assertion"], public("rsa"), "RS256")
    need(head.get("kid") == "key-1" and claims["iss"] == "sender@shop.example", "issuer")
    need(claims["aud"].endswith("/oauth/token") and claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging", "claims")
    recent(claims["iat"])
    need(claims["exp"] - claims["iat"] <= 3600, "life")
    return "token", ""


def fcm(r):
    r.at("POST", "/v1/projects/shop-1/messages:send")
    need(r.headers.get("authorization", "")[7:] in TOKENS, "not authorized")
    message = r.json()["message"]
    need(message["notification"]["title"], "title")
    return message["token"], message["notification"]["body"]


def apns(r):
    need(r.http == "2", "APNs speaks HTTP/2 alone")
    need(r.method == "POST" and r.path.startswith("/3/device/"), f"path {r.path}")
    kind, _, token = r.headers.get("authorization", "").partition(" ")
    need(kind == "bearer", "MissingProviderToken")
    head, claims = jwt(token, public("ec"), "ES256")
    need(head["kid"] == "ABC123DEFG" and claims["iss"] == "DEF123GHIJ", "InvalidProviderToken")
    need(-60 < time.time() - claims["iat"] < 3600, "ExpiredProviderToken")
    need(r.headers["apns-topic"] == "example.shop" and r.headers["apns-push-type"] == "alert", "headers")
    need(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", r.headers["apns-id"]), "apns-id")
    return unquote(r.path[10:]), r.json()["aps"]["alert"]["body"]


def jpush(r):
    r.at("POST", "/v3/push")
    r.basic("jpush-key", "jpush-secret-1234567890")
    body = r.json()
    need(body["platform"] == "all" and body["options"]["apns_production"] is True, "fields")
    return body["audience"]["registration_id"][0], body["notification"]["alert"]


def hkdf(salt, secret, info, length):
    extracted = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()[:length]


def webpush(r):
    need(r.method == "POST" and r.headers["content-encoding"] == "aes128gcm" and int(r.headers["ttl"]) >= 0, "headers")
    t, k = re.fullmatch(r"vapid t=(\S+), k=(\S+)", r.headers.get("authorization", "")).groups()
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b64url(k))
    need(k == KEYS["vapid"], "another key than the one subscribed with")
    _, claims = jwt(t, point, "ES256")
    need(claims["aud"] == "https://" + r.headers["host"], "audience " + claims["aud"])
    need(time.time() < claims["exp"] < time.time() + 86400 and claims["sub"] == "mailto:ops@shop.example", "claims")
    salt, size, length = r.body[:16], int.from_bytes(r.body[16:20], "big"), r.body[20]
    sender, sealed = r.body[21 : 21 + length], r.body[21 + length :]
    need(len(r.body) <= 4096 and len(sealed) <= size, "too long")
    own = ec.derive_private_key(int.from_bytes(b64url(KEYS["push"]["number"]), "big"), ec.SECP256R1())
    mine = own.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    agreed = own.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
    secret = hkdf(b64url(KEYS["push"]["auth"]), agreed, b"WebPush: info\x00" + mine + sender, 32)
    key = hkdf(salt, secret, b"Content-Encoding: aes128gcm\x00", 16)
    nonce = hkdf(salt, secret, b"Content-Encoding: nonce\x00", 12)
    plain = AESGCM(key).decrypt(nonce, sealed, None)
    need(plain.endswith(b"\x02"), "padding")
    return r.path[1:], json.loads(plain[:-1])["body"]


def slack(r):
    r.at("POST", "/api/chat.postMessage")
    need(r.headers.get("authorization") == "Bearer xoxb-slack-1234567890", "not_authed")
    body = r.json()
    return body["channel"], body["text"]


def telegram(r):
    r.at("POST", "/bot123456:telegram-token/sendMessage")
    body = r.json()
    return body["chat_id"], body["text"]


def dingtalk(r):
    r.at("POST", "/robot/send")
    need(r.query["access_token"] == "dingtalk-token-1234567890", "token")
    secret, when = "SECdingtalk-1234567890", r.query["timestamp"]
    recent(int(when) / 1000)
    want = base64.b64encode(mac(secret.encode(), f"{when}\n{secret}")).decode()
    need(r.query["sign"] == want, "310000 sign not match")
    body = r.json()
    need(body["msgtype"] == "text", "msgtype")
    return (body.get("at", {}).get("atMobiles") or [""])[0], body["text"]["content"]


def feishu(r):
    r.at("POST", "/open-apis/bot/v2/hook/feishu-hook-1234567890")
    body = r.json()
    recent(int(body["timestamp"]))
    want = base64.b64encode(mac(f"{body['timestamp']}\nfeishu-secret-1234567890".encode(), "")).decode()
    need(body["sign"] == want, "19021 sign match fail")
    need(body["msg_type"] == "text", "msg_type")
    return body["content"]["text"].split(" ")[0], body["content"]["text"]


def wecom(r):
    r.at("POST", "/cgi-bin/webhook/send")
    need(r.query["key"] == "wecom-key-1234567890", "key")
    body = r.json()
    need(body["msgtype"] == "text", "msgtype")
    return (body["text"].get("mentioned_list") or [""])[0], body["text"]["content"]


def acme(r):
    r.at("PUT", "/shop/messages")
    need(r.headers.get("x-sign") == mac(b"acme-secret-1234567890", r.body.decode()).hex(), "signature")
    body = r.json()
    return body["to"], body["text"]


CHECKS = (twilio, vonage, aliyun_sms, tencent_sms, aws_sns, aws_ses, sendgrid, oauth, fcm, apns, jpush, webpush, slack, telegram, dingtalk, feishu, wecom, acme)
SUCCESS = {
    "twilio": (201, '{"sid": "SM0123", "status": "queued"}'),
    "vonage": (200, '{"message-count": "1", "messages": [{"status": "0", "message-id": "0A0123"}]}'),
    "aliyun_sms": (200, '{"Code": "OK", "Message": "OK", "BizId": "900619746936498440^0", "RequestId": "F655A8D5"}'),
    "tencent_sms": (200, '{"Response": {"SendStatusSet": [{"SerialNo": "5000:1045", "Code": "Ok", "Message": "send success"}], "RequestId": "a0aa"}}'),
    "aws_sns": (200, '<PublishResponse><PublishResult><MessageId>567910cd-659e-55d4-8ccb-5aaf14679dc0</MessageId></PublishResult></PublishResponse>'),
    "aws_ses": (200, '{"MessageId": "010001"}'),
    "sendgrid": (202, ""),
    "fcm": (200, '{"name": "projects/shop-1/messages/0:1500"}'),
    "apns": (200, ""),
    "jpush": (200, '{"sendno": "0", "msg_id": "18100287008546638"}'),
    "webpush": (201, ""),
    "slack": (200, '{"ok": true, "channel": "C1", "ts": "1503435956.000247"}'),
    "telegram": (200, '{"ok": true, "result": {"message_id": 42}}'),
    "dingtalk": (200, '{"errcode": 0, "errmsg": "ok"}'),
    "feishu": (200, '{"StatusCode": 0, "StatusMessage": "success", "code": 0, "msg": "success", "data": {}}'),
    "wecom": (200, '{"errcode": 0, "errmsg": "ok"}'),
    "acme": (200, '{"code": 0, "id": 77}'),
}
HEADERS = {"sendgrid": {"X-Message-Id": "14c5d75ce93"}, "webpush": {"Location": "https://push.example.net/message/abc"}}


class State:
    def __init__(self, directory):
        self.directory = directory
        self.log = sink.Log(f"{directory}/provider.jsonl")
        self.seen = {}

    def load(self, name, into):
        """Reads a file again when it was replaced."""
        path = os.path.join(self.directory, name)
        if not os.path.exists(path) or self.seen.get(name) == os.stat(path).st_ino:
            return
        self.seen[name] = os.stat(path).st_ino
        with open(path, encoding="utf-8") as file:
            into.clear()
            into.update(json.load(file))

    def take(self, request):
        """What to answer: (status, headers, body) or the name of a trouble."""
        self.load("script.json", SCRIPT)
        self.load("keys.json", KEYS)
        checks = {check.__name__: check for check in CHECKS}
        address = text = ""
        faults = []
        try:
            need(request.provider in checks, f"no provider {request.provider}")
            address, text = checks[request.provider](request)
        except Fault as fault:
            faults = [str(fault)]
        except Exception as error:
            faults = [f"{type(error).__name__}: {error}"]
        self.log.add(provider=request.provider, address=address, faults=faults, http=request.http, headers=request.headers, text=text, target=request.target)
        return self.answer(request, address, faults)

    def answer(self, request, address, faults):
        if faults:
            return 418, {}, json.dumps({"faults": faults}).encode()
        queue = SCRIPT.get(request.provider, {}).get(address)
        if queue:
            told = queue.pop(0) if len(queue) > 1 else queue[0]
            if "do" in told:
                return told["do"]
            return told["status"], told.get("headers", {}), told.get("body", "").encode()
        if request.provider == "oauth":
            TOKENS.append(f"ya29.token-{len(TOKENS) + 1}-1234567890")
            return 200, {}, json.dumps({"access_token": TOKENS[-1], "expires_in": 3599, "token_type": "Bearer"}).encode()
        headers = dict(HEADERS.get(request.provider, {}))
        if request.provider == "apns":
            headers["apns-id"] = request.headers["apns-id"]
        status, body = SUCCESS[request.provider]
        return status, headers, body.encode()


class Http1:
    def __init__(self, state, transport):
        self.state, self.transport, self.buffer = state, transport, b""

    def received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            lines = self.buffer[:end].decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ")
            headers = {n.strip().lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:])}
            length = int(headers.get("content-length", 0))
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4 : end + 4 + length]
            self.buffer = self.buffer[end + 4 + length :]
            self.reply(self.state.take(Request("1.1", method, target, headers, body)))

    def reply(self, answer):
        if answer == "stall":
            return
        if answer == "garbage":
            self.transport.write(b"\x00\xff not a status line\r\n\r\n")
            self.transport.close()
        elif answer == "close":
            self.transport.close()
        else:
            status, headers, body = answer
            lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}", *(f"{n}: {v}" for n, v in headers.items())]
            self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)


class Http2:
    def __init__(self, state, transport):
        self.state, self.transport, self.streams = state, transport, {}
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.initiate_connection()
        transport.write(self.h2.data_to_send())

    def received(self, data):
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self.streams[event.stream_id] = [dict(event.headers), b""]
            elif isinstance(event, h2.events.DataReceived):
                self.streams[event.stream_id][1] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                headers, body = self.streams.pop(event.stream_id)
                headers["host"] = headers[":authority"]
                self.reply(event.stream_id, self.state.take(Request("2", headers[":method"], headers[":path"], headers, body)))
        self.transport.write(self.h2.data_to_send())

    def reply(self, stream, answer):
        if answer == "stall":
            return
        if answer == "close":
            self.h2.reset_stream(stream, 2)
        elif answer == "garbage":
            self.transport.write(b"\xff" * 64)
            self.transport.close()
        else:
            status, headers, body = answer
            self.h2.send_headers(stream, [(":status", str(status)), *((n.lower(), v) for n, v in headers.items())], end_stream=not body)
            if body:
                self.h2.send_data(stream, body, end_stream=True)


class Connection(asyncio.Protocol):
    def __init__(self, state):
        self.state = state

    def connection_made(self, transport):
        tls = transport.get_extra_info("ssl_object")
        version = Http2 if tls and tls.selected_alpn_protocol() == "h2" else Http1
        self.side = version(self.state, transport)
        self.state.log.add(connection=version.__name__)

    def data_received(self, data):
        self.side.received(data)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    args = parser.parse_args()
    tls = None
    if args.tls:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*args.tls)
        tls.set_alpn_protocols(["h2", "http/1.1"])
    state = State(args.directory)
    await sink.serve(lambda: Connection(state), args.directory, "provider", args.port, tls)


if __name__ == "__main__":
    asyncio.run(main())
