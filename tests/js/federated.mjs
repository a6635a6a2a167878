// node federated.mjs URL URL NAME NAME: people of two homeservers, at the URLs and with the names, use both together.
import { EventType, RelationType } from "matrix-js-sdk";
import { again, ask, check, equal, eventually, finish, step, until } from "./harness.mjs";
import { devicesOf, megolm } from "./encryption.mjs";
import { logIn, signUp } from "./device.mjs";

const [here, there, hereName, thereName] = process.argv.slice(2);
const alices = { keys: new Map() }; // what Alice keeps in her head
let alice, alice2, bob, roomId;

// everybody says something, which the others read.
async function talk(devices, what) {
    for (const d of devices) {
        const text = `${what}, says ${d.name}`;
        const id = await again(() => d.says(roomId, text));
        for (const reader of devices) {
            const event = await reader.reads(roomId, id, text);
            equal(event.getWireType(), "m.room.encrypted", "what the servers have of the message");
        }
    }
}

async function signedByOwner(who, device) {
    await eventually(`${who.name} sees that ${device.name} is signed by its owner`,
        async () => (await who.crypto.getDeviceVerificationStatus(device.userId, device.deviceId))?.signedByOwner);
}

await step("two servers: accounts with cross-signing", async () => {
    alice = await (await signUp("alice", alices, here)).start();
    bob = await (await signUp("bob", undefined, there)).start();
    equal([alice.userId, bob.userId], [`@alice:${hereName}`, `@bob:${thereName}`], "the users");
    await alice.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: alice.authenticate });
    await alice.crypto.bootstrapSecretStorage({
        createSecretStorageKey: () => alice.crypto.createRecoveryKeyFromPassphrase("what only Alice knows"),
        setupNewSecretStorage: true,
    });
    await bob.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: bob.authenticate });
});

await step("two servers: an encrypted room", async () => {
    ({ room_id: roomId } = await alice.client.createRoom({ preset: "private_chat", name: "the bridge", invite: [bob.userId], initial_state: [megolm] }));
    await until("Bob is invited", () => bob.room(roomId)?.getMyMembership() === "invite");
    equal(bob.room(roomId).name, "the bridge", "the name of the room that Bob is invited to");
    await bob.client.joinRoom(roomId, { viaServers: [hereName] });
    for (const d of [alice, bob]) {
        await d.in(roomId);
        await until(`${d.name} knows that the room is encrypted`, () => d.room(roomId).hasEncryptionStateEvent());
    }
    await until("Alice sees Bob in the room", () => alice.room(roomId).getMember(bob.userId)?.membership === "join");
    await talk([alice, bob], "hello");
    await signedByOwner(bob, alice);
    await signedByOwner(alice, bob);
});

await step("two servers: a new device of Alice, which Bob comes to trust", async () => {
    alice2 = await (await logIn("alice", alices, here)).start();
    await alice2.in(roomId);
    await eventually("Bob hears of the device", async () => (await devicesOf(alice, bob)).includes(alice2.deviceId));
    await eventually("the device hears of the identity", () => alice2.crypto.userHasCrossSigningKeys());
    await alice2.crypto.bootstrapCrossSigning({});
    await signedByOwner(bob, alice2);
    await talk([alice, alice2, bob], "welcome");
});

await step("two servers: Alice has a new identity", async () => {
    const before = await masterKey(alice, bob);
    await alice.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: alice.authenticate, setupNewCrossSigning: true });
    await eventually("Bob hears of it", async () => {
        const now = await masterKey(alice, bob);
        return now && now !== before;
    });
    await signedByOwner(bob, alice);
    await talk([alice, bob], "it is me");
});

// masterKey is that of the owner, as somebody else's client gets it.
async function masterKey(owner, other) {
    const { master_keys: keys } = await other.client.downloadKeysForUsers([owner.userId]);
    return Object.keys(keys?.[owner.userId]?.keys ?? {})[0];
}

await step("two servers: reactions, edits and redactions", async () => {
    const message = await alice.says(roomId, "at fvie");
    await bob.reads(roomId, message, "at fvie");
    const { event_id: reaction } = await bob.client.sendEvent(roomId, EventType.Reaction, {
        "m.relates_to": { rel_type: RelationType.Annotation, event_id: message, key: "👍" },
    });
    const reactions = () => alice.room(roomId).relations.getChildEventsForEvent(message, RelationType.Annotation, EventType.Reaction);
    await until("Alice sees the reaction", () => reactions()?.getSortedAnnotationsByKey()?.find(([key, events]) => key === "👍" && events.size === 1));
    await bob.client.redactEvent(roomId, reaction);
    await until("Alice sees that it was taken back", () => reactions().getRelations().filter((e) => !e.isRedacted()).length === 0);

    await alice.says(roomId, "* at five", {
        "m.new_content": { msgtype: "m.text", body: "at five" },
        "m.relates_to": { rel_type: RelationType.Replace, event_id: message },
    });
    await bob.reads(roomId, message, "at five");

    const regretted = await bob.says(roomId, "never");
    await alice.reads(roomId, regretted, "never");
    await bob.client.redactEvent(roomId, regretted);
    await until("Alice sees the redaction", () => alice.find(roomId, regretted).isRedacted());
});

await step("two servers: typing, receipts and presence", async () => {
    await bob.client.sendTyping(roomId, true, 20_000);
    await until("Alice sees Bob type", () => alice.room(roomId).getMember(bob.userId)?.typing);
    await bob.client.sendTyping(roomId, false, 0);
    await until("Alice sees Bob stop", () => !alice.room(roomId).getMember(bob.userId).typing);

    const message = await alice.says(roomId, "read this");
    await bob.client.sendReadReceipt(await bob.reads(roomId, message, "read this"));
    await until("Alice sees that Bob has read it", () => alice.room(roomId).getEventReadUpTo(bob.userId) === message);

    await bob.client.setPresence({ presence: "unavailable", status_msg: "at sea" });
    await until("Alice sees how Bob is", () => alice.client.getUser(bob.userId)?.presenceStatusMsg === "at sea");
});

await step("two servers: media", async () => {
    const { content_uri: uri } = await alice.client.uploadContent(new Blob(["a map"]), { name: "map.txt", type: "text/plain" });
    check(uri.startsWith(`mxc://${hereName}/`), `the address of the file: ${uri}`);
    const url = bob.client.mxcUrlToHttp(uri, undefined, undefined, undefined, false, true, true);
    check(url.startsWith(there), `Bob fetches it from his own server: ${url}`);
    const answer = await fetch(url, { headers: { Authorization: `Bearer ${bob.client.getAccessToken()}` } });
    equal([answer.status, await answer.text()], [200, "a map"], "what Bob gets");
});

await step("two servers: one is killed and started again", async () => {
    await ask("kill 1");
    await talk([alice, bob], "after the first was killed");
    await ask("kill 2");
    await talk([alice, bob], "after the second was killed");
});

await step("two servers: what was said while one was away", async () => {
    await ask("end 2");
    const said = [];
    for (let n = 0; n < 5; n++) said.push([await alice.says(roomId, `are you there? ${n}`), `are you there? ${n}`]);
    const gone = alice2.deviceId;
    alice2.client.stopClient();
    await alice2.client.logout(true);
    await ask("start 2");
    for (const message of said) await bob.reads(roomId, ...message);
    await eventually("Bob no longer knows the device that has gone", async () => !(await devicesOf(alice, bob)).includes(gone));
    await talk([alice, bob], "both are here");
});

for (const d of [alice, bob]) d.client.stopClient();
finish();
