// Makes vectors.json: what the official libraries sign and write, for
// test/sql/channel_auth.sql to hold ours against. Needs npm and the libraries
// of package.json; the tests need neither.
//
//     cd test/interop && npm install && npm run vectors
//
// Time, nonces and keys are fixed, so it writes the same file each time, except
// for what is random by nature (ES256 and ECDSA signatures, which are verified,
// not compared).
//
// "request": what a library sends for a message, taken down by a server here:
// method, path, the headers that belong to the protocol, and the fields of its
// query and body. "receipt": what a provider would post, with the verdict of the
// library that checks it.

import { createHash, createHmac, createECDH, createPrivateKey, createPublicKey, createSign, generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { once } from "node:events";
const require = createRequire(import.meta.url);

const NOW = 1714566600; // 2024-05-01T12:30:00Z
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...args) { args.length ? super(...args) : super(NOW * 1000); }
  static now() { return NOW * 1000; }
};

// Test keys, made for this file and used nowhere else.
const rsa = `-----BEGIN PRIVATE KEY-----
MIIEvwIBADANBgkqhkiG9w0BAQEFAASCBKkwggSlAgEAAoIBAQDIM9iK7CeTst5h
rF+fldO0+eYzW/mRXF3fku1uyyu/a77dhJPDwOrzdt4E/8ymabcxSAGwtEflSmgC
p2Gcsl8tDPczBPtmcGp9H7zlcKB4eltB/RqXChtsT0xukPfXgtOo5mw+X2/+zMnP
E1l9wr6H8FfwBCRxvZh5fDfqx2bZohw4f6kt/1Yve4x/RpDkJq07B7OrlzvkrlAf
zQgJTRF/A0F1E6qvG5bg+k7jJlqvqbZ7LFFsNHApVvWZ34/bkTaviBthRvayJxZ7
/PZK1o7nwet1Drv4UVW/pCz7zqTY/LYXI7mlhF/43kLvMI1FpCIfmPWe7mPWj79+
jCPhyIKVAgMBAAECggEADvja9boR1E4OVc/4z2v6iwXHV/RFwT+0S4SRmiAP86mr
T/tau6CBUazZj2vRPRQZ3aciF+TGSFkHV0TM8YA2IEiLHMx/apqh9B08A2KoCuqH
nvM+mlNorUcZkwk8vRLCdoFTpgR9e9jf3MsjKFsN5F0D4+YYvaLYCiR74A8tML2j
XSJ7AEsKROjm9P7xljAFoRU25XwsOmqX92kYD/u+aSOmybqOfVIaNKgEaAopxJeT
EIMlludA9QqmOiSZ3ABiLj6UlcCG0WudEfGDpf7JOoCH+AcSzoUlzTmObf3l9Cgj
OZvtGkmhU0Hwadc71Xmk/EqE9zszd0y9WT6HOowg0QKBgQD5zSo6Aatmksqyiqrd
1tN760eFFxUXxd5R/LxLFJ5cwtfV6n6Syjh0+8ITSW/rR3+HHhSZVkc09YPXDCyK
+nm58PG00phCJfBx87tlrQa2egEfSSbPsiqhfadMnq6G7kvQJXykqUQiZve2ldr8
cI8Geo2FGWKRbuJu+cMu3acAuQKBgQDNK5wLo3xBlbexLQzxnGj96MhXCohfKhzZ
pwKX3eAs+LigKcBkL55OWV99riP+fjuG1vvE94/Lb4ePTKcZ6jYGafLVubmQ4mjH
FL+SKCTwFWxUmYE+GZlqejS/ldvgxF+smOSitPwohq7THjeBa+wXE+Ys+NT4y7nr
wSDtOsPKvQKBgQCDbJ26xwYWgUSDitE6xbuehrqqGurOBxxgpkeqeL6Yryo/MZBG
Sn5JjesdmpV3g7ZksD7GLc5o3oLusUj+FanVWh7Qs7vHkY5fZYxCgjX161qLy0DQ
JTyomiNa/GF2PAlHCXH6b9OZBfNt7Im6Jr4Y+oFadXCWc3BOUrmN/q/OgQKBgQCx
v9hfVPHvuA/+1bLjF8j2QVhf4GYpXEjGYCSlAbqX+5uoVsOxiHe0FUXfkqDoeOCF
f3d8O6Y+b4+YHKagkwLfJ6cUduVHmn+ACn+11kW6IjVKTftkm7UIRHuyh9iIsFjb
JVLfi8DyM0z+5qzb2W4eyESgLawFKCsZDqbCIClEWQKBgQCfBnXxzh05R/9uBHLu
VtxcwM6Js4O8EnbBGlehroWNVvwKIXg1JqV1/DVLrNy4EXFzj5lapsOQKAHEAe9n
j2n+422oTCwBfJGHjweepBnlEKG+P0SSv7/FBRteaIUp4mWX0pN4LI9uypaoxlnc
XalCtt/WHHP6O6rbe9cV9V1XIQ==
-----END PRIVATE KEY-----
`;
const ec = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgx2k+zy0xGLo6XuE/
k5Twxozis1+LSjtNEZ6BeNBzO5qhRANCAAQ06qbgKyye0Pn3x/MbvPlLCUcs3/Zd
nWWvGRX5mIuhbruDZAIpcinus9sm8e4Siva4bgKsKsy5H4Roh1+Ks9lN
-----END PRIVATE KEY-----
`;
// openssl req -x509 -key (rsa) -subj /CN=sns.amazonaws.com -days 36500
const certificate = `-----BEGIN CERTIFICATE-----
MIIDGzCCAgOgAwIBAgIUFyz+7hHoF0lcWZYJc4zPGBQAll0wDQYJKoZIhvcNAQEL
BQAwHDEaMBgGA1UEAwwRc25zLmFtYXpvbmF3cy5jb20wIBcNMjYxMTIzMTgxNTE0
WhgPMjEyNjEwMzAxODE1MTRaMBwxGjAYBgNVBAMMEXNucy5hbWF6b25hd3MuY29t
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAyDPYiuwnk7LeYaxfn5XT
tPnmM1v5kVxd35Ltbssrv2u+3YSTw8Dq83beBP/Mpmm3MUgBsLRH5UpoAqdhnLJf
LQz3MwT7ZnBqfR+85XCgeHpbQf0alwobbE9MbpD314LTqOZsPl9v/szJzxNZfcK+
h/BX8AQkcb2YeXw36sdm2aIcOH+pLf9WL3uMf0aQ5CatOwezq5c75K5QH80ICU0R
fwNBdROqrxuW4PpO4yZar6m2eyxRbDRwKVb1md+P25E2r4gbYUb2sicWe/z2StaO
58HrdQ67+FFVv6Qs+86k2Py2FyO5pYRf+N5C7zCNRaQiH5j1nu5j1o+/fowj4ciC
lQIDAQABo1MwUTAdBgNVHQ4EFgQUNM9eE2gd0IKLSpKxI7VrTKoKZaAwHwYDVR0j
BBgwFoAUNM9eE2gd0IKLSpKxI7VrTKoKZaAwDwYDVR0TAQH/BAUwAwEB/zANBgkq
hkiG9w0BAQsFAAOCAQEAH6WHbHgZt1Nvd7UHuwQJu4RCFiPgHY/v2T5QFCjBDsqA
ab/7Zj6J3kOOP4lsTFlmkywMb2/xb1uZ9XU+shU9yXUZm3J8H7H247uAKod4v5q1
qyqFpOfUdUu0MBQ5J4Ce5+vPgqjG9g6n1oLpud1nx26DJMbGbTS0s4clqDRMfgeL
CXDia55pusE1fmDVdpcRgk4ajUi/9asAuqWJdEt7cBPwP+qvNmxzIJqW4/ZzzT/F
aH/4vOAH3ND7fl9io3BO2VzGEQ3tXrilyp9Wi1rEAGj7VtoKxgbZrPxtmwHgb3AE
s8RhP2nkAZ4E5V6hya/nyCPkpQXAcntR1xuvW3DnpA==
-----END CERTIFICATE-----
`;
const vectors = [];
const add = (vector) => vectors.push(vector);

// ---- AWS Signature Version 4: aws4
{
  const aws4 = require("aws4");
  const cases = [
    { service: "ses", method: "POST", host: "email.eu-west-1.amazonaws.com", region: "eu-west-1", path: "/v2/email/outbound-emails",
      headers: { "Content-Type": "application/json" }, body: '{"FromEmailAddress":"a@b.example","Content":"您好"}' },
    { service: "sns", method: "POST", host: "sns.us-east-1.amazonaws.com", region: "us-east-1", path: "/",
      headers: { "Content-Type": "application/x-www-form-urlencoded" }, body: "Action=Publish&Message=a%20b&PhoneNumber=%2B4930123456" },
    { service: "sns", method: "GET", host: "sns.us-east-1.amazonaws.com", region: "us-east-1", path: "/?Version=2010-03-31&Action=Publish&A-b=1&A=2&Empty=",
      headers: {}, body: "" },
    { service: "ses", method: "POST", host: "localhost:8080", region: "us-east-1", path: "/a%20b/c",
      headers: { "Content-Type": "application/json" }, body: "", token: "session/token+==" },
  ];
  for (const c of cases) {
    const signed = aws4.sign(
      { host: c.host, path: c.path, method: c.method, service: c.service, region: c.region, body: c.body,
        headers: { ...c.headers, "X-Amz-Date": "20240501T123000Z" }, extraHeadersToIgnore: { "content-length": true } },
      { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", sessionToken: c.token });
    add({ library: "aws4", auth: { scheme: "sigv4", access_key_id: "AKIDEXAMPLE", secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
          region: c.region, service: c.service, ...(c.token ? { session_token: c.token } : {}) },
      method: c.method, url: `https://${c.host}${c.path}`, headers: c.headers, body: c.body, now: NOW,
      expect: { Authorization: signed.headers.Authorization } });
  }
}

// ---- Alibaba Cloud ACS3-HMAC-SHA256: @alicloud/openapi-util
{
  const util = require("@alicloud/openapi-util").default;
  const tea = require("@alicloud/tea-typescript");
  const nonce = "3156853299f313e23d1673dc12e1703d";
  const cases = [
    { method: "POST", path: "/", query: {}, headers: { "Content-Type": "application/x-www-form-urlencoded" },
      body: "PhoneNumbers=13800138000&SignName=%E5%95%86%E5%BA%97&TemplateCode=SMS_1&TemplateParam=%7B%22code%22%3A%221234%22%7D" },
    { method: "POST", path: "/", query: { ImageId: "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd", RegionId: "cn-shanghai" }, headers: {}, body: "" },
    { method: "POST", path: "/", query: { "A-b": "1", A: "a b*~" }, headers: {}, body: "", token: "sts-token" },
  ];
  for (const c of cases) {
    const request = new tea.Request();
    const hash = util.hexEncode(util.hash(Buffer.from(c.body), "ACS3-HMAC-SHA256"));
    Object.assign(request, { method: c.method, pathname: c.path, query: c.query, headers: { host: "dysmsapi.aliyuncs.com",
      "x-acs-action": "SendSms", "x-acs-version": "2017-05-25", "x-acs-date": "2024-05-01T12:30:00Z", "x-acs-signature-nonce": nonce,
      "x-acs-content-sha256": hash, ...(c.token ? { "x-acs-security-token": c.token } : {}),
      ...Object.fromEntries(Object.entries(c.headers).map(([k, v]) => [k.toLowerCase(), v])) } });
    const encode = (s) => encodeURIComponent(s).replace(/\*/g, "%2A").replace(/'/g, "%27");
    const query = Object.entries(c.query).map(([k, v]) => `${encode(k)}=${encode(v)}`).join("&");
    add({ library: "@alicloud/openapi-util", auth: { scheme: "acs3", access_key_id: "YourAccessKeyId", access_key_secret: "YourAccessKeySecret",
          ...(c.token ? { security_token: c.token } : {}) },
      method: c.method, url: `https://dysmsapi.aliyuncs.com${c.path}${query ? "?" + query : ""}`,
      headers: { ...c.headers, "x-acs-action": "SendSms", "x-acs-version": "2017-05-25" }, body: c.body, now: NOW, nonce,
      expect: { Authorization: util.getAuthorization(request, "ACS3-HMAC-SHA256", hash, "YourAccessKeyId", "YourAccessKeySecret") } });
  }
}

// ---- Tencent Cloud TC3-HMAC-SHA256: tencentcloud-sdk-nodejs-common
{
  const Sign = require("tencentcloud-sdk-nodejs-common/tencentcloud/common/sign").default;
  const payload = { PhoneNumberSet: ["+8613800138000"], SmsSdkAppId: "1400006666", TemplateId: "449739", SignName: "商店", TemplateParamSet: ["1234"] };
  const headers = { "Content-Type": "application/json" };
  add({ library: "tencentcloud-sdk-nodejs-common", auth: { scheme: "tc3", secret_id: "AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE", secret_key: "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE", service: "sms" },
    method: "POST", url: "https://sms.tencentcloudapi.com/", headers: { ...headers, "X-TC-Action": "SendSms" }, body: JSON.stringify(payload), now: NOW,
    expect: { Authorization: Sign.sign3({ method: "POST", url: "https://sms.tencentcloudapi.com/", payload, timestamp: NOW, service: "sms",
      secretId: "AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE", secretKey: "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE", headers }) } });
}

// ---- Standard Webhooks: standardwebhooks
{
  const { Webhook } = require("standardwebhooks");
  const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
  for (const body of ['{"type":"order.placed"}', "您好\n", ""])
    add({ library: "standardwebhooks", auth: { scheme: "standard_webhooks", secret }, method: "POST", url: "https://host.example/", headers: {}, body,
      id: "msg_42", now: NOW, expect: { "webhook-signature": new Webhook(secret).sign("msg_42", new Date(NOW * 1000), body),
        "webhook-timestamp": String(NOW), "webhook-id": "msg_42" } });
}

// ---- hmac as DingTalk and Feishu have it: their documentation's formulas, by node:crypto
{
  const secret = "SEC0123456789abcdef";
  const ms = String(NOW * 1000);
  const sign = createHmac("sha256", secret).update(`${ms}\n${secret}`).digest("base64");
  add({ library: "node:crypto", auth: { scheme: "hmac", key: secret, message: `{{ request.timestamp_ms }}\n${secret}`,
        query: { timestamp: "{{ request.timestamp_ms }}", sign: "{{ signature }}" } },
    method: "POST", url: "https://oapi.dingtalk.com/robot/send?access_token=x", headers: {}, body: "{}", now: NOW,
    expect_url: `https://oapi.dingtalk.com/robot/send?access_token=x&sign=${encodeURIComponent(sign)}&timestamp=${ms}` });
  add({ library: "node:crypto", auth: { scheme: "hmac", key: `{{ request.timestamp }}\n${secret}`, message: "", header: { "X-Sign": "{{ signature }}" } },
    method: "POST", url: "https://open.feishu.cn/x", headers: {}, body: "{}", now: NOW,
    expect: { "X-Sign": createHmac("sha256", `${NOW}\n${secret}`).update("").digest("base64") } });
  for (const [algorithm, encoding, node] of [["md5", "hex", "hex"], ["sha1", "base64", "base64"], ["sha512", "base64url", "base64url"], ["sha384", "hex", "hex"]])
    add({ library: "node:crypto", auth: { scheme: "hmac", key: secret, message: "{{ request.method }} {{ request.url }} {{ request.body }}", algorithm, encoding, header: { "X-Sign": "v={{ signature }}" } },
      method: "POST", url: "https://host.example/p?q=1", headers: {}, body: '{"a":"您"}', now: NOW,
      expect: { "X-Sign": "v=" + createHmac(algorithm, secret).update('POST https://host.example/p?q=1 {"a":"您"}').digest(node) } });
  add({ library: "node:crypto", auth: { scheme: "hmac", key: Buffer.from(secret).toString("hex"), key_encoding: "hex", message: "m", header: { "X-Sign": "{{ signature }}" } },
    method: "POST", url: "https://host.example/", headers: {}, body: "", now: NOW, expect: { "X-Sign": createHmac("sha256", secret).update("m").digest("base64") } });
}

// ---- tokens: google-auth-library's assertion, node-apn's provider token
{
  const { JWT } = require("google-auth-library");
  const jwt = new JWT({ email: "sender@shop.iam.gserviceaccount.com", key: rsa, keyId: "k1", scopes: ["https://www.googleapis.com/auth/firebase.messaging"] });
  let assertion;
  const transporter = { request: async (options) => { assertion = new URLSearchParams(options.data instanceof URLSearchParams ? options.data : options.data).get("assertion"); return { data: { access_token: "t", expires_in: 3599 } }; } };
  jwt.transporter = transporter;
  if (jwt.gtoken) jwt.gtoken.transporter = transporter;
  await jwt.authorize().catch((error) => { if (!assertion) throw error; });
  add({ library: "google-auth-library", jwt: "RS256", key: rsa, public: createPublicKey(createPrivateKey(rsa)).export({ type: "spki", format: "pem" }), token: assertion });

  const apn = require("@parse/node-apn/lib/credentials/token/prepare.js");
  const jsonwebtoken = require("jsonwebtoken");
  const prepare = apn({ sign: jsonwebtoken.sign, resolve: (x) => x, decode: jsonwebtoken.decode });
  const token = prepare({ key: ec, keyId: "ABC123DEFG", teamId: "DEF123GHIJ" });
  add({ library: "@parse/node-apn", jwt: "ES256", key: ec, public: createPublicKey(createPrivateKey(ec)).export({ type: "spki", format: "pem" }), token: token.current });
}

// ---- Web Push: http_ece's encryption with fixed keys and salt; RFC 8291's own example; web-push's VAPID header
{
  const ece = require("http_ece");
  const b64 = (s) => Buffer.from(s, "base64url");
  const subscription = { p256dh: "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4", auth: "BTBZMqHH6r4Tts7J_aSIgg" };
  const sender = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";
  const salt = "DGv6ra1nlYgDCS1FRnbzlw";
  add({ library: "RFC 8291, 5", ...subscription, sender, salt, text: "When I grow up, I want to be a watermelon",
    body: "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN" });
  for (const text of ["", "您好", "x".repeat(3993)]) {
    const local = createECDH("prime256v1");
    local.setPrivateKey(b64(sender));
    add({ library: "http_ece", ...subscription, sender, salt, text,
      body: ece.encrypt(Buffer.from(text), { version: "aes128gcm", salt, privateKey: local, dh: subscription.p256dh, authSecret: subscription.auth, rs: 4096 }).toString("base64url") });
  }
  const webpush = require("web-push");
  const vapid = createECDH("prime256v1");
  vapid.setPrivateKey(b64(sender));
  const header = webpush.getVapidHeaders("https://push.example.net", "mailto:ops@shop.example", vapid.getPublicKey("base64url"), sender, "aes128gcm", NOW + 12 * 3600);
  add({ library: "web-push", vapid: sender, public_point: vapid.getPublicKey("base64url"), authorization: header.Authorization });
}

// ---- Requests: what the official libraries send for a message
{
  let seen;
  let answer;
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    seen = { method: request.method, target: request.url, headers: request.headers, body };
    response.writeHead(answer[0], { "Content-Type": answer[1].startsWith("<") ? "text/xml" : "application/json" });
    response.end(answer[1]);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const host = `127.0.0.1:${server.address().port}`;
  const of_protocol = /^(content-type|x-acs-(action|version)|x-tc-(action|version|region)|apns-.*|ttl|urgency|content-encoding)$/;

  // A request as a vector: its fields are those of query and body together.
  const describe = ({ method, target, headers, body }) => {
    const url = new URL(target, "http://h/");
    const names = Object.fromEntries(Object.entries(headers).map(([k, v]) => [k.toLowerCase(), String(v)]));
    const form = names["content-type"]?.includes("urlencoded");
    const fields = { ...Object.fromEntries(url.searchParams), ...(form ? Object.fromEntries(new URLSearchParams(body)) : body ? JSON.parse(body) : {}) };
    const static_login = /^(Basic|Bearer) /.test(names.authorization ?? "") ? names.authorization : null;
    return { method, path: url.pathname, authorization: static_login, fields,
      headers: Object.fromEntries(Object.entries(names).filter(([k]) => of_protocol.test(k)).map(([k, v]) => [k, v.replace(/;.*/, "")])) };
  };
  const request_of = async (library, vector, reply, send) => {
    answer = reply;
    await send();
    add({ library, ...vector, request: describe(seen) });
  };

  const message = { id: "42", subject: "Grüße", body: "Hello & „您好“ + 1", html: "<p>Hello</p>",
    attachments: [{ filename: "Rechnung.pdf", type: "application/pdf", content: "aGk=" }, { filename: "logo.png", type: "image/png", cid: "logo", content: "aGk=" }] };
  const sms = { id: "42", body: message.body };
  const form = { id: "SMS_1", parameters: { code: "1 2+3" } };
  const aws = { access_key_id: "AKIDEXAMPLE", secret_access_key: "secret", region: "eu-west-1" };
  const credentials = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret" };

  const { RequestClient } = require("twilio");
  const base = new RequestClient();
  const httpClient = { request: (options) => base.request({ ...options, uri: options.uri.replace("https://api.twilio.com", `http://${host}`) }) };
  const account = "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
  const twilio = require("twilio")(account, "auth-token-1234567890", { httpClient });
  const twilio_settings = { account_sid: account, auth_token: "auth-token-1234567890" };
  await request_of("twilio", { preset: "twilio", settings: { ...twilio_settings, from: "+15017122661" }, address: "+4930123456", message: sms }, [201, "{}"],
    () => twilio.messages.create({ to: "+4930123456", from: "+15017122661", body: sms.body }));
  await request_of("twilio", { preset: "twilio", settings: { ...twilio_settings, messaging_service_sid: "MG1", status_callback: "https://shop.example/s?x=1" }, address: "+4930123456",
    message: { id: "42", template: form } }, [201, "{}"],
    () => twilio.messages.create({ to: "+4930123456", messagingServiceSid: "MG1", statusCallback: "https://shop.example/s?x=1", contentSid: "SMS_1", contentVariables: JSON.stringify(form.parameters) }));

  const { Auth } = require("@vonage/auth");
  const { SMS } = require("@vonage/sms");
  await request_of("@vonage/sms", { preset: "vonage", settings: { api_key: "abcd1234", api_secret: "s3cret", from: "Shop" }, address: "+4930123456", message: sms },
    [200, '{"message-count": "1", "messages": [{"status": "0"}]}'],
    () => new SMS(new Auth({ apiKey: "abcd1234", apiSecret: "s3cret" }), { restHost: `http://${host}` }).send({ to: "4930123456", from: "Shop", text: sms.body, type: "unicode", clientRef: "42" }));

  const Dysms = require("@alicloud/dysmsapi20170525");
  const { Config } = require("@alicloud/openapi-client");
  await request_of("@alicloud/dysmsapi20170525", { preset: "aliyun_sms", settings: { access_key_id: "I", access_key_secret: "K", sign_name: "商店" }, address: "+8613800138000",
    message: { id: "42", template: form } }, [200, '{"Code": "OK"}'],
    () => new Dysms.default(new Config({ accessKeyId: "I", accessKeySecret: "K", endpoint: host, protocol: "http" })).sendSms(new Dysms.SendSmsRequest(
      { phoneNumbers: "8613800138000", signName: "商店", templateCode: "SMS_1", templateParam: JSON.stringify(form.parameters), outId: "42" })));

  const Tencent = require("tencentcloud-sdk-nodejs-sms").sms.v20210111.Client;
  await request_of("tencentcloud-sdk-nodejs-sms", { preset: "tencent_sms", settings: { secret_id: "I", secret_key: "K", app_id: "1400006666", sign_name: "商店" }, address: "+8613800138000",
    message: { id: "42", template: { id: "449739", parameters: ["1 2+3", "您好"] } } }, [200, '{"Response": {"SendStatusSet": []}}'],
    () => new Tencent({ credential: { secretId: "I", secretKey: "K" }, region: "ap-guangzhou", profile: { httpProfile: { endpoint: host, protocol: "http://" } } }).SendSms(
      { PhoneNumberSet: ["+8613800138000"], SmsSdkAppId: "1400006666", TemplateId: "449739", SignName: "商店", TemplateParamSet: ["1 2+3", "您好"], SessionContext: "42" }));

  const { SNSClient, PublishCommand } = require("@aws-sdk/client-sns");
  const text = (value) => ({ DataType: "String", StringValue: value });
  await request_of("@aws-sdk/client-sns", { preset: "aws_sns", settings: { ...aws, sender_id: "Shop" }, address: "+4930123456", message: sms },
    [200, "<PublishResponse><PublishResult><MessageId>x</MessageId></PublishResult></PublishResponse>"],
    () => new SNSClient({ region: "eu-west-1", endpoint: `http://${host}`, credentials }).send(new PublishCommand({ PhoneNumber: "+4930123456", Message: sms.body,
      MessageAttributes: { "AWS.SNS.SMS.SMSType": text("Transactional"), "AWS.SNS.SMS.SenderID": text("Shop") } })));

  const { SESv2Client, SendEmailCommand } = require("@aws-sdk/client-sesv2");
  const ses = new SESv2Client({ region: "eu-west-1", endpoint: `http://${host}`, credentials });
  const utf8 = (data) => ({ Data: data, Charset: "UTF-8" });
  const envelope = { FromEmailAddress: "shop@shop.example", Destination: { ToAddresses: ["ann@x.example"] }, ReplyToAddresses: ["help@shop.example"], ConfigurationSetName: "all",
    EmailTags: [{ Name: "message", Value: "42" }] };
  const mail_settings = { from: "shop@shop.example", reply_to: "help@shop.example", unsubscribe_url: "https://shop.example/leave" };
  const leave = { "List-Unsubscribe": "<https://shop.example/leave?token=t1>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click" };
  await request_of("@aws-sdk/client-sesv2", { preset: "aws_ses", settings: { ...aws, ...mail_settings, configuration_set: "all" }, address: "ann@x.example", message: { ...message, unsubscribe: "t1" } },
    [200, '{"MessageId": "x"}'],
    () => ses.send(new SendEmailCommand({ ...envelope, Content: { Simple: { Subject: utf8(message.subject), Body: { Text: utf8(message.body), Html: utf8(message.html) },
      Headers: Object.entries(leave).map(([Name, Value]) => ({ Name, Value })), Attachments: message.attachments.map((file) => ({ FileName: file.filename, ContentType: file.type,
        ContentDisposition: file.cid ? "INLINE" : "ATTACHMENT", ContentId: file.cid, ContentTransferEncoding: "BASE64", RawContent: Buffer.from(file.content, "base64") })) } } })));
  await request_of("@aws-sdk/client-sesv2", { preset: "aws_ses", settings: { ...aws, ...mail_settings, configuration_set: "all" }, address: "ann@x.example", message: { id: "42", template: form } },
    [200, '{"MessageId": "x"}'],
    () => ses.send(new SendEmailCommand({ ...envelope, Content: { Template: { TemplateName: "SMS_1", TemplateData: JSON.stringify(form.parameters) } } })));

  const sendgrid = require("@sendgrid/mail");
  sendgrid.setApiKey("SG.key-1234567890");
  sendgrid.client.setDefaultRequest("baseUrl", `http://${host}/`);
  const grid_settings = { api_key: "SG.key-1234567890", from_name: "Shop", ...mail_settings };
  const person = { to: "ann@x.example", customArgs: { message: "42" } };
  const grid_mail = { from: { email: "shop@shop.example", name: "Shop" }, replyTo: "help@shop.example" };
  await request_of("@sendgrid/mail", { preset: "sendgrid", settings: grid_settings, address: "ann@x.example", message: { ...message, unsubscribe: "t1" } }, [202, ""],
    () => sendgrid.send({ ...grid_mail, personalizations: [person], subject: message.subject, headers: leave,
      content: [{ type: "text/plain", value: message.body }, { type: "text/html", value: message.html }],
      attachments: message.attachments.map((file) => ({ filename: file.filename, type: file.type, content: file.content, disposition: file.cid ? "inline" : "attachment", ...(file.cid ? { content_id: file.cid } : {}) })) }));
  await request_of("@sendgrid/mail", { preset: "sendgrid", settings: grid_settings, address: "ann@x.example", message: { id: "42", template: { ...form, id: "d-1" } } }, [202, ""],
    () => sendgrid.send({ ...grid_mail, personalizations: [{ ...person, dynamicTemplateData: form.parameters }], templateId: "d-1" }));

  const { WebClient } = require("@slack/web-api");
  await request_of("@slack/web-api", { preset: "slack", settings: { token: "xoxb-1234567890" }, address: "C024BE91L", message: sms }, [200, '{"ok": true}'],
    () => new WebClient("xoxb-1234567890", { slackApiUrl: `http://${host}/api/` }).chat.postMessage({ channel: "C024BE91L", text: sms.body, unfurl_links: false }));

  // These two speak HTTP/2 to servers of their own choice; what they would say is asked of them.
  const { Notification } = require("@parse/node-apn");
  const note = new Notification({ alert: { title: message.subject, body: message.body }, sound: "default", topic: "example.shop", pushType: "alert", priority: 10,
    id: "00000000-0000-0000-0000-00000000002a", payload: { message: "42" } });
  add({ library: "@parse/node-apn", preset: "apns", settings: { key: "k", key_id: "ABC123DEFG", team_id: "DEF123GHIJ", topic: "example.shop" }, address: "abcdef",
    message: { ...message, uuid: "00000000-0000-0000-0000-00000000002a" }, request: describe({ method: "POST", target: "/3/device/abcdef", headers: note.headers(), body: note.compile() }) });
  const webpush = require("web-push");
  const subscription = { endpoint: "https://push.example.net/abc?x=1", keys: { p256dh: "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4", auth: "BTBZMqHH6r4Tts7J_aSIgg" } };
  const details = webpush.generateRequestDetails(subscription, "{}", { TTL: 86400, urgency: "normal", contentEncoding: "aes128gcm" });
  add({ library: "web-push", preset: "webpush", settings: { private_key: "x", subject: "mailto:ops@shop.example" }, address: subscription, message,
    request: { ...describe({ method: details.method, target: details.endpoint.slice("https://push.example.net".length), headers: details.headers, body: "" }), fields: null } });
  server.close();
}

// ---- Receipts: what the official libraries hold for genuine, and what not
{
  const receipt = (library, signature, key, payload, headers, valid) => add({ library, receipt: signature, key, payload, headers, valid });

  const twilio = require("twilio");
  const token = "tw1lio-auth-token";
  const url = "https://shop.example/twilio?x=1";
  const encode = (form) => form.map(([k, v]) => `${encodeURIComponent(k)}=${encodeURIComponent(v).replace(/%20/g, "+")}`).join("&");
  const params = (form) => form.reduce((all, [k, v]) => ({ ...all, [k]: k in all ? [].concat(all[k], v) : v }), {});
  const check = (form, said, at = url, key = token) => receipt("twilio", { scheme: "twilio" }, key, encode(form), { "X-Twilio-Signature": said, url: at }, twilio.validateRequest(key, said, at, params(form)));
  const status = [["To", "+4930123456"], ["MessageSid", "SM1"], ["MessageStatus", "delivered"], ["a_lower", "x"], ["Empty", ""]];
  const words = [["From", "+4930123456"], ["Body", "STOP, „您好“ + 100% & mehr = 1"], ["MessageSid", "SM2"]];
  const twice = [["MediaUrl", "b"], ["MediaUrl", "a"], ["MediaUrl", "b"], ["MessageSid", "SM3"]];
  const sign = (form, at = url) => twilio.getExpectedTwilioSignature(token, at, params(form));
  for (const form of [status, words, twice]) check(form, sign(form));
  check(status, sign(status, "https://shop.example:443/twilio?x=1"));
  check(status, sign(status), "https://shop.example:443/twilio?x=1");
  check(status, sign(status), "https://shop.example:8443/twilio?x=1");
  check([...status, ["More", "1"]], sign(status));
  check(status.map(([k, v]) => [k, k === "MessageStatus" ? "failed" : v]), sign(status));
  check(status, sign(status), "https://shop.example/twilio?x=2");
  check(status, sign(status), url, "another-token");
  check(status, "");

  const { EventWebhook } = require("@sendgrid/eventwebhook");
  const spki = createPublicKey(createPrivateKey(ec)).export({ type: "spki", format: "der" }).toString("base64");
  const other = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ type: "spki", format: "der" }).toString("base64");
  const events = '[{"email":"ann@x.example","event":"bounce","reason":"500 您好","message":"42"}]\r\n';
  const stamp = String(NOW);
  const grid = (payload, said, at = stamp, key = spki) => {
    const hook = new EventWebhook();
    receipt("@sendgrid/eventwebhook", { scheme: "ecdsa" }, key, payload, { "X-Twilio-Email-Event-Webhook-Signature": said, "X-Twilio-Email-Event-Webhook-Timestamp": at },
      hook.verifySignature(hook.convertPublicKeyToECDSA(key), payload, said, at));
  };
  const signed = createSign("sha256").update(stamp + events).sign(ec, "base64");
  grid(events, signed);
  grid(events.trim(), signed);
  grid(events.replace("bounce", "delivered"), signed);
  grid(events, signed, String(NOW + 1));
  grid(events, signed, stamp, other);

  // sns-validator fetches the certificate; here it is given
  const https = require("node:https");
  https.get = (where, then) => {
    const listeners = {};
    const response = { statusCode: 200, on: (name, f) => { listeners[name] = f; return response; } };
    then(response);
    listeners.data(certificate);
    listeners.end();
    return { on: () => {} };
  };
  const Validator = require("sns-validator");
  const accepts = (message) => new Promise((done) => new Validator().validate({ ...message }, (error) => done(!error)));
  const sns = async (message) => receipt("sns-validator", { scheme: "sns" }, certificate, JSON.stringify(message), {}, await accepts(message));
  const notification = { Type: "Notification", MessageId: "m1", TopicArn: "arn:aws:sns:eu-west-1:1:t", Subject: "Größe", Message: '{"eventType":"Bounce"}\n', Timestamp: "2024-05-01T12:30:00.000Z",
    SigningCertURL: "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem", UnsubscribeURL: "https://sns.eu-west-1.amazonaws.com/?x" };
  const { Subject, ...plain } = notification;
  const confirmation = { ...plain, Type: "SubscriptionConfirmation", Token: "t", SubscribeURL: "https://sns.eu-west-1.amazonaws.com/?confirm" };
  const seal = (message, version) => {
    const names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"].filter((name) => name in message);
    return { ...message, SignatureVersion: version, Signature: createSign(version === "2" ? "RSA-SHA256" : "RSA-SHA1").update(names.map((name) => `${name}\n${message[name]}\n`).join("")).sign(rsa, "base64") };
  };
  for (const message of [notification, plain, confirmation])
    for (const version of ["1", "2"]) {
      const sealed = seal(message, version);
      await sns(sealed);
      await sns({ ...sealed, Message: '{"eventType":"Delivery"}' });
      await sns({ ...sealed, SignatureVersion: version === "1" ? "2" : "1" });
    }
  await sns(seal(plain, "3"));
  await sns({ ...seal(plain, "1"), SignatureVersion: "" });
  await sns({ ...seal(confirmation, "2"), Type: "Notification" });

  const { verifySignature } = require("@vonage/jwt");
  const jsonwebtoken = require("jsonwebtoken");
  const said = '{"message_uuid":"1","status":"delivered","client_ref":"42","to":"4930123456"}';
  const hash = createHash("sha256").update(said).digest("hex");
  const claims = { iat: NOW, jti: "j", iss: "Vonage", payload_hash: hash, api_key: "abcd1234" };
  const vonage = (jwt, payload = said, key = "signature-secret-1234567890") => receipt("@vonage/jwt", { scheme: "jwt_hs256" }, key, payload, { Authorization: `Bearer ${jwt}` },
    verifySignature(jwt, key) && createHash("sha256").update(payload).digest("hex") === jsonwebtoken.decode(jwt).payload_hash);
  const token_of = (more, key = "signature-secret-1234567890", options = {}) => jsonwebtoken.sign({ ...claims, ...more }, key, { algorithm: "HS256", ...options });
  const good = token_of({});
  vonage(good);
  vonage(token_of({ nbf: NOW - 60, exp: NOW + 100 * 365 * 86400 }));
  vonage(good, said.replace("delivered", "failed"));
  vonage(good, said, "another-secret-1234567890");
  vonage(token_of({ exp: NOW - 60 }));
  vonage(token_of({ nbf: NOW + 100 * 365 * 86400 }));
  vonage(token_of({ payload_hash: undefined }));
  vonage(`${good.split(".").slice(0, 2).join(".")}.`);
  vonage(`${Buffer.from('{"alg":"none","typ":"JWT"}').toString("base64url")}.${good.split(".")[1]}.`);
  vonage(good.replace(/.$/, (last) => (last === "A" ? "B" : "A")));
  vonage(jsonwebtoken.sign({ ...claims, payload_hash: hash }, rsa, { algorithm: "RS256" }));
}

console.log("[\n" + vectors.map((v) => JSON.stringify(v)).join(",\n") + "\n]");
