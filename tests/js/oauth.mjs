// node oauth.mjs URL: an app that is let in with OAuth 2.0, by the functions of matrix-js-sdk that Element Web uses, and a person with a browser.
import { createClient, generateOidcAuthorizationUrl, completeAuthorizationCodeGrant, registerOidcClient, OidcTokenRefresher } from "matrix-js-sdk";
import { check, equal, finish, step } from "./harness.mjs";

const [baseUrl] = process.argv.slice(2);
const redirectUri = "https://app.example/back";

// What the library takes from a browser.
const kept = new Map();
globalThis.sessionStorage = {
    getItem: (k) => kept.get(k) ?? null,
    setItem: (k, v) => kept.set(k, String(v)),
    removeItem: (k) => kept.delete(k),
    key: (i) => [...kept.keys()][i] ?? null,
    get length() {
        return kept.size;
    },
};
globalThis.localStorage = globalThis.sessionStorage;
globalThis.window = { sessionStorage: globalThis.sessionStorage, location: { origin: "https://app.example" } };

// Browser is a person's browser: it keeps cookies and follows redirects until one leads away.
class Browser {
    cookies = new Map();

    async go(url, form) {
        for (;;) {
            const to = new URL(url, baseUrl);
            if (to.origin !== new URL(baseUrl).origin) return { away: to };
            const cookie = [...this.cookies].map(([k, v]) => `${k}=${v}`).join("; ");
            const response = await fetch(to, {
                method: form ? "POST" : "GET",
                body: form ? new URLSearchParams(form) : undefined,
                headers: { cookie, accept: "text/html" },
                redirect: "manual",
            });
            for (const set of response.headers.getSetCookie()) {
                const [, name, value] = /^([^=]+)=([^;]*)/.exec(set);
                this.cookies.set(name, value);
            }
            if (response.status < 300 || response.status >= 400) return { at: to, status: response.status, html: await response.text() };
            url = new URL(response.headers.get("location"), to);
            form = undefined;
        }
    }

    // submit sends the form of a page, with what a person fills in.
    async submit(page, filled) {
        const form = {};
        for (const [, name, value] of page.html.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)">/g)) {
            form[name] = value.replaceAll("&#43;", "+").replaceAll("&amp;", "&");
        }
        const action = /<form method="post" action="([^"]+)">/.exec(page.html)[1];
        return this.go(action, { ...form, ...filled });
    }
}

const browser = new Browser();
let metadata, clientId, grant, client;

await step("oauth: the app finds out how people sign in", async () => {
    const nobody = createClient({ baseUrl });
    metadata = await nobody.getAuthMetadata();
    check(metadata.prompt_values_supported.includes("create"), "accounts can be made");
    check(metadata.signingKeys.length > 0, "there are keys of id tokens");
    const { flows } = await nobody.loginFlows();
    check(flows.some((f) => f.type === "m.login.sso" && f.oauth_aware_preferred), "apps are told to prefer the browser");
    clientId = await registerOidcClient(metadata, {
        clientName: "App",
        clientUri: "https://app.example/",
        redirectUris: [redirectUri],
        applicationType: "web",
        contacts: ["app@app.example"],
        tosUri: "https://app.example/tos",
        policyUri: "https://app.example/policy",
        logoUri: "https://app.example/logo.png",
    });
});

async function letIn(prompt, fill) {
    const url = await generateOidcAuthorizationUrl({ metadata, redirectUri, clientId, homeserverUrl: baseUrl, nonce: "a nonce", prompt });
    let page = await browser.go(url);
    if (fill) page = await browser.submit(page, fill);
    check(page.html.includes("App"), `the page names the app: ${page.at} ${page.status}`);
    const { away } = await browser.submit(page, { decision: "allow" });
    equal(`${away.origin}${away.pathname}`, redirectUri, "where the browser goes on");
    return completeAuthorizationCodeGrant(away.searchParams.get("code"), away.searchParams.get("state"));
}

await step("oauth: somebody makes an account and lets the app in", async () => {
    grant = await letIn("create", { name: "olivia", password: "a long password", again: "a long password" });
    equal(grant.idTokenClaims.sub, "@olivia:localhost", "who it is");
    client = createClient({ baseUrl, accessToken: grant.tokenResponse.access_token });
    const who = await client.whoami();
    equal(who.user_id, "@olivia:localhost", "who the token is of");
    check(grant.tokenResponse.scope.includes(who.device_id), "the device is the one that was asked for");
    client.deviceId = who.device_id;
});

await step("oauth: the app refreshes its tokens", async () => {
    const refresher = new OidcTokenRefresher(metadata.issuer, clientId, redirectUri, client.deviceId, grant.idTokenClaims);
    await refresher.oidcClientReady;
    const first = await refresher.doRefreshAccessToken(grant.tokenResponse.refresh_token);
    const second = await refresher.doRefreshAccessToken(first.refreshToken);
    check(second.accessToken !== first.accessToken, "another token");
    client = createClient({ baseUrl, accessToken: second.accessToken });
    equal((await client.whoami()).user_id, "@olivia:localhost", "who the new token is of");
});

await step("oauth: the app is let in once more, on another device, and signed out there", async () => {
    const again = await letIn(undefined, undefined); // the browser is signed in
    const other = createClient({ baseUrl, accessToken: again.tokenResponse.access_token });
    const { device_id: deviceId } = await other.whoami();
    equal((await client.getDevices()).devices.length, 2, "devices");
    const page = await browser.go(`${metadata.account_management_uri}?action=org.matrix.device_delete&device_id=${deviceId}`);
    await browser.submit(page, {});
    const refused = await other.whoami().catch((e) => e);
    equal(refused.errcode, "M_UNKNOWN_TOKEN", "after signing out");
    const revoked = await fetch(metadata.revocation_endpoint, {
        method: "POST",
        body: new URLSearchParams({ token: client.getAccessToken(), client_id: clientId }),
    });
    equal(revoked.status, 200, "revoking");
    equal((await client.whoami().catch((e) => e)).errcode, "M_UNKNOWN_TOKEN", "after revoking");
});

finish();
