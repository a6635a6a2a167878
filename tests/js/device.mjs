// A device is one login of a user, with a client of its own.
import * as sdk from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";
import { listen, until } from "./harness.mjs";

// Set JS_TEST_LOG=debug to read what the library says.
if (process.env.JS_TEST_LOG) logger.setLevel(process.env.JS_TEST_LOG, false);
else {
    logger.setLevel("silent", false);
    for (const level of ["debug", "log", "info", "warn", "error"]) console[level] = () => {};
}
const quiet = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, getChild: () => quiet };

// The nodes of a homeserver. Each session begins at another one.
const nodes = process.argv[2].split(",");
let sessions = 0;
export const baseUrl = () => nodes[sessions++ % nodes.length];
export const cluster = nodes.length > 1;
const password = "correct horse battery staple";

export class Device {
    // secrets are what the user would know or have at hand: the key of the secret storage.
    constructor(login, secrets, url = baseUrl()) {
        this.secrets = secrets;
        this.name = `${login.user_id} ${login.device_id}`;
        this.client = sdk.createClient({
            baseUrl: url,
            userId: login.user_id,
            deviceId: login.device_id,
            accessToken: login.access_token,
            logger: process.env.JS_TEST_LOG ? undefined : quiet,
            timelineSupport: true,
            cryptoCallbacks: {
                getSecretStorageKey: async ({ keys }) => {
                    const id = Object.keys(keys).find((id) => secrets.keys.has(id));
                    return id ? [id, secrets.keys.get(id)] : null;
                },
                cacheSecretStorageKey: (id, _, key) => secrets.keys.set(id, key),
            },
        });
        listen(this.client);
    }

    get userId() {
        return this.client.getUserId();
    }

    get deviceId() {
        return this.client.getDeviceId();
    }

    get crypto() {
        return this.client.getCrypto();
    }

    async start(options = {}) {
        await this.client.initRustCrypto({ useIndexedDB: false });
        await this.client.startClient({ initialSyncLimit: 20, threadSupport: true, ...options });
        await until(`${this.name} has synced for the first time`, () => this.client.isInitialSyncComplete());
        return this;
    }

    room(roomId) {
        return this.client.getRoom(roomId);
    }

    // in waits until the device knows the room as one its user is in.
    in(roomId) {
        return until(`${this.name} is in ${roomId}`, () => this.room(roomId)?.getMyMembership() === "join" && this.room(roomId));
    }

    // find gives the event of this id from the room's timelines, threads included.
    find(roomId, eventId) {
        return this.room(roomId)?.findEventById(eventId);
    }

    sees(roomId, eventId, what = "an event") {
        return until(`${this.name} sees ${what} (${eventId})`, () => this.find(roomId, eventId));
    }

    // reads waits until the message is there, in clear.
    async reads(roomId, eventId, text) {
        return until(`${this.name} reads ${JSON.stringify(text)} (${eventId}): ${this.find(roomId, eventId)?.decryptionFailureReason ?? ""}`, () => {
            const event = this.find(roomId, eventId);
            return event && event.getContent().body === text && event;
        });
    }

    async says(roomId, text, extra = {}) {
        const { event_id: id } = await this.client.sendMessage(roomId, { msgtype: "m.text", body: text, ...extra });
        return id;
    }

    // authenticate proves to the server who we are, for what it wants that proof.
    authenticate = async (makeRequest) => {
        try {
            return await makeRequest(null);
        } catch (e) {
            if (e.httpStatus !== 401) throw e;
            const identifier = { type: "m.id.user", user: this.userId };
            return makeRequest({ type: "m.login.password", identifier, password, session: e.data.session });
        }
    };
}

function stranger(url = baseUrl()) {
    return sdk.createClient({ baseUrl: url, logger: quiet });
}

// signUp makes an account with its first device, at the homeserver or another one.
export async function signUp(name, secrets = { keys: new Map() }, url = undefined) {
    const login = await stranger(url).registerRequest({ username: name, password, initial_device_display_name: `the first of ${name}`, auth: { type: "m.login.dummy" } });
    return new Device(login, secrets, url);
}

// logIn is one more device of the user.
export async function logIn(name, secrets = { keys: new Map() }, url = undefined) {
    const login = await stranger(url).loginRequest({ type: "m.login.password", identifier: { type: "m.id.user", user: name }, password });
    return new Device(login, secrets, url);
}
