// What clients use beyond the specification: delayed events (MSC4140) and dehydrated devices (MSC3814).
import { ask, check, equal, eventually, step, until } from "./harness.mjs";
import { logIn, signUp } from "./device.mjs";

const callMember = "org.matrix.msc3401.call.member";

export async function proposals() {
    const minds = { keys: new Map() }; // what Dora keeps in her head
    let dora, erik, roomId, key;

    await step("proposals: accounts", async () => {
        dora = await (await signUp("dora", minds)).start();
        erik = await (await signUp("erik")).start();
        const { room_id: id } = await dora.client.createRoom({ preset: "private_chat", invite: [erik.userId] });
        roomId = id;
        await until("Erik is invited", () => erik.room(roomId)?.getMyMembership() === "invite");
        await erik.client.joinRoom(roomId);
        await erik.in(roomId);
        key = `_${dora.userId}_${dora.deviceId}_m.call`;
    });

    await step("proposals: an event is sent later, or never", async () => {
        const later = (delay, n) => dora.client._unstable_sendDelayedEvent(roomId, { delay }, null, "org.example.reminder", { n });
        const { delay_id: soon } = await later(3000, 1);
        const { delay_id: never } = await later(60_000, 2);
        const { delayed_events: listed } = await dora.client._unstable_getDelayedEvents();
        equal(listed.map((e) => [e.delay_id, e.delay, e.content.n]), [[soon, 3000, 1], [never, 60_000, 2]], "what is scheduled");
        await dora.client._unstable_updateDelayedEvent(never, "cancel");
        const seen = (d) => d.room(roomId).getLiveTimeline().getEvents().filter((e) => e.getType() === "org.example.reminder");
        for (const d of [dora, erik]) await until(`${d.name} sees the reminder`, () => seen(d).length === 1);
        equal(seen(dora)[0].getUnsigned()["org.matrix.msc4140.delay_id"], soon, "the delay_id that the sender sees");
        equal(seen(erik)[0].getUnsigned()["org.matrix.msc4140.delay_id"], undefined, "the delay_id that others see");
        await eventually("nothing is scheduled any more", async () => (await dora.client._unstable_getDelayedEvents()).delayed_events.length === 0);
    });

    await step("proposals: a device that vanishes leaves its call, even when the server is killed meanwhile", async () => {
        const member = () => erik.room(roomId).currentState.getStateEvents(callMember, key)?.getContent();
        await dora.client.sendStateEvent(roomId, callMember, { application: "m.call" }, key);
        const { delay_id: leave } = await dora.client._unstable_sendDelayedStateEvent(roomId, { delay: 4000 }, callMember, {}, key);
        await until("Erik sees Dora in the call", () => member()?.application === "m.call");
        await dora.client._unstable_updateDelayedEvent(leave, "restart");
        await ask("kill");
        await until("Erik sees that Dora has left", () => member() && !member().application);
        const late = await dora.client._unstable_updateDelayedEvent(leave, "restart").then(() => null, (e) => e);
        equal(late?.errcode, "M_NOT_FOUND", "the answer to a restart that comes too late");
    });

    await step("proposals: a dehydrated device gets the keys of messages while its user has no other", async () => {
        await dora.client.sendStateEvent(roomId, "m.room.encryption", { algorithm: "m.megolm.v1.aes-sha2" });
        for (const d of [dora, erik]) await until(`${d.name} knows that the room is encrypted`, () => d.room(roomId).hasEncryptionStateEvent());
        await dora.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: dora.authenticate });
        await dora.crypto.bootstrapSecretStorage({
            createSecretStorageKey: () => dora.crypto.createRecoveryKeyFromPassphrase("what only Dora knows"),
            setupNewSecretStorage: true,
        });
        check(await dora.crypto.isDehydrationSupported(), "the library finds that the server keeps dehydrated devices");
        await dora.crypto.startDehydration();
        const first = await erik.says(roomId, "before you go"); // from now on Erik follows what devices Dora has
        await dora.reads(roomId, first, "before you go");
        const asleep = await eventually("Erik knows the dehydrated device", async () => {
            const known = (await erik.crypto.getUserDeviceInfo([dora.userId], true)).get(dora.userId);
            return [...known.values()].find((d) => d.dehydrated);
        });
        dora.client.stopClient();
        await dora.client.logout(true);
        const text = "nobody is there to read this";
        const missed = await erik.says(roomId, text);

        dora = await (await logIn("dora", minds)).start();
        await dora.in(roomId);
        await eventually("the new device hears of the identity", () => dora.crypto.userHasCrossSigningKeys());
        await dora.crypto.bootstrapCrossSigning({});
        await dora.crypto.startDehydration();
        await dora.reads(roomId, missed, text);
        await eventually("another dehydrated device takes its place", async () => {
            const { devices } = await dora.client.getDevices();
            return devices.length === 2 && !devices.some((d) => d.device_id === asleep.deviceId);
        });
    });

    for (const d of [dora, erik]) d.client.stopClient();
}
