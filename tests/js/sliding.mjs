// Simplified sliding sync (MSC4186), by way of the library's own client of it: Olga syncs like that, Pavel as ever.
import { EventType, NotificationCountType } from "matrix-js-sdk";
import { SlidingSync, SlidingSyncEvent } from "matrix-js-sdk/lib/sliding-sync.js";
import { ask, check, equal, eventually, step, until } from "./harness.mjs";
import { baseUrl, logIn, signUp } from "./device.mjs";

const state = [
    ["m.room.create", ""], ["m.room.name", ""], ["m.room.topic", ""], ["m.room.encryption", ""], ["m.room.power_levels", ""],
    ["m.room.member", "$LAZY"], ["m.room.member", "$ME"],
];

// slide starts the device with one list of the newest rooms, up to the last of a window.
async function slide(device, last) {
    const lists = new Map([["all", { ranges: [[0, last]], timeline_limit: 1, required_state: state, filters: {} }]]);
    device.sync = new SlidingSync(baseUrl(), lists, { timeline_limit: 20, required_state: state }, device.client, 10_000);
    device.refusals = [];
    device.sync.on(SlidingSyncEvent.Lifecycle, (_state, _answer, err) => err && device.refusals.push(err.errcode));
    return device.start({ slidingSync: device.sync });
}

export async function sliding() {
    let olga, pavel, roomId, first;

    await step("sliding: accounts", async () => {
        olga = await slide(await signUp("olga"), 9);
        pavel = await (await signUp("pavel")).start();
    });

    await step("sliding: an invite, and the room with its state and timeline", async () => {
        ({ room_id: roomId } = await pavel.client.createRoom({
            preset: "private_chat", name: "the shed", topic: "tools", invite: [olga.userId],
            initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
        }));
        await until("Olga is invited", () => olga.room(roomId)?.getMyMembership() === "invite");
        equal(olga.room(roomId).name, "the shed", "the name of the room that Olga is invited to");
        await olga.client.joinRoom(roomId);
        await olga.in(roomId);
        const topic = () => olga.room(roomId).currentState.getStateEvents(EventType.RoomTopic, "")?.getContent().topic;
        await until("Olga has the topic", () => topic() === "tools");
        check(olga.room(roomId).hasEncryptionStateEvent(), "Olga knows that the room is encrypted");
        equal(olga.room(roomId).getJoinedMemberCount(), 2, "the members that Olga counts");
        await pavel.client.sendStateEvent(roomId, EventType.RoomTopic, { topic: "nails" }, "");
        await until("Olga has the new topic", () => topic() === "nails");
    });

    await step("sliding: encrypted messages both ways", async () => {
        await until("Pavel sees Olga in the room", () => pavel.room(roomId).getMember(olga.userId)?.membership === "join");
        first = await pavel.says(roomId, "where is the hammer?");
        const event = await olga.reads(roomId, first, "where is the hammer?");
        equal(event.getWireType(), "m.room.encrypted", "what the server has of the message");
        await pavel.reads(roomId, await olga.says(roomId, "on the wall"), "on the wall");
        const other = await slide(await logIn("olga"), 9);
        await other.in(roomId);
        await eventually("Pavel knows the new device", async () => (await pavel.crypto.getUserDeviceInfo([olga.userId], true)).get(olga.userId)?.has(other.deviceId));
        const text = "and the saw?";
        const both = await pavel.says(roomId, text);
        for (const d of [olga, other]) await d.reads(roomId, both, text);
        other.sync.stop();
        other.client.stopClient();
    });

    await step("sliding: typing, receipts and what is unread", async () => {
        await pavel.client.sendTyping(roomId, true, 20_000);
        await until("Olga sees Pavel type", () => olga.room(roomId).getMember(pavel.userId)?.typing);
        await pavel.client.sendTyping(roomId, false, 0);
        await until("Olga sees Pavel stop", () => !olga.room(roomId).getMember(pavel.userId).typing);
        const mine = await olga.says(roomId, "in the box");
        await pavel.client.sendReadReceipt(await pavel.sees(roomId, mine));
        await until("Olga sees how far Pavel has read", () => olga.room(roomId).getEventReadUpTo(pavel.userId) === mine);
        const last = await pavel.says(roomId, "thanks");
        await olga.reads(roomId, last, "thanks");
        await until("Olga has something unread", () => olga.room(roomId).getUnreadNotificationCount(NotificationCountType.Total) >= 1);
        await olga.client.sendReadReceipt(olga.find(roomId, last));
        await until("Pavel sees how far Olga has read", () => pavel.room(roomId).getEventReadUpTo(olga.userId) === last);
    });

    await step("sliding: account data", async () => {
        await olga.client.setAccountData("org.example.tools", { hammer: 1 });
        await until("Olga has it", () => olga.client.getAccountData("org.example.tools")?.getContent().hammer === 1);
        await olga.client.setRoomTag(roomId, "m.favourite", { order: 0.5 });
        await until("the room is a favourite", () => olga.room(roomId).tags["m.favourite"]?.order === 0.5);
        await until("Olga has push rules", () => olga.client.pushRules?.global);
    });

    await step("sliding: a window that grows, a room that is looked at", async () => {
        const rooms = [];
        for (let n = 0; n < 15; n++) rooms.push((await olga.client.createRoom({ preset: "private_chat", name: `shelf ${n}` })).room_id);
        await until("Olga counts her rooms", () => olga.sync.getListData("all").joinedCount === 16);
        for (let n = 0; n < 10; n++) await pavel.says(roomId, `nail ${n}`);
        const last = await pavel.says(roomId, "that is all");
        await olga.reads(roomId, last, "that is all");
        const fresh = await slide(await logIn("olga"), 4);
        equal(fresh.client.getRooms().length, 5, "the rooms that a new device has");
        check(!fresh.find(roomId, first), "a new device does not have all of the history");
        fresh.sync.setListRanges("all", [[0, 49]]);
        await until("the new device has all rooms", () => fresh.client.getRooms().length === 16);
        fresh.sync.modifyRoomSubscriptions(new Set([roomId]));
        await until("the new device has 15 events of the room", () => fresh.room(roomId).getLiveTimeline().getEvents().length >= 15);
        await until("the new device has older ones", async () => fresh.room(roomId).oldState.paginationToken);
        while (!fresh.find(roomId, first)) {
            check(fresh.room(roomId).oldState.paginationToken, "there is more to page back to");
            await fresh.client.scrollback(fresh.room(roomId), 10);
        }
        fresh.sync.stop();
        fresh.client.stopClient();
    });

    await step("sliding: a position that the server does not know, and servers that go and come", async () => {
        const refused = await olga.client.slidingSync({ pos: "s1_2_3_4_5", lists: {}, timeout: 0 }, baseUrl(), undefined).then(() => null, (e) => e);
        equal([refused?.httpStatus, refused?.errcode], [400, "M_UNKNOWN_POS"], "the answer to a position from nowhere");
        for (const how of ["stop", "kill"]) {
            await ask(how);
            const text = `after the server was sent to ${how}`;
            const id = await eventually("the server takes a message", () => pavel.says(roomId, text).catch(() => null));
            await olga.reads(roomId, id, text);
        }
        check(olga.refusals.every((code) => code === undefined || code === "M_UNKNOWN_POS"), `Olga was refused with ${olga.refusals}`);
        const answer = await olga.says(roomId, "still here");
        await pavel.reads(roomId, answer, "still here");
    });

    olga.sync.stop();
    for (const d of [olga, pavel]) d.client.stopClient();
}
