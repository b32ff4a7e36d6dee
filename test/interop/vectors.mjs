// Makes vectors.json: what the official libraries sign and write, for
// test/sql/channel_auth.sql to hold ours against. Needs npm and the libraries
// of package.json; the tests need neither.
//
//     cd test/interop && npm install && npm run vectors
//
// Time, nonces and keys are fixed, so it writes the same file each time, except
// for what is random by nature (ES256 signatures, which are verified, not
// compared).

import { createHmac, createECDH, createPrivateKey, createPublicKey } from "node:crypto";
import { createRequire } from "node:module";
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

// ---- Twilio: the request its client makes for a message
{
  const twilio = require("twilio");
  let request;
  const client = twilio("ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "auth-token-1234567890", { httpClient: { request: async (options) => { request = options; return { statusCode: 201, body: {} }; } } });
  await client.messages.create({ to: "+4930123456", from: "+15017122661", body: "Grüße & mehr" }).catch(() => {});
  add({ library: "twilio", preset: "twilio", settings: { account_sid: "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", auth_token: "auth-token-1234567890", from: "+15017122661" },
    address: "+4930123456", body: "Grüße & mehr", method: request.method.toUpperCase(), url: request.uri, authorization: request.headers.Authorization ?? "Basic " + Buffer.from(`${request.username}:${request.password}`).toString("base64"), form: request.data });
}

console.log("[\n" + vectors.map((v) => JSON.stringify(v)).join(",\n") + "\n]");
