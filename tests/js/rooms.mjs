// What people do in rooms besides: reactions, edits, receipts, threads, membership.
import { EventType, NotificationCountType, ReceiptType, RelationType } from "matrix-js-sdk";
import { check, equal, step, until } from "./harness.mjs";
import { logIn, signUp } from "./device.mjs";

export async function rooms() {
    let carol, dan, roomId;

    await step("rooms: made, found and joined", async () => {
        carol = await (await signUp("carol")).start();
        dan = await (await signUp("dan")).start({ lazyLoadMembers: true });
        ({ room_id: roomId } = await carol.client.createRoom({ preset: "public_chat", visibility: "public", name: "the square", topic: "news", room_alias_name: "square" }));
        const { chunk } = await dan.client.publicRooms({ filter: { generic_search_term: "square" } });
        equal(chunk.map((r) => [r.room_id, r.name, r.num_joined_members]), [[roomId, "the square", 1]], "the public rooms");
        await dan.client.joinRoom("#square:localhost");
        await dan.in(roomId);
        await carol.in(roomId);
        await until("Carol sees Dan", () => carol.room(roomId).getMember(dan.userId)?.membership === "join");
        equal(carol.room(roomId).currentState.getStateEvents(EventType.RoomTopic, "").getContent().topic, "news", "the topic");
    });

    await step("rooms: reactions, taken back", async () => {
        const message = await carol.says(roomId, "who comes?");
        await dan.sees(roomId, message);
        const { event_id: reaction } = await dan.client.sendEvent(roomId, EventType.Reaction, {
            "m.relates_to": { rel_type: RelationType.Annotation, event_id: message, key: "👍" },
        });
        const reactions = () => carol.room(roomId).relations.getChildEventsForEvent(message, RelationType.Annotation, EventType.Reaction);
        await until("Carol sees the reaction", () => reactions()?.getSortedAnnotationsByKey()?.find(([key, events]) => key === "👍" && events.size === 1));
        await dan.client.redactEvent(roomId, reaction);
        await until("Carol sees that it was taken back", () => reactions().getRelations().filter((e) => !e.isRedacted()).length === 0);
    });

    await step("rooms: edits and redactions", async () => {
        const message = await carol.says(roomId, "see you at fvie");
        await dan.reads(roomId, message, "see you at fvie");
        const edit = await carol.says(roomId, "* see you at five", {
            "m.new_content": { msgtype: "m.text", body: "see you at five" },
            "m.relates_to": { rel_type: RelationType.Replace, event_id: message },
        });
        await dan.reads(roomId, message, "see you at five");
        const fresh = await (await logIn("dan")).start({ initialSyncLimit: 1 });
        const found = await fresh.client.fetchRoomEvent(roomId, message);
        equal(found.unsigned["m.relations"]["m.replace"].event_id, edit, "the edit that comes with the message");
        fresh.client.stopClient();
        await fresh.client.logout();

        const regretted = await carol.says(roomId, "you fools");
        await dan.reads(roomId, regretted, "you fools");
        await carol.client.redactEvent(roomId, regretted, undefined, { reason: "manners" });
        await until("Dan sees the redaction", () => dan.find(roomId, regretted).isRedacted());
        const pruned = await dan.client.fetchRoomEvent(roomId, regretted);
        equal(pruned.content, {}, "what is left of the message");
        equal(pruned.unsigned.redacted_because.content.reason, "manners", "the reason");
    });

    await step("rooms: typing", async () => {
        await carol.client.sendTyping(roomId, true, 20_000);
        await until("Dan sees Carol type", () => dan.room(roomId).getMember(carol.userId)?.typing);
        await carol.client.sendTyping(roomId, false, 0);
        await until("Dan sees Carol stop", () => !dan.room(roomId).getMember(carol.userId).typing);
    });

    await step("rooms: receipts and unread counts", async () => {
        const room = dan.room(roomId);
        const first = await carol.says(roomId, "one");
        const second = await carol.says(roomId, "two, dan", { "m.mentions": { user_ids: [dan.userId] } });
        await dan.sees(roomId, second);
        await until("Dan has something unread that mentions him", () => room.getRoomUnreadNotificationCount(NotificationCountType.Highlight) === 1);
        check(room.getRoomUnreadNotificationCount(NotificationCountType.Total) >= 2, "both messages are unread");

        await dan.client.sendReadReceipt(room.findEventById(first));
        await until("Carol sees how far Dan has read", () => carol.room(roomId).getEventReadUpTo(dan.userId) === first);
        await until("one is left", () => room.getRoomUnreadNotificationCount(NotificationCountType.Total) === 1);

        await dan.client.sendReadReceipt(room.findEventById(second), ReceiptType.ReadPrivate);
        await until("nothing is left", () => room.getRoomUnreadNotificationCount(NotificationCountType.Total) === 0
            && room.getRoomUnreadNotificationCount(NotificationCountType.Highlight) === 0);
        const after = await carol.says(roomId, "three");
        await carol.sees(roomId, after);
        equal(carol.room(roomId).getEventReadUpTo(dan.userId), first, "how far Carol knows that Dan has read");

        await dan.client.setRoomReadMarkers(roomId, after, room.findEventById(after) ?? (await dan.sees(roomId, after)));
        await until("the marker is in the account data", () => room.getAccountData(EventType.FullyRead)?.getContent().event_id === after);
        await until("Carol sees the receipt", () => carol.room(roomId).getEventReadUpTo(dan.userId) === after);
    });

    await step("rooms: threads", async () => {
        const root = await carol.says(roomId, "about the picnic");
        await dan.sees(roomId, root);
        // Without the SDK's local echo, which throws when a sync brings an event of a thread before the answer to its PUT.
        let replies = 0;
        const reply = (who, text) => who.client.http.authedRequest("PUT",
            `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/reply${replies++}`, undefined,
            { msgtype: "m.text", body: text, "m.relates_to": { rel_type: RelationType.Thread, event_id: root, is_falling_back: true, "m.in_reply_to": { event_id: root } } },
        ).then((r) => r.event_id);
        await reply(carol, "I bring bread");
        const last = await reply(carol, "and cheese");
        const thread = await until("Dan has the thread", () => dan.room(roomId).getThread(root));
        await until("the thread has both", () => thread.length === 2 && thread.replyToEvent?.getId() === last);
        await until("they are unread in the thread", () => dan.room(roomId).getThreadUnreadNotificationCount(root, NotificationCountType.Total) === 2);
        equal(dan.room(roomId).getRoomUnreadNotificationCount(NotificationCountType.Total), 1, "unread outside the thread: its root");

        await dan.client.sendReadReceipt(await until("the event is in the thread", () => thread.findEventById(last)));
        await until("the thread is read", () => dan.room(roomId).getThreadUnreadNotificationCount(root, NotificationCountType.Total) === 0);
        equal(dan.room(roomId).getRoomUnreadNotificationCount(NotificationCountType.Total), 1, "unread outside the thread still");
        await dan.client.sendReadReceipt(dan.find(roomId, root));
        await until("everything is read", () => dan.room(roomId).getUnreadNotificationCount(NotificationCountType.Total) === 0);
        const { chunk } = await dan.client.createThreadListMessagesRequest(roomId, null, 10, "b");
        equal(chunk.map((e) => e.event_id), [root], "the list of threads");
    });

    await step("rooms: kicked, banned, invited again", async () => {
        await carol.client.kick(roomId, dan.userId, "too loud");
        await until("Dan is out", () => dan.room(roomId).getMyMembership() === "leave");
        await carol.client.ban(roomId, dan.userId);
        await until("Dan is banned", () => dan.room(roomId).getMyMembership() === "ban");
        const refused = await dan.client.joinRoom(roomId).then(() => null, (e) => e);
        equal([refused?.httpStatus, refused?.errcode], [403, "M_FORBIDDEN"], "the answer to a banned user");
        await carol.client.unban(roomId, dan.userId);
        await carol.client.invite(roomId, dan.userId);
        await until("Dan is invited", () => dan.room(roomId).getMyMembership() === "invite");
        await dan.client.joinRoom(roomId);
        await until("Dan is back", () => dan.room(roomId).getMyMembership() === "join");
        const said = await carol.says(roomId, "welcome back");
        await dan.reads(roomId, said, "welcome back");
    });

    await step("rooms: members are loaded when they are needed", async () => {
        const crowd = [];
        for (const name of ["eve", "frank", "grace", "heidi"]) {
            const one = await signUp(name);
            await one.client.joinRoom(roomId);
            crowd.push(one);
        }
        const words = await crowd[0].says(roomId, "I am the only one who speaks");
        const fresh = await (await logIn("dan")).start({ lazyLoadMembers: true, initialSyncLimit: 1 });
        await fresh.in(roomId);
        await fresh.sees(roomId, words);
        const room = fresh.room(roomId);
        check(room.getMember(crowd[0].userId)?.membership === "join", "whoever speaks is known");
        check(!room.getMember(crowd[3].userId), "whoever is silent is not known yet");
        equal(room.getJoinedMemberCount(), 6, "the number of members");
        await room.loadMembersIfNeeded();
        equal(room.getJoinedMembers().map((m) => m.userId).sort(), [carol, dan, ...crowd].map((d) => d.userId).sort(), "the members");
        fresh.client.stopClient();
    });

    await step("rooms: what was missed while away, with history behind it", async () => {
        dan.client.stopClient();
        const sent = [];
        for (let n = 0; n < 60; n++) sent.push(await carol.says(roomId, `while you were out ${n}`));
        await dan.client.startClient({ initialSyncLimit: 20, threadSupport: true, lazyLoadMembers: true });
        await dan.sees(roomId, sent.at(-1));
        const bodies = () => dan.room(roomId).getLiveTimeline().getEvents().map((e) => e.getId()).filter((id) => sent.includes(id));
        while (bodies().length < sent.length) {
            check(dan.room(roomId).oldState.paginationToken, "there is more to page back to");
            await dan.client.scrollback(dan.room(roomId), 30);
        }
        equal(bodies(), sent, "what Dan has of what he missed, in order");
    });

    await step("rooms: left and forgotten; everybody logged out", async () => {
        await dan.client.leave(roomId);
        await until("Dan has left", () => dan.room(roomId).getMyMembership() === "leave");
        await dan.client.forget(roomId);
        check(!(await dan.client.getJoinedRooms()).joined_rooms.includes(roomId), "the room is none of Dan's any more");
        let ended = false;
        dan.client.on("Session.logged_out", () => (ended = true));
        const other = await logIn("dan");
        await other.client.http.authedRequest("POST", "/logout/all", undefined, {}, { prefix: "/_matrix/client/v3" });
        await until("Dan's client is told that its session has ended", () => ended);
    });

    for (const d of [carol, dan]) d.client.stopClient();
}
