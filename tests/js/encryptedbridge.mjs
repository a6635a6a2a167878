// node encryptedbridge.mjs URL PORT FOLDER: a bridge made with matrix-bot-sdk whose bot is in encrypted rooms (MSC3202), and a person who
// uses matrix-js-sdk.
import { Appservice, LogLevel, LogService, MemoryStorageProvider, RustSdkAppserviceCryptoStorageProvider } from "matrix-bot-sdk";
import { ask, check, equal, eventually, finish, step, until } from "./harness.mjs";
import { signUp } from "./device.mjs";

LogService.setLevel(LogLevel.ERROR);
LogService.setLogger({ trace() {}, debug() {}, info() {}, warn() {}, error: (...what) => process.stderr.write(what.map((w) => w?.stack ?? JSON.stringify(w)).join(" ") + "\n") });

const [homeserverUrl, port, folder] = process.argv.slice(2);
const bridge = new Appservice({
    port: Number(port),
    bindAddress: "127.0.0.1",
    homeserverName: "localhost",
    homeserverUrl,
    registration: {
        as_token: "as_bots_secret",
        hs_token: "hs_bots_secret",
        sender_localpart: "_bots_bot",
        namespaces: { users: [{ exclusive: true, regex: "@_bots_.*" }], aliases: [], rooms: [] },
    },
    storage: new MemoryStorageProvider(),
    cryptoStorage: new RustSdkAppserviceCryptoStorageProvider(folder),
    intentOptions: { encryption: true },
});
const heard = [];
bridge.on("room.message", (roomId, event) => heard.push({ roomId, ...event }));
bridge.on("room.failed_decryption", (roomId, event, err) => process.stderr.write(`${roomId} ${event.event_id}: ${err}\n`));
const hears = (id, text) => eventually(`the bridge hears ${JSON.stringify(text)}`, () => heard.some((e) => e.event_id === id && e.content.body === text));

let alice, roomId, bot;

await step("bot-sdk, encrypted: the bot has a device with keys", async () => {
    await bridge.begin();
    bot = bridge.botIntent;
    await bot.enableEncryption();
    alice = await (await signUp("alice")).start();
    const device = bot.underlyingClient.crypto.clientDeviceId;
    const known = (await alice.crypto.getUserDeviceInfo([bot.userId], true)).get(bot.userId);
    check(known?.has(device), "Alice knows the bot's device");
});

await step("bot-sdk, encrypted: both say something", async () => {
    const megolm = { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };
    ({ room_id: roomId } = await alice.client.createRoom({ preset: "private_chat", invite: [bot.userId], initial_state: [megolm] }));
    await alice.in(roomId);
    await bot.joinRoom(roomId);
    await until("Alice sees the bot", () => alice.room(roomId).getMember(bot.userId)?.membership === "join");
    await hears(await alice.says(roomId, "hello"), "hello");
    const answer = await bot.underlyingClient.sendText(roomId, "beep");
    const event = await alice.reads(roomId, answer, "beep");
    equal(event.getWireType(), "m.room.encrypted", "what the server has of the answer");
});

await step("bot-sdk, encrypted: after the server was killed", async () => {
    await ask("kill");
    const id = await eventually("the server takes a message", () => alice.says(roomId, "still here").catch(() => null));
    await hears(id, "still here");
    await alice.reads(roomId, await bot.underlyingClient.sendText(roomId, "boop"), "boop");
});

alice.client.stopClient();
bridge.stop();
finish();
