// node appservice.mjs URL PORT: a bridge made with matrix-bot-sdk, as matrix-hookshot and others are, and a person who meets its ghosts.
import { Appservice, LogLevel, LogService, MatrixAuth } from "matrix-bot-sdk";
import { ask, check, equal, eventually, finish, step } from "./harness.mjs";

LogService.setLevel(LogLevel.ERROR);
LogService.setLogger({ trace() {}, debug() {}, info() {}, warn() {}, error: (...what) => process.stderr.write(what.map((w) => (typeof w === "string" ? w : JSON.stringify(w))).join(" ") + "\n") });

const [homeserverUrl, port] = process.argv.slice(2);
const homeserverName = "localhost";
const bridge = new Appservice({
    port: Number(port),
    bindAddress: "127.0.0.1",
    homeserverName,
    homeserverUrl,
    registration: {
        as_token: "as_bots_secret",
        hs_token: "hs_bots_secret",
        sender_localpart: "_bots_bot",
        protocols: ["bots"],
        namespaces: {
            users: [{ exclusive: true, regex: "@_bots_.*" }],
            aliases: [{ exclusive: true, regex: "#_bots_.*" }],
            rooms: [],
        },
    },
});
const heard = [];
bridge.on("room.message", (roomId, event) => heard.push({ roomId, ...event }));
const ephemeral = [];
bridge.on("ephemeral.event", (event) => ephemeral.push(event));
bridge.on("query.user", async (userId, create) => create(userId.startsWith("@_bots_new") ? { display_name: "Made when asked for" } : false));
bridge.on("query.room", async (alias, create) => create(alias.startsWith("#_bots_new") ? { preset: "public_chat", name: "Made when asked for" } : false));
bridge.on("thirdparty.protocol", (protocol, answer) =>
    answer({ user_fields: ["name"], location_fields: [], icon: "", field_types: {}, instances: [{ desc: "Bots", network_id: "bots", fields: {} }] }));

let alice, room, ghost;

await step("bot-sdk: the bridge begins", async () => {
    await bridge.begin();
    equal(await bridge.botClient.getUserId(), bridge.botUserId, "who the bridge is");
    alice = await new MatrixAuth(homeserverUrl).passwordRegister("alice", "a password");
});

await step("bot-sdk: a ghost is made, named and joins", async () => {
    ghost = bridge.getIntentForSuffix("ghost");
    equal(ghost.userId, "@_bots_ghost:localhost", "its id");
    await ghost.ensureRegistered();
    await ghost.underlyingClient.setDisplayName("The ghost");
    room = await alice.createRoom({ preset: "private_chat", invite: [ghost.userId] });
    await ghost.joinRoom(room);
    equal(await alice.getUserProfile(ghost.userId), { displayname: "The ghost" }, "its profile");
    equal((await alice.getJoinedRoomMembers(room)).sort(), [ghost.userId, await alice.getUserId()].sort(), "who is in the room");
});

await step("bot-sdk: both say something", async () => {
    const said = await alice.sendText(room, "hello");
    await eventually("the bridge hears Alice", () => heard.some((e) => e.roomId === room && e.event_id === said && e.content.body === "hello"));
    const answer = await ghost.sendText(room, "boo");
    const event = await alice.getEvent(room, answer);
    equal([event.sender, event.content.body], [ghost.userId, "boo"], "what Alice gets");
    await alice.setTyping(room, true, 20_000);
    await eventually("the bridge hears that Alice types", () => ephemeral.some((e) => e.type === "m.typing" && e.room_id === room && e.content.user_ids.length === 1));
});

await step("bot-sdk: users and rooms are made when they are asked for", async () => {
    await alice.inviteUser("@_bots_new1:localhost", room);
    equal((await alice.getUserProfile("@_bots_new1:localhost")).displayname, "Made when asked for", "the name of the user");
    const made = await alice.joinRoom("#_bots_new1:localhost");
    equal((await alice.getRoomStateEvent(made, "m.room.name", "")).name, "Made when asked for", "the name of the room");
    await alice.inviteUser("@_bots_other:localhost", room).then(
        () => check(false, "a user that nobody knows is not invited"),
        () => {},
    );
    equal((await alice.doRequest("GET", "/_matrix/client/v3/thirdparty/protocol/bots")).instances[0].instance_id, "bots|bots", "the instance of the network");
});

await step("bot-sdk: the server is killed and started again", async () => {
    await ask("kill");
    const said = await eventually("the server answers", () => alice.sendText(room, "still here").catch(() => null));
    await eventually("the bridge hears Alice again", () => heard.some((e) => e.event_id === said));
    const ids = heard.map((e) => e.event_id);
    equal(ids.length, new Set(ids).size, "what came once and what came at all");
});

bridge.stop();
finish();
